package backend

import "math"

// What a quantizer does to every activation, magnitudes and rounding, runs on slices
// without a call per value.

const signBit = 1 << 31

// absSingles is dst[i] = |src[i]|.
func absSingles(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = math.Float32frombits(math.Float32bits(v) &^ signBit)
	}
}

// wholeFrom is the size from which a float32 has no fraction that adding
// 1.5·2²³ could round away.
const (
	wholeFrom = 1 << 22
	noBits    = 3 << 22
)

// roundSingles is dst[i] = src[i] rounded to the nearest whole number, halves to even:
// a sum with 1.5·2²³ has no bits for a fraction, so that adding and subtracting it
// rounds as float32 sums do. Zeros keep the sign of src.
func roundSingles(dst, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		bits := math.Float32bits(v)
		if math.Float32frombits(bits&^signBit) < wholeFrom {
			r := float32(v+noBits) - noBits
			dst[i] = math.Float32frombits(math.Float32bits(r)&^signBit | bits&signBit)
			continue
		}
		dst[i] = float32(math.RoundToEven(float64(v))) // large, infinite or NaN
	}
}
