package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/models/pixels"
)

// Norm is the gain of an RMS norm, or gain and bias of a layer norm.
type Norm struct{ Gain, Bias []float32 }

// VisionBlock holds one block of a vision tower; a checkpoint's fused qkv is split
// in three, so that graphs need no slices.
type VisionBlock struct {
	Norm1, Norm2  Norm
	Q, K, V, Proj Linear
	FC1, FC2      Linear
}

// VisionWeights holds the vision tower and what lies between it and the language
// model.
type VisionWeights struct {
	PatchEmbed Linear // [hidden, patch dim]
	Blocks     []VisionBlock
	Project    [2]Linear // the two layers of the merger or projector

	MergeNorm Norm // Qwen2-VL: before the merger

	Positions []float32 // LLaVA-OneVision: position embedding, [patches of a view, hidden]
	PostNorm  Norm      // LLaVA-OneVision: behind the tower; the model never uses it
	Newline   []float32 // LLaVA-OneVision: what ends a row of features, [C]
	// Pool are the weights of SigLIP's pooling head, which the model never uses, in
	// the order of poolShapes.
	Pool [][]float32
}

// tower is a family's vision tower with the merger or projector behind it.
type tower interface {
	// alloc makes weights.
	alloc(m maker) *VisionWeights
	// params lists the weights in the order in which graph takes them.
	params(w *VisionWeights) []Param

	// pieces is the number of equal parts of a picture that attention doesn't cross.
	pieces(p *pixels.Patches) int
	// geometry makes what the graph needs to know of a picture's grid; pieces
	// of one grid run together.
	geometry(grid [3]int) []*tensors.Tensor
	// graph maps pieces [P, N, patch dim] to what the tower computes.
	graph(q *nodeQueue, patches *node, geometry []*node) towerNodes

	// tokens is the number of places that a picture takes in a prompt.
	tokens(p *pixels.Patches) int
	// arrange makes a picture's rows [tokens, C] from those of its pieces.
	arrange(p *pixels.Patches, rows []float32, w *VisionWeights) []float32
	// rows is the number of rows that the graph makes of all pieces of a picture.
	rows(p *pixels.Patches) int
	// table lists, for each row that arrange makes, its place among the rows of the
	// picture's pieces, −1 for the newline vector; an error where a row is a mixture.
	table(p *pixels.Patches) ([]int, error)
	// places lays a picture's tokens on a grid over the picture, row and column each.
	places(p *pixels.Patches) (rows, cols int, at [][2]int)
	// positions gives a picture's tokens their positions from start on and
	// returns the position after it.
	positions(p *[3][]int32, start int32, picture *pixels.Patches) int32
}

// towerNodes are values inside a vision tower.
type towerNodes struct {
	hidden []*node // the embedded patches, then the output of each block, [P, N, hidden]
	output *node   // what the merger or projector reads, [P, N, hidden]
	rows   *node   // what it makes of that, [P, M, C]
	// newline is the vector that ends a row of features, [C]; nil where there is none.
	newline *node
}

// VisionResult is what the vision tower makes of one picture.
type VisionResult struct {
	// Hidden are the embedded patches and the output of each block, [N, hidden].
	Hidden [][]float32
	Output []float32 // what the merger or projector reads, [N, hidden]
	Rows   []float32 // what the merger or projector makes of it, piece by piece, [M, C]
	// Features are the rows that replace the picture's tokens, [tokens, C].
	Features []float32
}

// Tokens is the number of image tokens that a picture takes in a prompt.
func (c *Config) Tokens(p *pixels.Patches) int {
	t := c.tower()
	if t == nil {
		return 0
	}
	return t.tokens(p)
}

// Places lays a picture's tokens on a grid of rows × cols over the picture: at holds
// row and column of each token in order. Where tokens of several scales look at one
// place they share it; a newline lies at the end of its row.
func (c *Config) Places(p *pixels.Patches) (rows, cols int, at [][2]int) {
	t := c.tower()
	if t == nil {
		return 0, 0, nil
	}
	return t.places(p)
}

// Features runs the vision tower over the pictures of each sequence: the rows of
// its image tokens in order, [image tokens, C].
func (r *Runner) Features(seqs []*Sequence) ([][]float32, error) {
	var images []*pixels.Patches
	for _, s := range seqs {
		images = append(images, s.Images...)
	}
	results, err := r.vision(images, false)
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(seqs))
	for i, s := range seqs {
		for range s.Images {
			out[i] = append(out[i], results[0].Features...)
			results = results[1:]
		}
	}
	return out, nil
}

// Vision runs the vision tower over pictures and returns every step of it.
func (r *Runner) Vision(images []*pixels.Patches) ([]*VisionResult, error) {
	return r.vision(images, true)
}

// piece is a part of a picture that attention doesn't cross.
type piece struct {
	picture, index int
	values         []float32 // [N, patch dim]
}

// vision runs the tower over all pieces of the pictures, those of one grid
// together. Only Features are filled in unless taps are asked for.
func (r *Runner) vision(images []*pixels.Patches, taps bool) ([]*VisionResult, error) {
	if len(images) == 0 {
		return nil, nil
	}
	t := r.Model.Config.tower()
	if t == nil {
		return nil, fmt.Errorf("models: %d pictures for a %s language model, which reads none", len(images), r.Model.Config.Family)
	}
	weights, err := r.Model.VisionWeights()
	if err != nil {
		return nil, err
	}
	args := paramArrays(t.params(weights))
	results := make([]*VisionResult, len(images))
	byGrid := map[[3]int][]piece{}
	var grids [][3]int // in order of appearance
	for i, p := range images {
		results[i] = &VisionResult{}
		n := t.pieces(p)
		grid := p.GridTHW
		grid[0] /= n
		if _, seen := byGrid[grid]; !seen {
			grids = append(grids, grid)
		}
		size := len(p.Values) / n
		for k := range n {
			byGrid[grid] = append(byGrid[grid], piece{picture: i, index: k, values: p.Values[k*size : (k+1)*size]})
		}
	}
	for _, g := range grids {
		list := byGrid[g]
		for len(list) > 0 {
			n := 1
			for 2*n <= min(len(list), maxMicroBatch) && 2*n*g[0]*g[1]*g[2] <= 2*tokensPerBatch {
				n *= 2
			}
			if err := r.runPieces(t, list[:n], g, args, results, taps); err != nil {
				return nil, err
			}
			list = list[n:]
		}
	}
	for i, p := range images {
		results[i].Features = t.arrange(p, results[i].Rows, weights)
	}
	return results, nil
}

// runPieces runs pieces of one grid and appends what comes out to the results of
// their pictures; a picture's pieces come in order.
func (r *Runner) runPieces(t tower, list []piece, grid [3]int, weights []*tensors.Tensor, results []*VisionResult, taps bool) error {
	n := grid[0] * grid[1] * grid[2]
	dim := len(list[0].values) / n
	values := make([]float32, 0, len(list)*n*dim)
	for _, p := range list {
		values = append(values, p.values...)
	}
	geometry := t.geometry(grid)
	args := append([]*tensors.Tensor{array(values, len(list), n, dim)}, geometry...)
	out, err := r.call(fmt.Sprintf("vision/%s/taps=%t", r.Model.Config.Vision.Inputs.key(), taps), func(in []*node) []*node {
		q := nodeQueue(in[1+len(geometry):])
		nodes := t.graph(&q, in[0], in[1:1+len(geometry)])
		if !taps {
			return []*node{nodes.rows}
		}
		return append([]*node{nodes.rows, nodes.output}, nodes.hidden...)
	}, append(args, weights...)...)
	if err != nil {
		return err
	}
	for k, p := range list {
		part := func(x []float32) []float32 {
			size := len(x) / len(list)
			return x[k*size : (k+1)*size]
		}
		res := results[p.picture]
		res.Rows = append(res.Rows, part(out[0])...)
		if !taps {
			continue
		}
		res.Output = append(res.Output, part(out[1])...)
		if res.Hidden == nil {
			res.Hidden = make([][]float32, len(out)-2)
		}
		for h, x := range out[2:] {
			res.Hidden[h] = append(res.Hidden[h], part(x)...)
		}
	}
	return nil
}
