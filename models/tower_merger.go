package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/models/pixels"
)

// mergerTower is Qwen2-VL's vision transformer: two-dimensional rotary positions,
// quick GELU, and a merger that makes one row of merge × merge patches.
type mergerTower struct{ c *Config }

func (t mergerTower) alloc(m maker) *VisionWeights {
	v := &t.c.Vision
	wide := v.Hidden * v.Merge * v.Merge
	w := &VisionWeights{
		PatchEmbed: m.linear(v.Hidden, v.PatchDim(), false), Blocks: m.visionBlocks(v), MergeNorm: m.norm(v.Hidden),
		Project: [2]Linear{m.linear(wide, wide, true), m.linear(t.c.Text.Hidden, wide, true)},
	}
	return w
}

func (m maker) visionBlocks(v *VisionConfig) []VisionBlock {
	blocks := make([]VisionBlock, v.Depth)
	for i := range blocks {
		blocks[i] = VisionBlock{
			Norm1: m.norm(v.Hidden), Norm2: m.norm(v.Hidden),
			Q: m.linear(v.Hidden, v.Hidden, true), K: m.linear(v.Hidden, v.Hidden, true), V: m.linear(v.Hidden, v.Hidden, true),
			Proj: m.linear(v.Hidden, v.Hidden, true),
			FC1:  m.linear(v.Intermediate, v.Hidden, true), FC2: m.linear(v.Hidden, v.Intermediate, true),
		}
	}
	return blocks
}

// visionNames are the checkpoint's names of the parts of a vision block.
type visionNames struct{ norm1, q, k, v, proj, norm2, fc1, fc2 string }

// appendTo lists the block's parameters in the order in which nodeQueue.visionBlocks
// takes them.
func (b *VisionBlock) appendTo(list []Param, prefix string, n visionNames) []Param {
	list = b.Norm1.appendTo(list, prefix+n.norm1, b.Q.In)
	list = b.Q.appendTo(list, prefix+n.q)
	list = b.K.appendTo(list, prefix+n.k)
	list = b.V.appendTo(list, prefix+n.v)
	list = b.Proj.appendTo(list, prefix+n.proj)
	list = b.Norm2.appendTo(list, prefix+n.norm2, b.FC1.In)
	list = b.FC1.appendTo(list, prefix+n.fc1)
	return b.FC2.appendTo(list, prefix+n.fc2)
}

func (t mergerTower) params(w *VisionWeights) []Param {
	names := visionNames{"norm1", "attn.q", "attn.k", "attn.v", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
	list := w.PatchEmbed.appendTo(nil, "visual.patch_embed.proj")
	for i := range w.Blocks {
		list = w.Blocks[i].appendTo(list, fmt.Sprintf("visual.blocks.%d.", i), names)
	}
	list = w.MergeNorm.appendTo(list, "visual.merger.ln_q", t.c.Vision.Hidden)
	list = w.Project[0].appendTo(list, "visual.merger.mlp.0")
	return w.Project[1].appendTo(list, "visual.merger.mlp.2")
}

// pieces: attention spans the whole picture.
func (mergerTower) pieces(*pixels.Patches) int { return 1 }

// geometry makes the rotary tables of a patch grid, [1, N, D].
func (t mergerTower) geometry(grid [3]int) []*tensors.Tensor {
	v := &t.c.Vision
	n := grid[0] * grid[1] * grid[2]
	cos, sin := make([]float32, n*v.HeadDim()), make([]float32, n*v.HeadDim())
	visionRotary(v, grid, cos, sin)
	return []*tensors.Tensor{array(cos, 1, n, v.HeadDim()), array(sin, 1, n, v.HeadDim())}
}

func (t mergerTower) graph(q *nodeQueue, patches *node, geometry []*node) towerNodes {
	v := &t.c.Vision
	x := q.linear(false).apply(patches)
	out := towerNodes{hidden: []*node{x}}
	attend := func(query, key *node) (*node, *node) {
		return rotate(query, geometry[0], geometry[1]), rotate(key, geometry[0], geometry[1])
	}
	for range v.Depth {
		x = q.visionBlock().apply(v, x, attend, quickGELU)
		out.hidden = append(out.hidden, x)
	}
	out.output = x
	norm, first, second := q.norm(), q.linear(true), q.linear(true)
	dims := x.Shape().Dimensions
	unit := v.Merge * v.Merge
	x = graph.Reshape(norm.layer(x, v.Eps), dims[0], dims[1]/unit, unit*dims[2])
	out.rows = second.apply(gelu(first.apply(x)))
	return out
}

func (t mergerTower) tokens(p *pixels.Patches) int {
	return p.N / (t.c.Vision.Merge * t.c.Vision.Merge)
}

func (mergerTower) arrange(_ *pixels.Patches, rows []float32, _ *VisionWeights) []float32 {
	return rows
}

func (t mergerTower) rows(p *pixels.Patches) int { return t.tokens(p) }

func (t mergerTower) table(p *pixels.Patches) ([]int, error) {
	rows := make([]int, t.tokens(p))
	for i := range rows {
		rows[i] = i
	}
	return rows, nil
}

func (t mergerTower) places(p *pixels.Patches) (rows, cols int, at [][2]int) {
	rows, cols = p.GridTHW[1]/t.c.Vision.Merge, p.GridTHW[2]/t.c.Vision.Merge
	for i := range t.tokens(p) {
		at = append(at, [2]int{i / cols % rows, i % cols})
	}
	return rows, cols, at
}

func (t mergerTower) positions(p *[3][]int32, start int32, picture *pixels.Patches) int32 {
	return appendImage(p, start, picture.GridTHW, t.c.Vision.Merge)
}
