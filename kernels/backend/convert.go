package backend

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
)

// convert converts places [from, to).
func convert(x, out *buffer, from, to int) {
	switch x.shape.DType {
	case dtypes.Float16:
		convertHalf[float16.Float16](x, out, from, to)
	case dtypes.BFloat16:
		convertHalf[bfloat16.BFloat16](x, out, from, to)
	default:
		arithmetics[x.shape.DType].convert(x, out, from, to)
	}
}

// convertAll converts a whole array.
func convertAll(x, out *buffer) {
	parallel(x.shape.Size(), pieceSize, func(from, to int) { convert(x, out, from, to) })
}

// convertHalf widens a few values at a time and converts those.
func convertHalf[H half](x, out *buffer, from, to int) {
	src, s0 := valuesOf[H](x)
	var wide [256]float32
	tmp := &buffer{shape: x.shape}
	tmp.shape.DType = dtypes.Float32
	for ; from < to; from += len(wide) {
		n := min(len(wide), to-from)
		for i, h := range src[from-s0:][:n] {
			wide[i] = halfFloat32(h)
		}
		tmp.flat, tmp.origin = wide[:n], from
		convert(tmp, out, from, from+n)
	}
}

func (floats[T]) convert(x, out *buffer, from, to int) {
	switch out.flat.(type) {
	case []float32:
		each1(func(v T) float32 { return float32(v) }, x, out, from, to)
	case []float64:
		each1(func(v T) float64 { return float64(v) }, x, out, from, to)
	case []int8:
		each1(truncate[T, int8], x, out, from, to)
	case []int16:
		each1(truncate[T, int16], x, out, from, to)
	case []int32:
		each1(truncate[T, int32], x, out, from, to)
	case []int64:
		each1(truncate[T, int64], x, out, from, to)
	case []uint8:
		each1(truncate[T, uint8], x, out, from, to)
	case []uint16:
		each1(truncate[T, uint16], x, out, from, to)
	case []uint32:
		each1(truncate[T, uint32], x, out, from, to)
	case []uint64:
		each1(truncate[T, uint64], x, out, from, to)
	default:
		convertSpecial[T](x, out, from, to)
	}
}

func (integers[T]) convert(x, out *buffer, from, to int) {
	switch out.flat.(type) {
	case []float32:
		each1(func(v T) float32 { return float32(v) }, x, out, from, to)
	case []float64:
		each1(func(v T) float64 { return float64(v) }, x, out, from, to)
	case []int8:
		each1(func(v T) int8 { return int8(v) }, x, out, from, to)
	case []int16:
		each1(func(v T) int16 { return int16(v) }, x, out, from, to)
	case []int32:
		each1(func(v T) int32 { return int32(v) }, x, out, from, to)
	case []int64:
		each1(func(v T) int64 { return int64(v) }, x, out, from, to)
	case []uint8:
		each1(func(v T) uint8 { return uint8(v) }, x, out, from, to)
	case []uint16:
		each1(func(v T) uint16 { return uint16(v) }, x, out, from, to)
	case []uint32:
		each1(func(v T) uint32 { return uint32(v) }, x, out, from, to)
	case []uint64:
		each1(func(v T) uint64 { return uint64(v) }, x, out, from, to)
	default:
		convertSpecial[T](x, out, from, to)
	}
}

func (booleans) convert(x, out *buffer, from, to int) {
	integers[uint8]{}.convert(boolsAsNumbers(x), out, from, to)
}

// convertSpecial converts to booleans and half precision.
func convertSpecial[T number](x, out *buffer, from, to int) {
	switch out.flat.(type) {
	case []bool:
		each1(func(v T) bool { return v != 0 }, x, out, from, to)
	case []float16.Float16:
		each1(func(v T) float16.Float16 { return halfOf[float16.Float16](float64(v)) }, x, out, from, to)
	case []bfloat16.BFloat16:
		each1(func(v T) bfloat16.BFloat16 { return halfOf[bfloat16.BFloat16](float64(v)) }, x, out, from, to)
	}
}

// truncate cuts off the fraction; NaN is 0, what is too large the nearest value.
func truncate[F float, I integer](v F) I {
	low, high := limits[I]()
	switch x := float64(v); {
	case x != x:
		return 0
	case x <= float64(low):
		return low
	case x >= float64(high): // for 64 bits, one more than high
		return high
	default:
		return I(x)
	}
}

// limits are the least and the largest value of a type.
func limits[I integer]() (low, high I) {
	if ^I(0) > 0 {
		return 0, ^I(0)
	}
	low = I(1) << (bitsOf[I]() - 1)
	return low, ^low
}
