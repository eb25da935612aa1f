package models

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/models/pixels"
)

// siglipTower is LLaVA-OneVision's vision side: SigLIP with learned positions and
// tanh GELU over each view by itself, a two-layer projector with the exact GELU, and
// the packing of tiles. Features are taken before post_layernorm.
type siglipTower struct{ c *Config }

// siglip is the prefix of the tower's names.
const siglip = "vision_tower.vision_model."

// side is the number of patches along a view.
func (t siglipTower) side() int { return t.c.Vision.ImageSize / t.c.Vision.PatchSize }

func (t siglipTower) alloc(m maker) *VisionWeights {
	v, c := &t.c.Vision, t.c.Text.Hidden
	w := &VisionWeights{
		PatchEmbed: m.linear(v.Hidden, v.PatchDim(), true), Positions: m.floats(t.side() * t.side() * v.Hidden),
		Blocks: m.visionBlocks(v), PostNorm: m.norm(v.Hidden),
		Project: [2]Linear{m.linear(c, v.Hidden, v.ProjectorBias), m.linear(c, c, v.ProjectorBias)},
		Newline: m.floats(c),
	}
	for _, s := range t.poolShapes() {
		w.Pool = append(w.Pool, m.floats(product(s.Shape)))
	}
	return w
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// poolShapes are the weights of SigLIP's pooling head; none where the config has
// no head.
func (t siglipTower) poolShapes() []Param {
	v := &t.c.Vision
	if !v.PoolingHead {
		return nil
	}
	const head = siglip + "head."
	d, wide := v.Hidden, v.Intermediate
	return []Param{
		{Name: head + "probe", Shape: []int{1, 1, d}},
		{Name: head + "attention.in_proj_weight", Shape: []int{3 * d, d}},
		{Name: head + "attention.in_proj_bias", Shape: []int{3 * d}},
		{Name: head + "attention.out_proj.weight", Shape: []int{d, d}},
		{Name: head + "attention.out_proj.bias", Shape: []int{d}},
		{Name: head + "layernorm.weight", Shape: []int{d}},
		{Name: head + "layernorm.bias", Shape: []int{d}},
		{Name: head + "mlp.fc1.weight", Shape: []int{wide, d}},
		{Name: head + "mlp.fc1.bias", Shape: []int{wide}},
		{Name: head + "mlp.fc2.weight", Shape: []int{d, wide}},
		{Name: head + "mlp.fc2.bias", Shape: []int{d}},
	}
}

func (t siglipTower) params(w *VisionWeights) []Param {
	v := &t.c.Vision
	names := visionNames{
		"layer_norm1", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj",
		"layer_norm2", "mlp.fc1", "mlp.fc2",
	}
	list := w.PatchEmbed.appendTo(nil, siglip+"embeddings.patch_embedding")
	list = append(list, Param{siglip + "embeddings.position_embedding.weight", []int{t.side() * t.side(), v.Hidden}, w.Positions})
	for i := range w.Blocks {
		list = w.Blocks[i].appendTo(list, fmt.Sprintf(siglip+"encoder.layers.%d.", i), names)
	}
	list = w.Project[0].appendTo(list, "multi_modal_projector.linear_1")
	list = w.Project[1].appendTo(list, "multi_modal_projector.linear_2")
	list = append(list, Param{"image_newline", []int{t.c.Text.Hidden}, w.Newline})
	list = w.PostNorm.appendTo(list, siglip+"post_layernorm", v.Hidden)
	for i, p := range t.poolShapes() {
		p.Data = w.Pool[i]
		list = append(list, p)
	}
	return list
}

// pieces: attention stays within a view.
func (siglipTower) pieces(p *pixels.Patches) int { return p.GridTHW[0] }

// geometry: positions are learned, nothing depends on the grid.
func (siglipTower) geometry([3]int) []*tensors.Tensor { return nil }

func (t siglipTower) graph(q *nodeQueue, patches *node, _ []*node) towerNodes {
	v := &t.c.Vision
	embed, positions := q.linear(true), q.next()
	x := graph.Add(embed.apply(patches), graph.ExpandLeftToRank(positions, 3))
	out := towerNodes{hidden: []*node{x}}
	still := func(query, key *node) (*node, *node) { return query, key }
	for range v.Depth {
		x = q.visionBlock().apply(v, x, still, tanhGELU)
		out.hidden = append(out.hidden, x)
	}
	out.output = out.hidden[v.FeatureLayer]
	first, second := q.linear(v.ProjectorBias), q.linear(v.ProjectorBias)
	out.rows = second.apply(gelu(first.apply(out.output)))
	out.newline = q.next()
	return out
}

// tanhGELU is x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
func tanhGELU(x *node) *node {
	cube := graph.MulScalar(graph.Mul(graph.Square(x), x), 0.044715)
	phi := graph.MulScalar(graph.OnePlus(graph.Tanh(graph.MulScalar(graph.Add(x, cube), math.Sqrt(2/math.Pi)))), 0.5)
	return graph.Mul(x, phi)
}

func (t siglipTower) tokens(p *pixels.Patches) int { return p.Features(t.c.Vision.MaxTiles) }

// arrange packs the views' rows: the picture's part of the tiles, shrunk where it is
// above the maximum, with a newline behind every row.
func (t siglipTower) arrange(p *pixels.Patches, rows []float32, w *VisionWeights) []float32 {
	c := t.c.Text.Hidden
	packing := p.Packing(t.c.Vision.MaxTiles)
	out := make([]float32, len(packing)*c)
	for i, taps := range packing {
		dst := out[i*c : (i+1)*c]
		if taps == nil {
			copy(dst, w.Newline)
		}
		for _, tap := range taps {
			for k, v := range rows[tap.Row*c : (tap.Row+1)*c] {
				dst[k] += tap.Weight * v
			}
		}
	}
	return out
}

func (siglipTower) rows(p *pixels.Patches) int { return p.N }

func (t siglipTower) table(p *pixels.Patches) ([]int, error) {
	var rows []int
	for _, taps := range p.Packing(t.c.Vision.MaxTiles) {
		switch {
		case len(taps) == 0:
			rows = append(rows, -1)
		case len(taps) == 1 && taps[0].Weight == 1:
			rows = append(rows, taps[0].Row)
		default:
			return nil, fmt.Errorf("models: a picture of %d × %d pixels (height × width) is shrunk to the maximum of %d tiles, which training does not support; expected smaller ones", p.Height, p.Width, t.c.Vision.MaxTiles)
		}
	}
	return rows, nil
}

// places: the grid is that of the tiles' features, or of the only view's. Those of
// the whole picture look at the middle of what they cover.
func (t siglipTower) places(p *pixels.Patches) (rows, cols int, at [][2]int) {
	side := p.GridTHW[1]
	rows, cols = side, side
	if p.Tiles[0] > 0 {
		g := pixels.Pack(p.Height, p.Width, p.Tiles, side, t.c.Vision.MaxTiles)
		rows, cols = max(g.Rows, 1), max(g.Cols, 1)
	}
	for i := range side * side {
		at = append(at, [2]int{(2*(i/side) + 1) * rows / (2 * side), (2*(i%side) + 1) * cols / (2 * side)})
	}
	if p.Tiles[0] == 0 {
		return rows, cols, append(at, [2]int{rows - 1, cols - 1})
	}
	for k := range t.tokens(p) - len(at) {
		at = append(at, [2]int{k / (cols + 1), min(k%(cols+1), cols-1)})
	}
	return rows, cols, at
}

// positions: a picture's tokens count like text.
func (t siglipTower) positions(p *[3][]int32, start int32, picture *pixels.Patches) int32 {
	return appendText(p, start, t.tokens(picture))
}
