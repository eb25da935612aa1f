package backend

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// reorder adds an operation that only reads its operand in another order: with
// the given step along each axis of the output, from offset on.
func (f *function) reorder(n *node, input *node, steps []int, offset int) (*node, error) {
	l := newLoop(n.shape.Dimensions, steps)
	l.base[0] = offset
	move, size := moverOf(n.shape.DType), input.shape.Size()
	n.inputs, n.moves, n.key = []*node{input}, true, fmt.Sprint(steps, offset)
	if len(l.dims) == 1 && l.dims[0] == size && (size == 1 || l.innerStep(0) == 1) { // the operand's own order
		n.view = true
		return f.add(n)
	}
	n.rows = &rowwise{
		part:    func(in []*buffer, out *buffer, from, to int) { move.strided(l, in[0], out, from, to) },
		aligned: func(_, rows int) bool { return l.rowAligned(0, rows, size) },
	}
	return f.add(n)
}

func (moving[W]) strided(l *loop, x, out *buffer, from, to int) {
	src, dst := asWords[W](x), asWords[W](out)
	step := l.innerStep(0)
	for c := l.start(from); from < to; c.next() {
		n := min(c.left, to-from)
		row, at := dst[from-out.origin:][:n], c.at[0]-x.origin
		switch step {
		case 1:
			copy(row, src[at:at+n])
		case 0:
			v := src[at]
			for i := range row {
				row[i] = v
			}
		default:
			for i := range row {
				row[i] = src[at]
				at += step
			}
		}
		from += n
	}
}

// Transpose permutes axes. Products read through it without a copy.
func (f *function) Transpose(x compute.Value, permutation ...int) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypeTranspose, in, func() (shapes.Shape, error) {
		return shapeinference.Transpose(in[0].shape, permutation)
	})
	if err != nil {
		return nil, err
	}
	from := in[0].shape.Strides()
	steps := make([]int, len(permutation))
	for i, axis := range permutation {
		steps[i] = from[axis]
	}
	return value(f.reorder(&node{op: compute.OpTypeTranspose, shape: shape, permutation: slices.Clone(permutation)}, in[0], steps, 0))
}

// BroadcastInDim repeats values along new or unit axes. Arithmetic reads through
// it without a copy.
func (f *function) BroadcastInDim(x compute.Value, shape shapes.Shape, axes []int) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	n := in[0]
	if _, err := infer(compute.OpTypeBroadcastInDim, in, func() (shapes.Shape, error) {
		if !slices.IsSorted(axes) {
			return shape, fmt.Errorf("axes %v; expected them in ascending order", axes)
		}
		if shape.DType != n.shape.DType {
			return shape, fmt.Errorf("to type %s; expected the operand's", shape.DType)
		}
		return shape, shapeinference.BroadcastInDim(n.shape, shape, axes, nil)
	}); err != nil {
		return nil, err
	}
	steps := make([]int, shape.Rank())
	from := n.shape.Strides()
	for i, axis := range axes {
		steps[axis] = stride(n, from, i)
	}
	return value(f.reorder(&node{op: compute.OpTypeBroadcastInDim, shape: shape.Clone(), broadcastAxes: slices.Clone(axes)}, n, steps, 0))
}

// Slice takes a box of values with strides.
func (f *function) Slice(x compute.Value, starts, limits, strides []int) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	n := in[0]
	if len(strides) == 0 {
		strides = slices.Repeat([]int{1}, n.shape.Rank())
	}
	shape, err := infer(compute.OpTypeSlice, in, func() (shapes.Shape, error) {
		return shapeinference.Slice(n.shape, starts, limits, strides)
	})
	if err != nil {
		return nil, err
	}
	steps, offset := n.shape.Strides(), 0
	for axis := range steps {
		offset += steps[axis] * starts[axis]
		steps[axis] *= strides[axis]
	}
	return value(f.reorder(&node{op: compute.OpTypeSlice, shape: shape}, n, steps, offset))
}

// Reverse mirrors axes.
func (f *function) Reverse(x compute.Value, axes ...int) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	n := in[0]
	if err := checkAxes("reversed", axes, n.shape.Rank()); err != nil {
		return nil, opError(compute.OpTypeReverse, in, err)
	}
	steps, offset := n.shape.Strides(), 0
	for _, axis := range axes {
		offset += steps[axis] * (n.shape.Dimensions[axis] - 1)
		steps[axis] = -steps[axis]
	}
	return value(f.reorder(&node{op: compute.OpTypeReverse, shape: n.shape}, n, steps, offset))
}
