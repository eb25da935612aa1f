package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// MixedBlock runs one decoder block on x [B, T, C] in which the marked tokens pass
// through the linear weights of other, and through aq on their way there, while the
// rest pass through those of l untouched. So an error can be made at one kind of
// token only. marked has one value per place b·T+t of the batch. Norms and biases are
// those of l. Nothing marked gives the bits of [Runner.Block] with l, everything
// marked those with other and aq. Result: [B, T, C].
func (r *Runner) MixedBlock(b *Batch, x []float32, l, other *Layer, marked []bool, aq *ActQuant) ([]float32, error) {
	if len(marked) != b.B*b.T {
		return nil, fmt.Errorf("models: marks for %d tokens of a batch with %d × %d", len(marked), b.B, b.T)
	}
	t := &r.Model.Config.Text
	args := b.geometryArgs(array(x, b.B, b.T, t.Hidden), tensors.FromFlatDataAndDimensions(marked, b.B, b.T))
	args = append(args, paramArrays(l.Params())...)
	for _, s := range Sites() {
		for _, lin := range other.Linears(s) {
			args = append(args, array(lin.W, lin.Out, lin.In))
		}
	}
	out, err := r.call("mixed-block/"+aq.key(), func(in []*node) []*node {
		g, q := takeGeometry(in)
		x, marks := q.next(), q.next()
		layer := q.layer(t)
		for _, lin := range []*linearNode{&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down} {
			lin.other, lin.marked = q.next(), marks
		}
		y, _ := layer.block(t, g, x, aq.at(marks), nil)
		return []*node{y}
	}, args...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// at is the quantizer for the marked tokens [B, T] only.
func (q *ActQuant) at(marked *node) *ActQuant {
	if q == nil {
		return nil
	}
	return &ActQuant{Key: q.Key, Only: q.Only, Apply: func(x *node) *node { return graph.Where(marked, q.Apply(x), x) }}
}
