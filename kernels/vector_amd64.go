package kernels

import "math"

// The routines below are in vector_amd64.s. They take any n ≥ 0.

//go:noescape
func addAVX2(dst, a, b *float32, n int)

//go:noescape
func subAVX2(dst, a, b *float32, n int)

//go:noescape
func mulAVX2(dst, a, b *float32, n int)

//go:noescape
func divAVX2(dst, a, b *float32, n int)

//go:noescape
func maxAVX2(dst, a, b *float32, n int)

//go:noescape
func minAVX2(dst, a, b *float32, n int)

//go:noescape
func axpyAVX2(alpha float32, x, y *float32, n int)

//go:noescape
func addScalarAVX2(dst, x *float32, n int, s float32)

//go:noescape
func mulScalarAVX2(dst, x *float32, n int, s float32)

//go:noescape
func divScalarAVX2(dst, x *float32, n int, s float32)

//go:noescape
func sqrtAVX2(dst, x *float32, n int)

//go:noescape
func expAVX2(dst, x *float32, n int)

//go:noescape
func sigmoidAVX2(dst, x *float32, n int)

//go:noescape
func siluAVX2(dst, x *float32, n int)

//go:noescape
func geluAVX2(dst, x *float32, n int)

//go:noescape
func tanhAVX2(dst, x *float32, n int)

//go:noescape
func erfAVX2(dst, x *float32, n int)

// expShiftSumAVX2 stores exp(x − shift) and returns the sum of what it stored.
//
//go:noescape
func expShiftSumAVX2(dst, x *float32, n int, shift float32) float64

//go:noescape
func sumFloat64AVX2(x *float32, n int) float64

//go:noescape
func rowMaxAVX2(x *float32, n int) float32

//go:noescape
func dotAVX2(x, y *float32, n int) float32

// tailMask yields a mask of the r lowest lanes at index 8−r.
//
//lint:ignore U1000 read by the assembly
var tailMask = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

// ln2High is ln 2 rounded to single precision.
const ln2High = 0x1.62e43p-1

// expTable holds the constants of the exponential, each in eight lanes. Beyond
// the clamps the result is infinite or rounds to zero in any case. ln 2 is split
// so that t·high is exact within the fused operation and low carries the rest.
//
//lint:ignore U1000 read by the assembly
var expTable = lanes(
	math.Log2E, ln2High, math.Ln2-ln2High,
	1./5040, 1./720, 1./120, 1./24, 1./6, 1./2, 1,
	math.Float32frombits(127), 89, -104,
	math.Float32frombits(signBit), math.Float32frombits(signBit-1), 2,
)

// tanhTable is for tanh x = x + x·z·P(z), z = x², below 0.625: a minimax fit of
// relative error 4e-9.
//
//lint:ignore U1000 read by the assembly
var tanhTable = lanes(
	0.625,
	-0.00572163937613, 0.020655227825, -0.0537451468408, 0.133315145969, -0.333332836628,
)

// erfTable is for erf x = x + x·P(x²) below 1 and 1 − exp(Q(x)) from there to 4,
// where erf rounds to 1: minimax fits of absolute error 1.2e-9 and 1e-9. The last
// entry is 1/√2, for Gelu.
//
//lint:ignore U1000 read by the assembly
var erfTable = lanes(
	1,
	7.88912293501e-5, -0.000802084221505, 0.00518953567371, -0.0268544442952, 0.112836003304, -0.376126259565, 0.128379166126,
	4,
	0.00018557398289, -0.00293960701674, 0.0218053180724, -0.103037364781, -0.638225674629, -1.12704002857, -0.000353719398845,
	sqrtHalf,
)

// lanes repeats each constant for the eight lanes of a register.
func lanes(values ...float32) [17][8]float32 {
	var t [17][8]float32
	for i, v := range values {
		for j := range t[i] {
			t[i][j] = v
		}
	}
	return t
}
