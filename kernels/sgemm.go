package kernels

import (
	"fmt"
	"sync"
)

const (
	// panelWidth is the number of columns of a packed panel of B: two AVX registers.
	panelWidth = 16
	// gemmKC bounds the steps along k of one block, so that a panel of B (24 KiB)
	// stays in the first-level cache while rows of A pass it.
	gemmKC = 384
	// gemmNC bounds the columns packed at a time.
	gemmNC = 512
	// gemmBlockA is the number of elements of A meant to stay in the second-level
	// cache while all packed panels pass them.
	gemmBlockA = 56 << 10
	// gemmInPlaceRows is the number of rows of C up to which copying a row-major B
	// into panels costs more than reading it in place.
	gemmInPlaceRows = 12
	// gemmInPlaceStride is the row stride of a row-major B up to which reading in
	// place is as fast as from panels: few rows share a cache set.
	gemmInPlaceStride = 32
	// gemmPackColumns and gemmPackStride are the number of columns of C and the row
	// stride of a transposed A from which copying A into strips costs less than
	// reading it in place.
	gemmPackColumns, gemmPackStride = 96, 384
	// gemmCopyStride is the row stride of an A that is not transposed from which its
	// rows are copied together: those of a page or more apart share cache sets.
	gemmCopyStride = 1024
)

// gemmBuffer holds one block of packed panels, one of packed strips of A, and a
// block for partial columns.
type gemmBuffer struct {
	panels [gemmKC * gemmNC]float32
	strips [gemmBlockA]float32
	edge   []float32
}

var gemmBuffers = sync.Pool{New: func() any { return new(gemmBuffer) }}

// Sgemm computes C = op(A)·op(B), or C += op(A)·op(B) when accumulate is set, in
// single precision. C is m×n, row-major with ldc elements from row to row. op(A)
// is m×k: A is stored [m, k], or [k, m] when transA is set, with lda elements
// from row to row. op(B) is k×n: B is stored [k, n], or [n, k] when transB is
// set, with ldb elements from row to row.
//
// An element of C is a sum over k in ascending order by fused multiply-adds
// (separate products and sums without AVX2), in blocks of 384 steps that start
// from zero and are added up in order. So it depends on its row of op(A) and its
// column of op(B) alone: a row has the same bits however many rows or columns
// are computed with it. NaN and infinities propagate as IEEE 754 says; with
// k = 0 the product is zero.
//
// It runs on the calling goroutine and allocates nothing once its buffers are
// warm; callers split rows or batches. C must not overlap A or B. It panics when
// a size is negative, a stride is shorter than a row, or a slice is too short.
func Sgemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	checkGemm(transA, transB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc)
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		if !accumulate {
			clearMatrix(c, m, n, ldc)
		}
		return
	}
	ars, aks := lda, 1
	if transA {
		ars, aks = 1, lda
	}
	buf := gemmBuffers.Get().(*gemmBuffer)
	defer gemmBuffers.Put(buf)
	for p := 0; p < k; p += gemmKC {
		kc := min(gemmKC, k-p)
		add := accumulate || p > 0
		for j := 0; j < n; j += gemmNC {
			nc := min(gemmNC, n-j)
			if transB {
				buf.block(m, nc, kc, a[p*aks:], ars, aks, true, b[j*ldb+p:], ldb, c[j:], ldc, add)
			} else {
				buf.block(m, nc, kc, a[p*aks:], ars, aks, false, b[p*ldb+j:], ldb, c[j:], ldc, add)
			}
		}
	}
}

// block multiplies m rows of A, kc steps long, with nc columns of B.
func (buf *gemmBuffer) block(m, nc, kc int, a []float32, ars, aks int, transB bool, b []float32, ldb int, c []float32, ldc int, add bool) {
	inPlace := !transB && (m <= gemmInPlaceRows || ldb <= gemmInPlaceStride)
	rows := blockRows(m, kc)
	for i := 0; i < m; i += rows {
		mc := min(rows, m-i)
		strips, rowsA, strideA := buf.gather(mc, nc, kc, a[i*ars:], ars, aks)
		for j := 0; j < nc; j += panelWidth {
			columns := min(panelWidth, nc-j)
			panel, bks, next := buf.panels[j*kc:], panelWidth, panelWidth*kc
			switch {
			case inPlace && columns == panelWidth:
				panel, bks, next = b[j:], ldb, panelWidth
			case i > 0: // packed with the first rows
			case transB:
				packPanel(panel, true, kc, columns, b[j*ldb:], ldb)
			default:
				packPanel(panel, false, kc, columns, b[j:], ldb)
			}
			if columns == panelWidth {
				sgemmPanel(mc, kc, strips, rowsA, strideA, aks, panel, bks, next, c[i*ldc+j:], ldc, add)
				continue
			}
			buf.partial(mc, columns, kc, strips, rowsA, strideA, aks, panel, bks, c[i*ldc+j:], ldc, add)
		}
	}
}

// blockRows is the number of rows of A, of m, that are multiplied at a time: whole
// strips, and about as many each time.
func blockRows(m, kc int) int {
	most := gemmBlockA / kc / 6 * 6
	if m <= most {
		return max(m, 1)
	}
	count := (m + most - 1) / most
	return ((m+count-1)/count + 5) / 6 * 6
}

// gather brings m rows of A, kc steps long, together in the buffer where n columns
// are worth it: a transposed A as strips, rows that lie far apart as rows. Else, and
// for the rows that make no whole strip, A is read in place.
func (buf *gemmBuffer) gather(m, n, kc int, a []float32, ars, aks int) (strips, rows []float32, stride int) {
	switch {
	case n < gemmPackColumns:
	case ars == 1 && aks >= gemmPackStride && packStrips(buf.strips[:], m, kc, a, aks):
		return buf.strips[:], a, ars
	case aks == 1 && ars >= gemmCopyStride && m > 1:
		for i := range m {
			copy(buf.strips[i*kc:(i+1)*kc], a[i*ars:])
		}
		return nil, buf.strips[:], kc
	}
	return nil, a, ars
}

// partial multiplies m rows of A with a panel of which only the first columns count.
func (buf *gemmBuffer) partial(m, columns, kc int, strips, a []float32, ars, aks int, panel []float32, bks int, c []float32, ldc int, add bool) {
	if len(buf.edge) < m*panelWidth {
		buf.edge = make([]float32, m*panelWidth)
	}
	sgemmPanel(m, kc, strips, a, ars, aks, panel, bks, 0, buf.edge, panelWidth, false)
	storePanel(m, columns, buf.edge, c, ldc, add)
}

// clearMatrix sets m rows of n elements to zero.
func clearMatrix(c []float32, m, n, ldc int) {
	for i := range m {
		clear(c[i*ldc:][:n])
	}
}

// checkGemm panics when the sizes of a matrix product contradict each other.
func checkGemm(transA, transB bool, m, n, k, lenA, lda, lenB, ldb, lenC, ldc int) {
	if m < 0 || n < 0 || k < 0 {
		panic(fmt.Sprintf("kernels: matrix product of negative size: m = %d, n = %d, k = %d", m, n, k))
	}
	rowsA, colsA, rowsB, colsB := m, k, k, n
	if transA {
		rowsA, colsA = k, m
	}
	if transB {
		rowsB, colsB = n, k
	}
	checkMatrix("A", rowsA, colsA, lda, lenA)
	checkMatrix("B", rowsB, colsB, ldb, lenB)
	checkMatrix("C", m, n, ldc, lenC)
}

// checkMatrix panics when rows×cols elements with the given stride don't fit.
func checkMatrix(name string, rows, cols, stride, length int) {
	if rows == 0 || cols == 0 {
		return
	}
	if stride < cols {
		panic(fmt.Sprintf("kernels: %s is %d×%d with row stride %d: the stride must be at least %d", name, rows, cols, stride, cols))
	}
	if need := (rows-1)*stride + cols; length < need {
		panic(fmt.Sprintf("kernels: %s is %d×%d with row stride %d: got %d elements, need %d", name, rows, cols, stride, length, need))
	}
}
