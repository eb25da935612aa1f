package kernels

import "fmt"

// The functions on rows below write rows of n values, one after the other, to dst.
// Row r of an argument begins at r times its stride; a stride of 0 takes the same
// row for all. dst may be an argument of the same layout, but must not overlap one
// otherwise. They panic when a slice is too short or a size is negative.

// AddRows stores a + b, row by row.
func AddRows(dst, a, b []float32, rows, n, strideA, strideB int) {
	if checkRowPair("AddRows", dst, a, b, rows, n, n, strideA, strideB) {
		return
	}
	if useAVX2 {
		addRowsAVX2(&dst[0], &a[0], &b[0], rows, n, strideA, strideB)
		return
	}
	for r := range rows {
		Add(dst[r*n:][:n], a[r*strideA:][:n], b[r*strideB:][:n])
	}
}

// SubRows stores a − b, row by row.
func SubRows(dst, a, b []float32, rows, n, strideA, strideB int) {
	if checkRowPair("SubRows", dst, a, b, rows, n, n, strideA, strideB) {
		return
	}
	if useAVX2 {
		subRowsAVX2(&dst[0], &a[0], &b[0], rows, n, strideA, strideB)
		return
	}
	for r := range rows {
		Sub(dst[r*n:][:n], a[r*strideA:][:n], b[r*strideB:][:n])
	}
}

// MulRows stores a·b, element by element and row by row.
func MulRows(dst, a, b []float32, rows, n, strideA, strideB int) {
	if checkRowPair("MulRows", dst, a, b, rows, n, n, strideA, strideB) {
		return
	}
	if useAVX2 {
		mulRowsAVX2(&dst[0], &a[0], &b[0], rows, n, strideA, strideB)
		return
	}
	for r := range rows {
		Mul(dst[r*n:][:n], a[r*strideA:][:n], b[r*strideB:][:n])
	}
}

// DivRows stores a/b, element by element and row by row.
func DivRows(dst, a, b []float32, rows, n, strideA, strideB int) {
	if checkRowPair("DivRows", dst, a, b, rows, n, n, strideA, strideB) {
		return
	}
	if useAVX2 {
		divRowsAVX2(&dst[0], &a[0], &b[0], rows, n, strideA, strideB)
		return
	}
	for r := range rows {
		Div(dst[r*n:][:n], a[r*strideA:][:n], b[r*strideB:][:n])
	}
}

// AddRowScalars stores x + s with one s for each row.
func AddRowScalars(dst, x, s []float32, rows, n, strideX, strideS int) {
	if checkRowPair("AddRowScalars", dst, x, s, rows, n, 1, strideX, strideS) {
		return
	}
	if useAVX2 {
		addRowScalarsAVX2(&dst[0], &x[0], &s[0], rows, n, strideX, strideS)
		return
	}
	for r := range rows {
		AddScalar(dst[r*n:][:n], x[r*strideX:][:n], s[r*strideS])
	}
}

// SubRowScalars stores x − s with one s for each row.
func SubRowScalars(dst, x, s []float32, rows, n, strideX, strideS int) {
	if checkRowPair("SubRowScalars", dst, x, s, rows, n, 1, strideX, strideS) {
		return
	}
	if useAVX2 {
		subRowScalarsAVX2(&dst[0], &x[0], &s[0], rows, n, strideX, strideS)
		return
	}
	for r := range rows {
		AddScalar(dst[r*n:][:n], x[r*strideX:][:n], -s[r*strideS])
	}
}

// MulRowScalars stores x·s with one s for each row.
func MulRowScalars(dst, x, s []float32, rows, n, strideX, strideS int) {
	if checkRowPair("MulRowScalars", dst, x, s, rows, n, 1, strideX, strideS) {
		return
	}
	if useAVX2 {
		mulRowScalarsAVX2(&dst[0], &x[0], &s[0], rows, n, strideX, strideS)
		return
	}
	for r := range rows {
		MulScalar(dst[r*n:][:n], x[r*strideX:][:n], s[r*strideS])
	}
}

// DivRowScalars stores x/s with one s for each row.
func DivRowScalars(dst, x, s []float32, rows, n, strideX, strideS int) {
	if checkRowPair("DivRowScalars", dst, x, s, rows, n, 1, strideX, strideS) {
		return
	}
	if useAVX2 {
		divRowScalarsAVX2(&dst[0], &x[0], &s[0], rows, n, strideX, strideS)
		return
	}
	for r := range rows {
		DivScalar(dst[r*n:][:n], x[r*strideX:][:n], s[r*strideS])
	}
}

// SumColumns stores the sums of columns of x, which has stride elements from row
// to row, to dst, one column for each of its elements. Each is taken in double
// precision in the order of the rows, and rounded once.
func SumColumns(dst, x []float32, rows, stride int) {
	if rows < 0 || stride < len(dst) || (rows > 0 && len(dst) > 0 && len(x) < (rows-1)*stride+len(dst)) {
		panic(fmt.Sprintf("kernels: SumColumns: got %d elements for %d rows of %d, %d apart", len(x), rows, len(dst), stride))
	}
	for len(dst) > 0 {
		n := min(16, len(dst))
		if n == 16 && rows > 0 && useAVX2 {
			sumColumns16AVX2(&dst[0], &x[0], rows, stride)
		} else {
			sumColumnsGo(dst[:n], x, rows, stride)
		}
		if dst = dst[n:]; rows > 0 && len(dst) > 0 {
			x = x[n:]
		}
	}
}

func sumColumnsGo(dst, x []float32, rows, stride int) {
	var sums [16]float64
	for r := range rows {
		for j, v := range x[r*stride:][:len(dst)] {
			sums[j] += float64(v)
		}
	}
	for j := range dst {
		dst[j] = float32(sums[j])
	}
}

// checkRowPair panics unless rows of n values fit into the slices, where the
// second argument has nb values in a row; empty reports that there is nothing to
// do.
func checkRowPair(name string, dst, a, b []float32, rows, n, nb, strideA, strideB int) (empty bool) {
	if rows < 0 || n < 0 || strideA < 0 || strideB < 0 {
		panic(fmt.Sprintf("kernels: %s: negative size: %d rows of %d, strides %d and %d", name, rows, n, strideA, strideB))
	}
	if rows == 0 || n == 0 {
		return true
	}
	if len(dst) < rows*n || len(a) < (rows-1)*strideA+n || len(b) < (rows-1)*strideB+nb {
		panic(fmt.Sprintf("kernels: %s: got slices of %d, %d and %d elements, too short for %d rows of %d, strides %d and %d",
			name, len(dst), len(a), len(b), rows, n, strideA, strideB))
	}
	return false
}
