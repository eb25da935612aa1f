package backend

import (
	"errors"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

var (
	unaryOps = []compute.OpType{
		compute.OpTypeAbs, compute.OpTypeNeg, compute.OpTypeSign, compute.OpTypeExp, compute.OpTypeExpm1, compute.OpTypeLog,
		compute.OpTypeLog1p, compute.OpTypeSqrt, compute.OpTypeRsqrt, compute.OpTypeLogistic, compute.OpTypeTanh, compute.OpTypeErf,
		compute.OpTypeSin, compute.OpTypeCos, compute.OpTypeRound, compute.OpTypeFloor, compute.OpTypeCeil, compute.OpTypeLogicalNot,
	}
	bitOps       = []compute.OpType{compute.OpTypeBitwiseNot, compute.OpTypeBitCount, compute.OpTypeClz}
	predicateOps = []compute.OpType{compute.OpTypeIsFinite, compute.OpTypeIsNaN}
)

// Abs is |x|.
func (f *function) Abs(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeAbs, x) }

// Neg is −x.
func (f *function) Neg(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeNeg, x) }

// Sign is −1, 0 or 1.
func (f *function) Sign(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeSign, x)
}

// Exp is eˣ.
func (f *function) Exp(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeExp, x) }

// Expm1 is eˣ − 1.
func (f *function) Expm1(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeExpm1, x)
}

// Log is the natural logarithm.
func (f *function) Log(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeLog, x) }

// Log1p is log(1 + x).
func (f *function) Log1p(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeLog1p, x)
}

// Sqrt is √x.
func (f *function) Sqrt(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeSqrt, x)
}

// Rsqrt is 1/√x.
func (f *function) Rsqrt(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeRsqrt, x)
}

// Logistic is 1/(1 + e⁻ˣ).
func (f *function) Logistic(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeLogistic, x)
}

// Tanh is the hyperbolic tangent.
func (f *function) Tanh(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeTanh, x)
}

// Erf is the error function.
func (f *function) Erf(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeErf, x) }

// Sin is the sine.
func (f *function) Sin(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeSin, x) }

// Cos is the cosine.
func (f *function) Cos(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeCos, x) }

// Round rounds halves to even.
func (f *function) Round(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeRound, x)
}

// Floor rounds down.
func (f *function) Floor(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeFloor, x)
}

// Ceil rounds up.
func (f *function) Ceil(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeCeil, x)
}

// LogicalNot of booleans.
func (f *function) LogicalNot(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeLogicalNot, x)
}

// BitwiseNot flips the bits of integers.
func (f *function) BitwiseNot(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeBitwiseNot, x)
}

// BitCount is the number of set bits of integers.
func (f *function) BitCount(x compute.Value) (compute.Value, error) {
	return f.unary(compute.OpTypeBitCount, x)
}

// Clz is the number of zero bits above the highest set bit of integers.
func (f *function) Clz(x compute.Value) (compute.Value, error) { return f.unary(compute.OpTypeClz, x) }

// IsFinite tells numbers from infinities and NaN.
func (f *function) IsFinite(x compute.Value) (compute.Value, error) {
	return f.predicate(compute.OpTypeIsFinite, x)
}

// IsNaN tells NaN from the rest.
func (f *function) IsNaN(x compute.Value) (compute.Value, error) {
	return f.predicate(compute.OpTypeIsNaN, x)
}

func (f *function) unary(op compute.OpType, x compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	shape, err := infer(op, in, func() (shapes.Shape, error) { return shapeinference.UnaryOp(op, in[0].shape) })
	if err != nil {
		return nil, err
	}
	calc := arithmetics[shape.DType]
	return value(f.elementwise(&node{op: op, shape: shape}, in, costOf(op), func(*loop) partFunc {
		return func(in []*buffer, out *buffer, from, to int) { calc.unary(op, in[0], out, from, to) }
	}))
}

func (f *function) predicate(op compute.OpType, x compute.Value) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	shape := shapes.Make(dtypes.Bool, in[0].shape.Dimensions...)
	if in[0].shape.DType == dtypes.Bool {
		return nil, opError(op, in, errors.New("expected numbers"))
	}
	calc := arithmetics[in[0].shape.DType]
	return value(f.add(&node{op: op, shape: shape, inputs: in, key: "all", rows: dense(shape, 1, func(in []*buffer, out *buffer, from, to int) {
		calc.predicate(op, in[0], out, from, to)
	})}))
}

// ConvertDType converts values: to integers by cutting off the fraction, NaN as 0
// and what is too large as the nearest value; integers wrap around; booleans
// become 0 and 1, and what is not 0 becomes true.
func (f *function) ConvertDType(x compute.Value, t dtypes.DType) (compute.Value, error) {
	in, err := f.nodesOf(x)
	if err != nil {
		return nil, err
	}
	shape := in[0].shape.Clone()
	shape.DType = t
	if t == in[0].shape.DType {
		return f.Identity(x)
	}
	n := &node{op: compute.OpTypeConvertDType, shape: shape, inputs: in, moves: true, key: "all"}
	n.rows = dense(shape, 1, func(in []*buffer, out *buffer, from, to int) { convert(in[0], out, from, to) })
	return value(f.add(n))
}

// dense is an operation on one operand of the output's shape, place by place.
func dense(shape shapes.Shape, cost int, part partFunc) *rowwise {
	size := shape.Size()
	return &rowwise{part: part, cost: cost, inPlace: true, aligned: func(_, rows int) bool { return size%rows == 0 }}
}
