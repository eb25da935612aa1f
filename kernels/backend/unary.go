package backend

import (
	"math"

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

// IsFinite tells numbers from infinities and NaN.
func (f *function) IsFinite(x compute.Value) (compute.Value, error) {
	return f.predicate(compute.OpTypeIsFinite, x)
}

// IsNaN tells NaN from the rest.
func (f *function) IsNaN(x compute.Value) (compute.Value, error) {
	return f.predicate(compute.OpTypeIsNaN, x)
}

// Identity is x itself.
func (f *function) Identity(x compute.Value) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: compute.OpTypeIdentity, shape: n.shape, inputs: []*node{n}, view: true}))
}

func (f *function) unary(op compute.OpType, x compute.Value) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.UnaryOp(op, n.shape)
	if err != nil {
		return nil, err
	}
	return value(f.add(&node{op: op, shape: shape, inputs: []*node{n}, inPlace: true, run: func(in []*buffer, out *buffer) {
		runUnary(op, in[0], out)
	}}))
}

func runUnary(op compute.OpType, in, out *buffer) {
	switch dst := out.flat.(type) {
	case []float32:
		src := in.flat.([]float32)
		if vector := float32Unary(op); vector != nil {
			parallel(len(dst), pieceSize/4, func(lo, hi int) { vector(dst[lo:hi], src[lo:hi]) })
			return
		}
		unaryEach(dst, src, scalarUnary[float32](op))
	case []float64:
		unaryEach(dst, in.flat.([]float64), scalarUnary[float64](op))
	case []int8:
		unaryEach(dst, in.flat.([]int8), scalarUnary[int8](op))
	case []int16:
		unaryEach(dst, in.flat.([]int16), scalarUnary[int16](op))
	case []int32:
		unaryEach(dst, in.flat.([]int32), scalarUnary[int32](op))
	case []int64:
		unaryEach(dst, in.flat.([]int64), scalarUnary[int64](op))
	case []uint8:
		unaryEach(dst, in.flat.([]uint8), scalarUnary[uint8](op))
	case []uint16:
		unaryEach(dst, in.flat.([]uint16), scalarUnary[uint16](op))
	case []uint32:
		unaryEach(dst, in.flat.([]uint32), scalarUnary[uint32](op))
	case []uint64:
		unaryEach(dst, in.flat.([]uint64), scalarUnary[uint64](op))
	case []bool:
		for i, v := range in.flat.([]bool) {
			dst[i] = !v
		}
	}
}

func unaryEach[T number](dst, src []T, f func(T) T) {
	parallel(len(dst), pieceSize/4, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dst[i] = f(src[i])
		}
	})
}

// scalarUnary is an operation on single values; what has fractions goes through
// float64.
func scalarUnary[T number](op compute.OpType) func(T) T {
	switch op {
	case compute.OpTypeAbs:
		return func(x T) T {
			if x < 0 || (x == 0 && isFloat[T]()) { // −0 becomes 0
				return 0 - x
			}
			return x
		}
	case compute.OpTypeNeg:
		return func(x T) T { return -x }
	case compute.OpTypeSign:
		return func(x T) T {
			var zero T
			switch {
			case x > 0:
				return 1
			case x < 0:
				return zero - 1
			}
			return x
		}
	}
	f := real[op]
	return func(x T) T { return T(f(float64(x))) }
}

var real = map[compute.OpType]func(float64) float64{
	compute.OpTypeExp:      math.Exp,
	compute.OpTypeExpm1:    math.Expm1,
	compute.OpTypeLog:      math.Log,
	compute.OpTypeLog1p:    math.Log1p,
	compute.OpTypeSqrt:     math.Sqrt,
	compute.OpTypeRsqrt:    func(x float64) float64 { return 1 / math.Sqrt(x) },
	compute.OpTypeLogistic: func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	compute.OpTypeTanh:     math.Tanh,
	compute.OpTypeErf:      math.Erf,
	compute.OpTypeSin:      math.Sin,
	compute.OpTypeCos:      math.Cos,
	compute.OpTypeRound:    math.RoundToEven,
	compute.OpTypeFloor:    math.Floor,
	compute.OpTypeCeil:     math.Ceil,
}

func (f *function) predicate(op compute.OpType, x compute.Value) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	shape := shapes.Make(dtypes.Bool, n.shape.Dimensions...)
	return value(f.add(&node{op: op, shape: shape, inputs: []*node{n}, run: func(in []*buffer, out *buffer) {
		dst := out.flat.([]bool)
		test := func(v float64) bool { return v-v == 0 }
		if op == compute.OpTypeIsNaN {
			test = math.IsNaN
		}
		switch src := in[0].flat.(type) {
		case []float32:
			for i, v := range src {
				dst[i] = test(float64(v))
			}
		case []float64:
			for i, v := range src {
				dst[i] = test(v)
			}
		default: // integers are finite
			for i := range dst {
				dst[i] = op == compute.OpTypeIsFinite
			}
		}
	}}))
}
