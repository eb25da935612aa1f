package kernels

import (
	"fmt"
	"math"
)

// Exp stores e to the power x with a relative error below 1.5e-7: 0 for −Inf, +Inf
// above 88.72, NaN for NaN. Results below the normal range are rounded once more.
func Exp(dst, x []float32) {
	if checkLengths("Exp", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		expAVX2(&dst[0], &x[0], len(dst))
		return
	}
	for i, v := range x {
		dst[i] = float32(math.Exp(float64(v)))
	}
}

// Sigmoid stores 1/(1 + e^−x) with a relative error below 3e-7, on the far left too,
// where it is e^x.
func Sigmoid(dst, x []float32) {
	if checkLengths("Sigmoid", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		sigmoidAVX2(&dst[0], &x[0], len(dst))
		return
	}
	for i, v := range x {
		dst[i] = float32(1 / (1 + math.Exp(-float64(v))))
	}
}

// Silu stores x/(1 + e^−x), that is x times [Sigmoid], with a relative error below
// 4e-7 while the sigmoid is a normal number, x > −87. −Inf gives NaN, as −Inf·0 does.
func Silu(dst, x []float32) {
	if checkLengths("Silu", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		siluAVX2(&dst[0], &x[0], len(dst))
		return
	}
	for i, v := range x {
		dst[i] = v * float32(1/(1+math.Exp(-float64(v))))
	}
}

// sqrtHalf is 1/√2.
const sqrtHalf = 1 / math.Sqrt2

// Gelu stores x·Φ(x) = x/2·(1 + erf(x/√2)), the exact form of the Gaussian error
// linear unit (Hendrycks & Gimpel, arXiv:1606.08415), with an absolute error below
// 2e-7·|x|: far to the left 1 + erf cancels, as it does in other implementations in
// single precision. −Inf gives NaN, as −Inf·0 does.
func Gelu(dst, x []float32) {
	if checkLengths("Gelu", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		geluAVX2(&dst[0], &x[0], len(dst))
		return
	}
	for i, v := range x {
		e := float32(math.Erf(float64(v * float32(sqrtHalf))))
		dst[i] = (1 + e) * (0.5 * v)
	}
}

// Tanh stores the hyperbolic tangent of x with a relative error below 2e-7.
func Tanh(dst, x []float32) {
	if checkLengths("Tanh", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		tanhAVX2(&dst[0], &x[0], len(dst))
		return
	}
	for i, v := range x {
		dst[i] = float32(math.Tanh(float64(v)))
	}
}

// Erf stores the error function of x with a relative error below 2e-7.
func Erf(dst, x []float32) {
	if checkLengths("Erf", dst, x, x); len(dst) == 0 {
		return
	}
	if useAVX2 {
		erfAVX2(&dst[0], &x[0], len(dst))
		return
	}
	for i, v := range x {
		dst[i] = float32(math.Erf(float64(v)))
	}
}

// Log stores the natural logarithm of x, rounded from double precision: −Inf for
// zero, NaN below.
func Log(dst, x []float32) {
	checkLengths("Log", dst, x, x)
	for i, v := range x {
		dst[i] = float32(math.Log(float64(v)))
	}
}

// RowMax stores the largest element of each row of x [rows, cols] to dst [rows]:
// NaN if the row has one, −Inf if it is empty.
func RowMax(dst, x []float32, rows, cols int) {
	checkRows("RowMax", len(dst), rows, len(x), rows, cols)
	for r := range rows {
		dst[r] = maxOf(x[r*cols:][:cols])
	}
}

func maxOf(x []float32) float32 {
	if useAVX2 && len(x) > 0 {
		return rowMaxAVX2(&x[0], len(x))
	}
	m := float32(math.Inf(-1))
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

// SoftmaxRows stores the softmax of each row of x [rows, cols]:
//
//	dst = e^(x − max x) / Σ e^(x − max x)
//
// with the sum in double precision. dst may be x. As the formula says, a row that
// holds NaN or +Inf or nothing but −Inf becomes NaN; −Inf beside finite values
// gives 0.
func SoftmaxRows(dst, x []float32, rows, cols int) {
	checkRows("SoftmaxRows", len(dst), rows*cols, len(x), rows, cols)
	if cols == 0 {
		return
	}
	for r := range rows {
		from, to := r*cols, (r+1)*cols
		softmaxRow(dst[from:to], x[from:to])
	}
}

func softmaxRow(dst, x []float32) {
	sum := ExpShiftSum(dst, x, maxOf(x))
	DivScalar(dst, dst, float32(sum))
}

// ExpShiftSum stores e^(x − shift) and returns the sum of what it stores, in double
// precision: what a softmax needs besides a division. dst may be x. Values of −Inf
// become 0 and leave the sum as it is, so that more of them change nothing.
func ExpShiftSum(dst, x []float32, shift float32) (sum float64) {
	if checkLengths("ExpShiftSum", dst, x, x); len(dst) == 0 {
		return 0
	}
	if useAVX2 {
		return expShiftSumAVX2(&dst[0], &x[0], len(dst), shift)
	}
	for i, v := range x {
		e := math.Exp(float64(v - shift))
		dst[i] = float32(e)
		sum += e
	}
	return sum
}

// checkRows panics unless x is [rows, cols] and the destination has its length.
func checkRows(name string, lenDst, wantDst, lenX, rows, cols int) {
	if rows < 0 || cols < 0 || lenX != rows*cols || lenDst != wantDst {
		panic(fmt.Sprintf("kernels: %s: got %d elements and a destination of %d for %d rows of %d, need %d and %d",
			name, lenX, lenDst, rows, cols, rows*cols, wantDst))
	}
}
