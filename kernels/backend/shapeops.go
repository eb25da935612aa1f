package backend

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// shapeOfSlice is the shape of a constant given as a flat slice.
func shapeOfSlice(flat any, dims []int) (shapes.Shape, error) {
	t := dtypes.FromGoType(reflect.TypeOf(flat).Elem())
	shape := shapes.Make(t, dims...)
	if n := reflect.ValueOf(flat).Len(); n != shape.Size() {
		return shape, fmt.Errorf("backend: constant of %d values for shape %s", n, shape)
	}
	return shape, nil
}

// Iota counts along an axis; it is a constant.
func (f *function) Iota(shape shapes.Shape, axis int) (compute.Value, error) {
	if axis < 0 || axis >= shape.Rank() {
		return nil, fmt.Errorf("backend: Iota along axis %d of %s", axis, shape)
	}
	counts, err := f.builder.backend.newBuffer(shapes.Make(dtypes.Int64, shape.Dimensions...))
	if err != nil {
		return nil, err
	}
	inner := 1
	for _, d := range shape.Dimensions[axis+1:] {
		inner *= d
	}
	flat := counts.flat.([]int64)
	for i := range flat {
		flat[i] = int64(i / inner % shape.Dimensions[axis])
	}
	out, err := f.builder.backend.newBuffer(shape)
	if err != nil {
		return nil, err
	}
	convert(counts, out)
	return value(f.constant(out))
}

// Reshape gives the same values another shape, without a copy.
func (f *function) Reshape(x compute.Value, dims ...int) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Reshape(n.shape, dims)
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: compute.OpTypeReshape, shape: shape, inputs: []*node{n}, view: true}))
}

// strided describes reading an operand in another order: the output's
// dimensions, the operand's step along each, and where to begin.
type strided struct {
	dims, steps []int
	offset      int
}

// joined merges neighbouring axes that step evenly, and drops axes of one value.
func (s strided) joined() strided {
	l := collapse(s.dims, s.steps, s.steps)
	return strided{dims: l.dims, steps: l.sa, offset: s.offset}
}

// gatherStrided fills dst in row-major order.
func gatherStrided[W words](dst, src []W, s strided) {
	k := len(s.dims) - 1
	step := s.steps[k]
	l := loop{dims: s.dims, sa: s.steps, sb: s.steps}
	l.rows(func(at, n, from, _ int) {
		from += s.offset
		row := dst[at : at+n]
		switch step {
		case 1:
			copy(row, src[from:from+n])
		case 0:
			v := src[from]
			for i := range row {
				row[i] = v
			}
		default:
			for i := range row {
				row[i] = src[from]
				from += step
			}
		}
	})
}

// reorder adds an operation that only reads its operand in another order.
func (f *function) reorder(n *node, input *node, s strided) (*node, error) {
	s = s.joined()
	size := n.shape.DType.Size()
	empty := n.shape.Size() == 0
	n.inputs = []*node{input}
	n.run = func(in []*buffer, out *buffer) {
		if empty {
			return
		}
		move(size,
			func() { gatherStrided(asWords[uint8](out), asWords[uint8](in[0]), s) },
			func() { gatherStrided(asWords[uint16](out), asWords[uint16](in[0]), s) },
			func() { gatherStrided(asWords[uint32](out), asWords[uint32](in[0]), s) },
			func() { gatherStrided(asWords[uint64](out), asWords[uint64](in[0]), s) })
	}
	return f.add(n)
}

// Transpose permutes axes. Products read through it without a copy.
func (f *function) Transpose(x compute.Value, permutation ...int) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Transpose(n.shape, permutation)
	if err != nil {
		return nil, err
	}
	from := n.shape.Strides()
	s := strided{dims: shape.Dimensions}
	for _, axis := range permutation {
		s.steps = append(s.steps, from[axis])
	}
	return value(f.reorder(&node{op: compute.OpTypeTranspose, shape: shape, permutation: slices.Clone(permutation)}, n, s))
}

// BroadcastInDim repeats values along new or unit axes. Arithmetic reads through
// it without a copy.
func (f *function) BroadcastInDim(x compute.Value, shape shapes.Shape, axes []int) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	if err := shapeinference.BroadcastInDim(n.shape, shape, axes, nil); err != nil {
		return nil, err
	}
	s := strided{dims: shape.Dimensions, steps: make([]int, shape.Rank())}
	from := n.shape.Strides()
	for i, axis := range axes {
		s.steps[axis] = stride(n, from, i)
	}
	return value(f.reorder(&node{op: compute.OpTypeBroadcastInDim, shape: shape, broadcastAxes: slices.Clone(axes)}, n, s))
}

// Slice takes a box of values with strides.
func (f *function) Slice(x compute.Value, starts, limits, strides []int) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Slice(n.shape, starts, limits, strides)
	if err != nil {
		return nil, err
	}
	from := n.shape.Strides()
	s := strided{dims: shape.Dimensions}
	for axis := range shape.Dimensions {
		every := 1
		if len(strides) > 0 {
			every = strides[axis]
		}
		s.steps = append(s.steps, from[axis]*every)
		s.offset += from[axis] * starts[axis]
	}
	return value(f.reorder(&node{op: compute.OpTypeSlice, shape: shape}, n, s))
}

// Reverse mirrors axes.
func (f *function) Reverse(x compute.Value, axes ...int) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	s := strided{dims: n.shape.Dimensions, steps: n.shape.Strides()}
	for _, axis := range axes {
		if axis < 0 || axis >= n.shape.Rank() {
			return nil, fmt.Errorf("backend: Reverse of axis %d of %s", axis, n.shape)
		}
		s.offset += s.steps[axis] * (n.shape.Dimensions[axis] - 1)
		s.steps[axis] = -s.steps[axis]
	}
	return value(f.reorder(&node{op: compute.OpTypeReverse, shape: n.shape}, n, s))
}

// Concatenate joins operands along an axis.
func (f *function) Concatenate(axis int, operands ...compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(operands...)
	if err != nil {
		return nil, err
	}
	var list []shapes.Shape
	for _, n := range in {
		list = append(list, n.shape)
	}
	shape, err := shapeinference.Concatenate(list, axis)
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: compute.OpTypeConcatenate, shape: shape, inputs: in, run: func(in []*buffer, out *buffer) {
		move(shape.DType.Size(),
			func() { concatenate[uint8](in, out, axis) }, func() { concatenate[uint16](in, out, axis) },
			func() { concatenate[uint32](in, out, axis) }, func() { concatenate[uint64](in, out, axis) })
	}}))
}

func concatenate[W words](in []*buffer, out *buffer, axis int) {
	dst := asWords[W](out)
	outer, row := 1, 1
	for _, d := range out.shape.Dimensions[:axis] {
		outer *= d
	}
	for _, d := range out.shape.Dimensions[axis:] {
		row *= d
	}
	at := 0
	for _, b := range in {
		src := asWords[W](b)
		if len(src) == 0 {
			continue
		}
		width := len(src) / outer
		for i := range outer {
			copy(dst[i*row+at:], src[i*width:(i+1)*width])
		}
		at += width
	}
}

// Pad surrounds and interleaves x with fill; negative padding crops.
func (f *function) Pad(x, fill compute.Value, axes ...compute.PadAxis) (compute.Value, error) {
	in, err := f.nodesOf(x, fill)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Pad(in[0].shape, axes...)
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: compute.OpTypePad, shape: shape, inputs: in, run: func(in []*buffer, out *buffer) {
		move(shape.DType.Size(),
			func() { pad[uint8](in[0], in[1], out, axes) }, func() { pad[uint16](in[0], in[1], out, axes) },
			func() { pad[uint32](in[0], in[1], out, axes) }, func() { pad[uint64](in[0], in[1], out, axes) })
	}}))
}

func pad[W words](x, fill, out *buffer, axes []compute.PadAxis) {
	dst, src := asWords[W](out), asWords[W](x)
	v := asWords[W](fill)[0]
	for i := range dst {
		dst[i] = v
	}
	strides := out.shape.Strides()
	index := make([]int, x.shape.Rank())
	for i := range src {
		rest, at, inside := i, 0, true
		for axis := len(index) - 1; axis >= 0; axis-- {
			d := x.shape.Dimensions[axis]
			p := rest % d
			rest /= d
			if axis < len(axes) {
				p = axes[axis].Start + p*(1+axes[axis].Interior)
			}
			inside = inside && p >= 0 && p < out.shape.Dimensions[axis]
			at += p * strides[axis]
		}
		if inside {
			dst[at] = src[i]
		}
	}
}
