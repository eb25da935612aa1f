package backend

import (
	"math"
	"math/bits"

	"github.com/gomlx/compute"
)

func (floats[T]) unary(op compute.OpType, x, out *buffer, from, to int) {
	each1(floatUnary[T](op), x, out, from, to)
}

func (integers[T]) unary(op compute.OpType, x, out *buffer, from, to int) {
	each1(integerUnary[T](op), x, out, from, to)
}

func (booleans) unary(_ compute.OpType, x, out *buffer, from, to int) { // LogicalNot
	each1(func(v bool) bool { return !v }, x, out, from, to)
}

func (floats[T]) predicate(op compute.OpType, x, out *buffer, from, to int) {
	if op == compute.OpTypeIsNaN {
		each1(func(v T) bool { return v != v }, x, out, from, to)
		return
	}
	each1(func(v T) bool { return v-v == 0 }, x, out, from, to)
}

// predicate of integers: all are finite.
func (numbers[T]) predicate(op compute.OpType, x, out *buffer, from, to int) {
	each1(func(T) bool { return op == compute.OpTypeIsFinite }, x, out, from, to)
}

// each1 applies an operation on single values to a range of the output.
func each1[T, R any](f func(T) R, x, out *buffer, from, to int) {
	src, s0 := valuesOf[T](x)
	dst, d0 := valuesOf[R](out)
	src, dst = src[from-s0:to-s0], dst[from-d0:to-d0]
	for i, v := range src {
		dst[i] = f(v)
	}
}

func floatUnary[T float](op compute.OpType) func(T) T {
	switch op {
	case compute.OpTypeAbs:
		return func(x T) T { return T(math.Abs(float64(x))) }
	case compute.OpTypeNeg:
		return func(x T) T { return -x }
	case compute.OpTypeSign: // ±0 and NaN stay
		return func(x T) T {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return -1
			}
			return x
		}
	}
	f := real[op]
	if f == nil {
		panic("no operation " + op.String() + " on floating-point numbers")
	}
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

func integerUnary[T integer](op compute.OpType) func(T) T {
	mask := uint64(1)<<bitsOf[T]() - 1 // all ones for 64 bits, where the shift gives 0
	switch op {
	case compute.OpTypeAbs:
		return func(x T) T {
			if x < 0 {
				return -x
			}
			return x
		}
	case compute.OpTypeNeg:
		return func(x T) T { return -x }
	case compute.OpTypeSign:
		return func(x T) T {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return ^T(0)
			}
			return 0
		}
	case compute.OpTypeBitwiseNot:
		return func(x T) T { return ^x }
	case compute.OpTypeBitCount:
		return func(x T) T { return T(bits.OnesCount64(uint64(x) & mask)) }
	case compute.OpTypeClz:
		above := 64 - bitsOf[T]()
		return func(x T) T { return T(bits.LeadingZeros64(uint64(x)&mask) - above) }
	}
	panic("no operation " + op.String() + " on integers")
}
