package backend

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
	"github.com/tlqlab/tlqlab/kernels"
)

// Gather collects slices of the operand; see GoMLX's description. Slices that
// would reach beyond the operand are moved to its border, as XLA has it.
func (f *function) Gather(operand, starts compute.Value, indexVectorAxis int, offsetAxes, collapsed, startMap, sizes []int, sorted bool) (compute.Value, error) {
	in, err := f.indexed(compute.OpTypeGather, indexVectorAxis, operand, starts)
	if err != nil {
		return nil, err
	}
	offsetAxes = slices.Sorted(slices.Values(offsetAxes))
	shape, err := infer(compute.OpTypeGather, in, func() (shapes.Shape, error) {
		shape, err := shapeinference.Gather(in[0].shape, in[1].shape, indexVectorAxis, offsetAxes, collapsed, startMap, sizes, sorted)
		return shape, errors.Join(err, checkAxes("started", startMap, in[0].shape.Rank()), checkIndexType(in[1].shape))
	})
	if err != nil {
		return nil, err
	}
	shape.AxisNames = nil
	w := newWindow(in[0].shape, in[1].shape, indexVectorAxis, shape, offsetAxes, collapsed, startMap, sizes)
	move := moverOf(shape.DType)
	return value(f.add(&node{op: compute.OpTypeGather, shape: shape, inputs: in, moves: true, run: func(in []*buffer, out *buffer) {
		move.gather(w, in[0], indices(in[1]), out)
	}}))
}

// indexed prepares operands for an operation whose second one holds index vectors:
// without an axis of their own, they get one of a single value.
func (f *function) indexed(op compute.OpType, vectorAxis int, operands ...compute.Value) ([]*node, error) {
	in, err := f.nodesOf(operands...)
	if err != nil {
		return nil, err
	}
	if starts := in[1].shape; vectorAxis == starts.Rank() {
		v, err := f.Reshape(operands[1], append(slices.Clone(starts.Dimensions), 1)...)
		if err != nil {
			return nil, opError(op, in, err)
		}
		in[1] = v.(*node)
	}
	return in, nil
}

func checkIndexType(s shapes.Shape) error {
	if !s.DType.IsInt() {
		return fmt.Errorf("indices of type %s; expected integers", s.DType)
	}
	return nil
}

// ScatterSum adds slices of updates to the operand at the given starts; slices
// that do not fit are left out. Updates are added in their order.
func (f *function) ScatterSum(operand, starts, updates compute.Value, indexVectorAxis int, windowAxes, inserted, scatterMap []int, sorted, unique bool) (compute.Value, error) {
	return f.scatter(compute.OpTypeScatterSum, compute.OpTypeAdd, operand, starts, updates, indexVectorAxis, windowAxes, inserted, scatterMap)
}

// ScatterMax takes the larger of the operand's and the updates' values, as
// ScatterSum takes their sum.
func (f *function) ScatterMax(operand, starts, updates compute.Value, indexVectorAxis int, windowAxes, inserted, scatterMap []int, sorted, unique bool) (compute.Value, error) {
	return f.scatter(compute.OpTypeScatterMax, compute.OpTypeMax, operand, starts, updates, indexVectorAxis, windowAxes, inserted, scatterMap)
}

// ScatterMin takes the smaller of the operand's and the updates' values, as
// ScatterSum takes their sum.
func (f *function) ScatterMin(operand, starts, updates compute.Value, indexVectorAxis int, windowAxes, inserted, scatterMap []int, sorted, unique bool) (compute.Value, error) {
	return f.scatter(compute.OpTypeScatterMin, compute.OpTypeMin, operand, starts, updates, indexVectorAxis, windowAxes, inserted, scatterMap)
}

func (f *function) scatter(op, combine compute.OpType, operand, starts, updates compute.Value, vectorAxis int, windowAxes, inserted, scatterMap []int) (compute.Value, error) {
	in, err := f.indexed(op, vectorAxis, operand, starts, updates)
	if err != nil {
		return nil, err
	}
	shape, err := infer(op, in, func() (shapes.Shape, error) {
		shape, err := shapeinference.Scatter(in[0].shape, in[1].shape, in[2].shape, vectorAxis, windowAxes, inserted, scatterMap)
		if err != nil {
			return shape, err
		}
		return shape, checkScatter(in, vectorAxis, windowAxes, inserted, scatterMap)
	})
	if err != nil {
		return nil, err
	}
	sizes := make([]int, in[0].shape.Rank())
	k := 0
	for axis := range sizes {
		sizes[axis] = 1
		if !slices.Contains(inserted, axis) {
			sizes[axis] = in[2].shape.Dimensions[windowAxes[k]]
			k++
		}
	}
	w := newWindow(in[0].shape, in[1].shape, vectorAxis, in[2].shape, windowAxes, inserted, scatterMap, sizes)
	calc := arithmetics[shape.DType]
	return value(f.add(&node{op: op, shape: shape, inputs: in, run: func(in []*buffer, out *buffer) {
		calc.scatter(combine, w, in[0], indices(in[1]), in[2], out)
	}}))
}

// checkScatter wants what GoMLX's inference leaves open: distinct axes and as many
// updates as index vectors.
func checkScatter(in []*node, vectorAxis int, windowAxes, inserted, scatterMap []int) error {
	if t := in[0].shape.DType; t == dtypes.Bool {
		return fmt.Errorf("values of type %s; expected numbers", t)
	}
	err := errors.Join(
		checkAxes("window", windowAxes, in[2].shape.Rank()),
		checkAxes("inserted", inserted, in[0].shape.Rank()),
		checkAxes("scattered", scatterMap, in[0].shape.Rank()),
	)
	if err != nil {
		return err
	}
	vectors := slices.Delete(slices.Clone(in[1].shape.Dimensions), vectorAxis, vectorAxis+1)
	var updates []int
	for axis, d := range in[2].shape.Dimensions {
		if !slices.Contains(windowAxes, axis) {
			updates = append(updates, d)
		}
	}
	if !slices.Equal(vectors, updates) {
		return fmt.Errorf("index vectors %v and updates %v; expected the same dimensions", vectors, updates)
	}
	return nil
}

func (floats[T]) scatter(op compute.OpType, w *window, x *buffer, index []int64, updates, out *buffer) {
	scatter(w, floatBinary[T](op), x, index, updates, out)
}

func (integers[T]) scatter(op compute.OpType, w *window, x *buffer, index []int64, updates, out *buffer) {
	scatter(w, integerBinary[T](op), x, index, updates, out)
}

// scatter adds runs of float32 on vector kernels.
func (singles) scatter(op compute.OpType, w *window, x *buffer, index []int64, updates, out *buffer) {
	if op != compute.OpTypeAdd || w.inner.innerStep(0) != 1 || w.inner.innerStep(1) != 1 {
		floats[float32]{}.scatter(op, w, x, index, updates, out)
		return
	}
	dst, src := out.flat.([]float32), updates.flat.([]float32)
	copy(dst, x.flat.([]float32))
	if len(src) == 0 {
		return
	}
	for s := range w.base {
		if at, fits := w.start(index, s); fits {
			w.runs(at, w.base[s], func(to, from, n int) { kernels.Add(dst[to:to+n], dst[to:to+n], src[from:from+n]) })
		}
	}
}

// scatter combines in the order of the updates.
func scatter[T any](w *window, f func(a, b T) T, x *buffer, index []int64, updates, out *buffer) {
	dst, src := out.flat.([]T), updates.flat.([]T)
	copy(dst, x.flat.([]T))
	if len(src) == 0 {
		return
	}
	st, sf := w.inner.innerStep(0), w.inner.innerStep(1)
	for s := range w.base {
		at, fits := w.start(index, s)
		if !fits {
			continue
		}
		w.runs(at, w.base[s], func(to, from, n int) {
			for range n {
				dst[to] = f(dst[to], src[from])
				to, from = to+st, from+sf
			}
		})
	}
}

// DynamicSlice takes a box of the given sizes that begins at starts, one scalar
// per axis; boxes that would reach beyond the operand are moved to its border.
func (f *function) DynamicSlice(operand compute.Value, starts []compute.Value, sizes []int) (compute.Value, error) {
	in, err := f.nodesOf(append([]compute.Value{operand}, starts...)...)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypeDynamicSlice, in, func() (shapes.Shape, error) {
		if err := checkStarts(in[0].shape, in[1:]); err != nil {
			return shapes.Invalid(), err
		}
		return shapeinference.DynamicSlice(in[0].shape, sizes)
	})
	if err != nil {
		return nil, err
	}
	shape.AxisNames = nil
	w := boxWindow(in[0].shape, shape)
	move := moverOf(shape.DType)
	return value(f.add(&node{op: compute.OpTypeDynamicSlice, shape: shape, inputs: in, moves: true, run: func(in []*buffer, out *buffer) {
		move.gather(w, in[0], startsOf(in[1:]), out)
	}}))
}

// DynamicUpdateSlice overwrites the box of update's shape that begins at starts,
// one scalar per axis; a box that would reach beyond is moved to the border.
func (f *function) DynamicUpdateSlice(operand, update compute.Value, starts []compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(append([]compute.Value{operand, update}, starts...)...)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypeDynamicUpdateSlice, in, func() (shapes.Shape, error) {
		shape, err := shapeinference.DynamicUpdateSlice(in[0].shape, in[1].shape)
		for axis, d := range in[1].shape.Dimensions {
			if err == nil && d > shape.Dimensions[axis] {
				err = fmt.Errorf("axis %d of the update has %d values, more than the operand's %d", axis, d, shape.Dimensions[axis])
			}
		}
		return shape, errors.Join(err, checkStarts(in[0].shape, in[2:]))
	})
	if err != nil {
		return nil, err
	}
	w := boxWindow(shape, in[1].shape)
	move := moverOf(shape.DType)
	return value(f.add(&node{op: compute.OpTypeDynamicUpdateSlice, shape: shape, inputs: in, moves: true, run: func(in []*buffer, out *buffer) {
		copyBuffer(out, in[0])
		move.update(w, in[1], startsOf(in[2:]), out)
	}}))
}

// boxWindow is the window of one slice of the box's shape.
func boxWindow(operand, box shapes.Shape) *window {
	axes := make([]int, operand.Rank())
	for a := range axes {
		axes[a] = a
	}
	return newWindow(operand, shapes.Make(box.DType, len(axes)), 0, box, axes, nil, axes, box.Dimensions)
}

func checkStarts(operand shapes.Shape, starts []*node) error {
	if len(starts) != operand.Rank() {
		return fmt.Errorf("%d starts for %d axes", len(starts), operand.Rank())
	}
	for _, n := range starts {
		if n.shape.Rank() != 0 || !n.shape.DType.IsInt() {
			return fmt.Errorf("start of shape %s; expected a scalar of integers", n.shape)
		}
	}
	return nil
}

// startsOf collects one start per axis.
func startsOf(in []*buffer) []int64 {
	list := make([]int64, len(in))
	for i, b := range in {
		list[i] = indices(b)[0]
	}
	return list
}
