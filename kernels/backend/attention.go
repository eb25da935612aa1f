package backend

import (
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// attention is what the fused attention and its gradients compute, per batch and
// head:
//
//	O = P·V with P = softmax(scale·Q·Kᵀ + masks)
//
// on float32. Heads of queries that share a head of keys and values make a group
// and are computed together. See attention_blocks.go for how.
type attention struct {
	batch, keyHeads, group, queries, keys, width int
	// query is the layout of queries, of the output and of their gradients; key
	// that of keys and values.
	query, key headLayout
	scale      float32
	causal     bool
	masks      []scoreMask
	lengths    int // the operand that holds the numbers of queries, followed by those of keys; 0: none
}

// headLayout is how [batch, heads, rows, width] lie in memory.
type headLayout struct{ batch, head, row int }

// scoreMask is an operand that is added to scores or, if it is boolean, says which
// take part. Its axes of one value repeat.
type scoreMask struct {
	operand                int
	boolean                bool
	batch, head, row, step int // strides, 0 where it repeats
}

// FusedScaledDotProductAttention is softmax(scale·query·keyᵀ + masks)·value per head,
// without an array of all scores: 96 rows of them at a time. It computes on
// float32, to which half precision is converted and back; other types answer with
// compute.ErrNotImplemented, and so does what a gradient would be lost for, an additive mask or bias that depends on an input by
// way of floating-point numbers, since GoMLX differentiates neither here. A
// boolean mask is fine.
//
// A mask of rank 2 is [queries, keys], one of rank 4 has the axes of the scores in
// the given layout; a bias is [batch, heads, queries, keys] in both. Scores that a
// boolean mask, the causal order or the lengths forbid don't enter into anything; a
// query without any key gives zeros.
//
// A query's result depends on that query, the keys and values that it may see and
// its masks alone: neither on the number of queries nor on keys behind the last
// that it may see. The second result is the logarithm of each query's sum, for the
// gradients.
func (f *function) FusedScaledDotProductAttention(query, key, value compute.Value, layout compute.AttentionAxesLayout, options *compute.ScaledDotProductAttentionConfig) (compute.Value, []compute.Value, error) {
	half, options, err := f.widen(options, &query, &key, &value)
	if err != nil {
		return nil, nil, err
	}
	a, in, err := f.attention(compute.OpTypeFusedScaledDotProductAttention, query, key, value, layout, options)
	if err != nil {
		return nil, nil, err
	}
	rows := a.batch * a.keyHeads * a.group * a.queries
	parts := []shapes.Shape{in[0].shape, shapes.Make(dtypes.Float32, rows)}
	list, err := f.addParts(&node{op: compute.OpTypeFusedScaledDotProductAttention, inputs: in, run: func(in []*buffer, out *buffer) {
		a.forward(in, out.flat.([]float32)[:rows*a.width], out.flat.([]float32)[rows*a.width:])
	}}, parts)
	if err != nil {
		return nil, nil, err
	}
	return list[0], list[1:], f.narrow(half, &list[0])
}

// FusedScaledDotProductAttentionVJP is the gradients of the attention's queries, keys
// and values. The scores are computed again, 96 rows at a time.
func (f *function) FusedScaledDotProductAttentionVJP(query, key, value compute.Value, layout compute.AttentionAxesLayout, options *compute.ScaledDotProductAttentionConfig, output compute.Value, states []compute.Value, dOutput compute.Value) (dQuery, dKey, dValue compute.Value, err error) {
	const op = compute.OpTypeFusedScaledDotProductAttentionVJP
	half, options, err := f.widen(options, &query, &key, &value, &output, &dOutput)
	if err != nil {
		return nil, nil, nil, err
	}
	a, in, err := f.attention(op, query, key, value, layout, options)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(states) != 1 {
		return nil, nil, nil, opError(op, in, fmt.Errorf("%d states; expected the one that the attention returned", len(states)))
	}
	more, err := f.nodesOf(output, states[0], dOutput)
	if err != nil {
		return nil, nil, nil, err
	}
	rows := a.batch * a.keyHeads * a.group * a.queries
	for i, want := range []shapes.Shape{in[0].shape, shapes.Make(dtypes.Float32, rows), in[0].shape} {
		if !sameShape(more[i].shape, want) {
			return nil, nil, nil, opError(op, in, fmt.Errorf("%s of shape %s; expected %s", []string{"output", "state", "gradient of the output"}[i], more[i].shape, want))
		}
	}
	last := len(in)
	in = append(in, more...)
	parts := []shapes.Shape{in[0].shape, in[1].shape, in[2].shape}
	list, err := f.addParts(&node{op: op, inputs: in, run: func(in []*buffer, out *buffer) {
		q, k := in[0].shape.Size(), in[1].shape.Size()
		d := out.flat.([]float32)
		a.backward(in, in[last], in[last+1], in[last+2], d[:q], d[q:q+k], d[q+k:])
	}}, parts)
	if err != nil {
		return nil, nil, nil, err
	}
	return list[0], list[1], list[2], f.narrow(half, &list[0], &list[1], &list[2])
}

// addParts adds a node that computes several arrays of one type, one behind the
// other, and views of each.
func (f *function) addParts(n *node, parts []shapes.Shape) ([]compute.Value, error) {
	total := 0
	for _, s := range parts {
		if err := checkShape(s); err != nil {
			return nil, opError(n.op, n.inputs, err)
		}
		total += s.Size()
	}
	n.shape = shapes.Make(parts[0].DType, total)
	n, err := f.add(n)
	if err != nil {
		return nil, err
	}
	list := make([]compute.Value, len(parts))
	at := 0
	for i, s := range parts {
		if list[i], err = value(f.add(&node{op: n.op, shape: s.Clone(), inputs: []*node{n}, view: true, part: true, offset: at})); err != nil {
			return nil, err
		}
		at += s.Size()
	}
	return list, nil
}

// attention checks the operands of the fused attention and returns them as inputs:
// query, key, value, masks, lengths.
func (f *function) attention(op compute.OpType, query, key, value compute.Value, layout compute.AttentionAxesLayout, options *compute.ScaledDotProductAttentionConfig) (*attention, []*node, error) {
	in, err := f.nodesOf(query, key, value)
	if err != nil {
		return nil, nil, err
	}
	if options == nil {
		options = &compute.ScaledDotProductAttentionConfig{}
	}
	a, err := newAttention(in, layout, options)
	if err != nil {
		return nil, nil, opError(op, in, err)
	}
	for _, m := range []struct {
		what  string
		value compute.Value
		rows  int // axis of the rows in rank 4
	}{{"mask", options.Mask, layout.SeqAxis()}, {"bias", options.Bias, 2}} {
		if m.value == nil {
			continue
		}
		n, err := f.node(m.value)
		if err != nil {
			return nil, nil, err
		}
		if err := a.addMask(n, len(in), m.rows); err != nil {
			return nil, nil, opError(op, append(in, n), fmt.Errorf("%s: %w", m.what, err))
		}
		in = append(in, n)
	}
	if (options.QuerySeqLen == nil) != (options.KeyValueSeqLen == nil) {
		return nil, nil, opError(op, in, errors.New("numbers of queries without those of keys, or the other way round; expected both or none"))
	}
	if options.QuerySeqLen == nil {
		return a, in, nil
	}
	lengths, err := f.nodesOf(options.QuerySeqLen, options.KeyValueSeqLen)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range lengths {
		if want := shapes.Make(dtypes.Int32, a.batch); !sameShape(n.shape, want) {
			return nil, nil, opError(op, in, fmt.Errorf("lengths of shape %s; expected %s", n.shape, want))
		}
	}
	a.lengths = len(in)
	return a, append(in, lengths...), nil
}

// newAttention checks query, key and value.
func newAttention(in []*node, layout compute.AttentionAxesLayout, options *compute.ScaledDotProductAttentionConfig) (*attention, error) {
	q, k, v := in[0].shape, in[1].shape, in[2].shape
	for i, s := range []shapes.Shape{q, k, v} {
		if s.DType != dtypes.Float32 {
			return nil, compute.ErrNotImplemented
		}
		if s.Rank() != 4 {
			return nil, fmt.Errorf("%s of rank %d; expected [batch, heads, rows, width] or [batch, rows, heads, width]", []string{"query", "key", "value"}[i], s.Rank())
		}
	}
	if layout != compute.AttentionAxesLayoutBHSD && layout != compute.AttentionAxesLayoutBSHD {
		return nil, fmt.Errorf("axes in layout %d: %w", layout, compute.ErrNotImplemented)
	}
	heads, rows := layout.HeadsAxis(), layout.SeqAxis()
	a := &attention{
		batch: q.Dimensions[0], keyHeads: k.Dimensions[heads], queries: q.Dimensions[rows], keys: k.Dimensions[rows], width: q.Dimensions[3],
		scale: float32(options.Scale), causal: options.Causal,
	}
	switch {
	case !sameShape(k, v):
		return nil, errors.New("keys and values of different shapes")
	case k.Dimensions[0] != a.batch || k.Dimensions[3] != a.width:
		return nil, errors.New("queries and keys of different batches or widths")
	case q.Size() == 0 || k.Size() == 0:
		return nil, fmt.Errorf("empty operands: %w", compute.ErrNotImplemented)
	case q.Dimensions[heads]%a.keyHeads != 0:
		return nil, fmt.Errorf("%d heads of queries are no multiple of %d heads of keys", q.Dimensions[heads], a.keyHeads)
	case a.causal && a.queries != a.keys:
		return nil, fmt.Errorf("causal order of %d queries and %d keys: %w", a.queries, a.keys, compute.ErrNotImplemented)
	}
	a.group = q.Dimensions[heads] / a.keyHeads
	if options.Scale == 0 {
		a.scale = float32(1 / math.Sqrt(float64(a.width)))
	}
	a.query, a.key = layoutOfHeads(q, heads, rows), layoutOfHeads(k, heads, rows)
	return a, nil
}

func layoutOfHeads(s shapes.Shape, heads, rows int) headLayout {
	steps := s.Strides()
	return headLayout{batch: steps[0], head: steps[heads], row: steps[rows]}
}

// addMask checks a mask or bias, the given operand; rows is the axis of the rows if
// there are four.
func (a *attention) addMask(n *node, operand, rows int) error {
	m := scoreMask{operand: operand, boolean: n.shape.DType == dtypes.Bool}
	dims := n.shape.Dimensions
	switch {
	case !m.boolean && n.shape.DType != dtypes.Float32:
		return fmt.Errorf("of type %s: %w", n.shape.DType, compute.ErrNotImplemented)
	case !m.boolean && differentiable(n, map[*node]bool{}):
		return fmt.Errorf("depends on an input, whose gradient would be lost: %w", compute.ErrNotImplemented)
	case len(dims) != 2 && len(dims) != 4:
		return fmt.Errorf("of rank %d: %w", len(dims), compute.ErrNotImplemented)
	}
	strides := n.shape.Strides()
	at := func(axis, full int) (int, error) {
		switch dims[axis] {
		case 1:
			return 0, nil
		case full:
			return strides[axis], nil
		}
		return 0, fmt.Errorf("axis %d has %d values; expected 1 or %d", axis, dims[axis], full)
	}
	var failures [4]error
	if len(dims) == 4 {
		m.batch, failures[0] = at(0, a.batch)
		m.head, failures[1] = at(3-rows, a.keyHeads*a.group)
	} else {
		rows = 0
	}
	m.row, failures[2] = at(rows, a.queries)
	m.step, failures[3] = at(len(dims)-1, a.keys)
	a.masks = append(a.masks, m)
	return errors.Join(failures[:]...)
}

// differentiable tells whether a value depends on a parameter in a way that has a
// gradient: by floating-point numbers all along.
func differentiable(n *node, seen map[*node]bool) bool {
	if seen[n] || !n.shape.DType.IsFloat() {
		return false
	}
	seen[n] = true
	if n.parameter >= 0 {
		return true
	}
	for _, in := range n.inputs {
		if differentiable(in, seen) {
			return true
		}
	}
	return false
}
