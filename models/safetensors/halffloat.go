package safetensors

import "math"

// fromBF16 widens a bfloat16, which is the upper half of a float32.
func fromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// toBF16 rounds to bfloat16, half to even: adding 0x7fff plus the lowest kept bit
// carries exactly when the dropped half is above one half, or equal to it with an
// odd kept part. A NaN stays a NaN (quiet), whatever its payload.
func toBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x0040
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// fromF16 widens an IEEE 754 binary16 (1 sign, 5 exponent, 10 fraction bits),
// exactly.
func fromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h >> 10 & 0x1f)
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0: // zero and subnormals: frac · 2⁻²⁴
		f := float32(frac) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(f))
	case 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// toF16 rounds to IEEE 754 binary16, half to even, with subnormals; values of
// 65520 and more become infinite. A NaN stays a NaN (quiet).
func toF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // 65520, half way from the largest finite value to 2¹⁶
		return sign | 0x7c00
	case b < 0x38800000: // below 2⁻¹⁴: subnormal. Adding 0.5 lets the float32 adder round to a multiple of 2⁻²⁴
		sum := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
	}
	b += 0xfff + b>>13&1 // half to even at the 13 dropped bits
	return sign | uint16((b-(127-15)<<23)>>13)
}
