package kernels

import (
	"runtime"
	"sync"
)

const (
	// dgemmRows × dgemmColumns is the tile of C that the micro-kernel keeps in
	// registers.
	dgemmRows, dgemmColumns = 6, 8
	// dgemmKC bounds the steps along k of one block: a panel of B (16 KiB) stays in
	// the first-level cache while strips of A pass it.
	dgemmKC = 256
	// dgemmMC rows of A (240 KiB) stay in the second-level cache while all packed
	// panels of B pass them.
	dgemmMC = 20 * dgemmRows
	// dgemmNC bounds the columns of B packed at a time (1 MiB).
	dgemmNC = 64 * dgemmColumns
	// dgemmSerial is the number of multiplications up to which starting threads costs
	// more than it gives.
	dgemmSerial = 1 << 18
)

// dgemmBuffer holds one block of packed strips of A, one of packed panels of B, and
// a tile for partial rows and columns.
type dgemmBuffer struct {
	strips [dgemmMC * dgemmKC]float64
	panels [dgemmKC * dgemmNC]float64
	edge   [dgemmRows * dgemmColumns]float64
}

var dgemmBuffers = sync.Pool{New: func() any { return new(dgemmBuffer) }}

// Dgemm computes C = alpha·op(A)·op(B), or C += alpha·op(A)·op(B) when accumulate is
// set, in double precision. Layouts are those of [Sgemm]: C is m×n, op(A) m×k and
// op(B) k×n, row-major with lda, ldb and ldc elements from row to row; A is stored
// [k, m] when transA is set, B [n, k] when transB is set.
//
// An element of C is a sum over k in ascending order by fused multiply-adds
// (separate products and sums without AVX2), in blocks of 256 steps that start from
// zero; alpha times a block's sum is added to C, blocks in order. So an element
// depends on its row of op(A) and its column of op(B) alone, whatever else is
// computed with it. NaN and infinities propagate as IEEE 754 says; with k = 0 the
// product is zero.
//
// It runs on the calling goroutine and allocates nothing once its buffers are warm;
// [ParallelDgemm] has the same bits on several threads. C must not overlap A or B.
// It panics when a size is negative, a stride is shorter than a row, or a slice is
// too short.
func Dgemm(transA, transB bool, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, c []float64, ldc int, accumulate bool) {
	checkGemm(transA, transB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc)
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		if !accumulate {
			for i := range m {
				clear(c[i*ldc:][:n])
			}
		}
		return
	}
	ars, aks, bcs, bks := lda, 1, 1, ldb
	if transA {
		ars, aks = 1, lda
	}
	if transB {
		bcs, bks = ldb, 1
	}
	buf := dgemmBuffers.Get().(*dgemmBuffer)
	defer dgemmBuffers.Put(buf)
	for j := 0; j < n; j += dgemmNC {
		nc := min(dgemmNC, n-j)
		for p := 0; p < k; p += dgemmKC {
			kc := min(dgemmKC, k-p)
			for i := 0; i < nc; i += dgemmColumns {
				dpack(buf.panels[i*kc:], dgemmColumns, min(dgemmColumns, nc-i), kc, b[(j+i)*bcs+p*bks:], bcs, bks)
			}
			for i := 0; i < m; i += dgemmMC {
				mc := min(dgemmMC, m-i)
				for r := 0; r < mc; r += dgemmRows {
					dpack(buf.strips[r*kc:], dgemmRows, min(dgemmRows, mc-r), kc, a[(i+r)*ars+p*aks:], ars, aks)
				}
				buf.block(mc, nc, kc, alpha, c[i*ldc+j:], ldc, accumulate || p > 0)
			}
		}
	}
}

// block multiplies the packed strips, mc rows, with the packed panels, nc columns.
func (buf *dgemmBuffer) block(mc, nc, kc int, alpha float64, c []float64, ldc int, add bool) {
	for j := 0; j < nc; j += dgemmColumns {
		buf.panel(0, j, mc, nc, kc, alpha, c, ldc, add)
	}
}

// panel multiplies the packed strips, mc rows, from strip number first on, with the
// packed panel of the columns from j on.
func (buf *dgemmBuffer) panel(first, j, mc, nc, kc int, alpha float64, c []float64, ldc int, add bool) {
	buf.span(first, j, mc, nc, kc, 0, kc, alpha, c, ldc, add)
}

// span is panel over the steps from ≤ p < to of kc.
func (buf *dgemmBuffer) span(first, j, mc, nc, kc, from, to int, alpha float64, c []float64, ldc int, add bool) {
	strips, panel, columns := buf.strips[from*dgemmRows:], buf.panels[j*kc+from*dgemmColumns:], min(dgemmColumns, nc-j)
	t := first
	if whole := mc / dgemmRows; columns == dgemmColumns && whole > first {
		dgemmStrips(to-from, kc, strips[first*dgemmRows*kc:], panel, c[first*dgemmRows*ldc+j:], ldc, alpha, add, whole-first)
		t = whole
	}
	for ; t*dgemmRows < mc; t++ { // through a tile of our own, which may be partial
		rows := min(dgemmRows, mc-t*dgemmRows)
		at := t*dgemmRows*ldc + j
		if add {
			for i := range rows {
				copy(buf.edge[i*dgemmColumns:][:columns], c[at+i*ldc:])
			}
		}
		dgemmStrips(to-from, kc, strips[t*dgemmRows*kc:], panel, buf.edge[:], dgemmColumns, alpha, add, 1)
		for i := range rows {
			copy(c[at+i*ldc:][:columns], buf.edge[i*dgemmColumns:])
		}
	}
}

// ParallelDgemm is [Dgemm], bit for bit, on up to GOMAXPROCS threads.
func ParallelDgemm(transA, transB bool, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, c []float64, ldc int, accumulate bool) {
	checkGemm(transA, transB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc)
	threads := runtime.GOMAXPROCS(0)
	if m*n*k < dgemmSerial || threads == 1 {
		Dgemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, c, ldc, accumulate)
		return
	}
	rows, columns := dgemmTask(m, n, 4*threads)
	across := (n + columns - 1) / columns
	split((m+rows-1)/rows*across, func(i int) {
		r, s := i/across*rows, i%across*columns
		ar, bs := r*lda, s
		if transA {
			ar = r
		}
		if transB {
			bs = s * ldb
		}
		Dgemm(transA, transB, min(rows, m-r), min(columns, n-s), k, alpha, a[ar:], lda, b[bs:], ldb, c[r*ldc+s:], ldc, accumulate)
	})
}

// dgemmTask cuts C into about as many blocks of whole tiles as asked for, close to
// squares, since a block packs its rows of A and its columns of B.
func dgemmTask(m, n, tasks int) (rows, columns int) {
	rows, columns = m, n
	for (m+rows-1)/rows*((n+columns-1)/columns) < tasks && max(rows, columns) > 8*dgemmColumns {
		if rows > columns {
			rows = (rows/2 + dgemmRows - 1) / dgemmRows * dgemmRows
		} else {
			columns = (columns/2 + dgemmColumns - 1) / dgemmColumns * dgemmColumns
		}
	}
	return rows, columns
}
