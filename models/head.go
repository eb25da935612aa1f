package models

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// scoredRows lists the places b·T+pos of a batch's scored predictions, in order
// of sequence, then of Sequence.Scored, with their targets and the weight that
// makes each sequence's loss the mean over its own predictions.
func (b *Batch) scoredRows() (rows, targets []int32, weights []float32) {
	for i, s := range b.Seqs {
		for _, p := range s.Scored {
			rows = append(rows, int32(i*b.T)+p.Pos)
			targets = append(targets, p.Target)
			weights = append(weights, 1/float32(len(s.Scored)))
		}
	}
	return rows, targets, weights
}

// padTo lengthens rows, targets and weights to a multiple of 16, so that few
// shapes are compiled; what is added has weight 0.
func padTo16(rows, targets []int32, weights []float32) ([]int32, []int32, []float32) {
	for len(rows)%16 != 0 || len(rows) == 0 {
		rows, targets, weights = append(rows, 0), append(targets, 0), append(weights, 0)
	}
	return rows, targets, weights
}

// headNode is the final norm and the output projection inside a graph.
type headNode struct {
	norm normNode
	head linearNode
}

// logits maps rows of the residual stream to scores over the vocabulary.
// x is [B, T, C], rows [M] are places b·T+t; result [M, vocab].
func (h headNode) logits(t *TextConfig, x, rows *node) *node {
	dims := x.Shape().Dimensions
	flat := graph.Reshape(x, dims[0]*dims[1], dims[2])
	picked := graph.Gather(flat, graph.ExpandAxes(rows, 1))
	return h.head.apply(h.norm.rms(picked, t.Eps))
}

// logSoftmax over the last axis.
func logSoftmax(x *node) *node {
	x = graph.Sub(x, graph.StopGradient(graph.ReduceAndKeep(x, graph.ReduceMax, -1)))
	return graph.Sub(x, graph.Log(graph.ReduceAndKeep(graph.Exp(x), graph.ReduceSum, -1)))
}

// crossEntropy is −log softmax(logits)[target] per row, [M].
func crossEntropy(logits, targets *node) *node {
	pick := graph.OneHot(targets, logits.Shape().Dim(-1), dtypes.Float32)
	return graph.Neg(graph.ReduceSum(graph.Mul(logSoftmax(logits), pick), -1))
}

// Head is the final norm and the output projection in memory: 4·vocab·C bytes, so
// that a caller decides how long they stay.
type Head struct{ args []*tensors.Tensor }

// Head reads the final norm and the output projection.
func (r *Runner) Head() (*Head, error) {
	norm, head, err := r.Model.ends()
	if err != nil {
		return nil, err
	}
	t := &r.Model.Config.Text
	return &Head{[]*tensors.Tensor{array(norm, t.Hidden), array(head, t.Vocab, t.Hidden)}}, nil
}

// Logits maps the residual stream x [B, T, C] behind the last block to the
// scores at the batch's scored positions: one row [vocab] per entry of
// Sequence.Scored, sequences in order.
func (r *Runner) Logits(b *Batch, x []float32) ([][]float32, error) {
	rows, targets, weights := b.scoredRows()
	n := len(rows)
	rows, _, _ = padTo16(rows, targets, weights)
	h, err := r.Head()
	if err != nil {
		return nil, err
	}
	return r.logitsAt(b, x, rows, n, h)
}

// LogitsAt returns the scores [vocab] at the given places b·T+t of a batch, where x
// [B, T, C] is the residual stream behind the last block.
func (r *Runner) LogitsAt(b *Batch, x []float32, places []int32) ([][]float32, error) {
	for _, p := range places {
		if p < 0 || int(p) >= b.B*b.T {
			return nil, fmt.Errorf("models: place %d of a batch with %d × %d tokens", p, b.B, b.T)
		}
	}
	rows, _, _ := padTo16(slices.Clone(places), make([]int32, len(places)), make([]float32, len(places)))
	h, err := r.Head()
	if err != nil {
		return nil, err
	}
	return r.logitsAt(b, x, rows, len(places), h)
}

// logitsAt returns the scores at the first n of the given places b·T+t.
func (r *Runner) logitsAt(b *Batch, x []float32, rows []int32, n int, head *Head) ([][]float32, error) {
	t := &r.Model.Config.Text
	places := tensors.FromFlatDataAndDimensions(rows, len(rows))
	args := append([]*tensors.Tensor{array(x, b.B, b.T, t.Hidden), places}, head.args...)
	out, err := r.call("logits", func(in []*node) []*node {
		h := headNode{norm: normNode{gain: in[2]}, head: linearNode{w: in[3]}}
		return []*node{h.logits(t, in[0], in[1])}
	}, args...)
	if err != nil {
		return nil, err
	}
	list := make([][]float32, n)
	for i := range list {
		list[i] = out[0][i*t.Vocab : (i+1)*t.Vocab]
	}
	return list, nil
}

// Forward runs all blocks of the runner's model and returns the residual stream
// behind the last, [B, T, C].
func (r *Runner) Forward(b *Batch, aq *ActQuant) ([]float32, error) {
	x := b.X
	for i := range r.Model.NumLayers() {
		l, err := r.Model.Layer(i)
		if err != nil {
			return nil, err
		}
		res, err := r.Block(b, x, l, BlockOptions{ActQuant: aq})
		if err != nil {
			return nil, err
		}
		x = res.Y
	}
	return x, nil
}
