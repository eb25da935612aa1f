package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// Gradients takes the gradient of the answer loss with respect to the outputs of
// o_proj and down_proj (before the residual additions) of every block, and hands
// them to visit, last layer first; o and down are [B, T, C]. The loss of a
// sequence is the mean cross-entropy over its scored predictions; sequences of a
// batch don't mix, so each gets the gradient of its own loss.
//
// Only block inputs are kept (B·T·C floats per layer); each block's forward pass
// is repeated in its backward pass. So memory is one block's activations
// plus the stored inputs, whatever the depth.
func (r *Runner) Gradients(b *Batch, visit func(layer int, o, down []float32) error) error {
	inputs := [][]float32{b.X}
	for i := range r.Model.NumLayers() {
		l, err := r.Model.Layer(i)
		if err != nil {
			return err
		}
		res, err := r.Block(b, inputs[i], l, BlockOptions{})
		if err != nil {
			return err
		}
		inputs = append(inputs, res.Y)
	}
	head, err := r.Head()
	if err != nil {
		return err
	}
	dy, err := r.LossGradient(b, inputs[len(inputs)-1], head)
	if err != nil {
		return err
	}
	for i := r.Model.NumLayers() - 1; i >= 0; i-- {
		l, err := r.Model.Layer(i)
		if err != nil {
			return err
		}
		dx, dO, err := r.BlockGradient(b, inputs[i], dy, l)
		if err != nil {
			return err
		}
		// The block's output is h + down_proj(…), so down_proj's gradient is dy itself.
		if err := visit(i, dO, dy); err != nil {
			return err
		}
		dy = dx
	}
	return nil
}

// LossGradient is dL/dx at the residual stream x [B, T, C] behind the last block: L
// is as [Runner.Gradients] describes it.
func (r *Runner) LossGradient(b *Batch, x []float32, h *Head) ([]float32, error) {
	t := &r.Model.Config.Text
	rows, targets, share := b.scoredRows()
	if len(rows) == 0 {
		return nil, fmt.Errorf("models: gradients need answers; none of the %d sequences scores a token", len(b.Seqs))
	}
	rows, targets, share = padTo16(rows, targets, share)
	args := append([]*tensors.Tensor{
		array(x, b.B, b.T, t.Hidden),
		tensors.FromFlatDataAndDimensions(rows, len(rows)),
		tensors.FromFlatDataAndDimensions(targets, len(rows)),
		array(share, len(rows)),
	}, h.args...)
	out, err := r.call("loss-gradient", func(in []*node) []*node {
		h := headNode{norm: normNode{gain: in[4]}, head: linearNode{w: in[5]}}
		loss := graph.ReduceAllSum(graph.Mul(crossEntropy(h.logits(t, in[0], in[1]), in[2]), in[3]))
		return graph.Gradient(loss, in[0])
	}, args...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// BlockGradient pulls dy, the gradient behind a block whose input is x, both [B, T, C],
// back through the block: dL/dx and the gradient at the output of o_proj; that at the
// output of down_proj is dy itself. It differentiates Σ y·dy, whose gradient is the wanted
// product, with respect to x and to a zero added to o_proj's output.
func (r *Runner) BlockGradient(b *Batch, x, dy []float32, l *Layer) (dx, dO []float32, err error) {
	t := &r.Model.Config.Text
	zero := make([]float32, len(x))
	args := append(b.geometryArgs(
		array(x, b.B, b.T, t.Hidden), array(dy, b.B, b.T, t.Hidden), array(zero, b.B, b.T, t.Hidden),
	), paramArrays(l.Params())...)
	out, err := r.call("block-gradient", func(in []*node) []*node {
		g, q := takeGeometry(in)
		x, dy, bump := q.next(), q.next(), q.next()
		y, _ := q.layer(t).block(t, g, x, nil, bump)
		return graph.Gradient(graph.ReduceAllSum(graph.Mul(y, dy)), x, bump)
	}, args...)
	if err != nil {
		return nil, nil, err
	}
	return out[0], out[1], nil
}
