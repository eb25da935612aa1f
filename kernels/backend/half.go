package backend

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
)

// half are the types that are stored in 16 bits and computed in 32.
type half interface {
	float16.Float16 | bfloat16.BFloat16
}

// widen makes a node with operands or result of half precision compute in single:
// operands are widened, the result is rounded once.
func widen(n *node) {
	found := n.shape.DType.IsHalfPrecision()
	for _, in := range n.inputs {
		found = found || in.shape.DType.IsHalfPrecision()
	}
	if !found || (n.run == nil && n.rows == nil) {
		return
	}
	run := n.run
	if rows := n.rows; run == nil {
		run = func(in []*buffer, out *buffer) { rows.run(in, out) }
	}
	n.rows = nil
	n.run = func(in []*buffer, out *buffer) {
		wide := make([]*buffer, len(in))
		for i, b := range in {
			wide[i] = widened(b)
		}
		if !out.shape.DType.IsHalfPrecision() {
			run(wide, out)
			return
		}
		result := single(out.shape)
		run(wide, result)
		convertAll(result, out)
	}
}

// single is memory for values of a shape in single precision.
func single(shape shapes.Shape) *buffer {
	shape.DType = dtypes.Float32
	return &buffer{shape: shape, flat: make([]float32, shape.Size())}
}

// widened is the buffer itself, or its values in single precision.
func widened(b *buffer) *buffer {
	if !b.shape.DType.IsHalfPrecision() {
		return b
	}
	wide := single(b.shape)
	convertAll(b, wide)
	return wide
}

// halfOf rounds to the nearest value of half precision, halves to even; what is
// too large becomes infinite.
func halfOf[H half](v float64) H {
	var h H
	if _, ok := any(h).(bfloat16.BFloat16); ok {
		return H(math.Float32bits(float32(roundTo(v, 8, -126, 0x1.FEp127))) >> 16)
	}
	r := roundTo(v, 11, -14, 65504)
	sign := H(math.Float64bits(r) >> 63 << 15)
	switch a := math.Abs(r); {
	case math.IsNaN(r):
		return sign | 0x7E00
	case math.IsInf(r, 0):
		return sign | 0x7C00
	case a < 0x1p-14:
		return sign | H(a*0x1p24)
	default:
		fraction, e := math.Frexp(a) // a = fraction·2ᵉ with fraction in [1/2, 1)
		return sign | H(e+14)<<10 | H(fraction*2048-1024)
	}
}

// roundTo rounds v to so many significant bits with exponents from low on; beyond
// largest is infinity.
func roundTo(v float64, bits, low int, largest float64) float64 {
	if v == 0 || math.IsInf(v, 0) {
		return v
	}
	if math.IsNaN(v) {
		return math.Copysign(math.NaN(), v)
	}
	_, e := math.Frexp(v) // |v| in [2^(e−1), 2^e)
	quantum := max(e-bits, low-bits+1)
	r := math.Ldexp(math.RoundToEven(math.Ldexp(v, -quantum)), quantum)
	if math.Abs(r) > largest {
		return math.Inf(int(math.Copysign(1, v)))
	}
	return r
}

// halfFloat32 is the value of h.
func halfFloat32[H half](h H) float32 {
	if b, ok := any(h).(bfloat16.BFloat16); ok {
		return b.Float32()
	}
	return float16.Float16(h).Float32()
}
