package kernels

import "math"

// The functions below are parts of an RMS norm with the roundings of a graph's
// operations one by one, each in single precision, but for sums. [RMSNormRows] rounds
// less often and has other low bits.

// RootMeanSquareRows stores for each row of x [rows, cols], with dst [rows],
//
//	√(fl(Σ fl(x²))·factor + eps)
//
// where fl and every other step round to single precision, and the sum is that of
// [SumFloat64]. factor is 1/cols for the root of the mean square. A row's result
// does not depend on the number of rows. It panics when lengths don't fit.
func RootMeanSquareRows(dst, x []float32, rows, cols int, factor, eps float32) {
	checkRows("RootMeanSquareRows", len(dst), rows, len(x), rows, cols)
	for r := range rows {
		mean := float32(float32(sumRoundedSquares(x[r*cols:(r+1)*cols])) * factor)
		dst[r] = float32(math.Sqrt(float64(mean + eps)))
	}
}

// DivideScaleRows stores x/s·gamma, each step rounded to single precision, for rows
// x [rows, cols], s [rows] and gamma [cols]. dst is [rows, cols] and may be x. It
// panics when lengths don't fit.
func DivideScaleRows(dst, x, s, gamma []float32, rows, cols int) {
	checkNorm("DivideScaleRows", dst, x, gamma, nil, rows, cols)
	checkRows("DivideScaleRows", len(s), rows, len(x), rows, cols)
	for r := range rows {
		divideScale(dst[r*cols:(r+1)*cols], x[r*cols:(r+1)*cols], gamma, s[r])
	}
}

// RMSNormStepsRows is [DivideScaleRows] by [RootMeanSquareRows] of the same rows, bit
// for bit, while each row is at hand: the RMS norm as a graph writes it.
func RMSNormStepsRows(dst, x, gamma []float32, rows, cols int, factor, eps float32) {
	checkNorm("RMSNormStepsRows", dst, x, gamma, nil, rows, cols)
	var s [1]float32
	for r := range rows {
		row := x[r*cols : (r+1)*cols]
		RootMeanSquareRows(s[:], row, 1, cols, factor, eps)
		divideScale(dst[r*cols:(r+1)*cols], row, gamma, s[0])
	}
}

// sumRoundedSquares is the sum in double precision of squares in single precision.
func sumRoundedSquares(x []float32) float64 {
	if useAVX2 && len(x) > 0 {
		return sumRoundedSquaresAVX2(&x[0], len(x))
	}
	var s [16]float64
	for i, v := range x {
		s[i%16] += float64(float32(v * v))
	}
	return sumTree(&s)
}

// divideScale stores x/s·gamma; nil stands for ones.
func divideScale(dst, x, gamma []float32, s float32) {
	switch {
	case gamma == nil:
		DivScalar(dst, x, s)
	case useAVX2 && len(x) > 0:
		divideScaleAVX2(&dst[0], &x[0], &gamma[0], len(x), s)
	default:
		for i, v := range x {
			dst[i] = float32(v/s) * gamma[i]
		}
	}
}
