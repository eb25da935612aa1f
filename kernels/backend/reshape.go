package backend

import (
	"fmt"
	"reflect"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// Constant embeds a copy of flat, a slice.
func (f *function) Constant(flat any, dims ...int) (compute.Value, error) {
	t := reflect.TypeOf(flat)
	if t == nil || t.Kind() != reflect.Slice {
		return nil, fmt.Errorf("backend: constant of type %T; expected a slice", flat)
	}
	shape, err := infer(compute.OpTypeConstant, nil, func() (shapes.Shape, error) {
		return shapes.Make(dtypes.FromGoType(t.Elem()), dims...), nil
	})
	if err != nil {
		return nil, err
	}
	b, err := f.builder.backend.BufferFromFlatData(0, flat, shape)
	if err != nil {
		return nil, err
	}
	return value(f.constant(b.(*buffer)))
}

// keptConstant is the size in bytes up to which equal constants are found equal.
const keptConstant = 64

func (f *function) constant(b *buffer) (*node, error) {
	n := &node{op: compute.OpTypeConstant, shape: b.shape, constant: b}
	if bytes := asBytes(b); len(bytes) <= keptConstant {
		n.key = fmt.Sprintf("=%x", bytes)
	}
	return f.add(n)
}

// Iota counts along an axis; it is a constant.
func (f *function) Iota(shape shapes.Shape, axis int) (compute.Value, error) {
	if axis < 0 || axis >= shape.Rank() || shape.DType == dtypes.Bool {
		return nil, fmt.Errorf("backend: Iota along axis %d of %s; expected an axis of numbers", axis, shape)
	}
	out, err := f.builder.backend.newBuffer(0, shape)
	if err != nil {
		return nil, err
	}
	inner, n := size(shape.Dimensions[axis+1:]), shape.Dimensions[axis]
	flat := make([]int64, shape.Size())
	for i := range flat {
		flat[i] = int64(i / inner % n)
	}
	convertAll(&buffer{shape: shapes.Make(dtypes.Int64, len(flat)), flat: flat}, out)
	return value(f.constant(out))
}

// Reshape gives the same values another shape, without a copy.
func (f *function) Reshape(x compute.Value, dims ...int) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypeReshape, in, func() (shapes.Shape, error) {
		return shapeinference.Reshape(in[0].shape, dims)
	})
	if err != nil {
		return nil, err
	}
	base := in[0]
	for base.op == compute.OpTypeReshape {
		base = base.inputs[0]
	}
	if sameShape(base.shape, shape) {
		return base, nil
	}
	return value(f.add(&node{op: compute.OpTypeReshape, shape: shape, inputs: []*node{base}, view: true, key: "all"}))
}

// Identity is x itself.
func (f *function) Identity(x compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	return in[0], nil
}

// OptimizationBarrier is its operands: nothing is optimized across any operation
// in a way that changes results.
func (f *function) OptimizationBarrier(operands ...compute.Value) ([]compute.Value, error) {
	in, err := f.nodesOf(operands...)
	if err != nil {
		return nil, err
	}
	list := make([]compute.Value, len(in))
	for i, n := range in {
		if list[i], err = value(f.add(&node{op: compute.OpTypeOptimizationBarrier, shape: n.shape, inputs: []*node{n}, view: true})); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// SchedulingBarrier is operand, computed together with its dependencies.
func (f *function) SchedulingBarrier(operand compute.Value, dependencies ...compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(append([]compute.Value{operand}, dependencies...)...)
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: compute.OpTypeSchedulingBarrier, shape: in[0].shape, inputs: in, view: true}))
}

// Bitcast reads the bits of values as another type, in little-endian order where
// the sizes differ; see GoMLX's description.
func (f *function) Bitcast(x compute.Value, t dtypes.DType) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypeBitcast, in, func() (shapes.Shape, error) {
		if (t == dtypes.Bool) != (in[0].shape.DType == dtypes.Bool) || !capabilities.DTypes[t] {
			return shapes.Invalid(), fmt.Errorf("to %s: %w", t, compute.ErrNotImplemented)
		}
		return shapeinference.Bitcast(in[0].shape, t)
	})
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: compute.OpTypeBitcast, shape: shape, inputs: in, moves: true, run: func(in []*buffer, out *buffer) {
		copyBuffer(out, in[0])
	}}))
}
