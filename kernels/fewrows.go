package kernels

import "runtime"

// fewRowsSplit is about the number of weights that a thread takes at a time.
const fewRowsSplit = 1 << 17

// SgemmFewRows computes y = x·wᵀ in single precision, made for the one to eight rows
// that decoding multiplies: x is [m, k], w [n, k] as checkpoints store linear layers,
// y [m, n], with ldx, ldw and ldy elements from row to row. The weights are read
// once, in place, which for few rows is what the time goes into; from about 16 rows
// on [Sgemm] is faster.
//
// An element of y is a sum in sixteen lanes, lane i over the k that are i modulo 16 in
// ascending order by fused multiply-adds (separate products and sums without AVX2);
// lanes i and i+8 are added, and then ((0+1)+(2+3)) + ((4+5)+(6+7)). So a row has the same bits for every m and
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

// ParallelSgemmFewRows is [SgemmFewRows], bit for bit, on up to GOMAXPROCS threads.
func ParallelSgemmFewRows(m, n, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	if runtime.GOMAXPROCS(0) == 1 || m < 1 || n*k < 2*fewRowsSplit {
		SgemmFewRows(m, n, k, x, ldx, w, ldw, y, ldy)
		return
	}
	checkGemm(false, true, m, n, k, len(x), ldx, len(w), ldw, len(y), ldy)
	columns := (fewRowsSplit + k - 1) / k
	split((n+columns-1)/columns, func(i int) {
		fewRowsColumns(m, i*columns, min(n, (i+1)*columns), k, x, ldx, w, ldw, y, ldy)
	})
}

// fewRowsColumns computes columns from ≤ j < to of y. k is at least 1.
func fewRowsColumns(m, from, to, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	if !useAVX2 {
		fewRowsGo(m, from, to, k, x, ldx, w, ldw, y, ldy)
		return
	}
	// Columns of both halves are computed in pairs: two streams through the weights.
	half := (to - from) / 2
	if m <= 3 && half > 0 {
		fewRowsPairs(m, half, half, k, x, ldx, w[from*ldw:], ldw, y[from:], ldy)
	} else {
		for j := from; j < from+half; j++ { // for all rows but the first, w comes from the cache
			fewRowsPairs(m, 1, half, k, x, ldx, w[j*ldw:], ldw, y[j:], ldy)
		}
	}
	if last := to - 1; from+2*half < to { // paired with itself
		fewRowsPairs(m, 1, 0, k, x, ldx, w[last*ldw:], ldw, y[last:], ldy)
	}
}

// fewRowsPairs multiplies all rows of x, by threes and twos, with count rows of w and
// those pair rows behind each.
func fewRowsPairs(m, count, pair, k int, x []float32, ldx int, w []float32, ldw int, y []float32, ldy int) {
	for i := 0; i < m; {
		p, q := &x[i*ldx], &y[i*ldy]
		switch left := m - i; {
		case left == 1:
			fewRows1AVX2(k, p, ldx*4, &w[0], ldw*4, pair*ldw*4, q, ldy*4, pair*4, count)
			i++
		case left == 2 || left == 4:
			fewRows2AVX2(k, p, ldx*4, &w[0], ldw*4, pair*ldw*4, q, ldy*4, pair*4, count)
			i += 2
		default:
			fewRows3AVX2(k, p, ldx*4, &w[0], ldw*4, pair*ldw*4, q, ldy*4, pair*4, count)
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
			var s [16]float32
			p := 0
			for ; p+16 <= k; p += 16 {
				a, b := row[p:][:16:16], column[p:][:16:16]
				for l := range s {
					s[l] += float32(a[l] * b[l])
				}
			}
			for l := 0; p < k; l, p = l+1, p+1 {
				s[l] += float32(row[p] * column[p])
			}
			for l := range 8 {
				s[l] += s[l+8]
			}
			y[i*ldy+j] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
		}
	}
}
