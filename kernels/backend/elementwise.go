package backend

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// number is what arithmetic is defined on.
type number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

var (
	binaryOps = []compute.OpType{
		compute.OpTypeAdd, compute.OpTypeSub, compute.OpTypeMul, compute.OpTypeDiv,
		compute.OpTypeMax, compute.OpTypeMin, compute.OpTypePow, compute.OpTypeRem,
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

// Div is a/b with broadcasting.
func (f *function) Div(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeDiv, a, b)
}

// Max is the larger of a and b, NaN if either is.
func (f *function) Max(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMax, a, b)
}

// Min is the smaller of a and b, NaN if either is.
func (f *function) Min(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeMin, a, b)
}

// Pow is a to the power b.
func (f *function) Pow(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypePow, a, b)
}

// Rem is the remainder of a/b with the sign of a.
func (f *function) Rem(a, b compute.Value) (compute.Value, error) {
	return f.binary(compute.OpTypeRem, a, b)
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

func (f *function) binary(op compute.OpType, a, b compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(a, b)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.BinaryOp(op, in[0].shape, in[1].shape)
	if err != nil {
		return nil, err
	}
	return value(f.broadcasting(op, shape, in, func(l loop, x, y, out *buffer) { runBinary(op, l, x, y, out) }))
}

func (f *function) comparison(op compute.OpType, a, b compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(a, b)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.ComparisonOp(op, in[0].shape, in[1].shape)
	if err != nil {
		return nil, err
	}
	return value(f.broadcasting(op, shape, in, func(l loop, x, y, out *buffer) { runComparison(op, l, x, y, out) }))
}

// broadcasting adds an operation on two operands that are read with strides:
// broadcasts in front of it, explicit or implied, cost no copy.
func (f *function) broadcasting(op compute.OpType, shape shapes.Shape, in []*node, run func(l loop, a, b, out *buffer)) (*node, error) {
	a, sa := through(in[0], shape)
	b, sb := through(in[1], shape)
	l := collapse(shape.Dimensions, sa, sb)
	return f.add(&node{
		op: op, shape: shape, inputs: []*node{a, b}, inPlace: true,
		run: func(in []*buffer, out *buffer) { run(l, in[0], in[1], out) },
	})
}

// through looks behind a broadcast: the operand that holds the values, and the
// stride with which each axis of shape steps through it.
func through(n *node, shape shapes.Shape) (*node, []int) {
	strides := make([]int, shape.Rank())
	if n.shape.Rank() == 0 {
		if n.op == compute.OpTypeBroadcastInDim {
			n = n.inputs[0]
		}
		return n, strides
	}
	base := n
	if n.op == compute.OpTypeBroadcastInDim {
		base = n.inputs[0]
	}
	baseStrides := base.shape.Strides()
	for axis := range strides {
		if n.shape.Dimensions[axis] == 1 && shape.Dimensions[axis] != 1 {
			continue
		}
		if base == n {
			strides[axis] = stride(base, baseStrides, axis)
			continue
		}
		for i, to := range n.broadcastAxes {
			if to == axis {
				strides[axis] = stride(base, baseStrides, i)
			}
		}
	}
	return base, strides
}

// stride of an axis; 0 where the axis has one value.
func stride(n *node, strides []int, axis int) int {
	if n.shape.Dimensions[axis] == 1 {
		return 0
	}
	return strides[axis]
}

// loop is a nest over an output in row-major order: sizes of the axes, with the
// strides of both operands, neighbouring axes joined where both step evenly.
type loop struct {
	dims, sa, sb []int
}

func collapse(dims, sa, sb []int) loop {
	var l loop
	for axis, d := range dims {
		if d == 1 {
			continue
		}
		if k := len(l.dims) - 1; k >= 0 && l.sa[k] == sa[axis]*d && l.sb[k] == sb[axis]*d {
			l.dims[k] *= d
			l.sa[k], l.sb[k] = sa[axis], sb[axis]
			continue
		}
		l.dims, l.sa, l.sb = append(l.dims, d), append(l.sa, sa[axis]), append(l.sb, sb[axis])
	}
	if len(l.dims) == 0 {
		return loop{dims: []int{1}, sa: []int{0}, sb: []int{0}}
	}
	return l
}

// rows visits the innermost runs in parallel: output range [at, at+n) with the
// operands' offsets.
func (l loop) rows(visit func(at, n, a, b int)) {
	k := len(l.dims) - 1
	inner := l.dims[k]
	outer := 1
	for _, d := range l.dims[:k] {
		outer *= d
	}
	if outer == 1 {
		parallel(inner, pieceSize, func(lo, hi int) { visit(lo, hi-lo, lo*l.sa[k], lo*l.sb[k]) })
		return
	}
	parallel(outer, rowsPerPiece(inner), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			a, b, rest := 0, 0, r
			for axis := k - 1; axis >= 0; axis-- {
				i := rest % l.dims[axis]
				rest /= l.dims[axis]
				a += i * l.sa[axis]
				b += i * l.sb[axis]
			}
			visit(r*inner, inner, a, b)
		}
	})
}

func runBinary(op compute.OpType, l loop, a, b, out *buffer) {
	switch dst := out.flat.(type) {
	case []float32:
		binaryRows(op, l, dst, a.flat.([]float32), b.flat.([]float32))
	case []float64:
		binaryRows(op, l, dst, a.flat.([]float64), b.flat.([]float64))
	case []int8:
		binaryRows(op, l, dst, a.flat.([]int8), b.flat.([]int8))
	case []int16:
		binaryRows(op, l, dst, a.flat.([]int16), b.flat.([]int16))
	case []int32:
		binaryRows(op, l, dst, a.flat.([]int32), b.flat.([]int32))
	case []int64:
		binaryRows(op, l, dst, a.flat.([]int64), b.flat.([]int64))
	case []uint8:
		binaryRows(op, l, dst, a.flat.([]uint8), b.flat.([]uint8))
	case []uint16:
		binaryRows(op, l, dst, a.flat.([]uint16), b.flat.([]uint16))
	case []uint32:
		binaryRows(op, l, dst, a.flat.([]uint32), b.flat.([]uint32))
	case []uint64:
		binaryRows(op, l, dst, a.flat.([]uint64), b.flat.([]uint64))
	case []bool:
		logicalRows(op, l, dst, a.flat.([]bool), b.flat.([]bool))
	}
}

func binaryRows[T number](op compute.OpType, l loop, dst, a, b []T) {
	k := len(l.dims) - 1
	sa, sb := l.sa[k], l.sb[k]
	l.rows(func(at, n, ia, ib int) { binaryRow(op, dst[at:at+n], a[ia:], b[ib:], sa, sb) })
}

// binaryRow is one run; sa and sb are the operands' strides, mostly 0 or 1.
func binaryRow[T number](op compute.OpType, dst, a, b []T, sa, sb int) {
	if len(dst) > 1 && (sa > 1 || sb > 1) {
		f := scalarBinary[T](op)
		for i := range dst {
			dst[i] = f(a[i*sa], b[i*sb])
		}
		return
	}
	if d, ok := any(dst).([]float32); ok && float32Row(op, d, any(a).([]float32), any(b).([]float32), sa, sb) {
		return
	}
	switch {
	case sa == 1 && sb == 1:
		vectorVector(op, dst, a[:len(dst)], b[:len(dst)])
	case sa == 1:
		vectorScalar(op, dst, a[:len(dst)], b[0])
	case sb == 1:
		scalarVector(op, dst, a[0], b[:len(dst)])
	default:
		v := scalarBinary[T](op)(a[0], b[0])
		for i := range dst {
			dst[i] = v
		}
	}
}

func vectorVector[T number](op compute.OpType, dst, a, b []T) {
	switch op {
	case compute.OpTypeAdd:
		for i := range dst {
			dst[i] = a[i] + b[i]
		}
	case compute.OpTypeSub:
		for i := range dst {
			dst[i] = a[i] - b[i]
		}
	case compute.OpTypeMul:
		for i := range dst {
			dst[i] = a[i] * b[i]
		}
	default:
		f := scalarBinary[T](op)
		for i := range dst {
			dst[i] = f(a[i], b[i])
		}
	}
}

func vectorScalar[T number](op compute.OpType, dst, a []T, b T) {
	switch op {
	case compute.OpTypeAdd:
		for i := range dst {
			dst[i] = a[i] + b
		}
	case compute.OpTypeSub:
		for i := range dst {
			dst[i] = a[i] - b
		}
	case compute.OpTypeMul:
		for i := range dst {
			dst[i] = a[i] * b
		}
	default:
		f := scalarBinary[T](op)
		for i := range dst {
			dst[i] = f(a[i], b)
		}
	}
}

func scalarVector[T number](op compute.OpType, dst []T, a T, b []T) {
	f := scalarBinary[T](op)
	for i := range dst {
		dst[i] = f(a, b[i])
	}
}

// scalarBinary is an operation on single values. Integer division by zero gives
// −1 (all bits set), as XLA has it.
func scalarBinary[T number](op compute.OpType) func(a, b T) T {
	switch op {
	case compute.OpTypeAdd:
		return func(a, b T) T { return a + b }
	case compute.OpTypeSub:
		return func(a, b T) T { return a - b }
	case compute.OpTypeMul:
		return func(a, b T) T { return a * b }
	case compute.OpTypeDiv:
		return divide[T]
	case compute.OpTypeMax:
		return larger[T]
	case compute.OpTypeMin:
		return smaller[T]
	case compute.OpTypePow:
		return func(a, b T) T { return power(a, b) }
	default:
		return func(a, b T) T { return remainder(a, b) }
	}
}

// isFloat tells whether T has fractions.
func isFloat[T number]() bool {
	one, two := T(1), T(2)
	return one/two != 0
}

func divide[T number](a, b T) T {
	if b == 0 && !isFloat[T]() {
		var zero T
		return zero - 1
	}
	return a / b
}

func larger[T number](a, b T) T {
	if a > b || a != a {
		return a
	}
	return b
}

func smaller[T number](a, b T) T {
	if a < b || a != a {
		return a
	}
	return b
}

func power[T number](a, b T) T {
	if isFloat[T]() {
		return T(math.Pow(float64(a), float64(b)))
	}
	if b < 0 {
		return divide(1, power(a, 0-b))
	}
	p := T(1)
	for n := uint64(b); n > 0; n >>= 1 {
		if n&1 == 1 {
			p *= a
		}
		a *= a
	}
	return p
}

func remainder[T number](a, b T) T {
	if isFloat[T]() {
		return T(math.Mod(float64(a), float64(b)))
	}
	if b == 0 {
		return a
	}
	return a - b*(a/b)
}

func logicalRows(op compute.OpType, l loop, dst, a, b []bool) {
	k := len(l.dims) - 1
	sa, sb := l.sa[k], l.sb[k]
	l.rows(func(at, n, ia, ib int) {
		for i := range n {
			x, y := a[ia+i*sa], b[ib+i*sb]
			switch op {
			case compute.OpTypeLogicalAnd:
				dst[at+i] = x && y
			case compute.OpTypeLogicalOr:
				dst[at+i] = x || y
			case compute.OpTypeLogicalXor:
				dst[at+i] = x != y
			}
		}
	})
}

func runComparison(op compute.OpType, l loop, a, b, out *buffer) {
	dst := out.flat.([]bool)
	switch x := a.flat.(type) {
	case []float32:
		comparisonRows(op, l, dst, x, b.flat.([]float32))
	case []float64:
		comparisonRows(op, l, dst, x, b.flat.([]float64))
	case []int8:
		comparisonRows(op, l, dst, x, b.flat.([]int8))
	case []int16:
		comparisonRows(op, l, dst, x, b.flat.([]int16))
	case []int32:
		comparisonRows(op, l, dst, x, b.flat.([]int32))
	case []int64:
		comparisonRows(op, l, dst, x, b.flat.([]int64))
	case []uint8:
		comparisonRows(op, l, dst, x, b.flat.([]uint8))
	case []uint16:
		comparisonRows(op, l, dst, x, b.flat.([]uint16))
	case []uint32:
		comparisonRows(op, l, dst, x, b.flat.([]uint32))
	case []uint64:
		comparisonRows(op, l, dst, x, b.flat.([]uint64))
	case []bool:
		comparisonRows(op, l, dst, asWords[uint8](a), asWords[uint8](b))
	}
}

func comparisonRows[T number](op compute.OpType, l loop, dst []bool, a, b []T) {
	k := len(l.dims) - 1
	sa, sb := l.sa[k], l.sb[k]
	l.rows(func(at, n, ia, ib int) { compareRow(op, dst[at:at+n], a[ia:], b[ib:], sa, sb) })
}

func compareRow[T number](op compute.OpType, dst []bool, a, b []T, sa, sb int) {
	switch op {
	case compute.OpTypeEqual:
		for i := range dst {
			dst[i] = a[i*sa] == b[i*sb]
		}
	case compute.OpTypeNotEqual:
		for i := range dst {
			dst[i] = a[i*sa] != b[i*sb]
		}
	case compute.OpTypeGreaterThan:
		for i := range dst {
			dst[i] = a[i*sa] > b[i*sb]
		}
	case compute.OpTypeGreaterOrEqual:
		for i := range dst {
			dst[i] = a[i*sa] >= b[i*sb]
		}
	case compute.OpTypeLessThan:
		for i := range dst {
			dst[i] = a[i*sa] < b[i*sb]
		}
	case compute.OpTypeLessOrEqual:
		for i := range dst {
			dst[i] = a[i*sa] <= b[i*sb]
		}
	}
}

// Where picks onTrue where cond holds, onFalse elsewhere; scalars broadcast.
func (f *function) Where(cond, onTrue, onFalse compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(cond, onTrue, onFalse)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Where(in[0].shape, in[1].shape, in[2].shape)
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: compute.OpTypeWhere, shape: shape, inputs: in, run: func(in []*buffer, out *buffer) {
		move(shape.DType.Size(),
			func() { choose[uint8](in, out) }, func() { choose[uint16](in, out) },
			func() { choose[uint32](in, out) }, func() { choose[uint64](in, out) })
	}}))
}

func choose[W words](in []*buffer, out *buffer) {
	cond := in[0].flat.([]bool)
	dst, a, b := asWords[W](out), asWords[W](in[1]), asWords[W](in[2])
	sc, sa, sb := step(in[0]), step(in[1]), step(in[2])
	parallel(len(dst), pieceSize, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			if cond[i*sc] {
				dst[i] = a[i*sa]
			} else {
				dst[i] = b[i*sb]
			}
		}
	})
}

// step is 0 for a scalar, which every place shares.
func step(b *buffer) int {
	if b.shape.Rank() == 0 {
		return 0
	}
	return 1
}

// ConvertDType converts values as Go does; booleans become 0 and 1, and what is
// not 0 becomes true.
func (f *function) ConvertDType(x compute.Value, t dtypes.DType) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	shape := n.shape.Clone()
	shape.DType = t
	return value(f.add(&node{op: compute.OpTypeConvertDType, shape: shape, inputs: []*node{n}, run: func(in []*buffer, out *buffer) {
		convert(in[0], out)
	}}))
}

func convert(in, out *buffer) {
	switch src := in.flat.(type) {
	case []float32:
		convertFrom(src, out)
	case []float64:
		convertFrom(src, out)
	case []int8:
		convertFrom(src, out)
	case []int16:
		convertFrom(src, out)
	case []int32:
		convertFrom(src, out)
	case []int64:
		convertFrom(src, out)
	case []uint8:
		convertFrom(src, out)
	case []uint16:
		convertFrom(src, out)
	case []uint32:
		convertFrom(src, out)
	case []uint64:
		convertFrom(src, out)
	case []bool:
		if dst, ok := out.flat.([]bool); ok {
			copy(dst, src)
			return
		}
		convertFrom(asWords[uint8](in), out)
	}
}

func convertFrom[S number](src []S, out *buffer) {
	switch dst := out.flat.(type) {
	case []float32:
		convertTo(src, dst)
	case []float64:
		convertTo(src, dst)
	case []int8:
		convertTo(src, dst)
	case []int16:
		convertTo(src, dst)
	case []int32:
		convertTo(src, dst)
	case []int64:
		convertTo(src, dst)
	case []uint8:
		convertTo(src, dst)
	case []uint16:
		convertTo(src, dst)
	case []uint32:
		convertTo(src, dst)
	case []uint64:
		convertTo(src, dst)
	case []bool:
		for i, v := range src {
			dst[i] = v != 0
		}
	}
}

func convertTo[S, D number](src []S, dst []D) {
	parallel(len(src), pieceSize, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst[i] = D(src[i])
		}
	})
}
