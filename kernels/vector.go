package kernels

import (
	"fmt"
	"math"
)

// The functions on slices below write to dst, which may be one of the arguments
// but must not overlap one otherwise. All slices of a call have the same length.
// An element of the result depends on the elements at its index alone, not on
// its place or the slice's length.

// Add stores a + b, element by element.
func Add(dst, a, b []float32) {
	if checkLengths("Add", dst, a, b); len(dst) == 0 {
		return
	}
	if useAVX2 {
		addAVX2(&dst[0], &a[0], &b[0], len(dst))
		return
	}
	for i, v := range a {
		dst[i] = v + b[i]
	}
}

// Sub stores a − b, element by element.
func Sub(dst, a, b []float32) {
	if checkLengths("Sub", dst, a, b); len(dst) == 0 {
		return
	}
	if useAVX2 {
		subAVX2(&dst[0], &a[0], &b[0], len(dst))
		return
	}
	for i, v := range a {
		dst[i] = v - b[i]
	}
}

// Mul stores a·b, element by element.
func Mul(dst, a, b []float32) {
	if checkLengths("Mul", dst, a, b); len(dst) == 0 {
		return
	}
	if useAVX2 {
		mulAVX2(&dst[0], &a[0], &b[0], len(dst))
		return
	}
	for i, v := range a {
		dst[i] = v * b[i]
	}
}

// Div stores a/b, element by element.
func Div(dst, a, b []float32) {
	if checkLengths("Div", dst, a, b); len(dst) == 0 {
		return
	}
	if useAVX2 {
		divAVX2(&dst[0], &a[0], &b[0], len(dst))
		return
	}
	for i, v := range a {
		dst[i] = v / b[i]
	}
}

// Max stores the larger of a and b, element by element: NaN if either is, and +0
// is larger than −0.
func Max(dst, a, b []float32) {
	if checkLengths("Max", dst, a, b); len(dst) == 0 {
		return
	}
	if useAVX2 {
		maxAVX2(&dst[0], &a[0], &b[0], len(dst))
		return
	}
	for i, v := range a {
		dst[i] = max(v, b[i])
	}
}

// Min stores the smaller of a and b, element by element: NaN if either is, and −0
// is smaller than +0.
func Min(dst, a, b []float32) {
	if checkLengths("Min", dst, a, b); len(dst) == 0 {
		return
	}
	if useAVX2 {
		minAVX2(&dst[0], &a[0], &b[0], len(dst))
		return
	}
	for i, v := range a {
		dst[i] = min(v, b[i])
	}
}

// AddScalar stores x + s.
func AddScalar(dst, x []float32, s float32) {
	if checkLengths("AddScalar", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		addScalarAVX2(&dst[0], &x[0], len(dst), s)
		return
	}
	for i, v := range x {
		dst[i] = v + s
	}
}

// MulScalar stores x·s.
func MulScalar(dst, x []float32, s float32) {
	if checkLengths("MulScalar", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		mulScalarAVX2(&dst[0], &x[0], len(dst), s)
		return
	}
	for i, v := range x {
		dst[i] = v * s
	}
}

// DivScalar stores x/s.
func DivScalar(dst, x []float32, s float32) {
	if checkLengths("DivScalar", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		divScalarAVX2(&dst[0], &x[0], len(dst), s)
		return
	}
	for i, v := range x {
		dst[i] = v / s
	}
}

// Sqrt stores the square root of x, correctly rounded; NaN below zero.
func Sqrt(dst, x []float32) {
	if checkLengths("Sqrt", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		sqrtAVX2(&dst[0], &x[0], len(dst))
		return
	}
	for i, v := range x {
		dst[i] = float32(math.Sqrt(float64(v)))
	}
}

// Saxpy adds alpha·x to y: with AVX2 in one rounding, else in two.
func Saxpy(alpha float32, x, y []float32) {
	if checkLengths("Saxpy", y, x, x); len(y) == 0 {
		return
	}
	if useAVX2 {
		axpyAVX2(alpha, &x[0], &y[0], len(y))
		return
	}
	for i, v := range x {
		y[i] += float32(alpha * v)
	}
}

// Sdot is the sum of x·y in single precision, in 32 interleaved partial sums. It
// is the same on every run; machines without AVX2 round differently.
func Sdot(x, y []float32) float32 {
	if checkLengths("Sdot", x, y, y); len(x) == 0 {
		return 0
	}
	if useAVX2 {
		return dotAVX2(&x[0], &y[0], len(x))
	}
	var s [4]float32
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a, b := x[i:][:4:4], y[i:][:4:4]
		s[0] += float32(a[0] * b[0])
		s[1] += float32(a[1] * b[1])
		s[2] += float32(a[2] * b[2])
		s[3] += float32(a[3] * b[3])
	}
	for ; i < len(x); i++ {
		s[0] += float32(x[i] * y[i])
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

// SumFloat64 is the sum of x in double precision. Sixteen partial sums each take
// every sixteenth element and are added as a tree, the same on all machines.
func SumFloat64(x []float32) float64 {
	if len(x) == 0 {
		return 0
	}
	if useAVX2 {
		return sumFloat64AVX2(&x[0], len(x))
	}
	var s [16]float64
	for i, v := range x {
		s[i%16] += float64(v)
	}
	return sumTree(&s)
}

// checkLengths panics unless the destination and both arguments have one length.
func checkLengths(name string, dst, a, b []float32) {
	if len(a) != len(dst) || len(b) != len(dst) {
		panic(fmt.Sprintf("kernels: %s: got slices of %d, %d and %d elements, need the same length", name, len(dst), len(a), len(b)))
	}
}
