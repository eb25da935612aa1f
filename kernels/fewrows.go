package kernels

import "runtime"

const (
	// fewRowsTile is the number of columns that the assembly computes at a time.
	fewRowsTile = 4
	// fewRowsSplit is the number of weights that is worth a goroutine.
	fewRowsSplit = 1 << 16
)

// SgemmFewRows computes y = x·wᵀ in single precision, made for the one to eight rows
// that decoding multiplies: x is [m, k], w [n, k] as checkpoints store linear layers,
// y [m, n], with ldx, ldw and ldy elements from row to row. The weights are read
// once, in place, which for few rows is what the time goes into; from about 16 rows
// on [Sgemm] is faster.
//
// An element of y is a sum in eight lanes, lane i over the k that are i modulo 8 in
// ascending order by fused multiply-adds (separate products and sums without AVX2),
// and then ((0+1)+(2+3)) + ((4+5)+(6+7)). So a row has the same bits for every m and
// n, but not those of [Sgemm]: calibration, whose results must not depend on the
// number of rows, never calls this. NaN and infinities propagate as IEEE 754 says.
//
// It runs on the calling goroutine and allocates nothing. y must not overlap x or w.
// It panics when a size is negative, a stride is shorter than a row, or a slice is
// too short.
func SgemmFewRows(m, n, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	checkGemm(false, true, m, n, k, len(x), ldx, len(w), ldw, len(y), ldy)
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		clearMatrix(y, m, n, ldy)
		return
	}
	fewRowsColumns(m, 0, n, k, x, ldx, w, ldw, y, ldy)
}

// ParallelSgemmFewRows is [SgemmFewRows], bit for bit, on up to GOMAXPROCS threads,
// each of which takes neighbouring columns of y.
func ParallelSgemmFewRows(m, n, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	tiles := (n + fewRowsTile - 1) / fewRowsTile
	threads := min(runtime.GOMAXPROCS(0), tiles, n*k/fewRowsSplit)
	if threads <= 1 || m < 1 {
		SgemmFewRows(m, n, k, x, ldx, w, ldw, y, ldy)
		return
	}
	checkGemm(false, true, m, n, k, len(x), ldx, len(w), ldw, len(y), ldy)
	split(threads, func(i int) {
		from, to := tiles*i/threads*fewRowsTile, min(n, tiles*(i+1)/threads*fewRowsTile)
		fewRowsColumns(m, from, to, k, x, ldx, w, ldw, y, ldy)
	})
}

// fewRowsColumns computes columns from ≤ j < to of y. k is at least 1.
func fewRowsColumns(m, from, to, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	if !useAVX2 {
		fewRowsGo(m, from, to, k, x, ldx, w, ldw, y, ldy)
		return
	}
	j := from
	for ; m > 3 && j+fewRowsTile <= to; j += fewRowsTile { // w comes from the cache for all rows but the first
		fewRowsTiles(m, 1, k, x, ldx, w[j*ldw:], ldw, y[j:], ldy)
	}
	if tiles := (to - j) / fewRowsTile; tiles > 0 {
		fewRowsTiles(m, tiles, k, x, ldx, w[j*ldw:], ldw, y[j:], ldy)
		j += tiles * fewRowsTile
	}
	// The last columns each fill a tile of their own.
	var tile [3 * fewRowsTile]float32
	for ; j < to; j++ {
		for i := 0; i < m; i += 3 {
			rows := min(3, m-i)
			fewRowsTiles(rows, 1, k, x[i*ldx:], ldx, w[j*ldw:], 0, tile[:], fewRowsTile)
			for r := range rows {
				y[(i+r)*ldy+j] = tile[r*fewRowsTile]
			}
		}
	}
}

// fewRowsTiles multiplies all rows of x with 4·tiles rows of w, by threes and twos.
func fewRowsTiles(m, tiles, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	for i := 0; i < m; {
		p, q := &x[i*ldx], &y[i*ldy]
		switch left := m - i; {
		case left == 1:
			fewRows1AVX2(k, p, ldx*4, &w[0], ldw*4, q, ldy*4, tiles)
			i++
		case left == 2 || left == 4:
			fewRows2AVX2(k, p, ldx*4, &w[0], ldw*4, q, ldy*4, tiles)
			i += 2
		default:
			fewRows3AVX2(k, p, ldx*4, &w[0], ldw*4, q, ldy*4, tiles)
			i += 3
		}
	}
}

// fewRowsGo is fewRowsColumns in plain Go.
func fewRowsGo(m, from, to, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	for j := from; j < to; j++ {
		column := w[j*ldw:][:k]
		for i := range m {
			row := x[i*ldx:][:k]
			var s [8]float32
			p := 0
			for ; p+8 <= k; p += 8 {
				a, b := row[p:][:8:8], column[p:][:8:8]
				for l := range s {
					s[l] += float32(a[l] * b[l])
				}
			}
			for l := 0; p < k; l, p = l+1, p+1 {
				s[l] += float32(row[p] * column[p])
			}
			y[i*ldy+j] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
		}
	}
}
