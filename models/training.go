package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// TrainingBatch is a batch prepared for [Runner.LossAndGradients]: one picture
// per sequence, all of one grid, padded to one length.
type TrainingBatch struct {
	args   []*tensors.Tensor
	Scored int // predictions that count
}

// NewTrainingBatch packs sequences with exactly one picture each into one padded
// batch of t tokens and room for scored predictions; more of either is an error.
func (m *Model) NewTrainingBatch(seqs []*Sequence, t, scored int) (*TrainingBatch, error) {
	b := &Batch{B: len(seqs), T: t, Seqs: seqs}
	var patches []float32
	for i, s := range seqs {
		switch {
		case s.Len() > t:
			return nil, fmt.Errorf("models: training sequence %d has %d tokens; the batch has room for %d", i, s.Len(), t)
		case len(s.Images) != 1 || s.Images[0].GridTHW != seqs[0].Images[0].GridTHW:
			return nil, fmt.Errorf("models: training sequence %d: expected one picture of the batch's grid", i)
		}
		patches = append(patches, s.Images[0].Values...)
	}
	b.setGeometry(&m.Config.Text)
	rows, targets, _ := b.scoredRows()
	if len(rows) > scored {
		return nil, fmt.Errorf("models: %d scored predictions; the batch has room for %d", len(rows), scored)
	}
	predictions := len(rows)
	weights := make([]float32, scored)
	for i := range predictions {
		weights[i] = 1 / float32(predictions)
	}
	rows, targets = append(rows, make([]int32, scored-predictions)...), append(targets, make([]int32, scored-predictions)...)
	image := seqs[0].Images[0]
	tower := m.Config.tower()
	ids, err := m.tableRows(seqs, t)
	if err != nil {
		return nil, err
	}
	n := tower.pieces(image)
	grid := image.GridTHW
	grid[0] /= n
	args := []*tensors.Tensor{
		b.cos, b.sin, b.mask,
		tensors.FromFlatDataAndDimensions(ids, len(seqs)*t),
		tensors.FromFlatDataAndDimensions(rows, scored),
		tensors.FromFlatDataAndDimensions(targets, scored),
		array(weights, scored),
		array(patches, len(seqs)*n, image.N/n, image.Dim),
	}
	return &TrainingBatch{Scored: predictions, args: append(args, tower.geometry(grid)...)}, nil
}

// tableRows gives each token its row in the table [embedding; rows of all pieces
// of the pictures; newline vector].
func (m *Model) tableRows(seqs []*Sequence, t int) ([]int32, error) {
	tower := m.Config.tower()
	table, err := tower.table(seqs[0].Images[0])
	if err != nil {
		return nil, err
	}
	perPicture := tower.rows(seqs[0].Images[0])
	newline := m.Config.Text.Vocab + len(seqs)*perPicture
	ids := make([]int32, len(seqs)*t)
	for i, s := range seqs {
		next := 0
		for k, id := range s.IDs {
			if s.Modality[k] == Vision {
				if row := table[next]; row < 0 {
					id = int32(newline)
				} else {
					id = int32(m.Config.Text.Vocab + i*perPicture + row)
				}
				next++
			}
			ids[i*t+k] = id
		}
	}
	return ids, nil
}

// LossAndGradients runs the whole model forward and backward on b: the mean
// cross-entropy over the batch's scored predictions, how many of them are right,
// and the gradient of every parameter in the order of [Weights.Params].
func (r *Runner) LossAndGradients(b *TrainingBatch, w *Weights) (loss float64, right int, grads [][]float32, err error) {
	c := r.Model.Config
	list := w.Params(c)
	args := append(append([]*tensors.Tensor{}, b.args...), paramArrays(list)...)
	out, err := r.call("train", func(in []*node) []*node {
		params := in[len(in)-len(list):]
		g, q := takeGeometry(in[:len(in)-len(list)])
		ids, rows, targets, weights, patches := q.next(), q.next(), q.next(), q.next(), q.next()
		logits := modelLogits(c, g, params, patches, q, ids, rows)
		loss := graph.ReduceAllSum(graph.Mul(crossEntropy(logits, targets), weights))
		best := graph.ArgMax(logits, -1)
		hit := graph.ConvertDType(graph.Equal(best, targets), float32Type)
		real := graph.ConvertDType(graph.GreaterThan(weights, graph.ZerosLike(weights)), float32Type)
		right := graph.ReduceAllSum(graph.Mul(hit, real))
		return append([]*node{loss, right}, graph.Gradient(loss, params...)...)
	}, args...)
	if err != nil {
		return 0, 0, nil, err
	}
	return float64(out[0][0]), int(out[1][0]), out[2:], nil
}

// modelLogits is the whole model: pictures and tokens to the scores at the
// given places. q holds the weights in the order of [Weights.Params].
func modelLogits(c *Config, g geometry, q nodeQueue, patches *node, grid []*node, ids, rows *node) *node {
	t := &c.Text
	embed := q.next()
	layers := make([]layerNode, t.Layers)
	for i := range layers {
		layers[i] = q.layer(t)
	}
	h := headNode{norm: normNode{gain: q.next()}, head: linearNode{w: embed}}
	if !t.TiedHead {
		h.head.w = q.next()
	}
	features := c.tower().graph(&q, patches, grid)
	dims := features.rows.Shape().Dimensions
	table := []*node{embed, graph.Reshape(features.rows, dims[0]*dims[1], dims[2])}
	if features.newline != nil {
		table = append(table, graph.ExpandAxes(features.newline, 0))
	}
	x := graph.Gather(graph.Concatenate(table, 0), graph.ExpandAxes(ids, 1))
	batch := g.mask.Shape().Dim(0)
	x = graph.Reshape(x, batch, ids.Shape().Dim(0)/batch, t.Hidden)
	for i := range layers {
		x, _ = layers[i].block(t, g, x, nil, nil)
	}
	return h.logits(t, x, rows)
}
