package kernels

import (
	"cmp"
	"runtime"
	"slices"
)

// triangleKC bounds the steps along k of a product with a triangle: two blocks of
// rows, so that those beside the triangle's diagonal hold whole strips.
const triangleKC = 2 * dgemmMC

// subtractLower takes A·Bᵀ from the lower trapezoid c [m, n], where a is A [m, k] and B
// its first n rows, all rows ld apart. Elements are summed as [Dgemm] does.
func subtractLower(a, c []float64, ld, m, n, k int) {
	tasks := 1
	if threads := runtime.GOMAXPROCS(0); threads > 1 && m*n*k >= dgemmSerial {
		tasks = 8 * threads
	}
	rows, columns := dgemmTask(m, n, tasks)
	type block struct{ row, column int }
	var blocks []block
	for r := 0; r < m; r += rows {
		for s := 0; s < min(n, r+rows); s += columns {
			blocks = append(blocks, block{r, s})
		}
	}
	// Those that the diagonal halves come last, so that no thread begins a whole one late.
	slices.SortStableFunc(blocks, func(x, y block) int { return cmp.Compare(y.row-y.column, x.row-x.column) })
	split(len(blocks), func(i int) {
		r, s := blocks[i].row, blocks[i].column
		buf := dgemmBuffers.Get().(*dgemmBuffer)
		defer dgemmBuffers.Put(buf)
		buf.subtractLower(a, c, ld, k, r, min(m, r+rows), s, min(n, s+columns))
	})
}

// subtractLower does the rows top ≤ i < bottom and the columns left ≤ j < right.
func (buf *dgemmBuffer) subtractLower(a, c []float64, ld, k, top, bottom, left, right int) {
	for s := left; s < right; s += dgemmNC {
		nc := min(dgemmNC, right-s)
		for p := 0; p < k; p += dgemmKC {
			kc := min(dgemmKC, k-p)
			for j := 0; j < nc; j += dgemmColumns {
				dpack(buf.panels[j*kc:], dgemmColumns, min(dgemmColumns, nc-j), kc, a[(s+j)*ld+p:], ld, 1)
			}
			for r := top; r < bottom; r += dgemmMC {
				mc := min(dgemmMC, bottom-r)
				if r+mc <= s {
					continue // above the diagonal
				}
				buf.packStrips(a[r*ld+p:], ld, mc, kc)
				for j := 0; j < nc; j += dgemmColumns {
					t := max(0, (s+j-r)/dgemmRows) // the strip that reaches down to the diagonal
					for ; t*dgemmRows < min(mc, s+j+dgemmColumns-1-r); t++ {
						buf.subtractDiagonal(t, j, min(dgemmRows, mc-t*dgemmRows), min(dgemmColumns, nc-j), kc, c[(r+t*dgemmRows)*ld+s+j:], ld, r+t*dgemmRows-s-j)
					}
					if t*dgemmRows < mc {
						buf.panel(t, j, mc, nc, kc, -1, c[r*ld+s:], ld, true)
					}
				}
			}
		}
	}
}

// subtractDiagonal does the tile of strip t and the panel of the columns from j on, of
// which row i counts up to its column i + below.
func (buf *dgemmBuffer) subtractDiagonal(t, j, rows, columns, kc int, c []float64, ld, below int) {
	for i := range rows {
		copy(buf.edge[i*dgemmColumns:], c[i*ld:][:max(0, min(columns, i+below+1))])
	}
	dgemmStrips(kc, kc, buf.strips[t*dgemmRows*kc:], buf.panels[j*kc:], buf.edge[:], dgemmColumns, -1, true, 1)
	for i := range rows {
		copy(c[i*ld:][:max(0, min(columns, i+below+1))], buf.edge[i*dgemmColumns:])
	}
}

// packStrips packs mc rows, ld apart, of kc steps each.
func (buf *dgemmBuffer) packStrips(a []float64, ld, mc, kc int) {
	for r := 0; r < mc; r += dgemmRows {
		dpack(buf.strips[r*kc:], dgemmRows, min(dgemmRows, mc-r), kc, a[r*ld:], ld, 1)
	}
}

// timesTransposed overwrites b [m, n] with B·Yᵀ for the lower triangular y [n, n], zeros
// above its diagonal, n at most dgemmKC.
func (buf *dgemmBuffer) timesTransposed(y []float64, b []float64, ld, m, n int) {
	for j := 0; j < n; j += dgemmColumns {
		dpack(buf.panels[j*n:], dgemmColumns, min(dgemmColumns, n-j), n, y[j*n:], n, 1)
	}
	for i := 0; i < m; i += dgemmMC {
		mc := min(dgemmMC, m-i)
		buf.packStrips(b[i*ld:], ld, mc, n)
		for j := 0; j < n; j += dgemmColumns {
			buf.span(0, j, mc, n, n, 0, min(n, j+dgemmColumns), 1, b[i*ld:], ld, false)
		}
	}
}

// minusLowerTimes overwrites b [m, n] with −X·B for the lower triangular x [m, m], of
// which nothing above the diagonal counts. n is at most dgemmNC.
//
// Blocks of B are taken from the last to the first: a block is packed, then its rows get
// what the triangle on the diagonal makes of it, and the rows below, which have got
// theirs, what the rest of the block of columns does.
func (buf *dgemmBuffer) minusLowerTimes(x, b []float64, ld, m, n int) {
	for p := (m - 1) / triangleKC * triangleKC; p >= 0; p -= triangleKC {
		kc := min(triangleKC, m-p)
		for j := 0; j < n; j += dgemmColumns {
			dpack(buf.panels[j*kc:], dgemmColumns, min(dgemmColumns, n-j), kc, b[p*ld+j:], 1, ld)
		}
		for i := p; i < m; i += dgemmMC {
			mc := min(dgemmMC, m-i)
			buf.packStrips(x[i*ld+p:], ld, mc, kc)
			if i >= p+kc {
				buf.block(mc, n, kc, -1, b[i*ld:], ld, true)
				continue
			}
			for r := 0; r < mc; r += dgemmRows {
				at := i - p + r // the step of the strip's first element on the diagonal
				for k := at + 1; k < min(kc, at+dgemmRows); k++ {
					clear(buf.strips[r*kc+k*dgemmRows:][:k-at])
				}
			}
			for j := 0; j < n; j += dgemmColumns {
				for r := 0; r < mc; r += dgemmRows {
					buf.span(r/dgemmRows, j, min(mc, r+dgemmRows), n, kc, 0, min(kc, i-p+r+dgemmRows), -1, b[i*ld:], ld, false)
				}
			}
		}
	}
}

// timesLower overwrites b [m, n] with B·X for the lower triangular x [n, n], of which
// nothing above the diagonal counts.
//
// Blocks of columns of B are taken from the first to the last: a block's products go to
// the columns left of it, then to its own, which replaces it.
func (buf *dgemmBuffer) timesLower(x, b []float64, ld, m, n int) {
	for p := 0; p < n; p += triangleKC {
		kc := min(triangleKC, n-p)
		last := max(0, p-(dgemmNC-triangleKC)) // columns from here on are packed with the block's own
		for s := 0; s < p+kc; {
			e := min(last, s+dgemmNC)
			if s == last {
				e = p + kc
			}
			buf.timesLowerColumns(x, b, ld, m, p, kc, s, e-s)
			s = e
		}
	}
}

// timesLowerColumns does the steps from p on, kc of them, for the columns from s on, nc of
// them.
func (buf *dgemmBuffer) timesLowerColumns(x, b []float64, ld, m, p, kc, s, nc int) {
	for j := 0; j < nc; j += dgemmColumns {
		panel := buf.panels[j*kc:]
		dpack(panel, dgemmColumns, min(dgemmColumns, nc-j), kc, x[p*ld+s+j:], 1, ld)
		if at := s + j - p; at >= 0 {
			for k := at; k < min(kc, at+dgemmColumns-1); k++ {
				clear(panel[k*dgemmColumns+k-at+1:][:dgemmColumns-1-(k-at)])
			}
		}
	}
	for i := 0; i < m; i += dgemmMC {
		mc := min(dgemmMC, m-i)
		buf.packStrips(b[i*ld+p:], ld, mc, kc)
		for j := 0; j < nc; j += dgemmColumns {
			from, own := s+j-p, s+j >= p
			buf.span(0, j, mc, nc, kc, max(0, from), kc, 1, b[i*ld+s:], ld, !own)
		}
	}
}
