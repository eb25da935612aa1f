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
	Tokens int // per sequence, padding included
	Scored int // predictions that count
	Labels int // vision tokens that are asked what they show
}

// TrainingRoom is what the tensors of a batch have room for: few sizes are compiled,
// and what is left of them doesn't count.
type TrainingRoom struct {
	Tokens int // per sequence
	Scored int // predictions
	Labels int // labelled vision tokens
}

// NewTrainingBatch packs sequences with exactly one picture each into one padded
// batch. labels[i][k] is the token that vision token k of sequence i is asked for, −1
// for none. What doesn't fit the room is an error.
func (m *Model) NewTrainingBatch(seqs []*Sequence, labels [][]int32, room TrainingRoom) (*TrainingBatch, error) {
	t := room.Tokens
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
	predictions, err := newPredictions(rows, targets, room.Scored)
	if err != nil {
		return nil, fmt.Errorf("models: scored predictions: %w", err)
	}
	rows, targets = labelledRows(seqs, labels, t)
	labelled, err := newPredictions(rows, targets, room.Labels)
	if err != nil {
		return nil, fmt.Errorf("models: labelled vision tokens: %w", err)
	}
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
	}
	args = append(args, predictions.arrays()...)
	args = append(args, labelled.arrays()...)
	args = append(args, array(patches, len(seqs)*n, image.N/n, image.Dim))
	return &TrainingBatch{Tokens: t, Scored: predictions.n, Labels: labelled.n, args: append(args, tower.geometry(grid)...)}, nil
}

// predictions are places whose next or own token is asked for, padded to a fixed number.
type predictions struct {
	n             int // that count
	rows, targets []int32
	weights       []float32 // 1/n, 0 for padding
}

func newPredictions(rows, targets []int32, room int) (*predictions, error) {
	n := len(rows)
	if n > room {
		return nil, fmt.Errorf("%d; the batch has room for %d", n, room)
	}
	p := &predictions{n: n, weights: make([]float32, room)}
	p.rows, p.targets = make([]int32, room), make([]int32, room)
	copy(p.rows, rows)
	copy(p.targets, targets)
	for i := range n {
		p.weights[i] = 1 / float32(n)
	}
	return p, nil
}

func (p *predictions) arrays() []*tensors.Tensor {
	n := len(p.rows)
	return []*tensors.Tensor{tensors.FromFlatDataAndDimensions(p.rows, n), tensors.FromFlatDataAndDimensions(p.targets, n), array(p.weights, n)}
}

// labelledRows lists the places of labelled vision tokens in a batch of sequences of t
// tokens, and their labels.
func labelledRows(seqs []*Sequence, labels [][]int32, t int) (rows, targets []int32) {
	for i, s := range seqs {
		next := 0
		for k, modality := range s.Modality {
			if modality != Vision {
				continue
			}
			if label := labels[i][next]; label >= 0 {
				rows, targets = append(rows, int32(i*t+k)), append(targets, label)
			}
			next++
		}
	}
	return rows, targets
}

// predictionNodes are the same in a graph.
type predictionNodes struct{ rows, targets, weights *node }

func (q *nodeQueue) predictions() predictionNodes {
	return predictionNodes{q.next(), q.next(), q.next()}
}

// loss is the weighted cross-entropy of the logits at the places.
func (p predictionNodes) loss(logits *node) *node {
	return graph.ReduceAllSum(graph.Mul(crossEntropy(logits, p.targets), p.weights))
}

// right counts the predictions that are the largest logit.
func (p predictionNodes) right(logits *node) *node {
	hit := graph.ConvertDType(graph.Equal(graph.ArgMax(logits, -1), p.targets), float32Type)
	real := graph.ConvertDType(graph.GreaterThan(p.weights, graph.ZerosLike(p.weights)), float32Type)
	return graph.ReduceAllSum(graph.Mul(hit, real))
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

// Training is what a pass over a training batch gives.
type Training struct {
	Loss      float64 // mean cross-entropy of the scored predictions, nats
	LabelLoss float64 // mean cross-entropy of the labelled vision tokens, nats; 0 without any
	Right     int     // scored predictions that are right
	Gradients [][]float32
}

// LossAndGradients runs the whole model forward and backward on b. The gradients, in
// the order of [Weights.Params], are those of Loss + labelWeight · LabelLoss: half-way
// through the blocks the labelled vision tokens are asked, through the model's own last norm
// and head, what they show, so that recognizing needn't wait until answers have learned
// to look (as the deep supervision of Lee et al., arXiv:1409.5185, at token level).
func (r *Runner) LossAndGradients(b *TrainingBatch, w *Weights, labelWeight float32) (*Training, error) {
	c := r.Model.Config
	list := w.Params(c)
	args := append(append([]*tensors.Tensor{array([]float32{labelWeight}, 1)}, b.args...), paramArrays(list)...)
	out, err := r.call("train", func(in []*node) []*node {
		params := in[len(in)-len(list):]
		g, q := takeGeometry(in[1 : len(in)-len(list)])
		ids, scored, labelled, patches := q.next(), q.predictions(), q.predictions(), q.next()
		logits, labels := modelLogits(c, g, params, patches, q, ids, scored.rows, labelled.rows)
		loss, labelLoss := scored.loss(logits), labelled.loss(labels)
		total := graph.Add(loss, graph.Mul(labelLoss, graph.Squeeze(in[0])))
		return append([]*node{loss, labelLoss, scored.right(logits)}, graph.Gradient(total, params...)...)
	}, args...)
	if err != nil {
		return nil, err
	}
	return &Training{Loss: float64(out[0][0]), LabelLoss: float64(out[1][0]), Right: int(out[2][0]), Gradients: out[3:]}, nil
}

// modelLogits is the whole model: pictures and tokens to the scores at the given
// places, and to those at other places half-way through the blocks. q holds the weights
// in the order of [Weights.Params].
func modelLogits(c *Config, g geometry, q nodeQueue, patches *node, grid []*node, ids, rows, halfway *node) (last, half *node) {
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
		if i == len(layers)/2 {
			half = h.logits(t, x, halfway)
		}
		x, _ = layers[i].block(t, g, x, nil, nil)
	}
	return h.logits(t, x, rows), half
}
