package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/models/pixels"
)

// Embeddings computes the language model's input rows of each sequence,
// [len, C]: token embeddings with the vision tower's rows in the places of the
// image tokens.
func (r *Runner) Embeddings(seqs []*Sequence) ([][]float32, error) {
	embed, _, _, err := r.Model.ends()
	if err != nil {
		return nil, err
	}
	features, err := r.Features(seqs)
	if err != nil {
		return nil, err
	}
	c := r.Model.Config.Text.Hidden
	x := make([][]float32, len(seqs))
	for i, s := range seqs {
		rows := features[i]
		x[i] = make([]float32, s.Len()*c)
		for t, id := range s.IDs {
			if id < 0 || int(id) >= r.Model.Config.Text.Vocab {
				return nil, fmt.Errorf("models: sequence %d: token id %d; the vocabulary has %d", i, id, r.Model.Config.Text.Vocab)
			}
			dst := x[i][t*c : (t+1)*c]
			if s.Modality[t] == Vision {
				copy(dst, rows[:c])
				rows = rows[c:]
				continue
			}
			copy(dst, embed[int(id)*c:])
		}
	}
	return x, nil
}

// Embed computes embeddings and packs them into micro-batches.
func (r *Runner) Embed(seqs []*Sequence) ([]*Batch, error) {
	x, err := r.Embeddings(seqs)
	if err != nil {
		return nil, err
	}
	return r.Model.NewBatches(seqs, x)
}

// Features runs the vision tower and the merger over the pictures of each
// sequence: the rows of its image tokens in order, [image tokens, C].
func (r *Runner) Features(seqs []*Sequence) ([][]float32, error) {
	images := map[[3]int][]*pixels.Patches{}
	var grids [][3]int // in order of appearance
	for _, s := range seqs {
		for _, p := range s.Images {
			if _, seen := images[p.GridTHW]; !seen {
				grids = append(grids, p.GridTHW)
			}
			images[p.GridTHW] = append(images[p.GridTHW], p)
		}
	}
	if len(grids) == 0 {
		return make([][]float32, len(seqs)), nil
	}
	rows := map[*pixels.Patches][]float32{}
	weights, err := r.Model.VisionWeights()
	if err != nil {
		return nil, err
	}
	args := paramArrays(weights.params())
	for _, g := range grids {
		list := images[g]
		for len(list) > 0 {
			n := 1
			for 2*n <= min(len(list), maxMicroBatch) && 2*n*list[0].N <= 2*tokensPerBatch {
				n *= 2
			}
			if err := r.tower(list[:n], args, rows); err != nil {
				return nil, err
			}
			list = list[n:]
		}
	}
	out := make([][]float32, len(seqs))
	for i, s := range seqs {
		for _, p := range s.Images {
			out[i] = append(out[i], rows[p]...)
		}
	}
	return out, nil
}

// tower runs pictures of one grid and stores their rows.
func (r *Runner) tower(list []*pixels.Patches, weights []*tensors.Tensor, rows map[*pixels.Patches][]float32) error {
	v := &r.Model.Config.Vision
	n, dim := list[0].N, list[0].Dim
	values := make([]float32, 0, len(list)*n*dim)
	for _, p := range list {
		values = append(values, p.Values...)
	}
	cos, sin := visionTables(v, list[0].GridTHW)
	args := append([]*tensors.Tensor{array(values, len(list), n, dim), cos, sin}, weights...)
	out, err := r.call("vision", func(in []*node) []*node {
		q := nodeQueue(in[3:])
		return []*node{q.vision(v).features(v, in[0], in[1], in[2])}
	}, args...)
	if err != nil {
		return err
	}
	size := len(out[0]) / len(list)
	for i, p := range list {
		rows[p] = out[0][i*size : (i+1)*size]
	}
	return nil
}

// visionTables makes the rotary tables of a patch grid, [1, N, D].
func visionTables(v *VisionConfig, grid [3]int) (cos, sin *tensors.Tensor) {
	n := grid[0] * grid[1] * grid[2]
	c, s := make([]float32, n*v.HeadDim()), make([]float32, n*v.HeadDim())
	visionRotary(v, grid, c, s)
	return array(c, 1, n, v.HeadDim()), array(s, 1, n, v.HeadDim())
}
