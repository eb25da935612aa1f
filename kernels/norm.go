package kernels

import (
	"fmt"
	"math"
)

// The sums below are taken in double precision in the order of [SumFloat64]: sixteen
// partial sums of every sixteenth element, added as a tree. Results are the same
// bits on all machines.

// SumSquaresFloat64 is the sum of x² in double precision.
func SumSquaresFloat64(x []float32) float64 {
	if len(x) == 0 {
		return 0
	}
	if useAVX2 {
		return sumSquaresAVX2(&x[0], len(x))
	}
	var s [16]float64
	for i, v := range x {
		s[i%16] += float64(float64(v) * float64(v)) // exact
	}
	return sumTree(&s)
}

// DotFloat64 is the sum of x·y in double precision.
func DotFloat64(x, y []float32) float64 {
	if checkLengths("DotFloat64", x, y, y); len(x) == 0 {
		return 0
	}
	if useAVX2 {
		return dotFloat64AVX2(&x[0], &y[0], len(x))
	}
	var s [16]float64
	for i, v := range x {
		s[i%16] += float64(float64(v) * float64(y[i])) // exact
	}
	return sumTree(&s)
}

// sumTree adds sixteen partial sums.
func sumTree(s *[16]float64) float64 {
	var t [4]float64
	for i := range t {
		t[i] = (s[i] + s[4+i]) + (s[8+i] + s[12+i])
	}
	return (t[0] + t[2]) + (t[1] + t[3])
}

// centeredSquares is the sum of (x − mean)², rounded after each step.
func centeredSquares(x []float32, mean float64) float64 {
	if useAVX2 && len(x) > 0 {
		return centeredSquaresAVX2(&x[0], len(x), mean)
	}
	var s [16]float64
	for i, v := range x {
		d := float64(v) - mean
		s[i%16] += float64(d * d)
	}
	return sumTree(&s)
}

// normalize stores (x − mean)·scale, computed in double precision and rounded once.
func normalize(dst, x []float32, mean, scale float64) {
	if useAVX2 && len(x) > 0 {
		normalizeAVX2(&dst[0], &x[0], len(x), mean, scale)
		return
	}
	for i, v := range x {
		dst[i] = float32(float64(float64(v)-mean) * scale)
	}
}

// LayerNormRows normalizes each row of x [rows, cols] (Ba et al., arXiv:1607.06450):
//
//	dst = (x − μ)/√(σ² + eps) · gamma + beta,  μ = Σx/cols,  σ² = Σ(x − μ)²/cols
//
// gamma and beta are [cols]; nil stands for ones and zeros. The sums and the
// quotient are computed in double precision and the quotient is rounded; scale and
// shift are single precision. dst is [rows, cols] and may be x. A row with NaN or an
// infinity becomes NaN; with eps = 0 so does a constant one. It panics when lengths
// don't fit.
func LayerNormRows(dst, x, gamma, beta []float32, rows, cols int, eps float64) {
	checkNorm("LayerNormRows", dst, x, gamma, beta, rows, cols)
	for r := range rows {
		from, to := r*cols, (r+1)*cols
		row := x[from:to:to]
		mean := SumFloat64(row) / float64(cols)
		variance := centeredSquares(row, mean) / float64(cols)
		normalize(dst[from:to], row, mean, 1/math.Sqrt(variance+eps))
		scaleShift(dst[from:to], gamma, beta)
	}
}

// RMSNormRows divides each row of x [rows, cols] by its root mean square (Zhang &
// Sennrich, arXiv:1910.07467):
//
//	dst = x/√(Σx²/cols + eps) · gamma
//
// gamma is [cols]; nil stands for ones. The sum and the quotient are computed in
// double precision and the quotient is rounded, then scaled in single precision.
// dst is [rows, cols] and may be x. A row with NaN becomes NaN; an infinity becomes
// NaN and the finite elements of its row zero. It panics when lengths don't fit.
func RMSNormRows(dst, x, gamma []float32, rows, cols int, eps float64) {
	checkNorm("RMSNormRows", dst, x, gamma, nil, rows, cols)
	for r := range rows {
		from, to := r*cols, (r+1)*cols
		row := x[from:to:to]
		scale := 1 / math.Sqrt(SumSquaresFloat64(row)/float64(cols)+eps)
		normalize(dst[from:to], row, 0, scale)
		scaleShift(dst[from:to], gamma, nil)
	}
}

func scaleShift(row, gamma, beta []float32) {
	if gamma != nil {
		Mul(row, row, gamma)
	}
	if beta != nil {
		Add(row, row, beta)
	}
}

// checkNorm panics unless x and dst are [rows, cols], and gamma and beta [cols] or nil.
func checkNorm(name string, dst, x, gamma, beta []float32, rows, cols int) {
	checkRows(name, len(dst), rows*cols, len(x), rows, cols)
	if (gamma != nil && len(gamma) != cols) || (beta != nil && len(beta) != cols) {
		panic(fmt.Sprintf("kernels: %s: got %d scales and %d shifts for rows of %d, need one for each column or none", name, len(gamma), len(beta), cols))
	}
}
