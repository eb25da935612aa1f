package models_test

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
)

// visionReference is a vision tower as its equations read, in float64.
type visionReference struct {
	c *models.Config
	w *models.VisionWeights
}

// piece runs the tower over rows of patches that attend to each other and returns
// what the merger or projector reads. rowOf and colOf are the patches' places.
func (r visionReference) piece(patches [][]float64, rowOf, colOf []int) [][]float64 {
	x := make([][]float64, len(patches))
	for i, p := range patches {
		x[i] = apply(&r.w.PatchEmbed, p)
		if r.w.Positions != nil {
			add(x[i], toFloat64(r.w.Positions[i*len(x[i]):(i+1)*len(x[i])]))
		}
	}
	depth := len(r.w.Blocks)
	if r.c.Family == models.LlavaOV {
		depth = r.c.Vision.FeatureLayer
	}
	for b := range depth {
		r.block(&r.w.Blocks[b], x, rowOf, colOf)
	}
	return x
}

func (r visionReference) block(b *models.VisionBlock, x [][]float64, rowOf, colOf []int) {
	d := r.c.Vision.HeadDim()
	q, k, v := make([][]float64, len(x)), make([][]float64, len(x)), make([][]float64, len(x))
	for i := range x {
		h := r.norm(&b.Norm1, x[i])
		q[i], k[i], v[i] = apply(&b.Q, h), apply(&b.K, h), apply(&b.V, h)
		if r.c.Family == models.Qwen2VL {
			rotatePatch(q[i], d, rowOf[i], colOf[i])
			rotatePatch(k[i], d, rowOf[i], colOf[i])
		}
	}
	for i := range x {
		mixed := make([]float64, len(x[i]))
		for head := 0; head < len(mixed); head += d {
			scores, sum := make([]float64, len(x)), 0.0
			for j := range x {
				for e := head; e < head+d; e++ {
					scores[j] += q[i][e] * k[j][e] / math.Sqrt(float64(d))
				}
				scores[j] = math.Exp(scores[j])
				sum += scores[j]
			}
			for j, s := range scores {
				for e := head; e < head+d; e++ {
					mixed[e] += s / sum * v[j][e]
				}
			}
		}
		add(x[i], apply(&b.Proj, mixed))
	}
	for i := range x {
		h := apply(&b.FC1, r.norm(&b.Norm2, x[i]))
		for e, v := range h {
			if r.c.Family == models.Qwen2VL {
				h[e] = v / (1 + math.Exp(-1.702*v))
			} else {
				h[e] = v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
			}
		}
		add(x[i], apply(&b.FC2, h))
	}
}

// rotatePatch turns the pairs (e, e + d/2) of each head: the first quarter of a
// head by its row, the second by its column.
func rotatePatch(x []float64, d, row, col int) {
	quarter := d / 4
	for head := 0; head < len(x); head += d {
		for e := range d / 2 {
			place := row
			if e >= quarter {
				place = col
			}
			s, c := math.Sincos(float64(place) * math.Pow(10000, -2*float64(e%quarter)/float64(d/2)))
			a, b := x[head+e], x[head+e+d/2]
			x[head+e], x[head+e+d/2] = a*c-b*s, b*c+a*s
		}
	}
}

func (r visionReference) norm(n *models.Norm, x []float64) []float64 {
	mean, square := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		square += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(square+r.c.Vision.Eps)*float64(n.Gain[i]) + float64(n.Bias[i])
	}
	return y
}

// project is the two linears of merger or projector with the exact GELU between.
func (r visionReference) project(x []float64) []float64 {
	h := apply(&r.w.Project[0], x)
	for i, v := range h {
		h[i] = v / 2 * (1 + math.Erf(v/math.Sqrt2))
	}
	return apply(&r.w.Project[1], h)
}

// features are the rows that replace a picture's tokens.
func (r visionReference) features(p *pixels.Patches) [][]float64 {
	v := &r.c.Vision
	pieces, n := 1, p.N
	if r.c.Family == models.LlavaOV {
		pieces, n = p.GridTHW[0], p.GridTHW[1]*p.GridTHW[2]
	}
	var rowOf, colOf []int
	unit := v.Merge
	for block := range n / (unit * unit) { // blocks in reading order, patches in reading order within
		for k := range unit * unit {
			rowOf = append(rowOf, block/(p.GridTHW[2]/unit)*unit+k/unit)
			colOf = append(colOf, block%(p.GridTHW[2]/unit)*unit+k%unit)
		}
	}
	var rows [][]float64
	for piece := range pieces {
		patches := make([][]float64, n)
		for i := range patches {
			patches[i] = toFloat64(p.Values[(piece*n+i)*p.Dim : (piece*n+i+1)*p.Dim])
		}
		x := r.piece(patches, rowOf, colOf)
		for i := 0; i < n; i += unit * unit {
			var joined []float64
			for _, one := range x[i : i+unit*unit] {
				if r.c.Family == models.Qwen2VL {
					one = r.norm(&r.w.MergeNorm, one)
				}
				joined = append(joined, one...)
			}
			rows = append(rows, r.project(joined))
		}
	}
	if r.c.Family == models.Qwen2VL {
		return rows
	}
	var packed [][]float64
	for _, taps := range p.Packing(v.MaxTiles) {
		row := make([]float64, r.c.Text.Hidden)
		if taps == nil {
			row = toFloat64(r.w.Newline)
		}
		for _, tap := range taps {
			for i, value := range rows[tap.Row] {
				row[i] += float64(tap.Weight) * value
			}
		}
		packed = append(packed, row)
	}
	return packed
}

// visionVariants are shapes that differ from those of the released models.
func visionVariants() map[string]*models.Config {
	list := map[string]*models.Config{}
	text := func(mrope [3]int) models.TextConfig {
		return models.TextConfig{
			Hidden: 24, Layers: 1, Heads: 3, KVHeads: 1, HeadDim: 8, Intermediate: 16, Vocab: 40, Eps: 1e-6, RopeTheta: 1e4, QKVBias: true, TiedHead: true,
			MRopeSection: mrope,
		}
	}
	for _, s := range []struct{ patch, temporal, merge, heads, hidden, depth int }{{5, 1, 3, 3, 24, 2}, {3, 3, 1, 1, 16, 1}, {2, 2, 4, 5, 20, 3}} {
		name := fmt.Sprintf("qwen2vl patch=%d temporal=%d merge=%d heads=%d", s.patch, s.temporal, s.merge, s.heads)
		list[name] = &models.Config{Family: models.Qwen2VL, Text: text([3]int{1, 1, 2}), ImageToken: 1, EOSToken: 2, Vision: models.VisionConfig{
			Depth: s.depth, Hidden: s.hidden, Heads: s.heads, Intermediate: 28, Channels: 3, PatchSize: s.patch, TemporalPatch: s.temporal, Merge: s.merge, Eps: 1e-6,
		}}
	}
	for _, s := range []struct{ size, patch, heads, layer, tiles int }{{20, 6, 3, 2, 9}, {12, 3, 1, 1, 2}, {9, 9, 2, 0, 1}} {
		name := fmt.Sprintf("llavaov size=%d patch=%d heads=%d layer=%d tiles=%d", s.size, s.patch, s.heads, s.layer, s.tiles)
		list[name] = &models.Config{Family: models.LlavaOV, Text: text([3]int{}), ImageToken: 1, EOSToken: 2, Vision: models.VisionConfig{
			Depth: 2, Hidden: 18, Heads: s.heads, Intermediate: 28, Channels: 3, PatchSize: s.patch, TemporalPatch: 1, Merge: 1, Eps: 1e-6,
			ImageSize: s.size, FeatureLayer: s.layer, ProjectorBias: s.tiles != 2, PoolingHead: true, MaxTiles: s.tiles,
			Grids: [][2]int{{s.size, s.size}, {s.size, 2 * s.size}, {3 * s.size, 2 * s.size}},
		}}
	}
	return list
}

// variantPixels is the image processor that suits a config.
func variantPixels(c *models.Config) pixels.Processor {
	n := pixels.Normalization{RescaleFactor: 1.0 / 255, Mean: [3]float32{0.5, 0.4, 0.3}, Std: [3]float32{0.5, 0.25, 0.5}}
	v := &c.Vision
	if c.Family == models.LlavaOV {
		return &pixels.AnyRes{Normalization: n, Size: v.ImageSize, Grids: v.Grids, PatchSize: v.PatchSize, Background: [3]uint8{127, 102, 76}}
	}
	factor := v.PatchSize * v.Merge
	return &pixels.Config{Normalization: n, MinPixels: 4 * factor * factor, MaxPixels: 8 * factor * factor, PatchSize: v.PatchSize, TemporalPatchSize: v.TemporalPatch, MergeSize: v.Merge}
}

// The towers compute what the equations say for other shapes than the fixtures'.
func TestVisionAgainstEquations(t *testing.T) {
	for name, c := range visionVariants() {
		t.Run(name, func(t *testing.T) {
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(11, 12))
			w := models.NewWeights(c)
			for _, p := range w.Params(c) {
				for i := range p.Data {
					p.Data[i] = float32(0.3 * rng.NormFloat64())
				}
			}
			m := models.New(&models.Processor{Config: c, Pixels: variantPixels(c)}, w)
			r, err := models.NewRunner(m)
			if err != nil {
				t.Fatal(err)
			}
			ref := visionReference{c, w.Vision}
			for _, images := range [][]image.Image{{noise(64, 23, rng)}, {noise(31, 17, rng), noise(13, 40, rng)}} {
				list, err := m.Pictures(images)
				if err != nil {
					t.Fatal(err)
				}
				results, err := r.Vision(list)
				if err != nil {
					t.Fatal(err)
				}
				for i, p := range list {
					want := ref.features(p)
					got := results[i].Features
					if len(want) != c.Tokens(p) || len(got) != len(want)*c.Text.Hidden {
						t.Fatalf("%d rows, %d expected, %d tokens", len(got)/c.Text.Hidden, len(want), c.Tokens(p))
					}
					for k, row := range want {
						closeRow(t, fmt.Sprintf("picture %d, row %d", i, k), got[k*c.Text.Hidden:(k+1)*c.Text.Hidden], row)
					}
				}
			}
		})
	}
}

func noise(width, height int, rng *rand.Rand) *pixels.RGB {
	p := pixels.NewRGB(width, height)
	for i := range p.Pix {
		p.Pix[i] = uint8(rng.Uint32())
	}
	return p
}
