package kernels

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// PanelColumns is the number of columns of a panel of a packed operand: packed
// matrices may be cut between columns at its multiples.
const PanelColumns = panelWidth

const (
	// packedBlock is the number of elements of B that ParallelSgemm packs at a time
	// (16 MiB).
	packedBlock = 4 << 20
	// packBand is the number of rows of B that are packed before the next ones.
	packBand = 16
	// packedSerial is the number of multiplications up to which starting threads
	// costs more than it gives.
	packedSerial = 1 << 19
)

// PackedSize is the number of elements that [PackColumns] writes for a k×n operand.
func PackedSize(k, n int) int { return (n + panelWidth - 1) / panelWidth * panelWidth * k }

// PackColumns packs op(B), k×n, for [SgemmPacked]: B is stored [k, n], or [n, k] when
// transB is set, with ldb elements from row to row. dst receives [PackedSize] elements:
// panels of [PanelColumns] columns one after the other, each [k][PanelColumns], the
// last filled up with zeros. So columns from j on, a multiple of PanelColumns, lie at
// dst[j*k:], and several goroutines may pack one matrix. It panics when sizes don't
// fit.
func PackColumns(dst []float32, transB bool, k, n int, b []float32, ldb int) {
	checkGemm(false, transB, 0, n, k, 0, k, len(b), ldb, 0, n)
	if need := PackedSize(k, n); len(dst) < need {
		panic(fmt.Sprintf("kernels: PackColumns: got a destination of %d elements for %d×%d, need %d", len(dst), k, n, need))
	}
	if k == 0 {
		return
	}
	// Rows are read in bands, each through all panels, so that few pages are open.
	band := k
	if !transB {
		band = packBand
	}
	for p := 0; p < k; p += band {
		rows := min(band, k-p)
		for j := 0; j < n; j += panelWidth {
			from := p*ldb + j
			if transB {
				from = j * ldb
			}
			packPanel(dst[j*k+p*panelWidth:], transB, rows, min(panelWidth, n-j), b[from:], ldb)
		}
	}
}

// SgemmPacked computes C = op(A)·B, or C += op(A)·B when accumulate is set, as [Sgemm]
// does and with its bits, of an operand B, k×n, that [PackColumns] has packed. What is
// multiplied more than once, like a layer's weights, or by several goroutines, needs
// packing only once. Columns from j on, a multiple of [PanelColumns], are the product
// with packed[j*k:].
//
// It runs on the calling goroutine and allocates nothing once its buffers are warm.
// It panics when sizes don't fit.
func SgemmPacked(transA bool, m, n, k int, a []float32, lda int, packed, c []float32, ldc int, accumulate bool) {
	checkGemm(transA, false, m, n, k, len(a), lda, len(packed), n, len(c), ldc)
	if need := PackedSize(k, n); len(packed) < need {
		panic(fmt.Sprintf("kernels: SgemmPacked: got %d packed elements for %d×%d, need %d", len(packed), k, n, need))
	}
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
		rows := blockRows(m, kc)
		for i := 0; i < m; i += rows {
			buf.packedRows(min(rows, m-i), n, k, kc, a[i*ars+p*aks:], ars, aks, packed[p*panelWidth:], c[i*ldc:], ldc, accumulate || p > 0)
		}
	}
}

// packedRows multiplies m rows of A, kc steps long, with all packed panels, k steps
// long.
func (buf *gemmBuffer) packedRows(m, n, k, kc int, a []float32, ars, aks int, packed, c []float32, ldc int, add bool) {
	strips, a, ars := buf.gather(m, n, kc, a, ars, aks)
	for j := 0; j < n; j += panelWidth {
		if columns := n - j; columns < panelWidth {
			buf.partial(m, columns, kc, strips, a, ars, aks, packed[j*k:], panelWidth, c[j:], ldc, add)
			continue
		}
		sgemmPanel(m, kc, strips, a, ars, aks, packed[j*k:], panelWidth, panelWidth*k, c[j:], ldc, add)
	}
}

// ParallelSgemm is [Sgemm], bit for bit, on up to GOMAXPROCS threads. B is packed
// once for all of them, in memory that is kept for the next call.
func ParallelSgemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	threads := runtime.GOMAXPROCS(0)
	if threads == 1 || m*n*k < packedSerial {
		Sgemm(transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
		return
	}
	checkGemm(transA, transB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc)
	width := min(n, max(panelWidth, packedBlock/k/panelWidth*panelWidth))
	packed := packedBuffers.Get().(*[]float32)
	defer packedBuffers.Put(packed)
	if size := PackedSize(k, width); len(*packed) < size {
		*packed = make([]float32, size)
	}
	for j := 0; j < n; j += width {
		nc := min(width, n-j)
		from := j
		if transB {
			from = j * ldb
		}
		packAndMultiply(transA, transB, m, nc, k, a, lda, b[from:], ldb, *packed, c[j:], ldc, accumulate)
	}
}

var packedBuffers = sync.Pool{New: func() any { return new([]float32) }}

// packAndMultiply packs B and multiplies, with one start of the threads: a thread that
// finds nothing left to pack waits only for pieces that others have begun.
func packAndMultiply(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, packed, c []float32, ldc int, accumulate bool) {
	const columns = 4 * panelWidth
	pieces := (n + columns - 1) / columns
	blocks := newBlocks(m, n)
	var packing, ready, multiplying atomic.Int64
	split(runtime.GOMAXPROCS(0), func(int) {
		for i := int(packing.Add(1)) - 1; i < pieces; i = int(packing.Add(1)) - 1 {
			j := i * columns
			from := j
			if transB {
				from = j * ldb
			}
			PackColumns(packed[j*k:], transB, k, min(columns, n-j), b[from:], ldb)
			ready.Add(1)
		}
		for int(ready.Load()) < pieces {
			runtime.Gosched()
		}
		for i := int(multiplying.Add(1)) - 1; i < blocks.count; i = int(multiplying.Add(1)) - 1 {
			blocks.multiply(i, transA, k, a, lda, packed, c, ldc, accumulate)
		}
	})
}

// ParallelSgemmPacked is [SgemmPacked], bit for bit, on up to GOMAXPROCS threads.
func ParallelSgemmPacked(transA bool, m, n, k int, a []float32, lda int, packed, c []float32, ldc int, accumulate bool) {
	if runtime.GOMAXPROCS(0) == 1 || m*n*k < packedSerial {
		SgemmPacked(transA, m, n, k, a, lda, packed, c, ldc, accumulate)
		return
	}
	checkGemm(transA, false, m, n, k, len(a), lda, len(packed), n, len(c), ldc)
	blocks := newBlocks(m, n)
	split(blocks.count, func(i int) { blocks.multiply(i, transA, k, a, lda, packed, c, ldc, accumulate) })
}

// blocks cuts an m×n matrix into blocks, a few for each thread.
type blocks struct{ m, n, rows, columns, count int }

// newBlocks halves rows as long as those are many, since neighbouring rows share
// nothing, then columns.
func newBlocks(m, n int) blocks {
	b := blocks{m: m, n: n, rows: m, columns: n}
	for tasks := 8 * runtime.GOMAXPROCS(0); ; {
		b.count = (m + b.rows - 1) / b.rows * ((n + b.columns - 1) / b.columns)
		switch {
		case b.count >= tasks:
			return b
		case b.rows >= 192:
			b.rows = (b.rows/2 + 5) / 6 * 6
		case b.columns >= 8*panelWidth:
			b.columns = (b.columns/2 + panelWidth - 1) / panelWidth * panelWidth
		default:
			return b
		}
	}
}

// multiply computes block number i.
func (b *blocks) multiply(i int, transA bool, k int, a []float32, lda int, packed, c []float32, ldc int, accumulate bool) {
	across := (b.n + b.columns - 1) / b.columns
	r, s := i/across*b.rows, i%across*b.columns
	from := r * lda
	if transA {
		from = r
	}
	SgemmPacked(transA, min(b.rows, b.m-r), min(b.columns, b.n-s), k, a[from:], lda, packed[s*k:], c[r*ldc+s:], ldc, accumulate)
}

// SgemmBatch computes batch products like [Sgemm]: that of number i from a[i*strideA:],
// b[i*strideB:] and to c[i*strideC:]. A stride of 0 takes the same operand for all;
// products must not overlap. It runs on the calling goroutine, and panics as Sgemm
// does.
func SgemmBatch(batch int, transA, transB bool, m, n, k int, a []float32, lda, strideA int, b []float32, ldb, strideB int, c []float32, ldc, strideC int, accumulate bool) {
	checkBatch(batch, m, n, strideA, strideB, ldc, strideC)
	for i := range batch {
		Sgemm(transA, transB, m, n, k, a[min(i*strideA, len(a)):], lda, b[min(i*strideB, len(b)):], ldb, c[min(i*strideC, len(c)):], ldc, accumulate)
	}
}

// ParallelSgemmBatch is [SgemmBatch], bit for bit, on up to GOMAXPROCS threads.
func ParallelSgemmBatch(batch int, transA, transB bool, m, n, k int, a []float32, lda, strideA int, b []float32, ldb, strideB int, c []float32, ldc, strideC int, accumulate bool) {
	checkBatch(batch, m, n, strideA, strideB, ldc, strideC)
	one := func(i int) {
		SgemmBatch(1, transA, transB, m, n, k, a[min(i*strideA, len(a)):], lda, 0, b[min(i*strideB, len(b)):], ldb, 0, c[min(i*strideC, len(c)):], ldc, 0, accumulate)
	}
	switch {
	case batch*m*n*k < packedSerial:
		for i := range batch {
			one(i)
		}
	case batch < 2*runtime.GOMAXPROCS(0):
		for i := range batch {
			ParallelSgemm(transA, transB, m, n, k, a[min(i*strideA, len(a)):], lda, b[min(i*strideB, len(b)):], ldb, c[min(i*strideC, len(c)):], ldc, accumulate)
		}
	default:
		split(batch, one)
	}
}

// checkBatch panics when products of a batch overlap or a size is negative.
func checkBatch(batch, m, n, strideA, strideB, ldc, strideC int) {
	if batch < 0 || strideA < 0 || strideB < 0 || strideC < 0 {
		panic(fmt.Sprintf("kernels: batch of %d products, strides %d, %d and %d: none may be negative", batch, strideA, strideB, strideC))
	}
	if batch > 1 && m > 0 && n > 0 && strideC < (m-1)*ldc+n {
		panic(fmt.Sprintf("kernels: products of %d×%d with row stride %d lie %d apart and overlap", m, n, ldc, strideC))
	}
}
