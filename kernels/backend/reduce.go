package backend

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

var reductionOps = []compute.OpType{
	compute.OpTypeReduceSum, compute.OpTypeReduceMax, compute.OpTypeReduceMin, compute.OpTypeReduceProduct,
	compute.OpTypeReduceLogicalAnd, compute.OpTypeReduceLogicalOr, compute.OpTypeReduceLogicalXor,
	compute.OpTypeReduceBitwiseAnd, compute.OpTypeReduceBitwiseOr, compute.OpTypeReduceBitwiseXor,
}

// ReduceSum sums over axes, in float64 for the floating types.
func (f *function) ReduceSum(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceSum, x, axes)
}

// ReduceMax is the largest value over axes, NaN if there is one.
func (f *function) ReduceMax(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceMax, x, axes)
}

// ReduceMin is the smallest value over axes, NaN if there is one.
func (f *function) ReduceMin(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceMin, x, axes)
}

// ReduceProduct multiplies over axes.
func (f *function) ReduceProduct(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceProduct, x, axes)
}

// ReduceLogicalAnd tells whether all hold.
func (f *function) ReduceLogicalAnd(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalAnd, x, axes)
}

// ReduceLogicalOr tells whether any holds.
func (f *function) ReduceLogicalOr(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalOr, x, axes)
}

// ReduceLogicalXor tells whether an odd number holds.
func (f *function) ReduceLogicalXor(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalXor, x, axes)
}

// ReduceBitwiseAnd keeps the bits that all integers have.
func (f *function) ReduceBitwiseAnd(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseAnd, x, axes)
}

// ReduceBitwiseOr keeps the bits that any integer has.
func (f *function) ReduceBitwiseOr(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseOr, x, axes)
}

// ReduceBitwiseXor keeps the bits that an odd number of integers has.
func (f *function) ReduceBitwiseXor(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceBitwiseXor, x, axes)
}

func (f *function) reduce(op compute.OpType, x compute.Value, axes []int) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	n := in[0]
	if len(axes) == 0 {
		axes = make([]int, n.shape.Rank())
		for a := range axes {
			axes[a] = a
		}
	}
	shape, err := infer(op, in, func() (shapes.Shape, error) {
		if err := errors.Join(checkAxes("reduced", axes, n.shape.Rank()), checkReducible(op, n.shape.DType)); err != nil {
			return shapes.Invalid(), err
		}
		return shapeinference.Reduce(n.shape, axes)
	})
	if err != nil {
		return nil, err
	}
	if len(axes) == 0 { // a scalar
		return f.Identity(x)
	}
	p := planReduction(n, axes)
	calc := arithmetics[shape.DType]
	rows := &rowwise{cost: p.n, part: func(in []*buffer, out *buffer, from, to int) { calc.reduce(op, p, in[0], out, from, to) }}
	if p.inner == 1 && p.order == nil {
		rows.natural, rows.aligned = p.outer, func(_, rows int) bool { return p.outer%rows == 0 }
	}
	if p.inner > 1 {
		rows.grain = columnGrain
	}
	node := &node{op: op, shape: shape, inputs: in, rows: rows, reduction: p, key: fmt.Sprint(axes)}
	if p.order != nil { // read in order first, then as a reduction of the last axis
		node.rows, node.run = nil, func(in []*buffer, out *buffer) {
			sorted := &buffer{shape: in[0].shape, flat: allocate(in[0].shape.DType, p.outer*p.n)}
			move := moverOf(in[0].shape.DType)
			parallel(p.outer*p.n, pieceSize, func(from, to int) { move.strided(p.order, in[0], sorted, from, to) })
			rows.run([]*buffer{sorted}, out)
		}
	}
	return value(f.add(node))
}

// checkReducible wants an operation to make sense for a type.
func checkReducible(op compute.OpType, t dtypes.DType) error {
	ok, want := t != dtypes.Bool, "numbers"
	switch op {
	case compute.OpTypeReduceLogicalAnd, compute.OpTypeReduceLogicalOr, compute.OpTypeReduceLogicalXor:
		ok, want = t == dtypes.Bool, "booleans"
	case compute.OpTypeReduceBitwiseAnd, compute.OpTypeReduceBitwiseOr, compute.OpTypeReduceBitwiseXor:
		ok, want = t.IsInt(), "integers"
	case compute.OpTypeReduceMax, compute.OpTypeReduceMin:
		ok = true
	}
	if !ok {
		return fmt.Errorf("expected %s", want)
	}
	return nil
}

// reduction is a reduction seen as [outer, n, inner] → [outer, inner]; where the
// reduced axes are not neighbours in memory, the operand is first read in the
// given order, and inner is 1.
type reduction struct {
	outer, n, inner int
	order           *loop
}

func planReduction(n *node, axes []int) *reduction {
	dims := n.shape.Dimensions
	reduced := make([]bool, len(dims))
	for _, a := range axes {
		reduced[a] = true
	}
	if r := neighbours(dims, reduced); r != nil {
		return r
	}
	r := &reduction{outer: 1, n: 1, inner: 1}
	steps := n.shape.Strides()
	var to, by []int
	for _, keep := range []bool{true, false} {
		for a, d := range dims {
			if reduced[a] == keep {
				continue
			}
			to, by = append(to, d), append(by, steps[a])
			if keep {
				r.outer *= d
			} else {
				r.n *= d
			}
		}
	}
	r.order = newLoop(to, by)
	return r
}

// neighbours is the reduction of axes between which no other lies, apart from
// those of one value; nil if there are.
func neighbours(dims []int, reduced []bool) *reduction {
	first, last := slices.Index(reduced, true), 0
	for a := range dims {
		if reduced[a] {
			last = a
		}
	}
	for a := first; a <= last; a++ {
		if !reduced[a] && dims[a] != 1 {
			return nil
		}
	}
	return &reduction{outer: size(dims[:first]), n: size(dims[first : last+1]), inner: size(dims[last+1:])}
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// ArgMinMax is the index of the smallest or largest value along an axis, the
// first among equals; NaN counts as the extreme.
func (f *function) ArgMinMax(x compute.Value, axis int, t dtypes.DType, isMin bool) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	n := in[0]
	shape, err := infer(compute.OpTypeArgMinMax, in, func() (shapes.Shape, error) {
		shape, err := shapeinference.ArgMinMax(n.shape, axis, t)
		if err == nil && n.shape.Dimensions[axis] == 0 {
			err = fmt.Errorf("axis %d is empty", axis)
		}
		return shape, err
	})
	if err != nil {
		return nil, err
	}
	reduced := make([]bool, n.shape.Rank())
	reduced[axis] = true
	p := neighbours(n.shape.Dimensions, reduced)
	calc := arithmetics[n.shape.DType]
	return value(f.add(&node{op: compute.OpTypeArgMinMax, shape: shape, inputs: in, run: func(in []*buffer, out *buffer) {
		index := make([]int64, p.outer*p.inner)
		calc.argMinMax(p, isMin, in[0], index)
		convertAll(&buffer{shape: shapes.Make(dtypes.Int64, len(index)), flat: index}, out)
	}}))
}
