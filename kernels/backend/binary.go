package backend

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

var (
	binaryOps = []compute.OpType{
		compute.OpTypeAdd, compute.OpTypeSub, compute.OpTypeMul, compute.OpTypeDiv,
		compute.OpTypeMax, compute.OpTypeMin, compute.OpTypePow, compute.OpTypeRem,
	}
	bitwiseOps = []compute.OpType{
		compute.OpTypeBitwiseAnd, compute.OpTypeBitwiseOr, compute.OpTypeBitwiseXor,
		compute.OpTypeShiftLeft, compute.OpTypeShiftRightArithmetic, compute.OpTypeShiftRightLogical,
	}
	comparisonOps = []compute.OpType{
		compute.OpTypeEqual, compute.OpTypeNotEqual, compute.OpTypeGreaterThan, compute.OpTypeGreaterOrEqual,
		compute.OpTypeLessThan, compute.OpTypeLessOrEqual,
	}
	logicalOps = []compute.OpType{compute.OpTypeLogicalAnd, compute.OpTypeLogicalOr, compute.OpTypeLogicalXor}
)

// Add is a + b with broadcasting.
func (f *function) Add(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeAdd, a, b)
}

// Sub is a − b with broadcasting.
func (f *function) Sub(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeSub, a, b)
}

// Mul is a·b with broadcasting.
func (f *function) Mul(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMul, a, b)
}

// Div is a/b with broadcasting. Integers divided by zero give −1 (all bits set),
// as XLA has it.
func (f *function) Div(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeDiv, a, b)
}

// Max is the larger of a and b, NaN if either is; of booleans, a or b.
func (f *function) Max(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMax, a, b)
}

// Min is the smaller of a and b, NaN if either is; of booleans, a and b.
func (f *function) Min(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMin, a, b)
}

// Pow is a to the power b.
func (f *function) Pow(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypePow, a, b)
}

// Rem is the remainder of a/b with the sign of a; of integers divided by zero, a.
func (f *function) Rem(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeRem, a, b)
}

// BitwiseAnd of integers.
func (f *function) BitwiseAnd(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeBitwiseAnd, a, b)
}

// BitwiseOr of integers.
func (f *function) BitwiseOr(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeBitwiseOr, a, b)
}

// BitwiseXor of integers.
func (f *function) BitwiseXor(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeBitwiseXor, a, b)
}

// ShiftLeft shifts a by b bits; by as many as a has or more, or by a negative
// number, gives 0.
func (f *function) ShiftLeft(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeShiftLeft, a, b)
}

// ShiftRightArithmetic shifts a by b bits and keeps the sign; by as many as a has
// or more, or by a negative number, leaves only the sign.
func (f *function) ShiftRightArithmetic(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeShiftRightArithmetic, a, b)
}

// ShiftRightLogical shifts a by b bits and fills in zeros; by as many as a has or
// more, or by a negative number, gives 0.
func (f *function) ShiftRightLogical(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeShiftRightLogical, a, b)
}

// LogicalAnd of booleans.
func (f *function) LogicalAnd(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLogicalAnd, a, b)
}

// LogicalOr of booleans.
func (f *function) LogicalOr(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLogicalOr, a, b)
}

// LogicalXor of booleans.
func (f *function) LogicalXor(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeLogicalXor, a, b)
}

// Equal is a = b.
func (f *function) Equal(a, b compute.Value) (compute.Value, error) {
	return f.comparison(compute.OpTypeEqual, a, b)
}

// NotEqual is a ≠ b.
func (f *function) NotEqual(a, b compute.Value) (compute.Value, error) {
	return f.comparison(compute.OpTypeNotEqual, a, b)
}

// GreaterThan is a > b.
func (f *function) GreaterThan(a, b compute.Value) (compute.Value, error) {
	return f.comparison(compute.OpTypeGreaterThan, a, b)
}

// GreaterOrEqual is a ≥ b.
func (f *function) GreaterOrEqual(a, b compute.Value) (compute.Value, error) {
	return f.comparison(compute.OpTypeGreaterOrEqual, a, b)
}

// LessThan is a < b.
func (f *function) LessThan(a, b compute.Value) (compute.Value, error) {
	return f.comparison(compute.OpTypeLessThan, a, b)
}

// LessOrEqual is a ≤ b.
func (f *function) LessOrEqual(a, b compute.Value) (compute.Value, error) {
	return f.comparison(compute.OpTypeLessOrEqual, a, b)
}

func (f *function) binary(op compute.OpType, a, b compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(a, b)
	if err != nil {
		return nil, err
	}
	shape, err := infer(op, in, func() (shapes.Shape, error) {
		if err := checkEmptyBroadcast(in); err != nil {
			return shapes.Invalid(), err
		}
		return shapeinference.BinaryOp(op, in[0].shape, in[1].shape)
	})
	if err != nil {
		return nil, err
	}
	calc := arithmetics[shape.DType]
	return value(f.elementwise(&node{op: op, shape: shape}, in, costOf(op), func(l *loop) partFunc {
		return func(in []*buffer, out *buffer, from, to int) { calc.binary(op, l, in[0], in[1], out, from, to) }
	}))
}

func (f *function) comparison(op compute.OpType, a, b compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(a, b)
	if err != nil {
		return nil, err
	}
	shape, err := infer(op, in, func() (shapes.Shape, error) {
		if err := checkEmptyBroadcast(in); err != nil {
			return shapes.Invalid(), err
		}
		return shapeinference.ComparisonOp(op, in[0].shape, in[1].shape)
	})
	if err != nil {
		return nil, err
	}
	calc := arithmetics[in[0].shape.DType]
	return value(f.elementwise(&node{op: op, shape: shape}, in, 2, func(l *loop) partFunc {
		return func(in []*buffer, out *buffer, from, to int) { calc.compare(op, l, in[0], in[1], out, from, to) }
	}))
}

// checkEmptyBroadcast refuses to broadcast an axis of one value to none, or none
// to one: GoMLX's inference takes the larger.
func checkEmptyBroadcast(in []*node) error {
	a, b := in[0].shape.Dimensions, in[1].shape.Dimensions
	if len(a) != len(b) {
		return nil
	}
	for axis, d := range a {
		if d != b[axis] && d*b[axis] == 0 {
			return fmt.Errorf("axis %d has %d and %d values; expected the same number", axis, d, b[axis])
		}
	}
	return nil
}

// partFunc computes places [from, to) of an operation's output.
type partFunc = func(in []*buffer, out *buffer, from, to int)

// elementwise adds an operation whose operands broadcast to its shape. part makes
// the work from the loop over the operands. Where all operands repeat along an
// axis, the operation is computed once and its result repeated.
func (f *function) elementwise(n *node, in []*node, cost int, part func(l *loop) partFunc) (*node, error) {
	bases, steps := make([]*node, len(in)), make([][]int, len(in))
	for i, o := range in {
		bases[i], steps[i] = through(o, n.shape)
	}
	shape := n.shape
	once := shape.Clone()
	for axis, d := range once.Dimensions {
		if d > 1 && !slices.ContainsFunc(steps, func(s []int) bool { return s[axis] != 0 }) {
			once.Dimensions[axis] = 1
		}
	}
	l := newLoop(once.Dimensions, steps...)
	sizes := make([]int, len(bases))
	for i, b := range bases {
		sizes[i] = b.shape.Size()
	}
	n.shape, n.inputs, n.key = once, bases, fmt.Sprint(shape.Dimensions, steps)
	n.rows = &rowwise{
		part: part(l), cost: cost, inPlace: true,
		aligned: func(input, rows int) bool { return l.rowAligned(input, rows, sizes[input]) },
	}
	n, err := f.add(n)
	if err != nil || sameShape(once, shape) {
		return n, err
	}
	axes := make([]int, shape.Rank())
	for a := range axes {
		axes[a] = a
	}
	v, err := f.BroadcastInDim(n, shape, axes)
	if err != nil {
		return nil, err
	}
	return v.(*node), nil
}

// costOf is roughly the time that a value of an operation takes, in additions.
func costOf(op compute.OpType) int {
	switch op {
	case compute.OpTypeAdd, compute.OpTypeSub, compute.OpTypeMul, compute.OpTypeMax, compute.OpTypeMin, compute.OpTypeNeg, compute.OpTypeAbs:
		return 1
	case compute.OpTypeDiv, compute.OpTypeSqrt:
		return 2
	case compute.OpTypePow, compute.OpTypeSin, compute.OpTypeCos, compute.OpTypeLog, compute.OpTypeLog1p, compute.OpTypeExpm1, compute.OpTypeRem:
		return 16
	}
	return 4
}

// Where picks onTrue where cond holds, onFalse elsewhere; scalars broadcast.
func (f *function) Where(cond, onTrue, onFalse compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(cond, onTrue, onFalse)
	if err != nil {
		return nil, err
	}
	shape, err := infer(compute.OpTypeWhere, in, func() (shapes.Shape, error) {
		return shapeinference.Where(in[0].shape, in[1].shape, in[2].shape)
	})
	if err != nil {
		return nil, err
	}
	move := moverOf(shape.DType)
	return value(f.elementwise(&node{op: compute.OpTypeWhere, shape: shape, moves: true}, in, 2, func(l *loop) partFunc {
		return func(in []*buffer, out *buffer, from, to int) { move.choose(l, in[0], in[1], in[2], out, from, to) }
	}))
}

// Clamp is x moved into [low, high], NaN if any is; low and high have x's shape
// or are scalars.
func (f *function) Clamp(low, x, high compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(low, x, high)
	if err != nil {
		return nil, err
	}
	shape := in[1].shape
	if _, err := infer(compute.OpTypeClamp, in, func() (shapes.Shape, error) {
		for _, n := range []*node{in[0], in[2]} {
			if n.shape.DType != shape.DType || (n.shape.Rank() != 0 && !sameShape(n.shape, shape)) || shape.DType == dtypes.Bool {
				return shape, fmt.Errorf("bound of shape %s; expected a scalar or %s, of a type of numbers", n.shape, shape)
			}
		}
		return shape, nil
	}); err != nil {
		return nil, err
	}
	calc := arithmetics[shape.DType]
	return value(f.elementwise(&node{op: compute.OpTypeClamp, shape: shape}, in, 2, func(l *loop) partFunc {
		return func(in []*buffer, out *buffer, from, to int) { calc.clamp(l, in[0], in[1], in[2], out, from, to) }
	}))
}
