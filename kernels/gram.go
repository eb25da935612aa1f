package kernels

import (
	"fmt"
	"runtime"
)

// AddGram adds Σ_t a_t·x_t·xᵀ_t to the symmetric h [cols, cols] in double precision.
// x is [tokens, cols]; a holds one weight per token, nil: ones. Tokens of weight 0
// are not read. Only the lower triangle of h is read and computed; the upper one
// becomes its mirror image.
//
// An element is summed as [Dgemm] does, over the tokens that are read, in ascending
// order: by fused multiply-adds of (a·x_i), which is exact, and x_j (separate products
// and sums without AVX2), in blocks of 256 tokens that start from zero and are added
// to h in order. So the order of the two factors and the number of threads, up to
// GOMAXPROCS, change no bit. It allocates a list of the tokens, and panics when
// lengths don't fit.
func AddGram(h []float64, x, a []float32, cols int) {
	if cols < 1 || len(h) != cols*cols || len(x)%cols != 0 || (a != nil && len(a) != len(x)/cols) {
		panic(fmt.Sprintf("kernels: AddGram: %d sums, %d inputs and %d weights for %d columns", len(h), len(x), len(a), cols))
	}
	addProducts(h, x, x, newTokens(len(x)/cols, a, cols), cols, true)
	const columns = 4 * mirrorTile
	split((cols+columns-1)/columns, func(i int) {
		for j := i * columns; j < min(cols, (i+1)*columns); j += mirrorTile {
			mirror(h, cols, j)
		}
	})
}

// AddCross adds Σ_t a_t·y_t·xᵀ_t to d [cols, cols], which is not symmetric, as
// [AddGram] does. x and y are [tokens, cols].
func AddCross(d []float64, y, x, a []float32, cols int) {
	if cols < 1 || len(d) != cols*cols || len(x)%cols != 0 || len(y) != len(x) || (a != nil && len(a) != len(x)/cols) {
		panic(fmt.Sprintf("kernels: AddCross: %d sums, %d and %d inputs and %d weights for %d columns", len(d), len(y), len(x), len(a), cols))
	}
	addProducts(d, y, x, newTokens(len(x)/cols, a, cols), cols, false)
}

// tokens are the rows that count: where each begins and its weight.
type tokens struct {
	at     []int
	weight []float64
}

func newTokens(n int, a []float32, cols int) tokens {
	t := tokens{at: make([]int, 0, n), weight: make([]float64, 0, n)}
	for i := range n {
		weight := 1.0
		if a != nil {
			weight = float64(a[i])
		}
		if weight != 0 {
			t.at, t.weight = append(t.at, i*cols), append(t.weight, weight)
		}
	}
	return t
}

// addProducts adds Σ_t a_t·y_t·xᵀ_t to d, or to its lower triangle and what shares a
// tile of the kernel with it.
func addProducts(d []float64, y, x []float32, t tokens, cols int, lower bool) {
	tasks := 1
	if threads := runtime.GOMAXPROCS(0); threads > 1 && len(t.at)*cols*cols >= dgemmSerial {
		tasks = 6 * threads
	}
	rows, columns := dgemmTask(cols, cols, tasks)
	rows, columns = min(rows, dgemmMC), min(columns, dgemmNC)
	across := (cols + columns - 1) / columns
	split((cols+rows-1)/rows*across, func(i int) {
		r, s := i/across*rows, i%across*columns
		if lower && s >= r+rows {
			return
		}
		buf := dgemmBuffers.Get().(*dgemmBuffer)
		defer dgemmBuffers.Put(buf)
		buf.addBlock(d, y, x, t, cols, r, min(rows, cols-r), s, min(columns, cols-s), lower)
	})
}

// addBlock adds the products that belong to the rows from r and the columns from s of
// d, as many as one buffer holds.
func (buf *dgemmBuffer) addBlock(d []float64, y, x []float32, t tokens, cols, r, rows, s, columns int, lower bool) {
	c := d[r*cols+s:]
	for p := 0; p < len(t.at); p += dgemmKC {
		kc := min(dgemmKC, len(t.at)-p)
		at, weight := t.at[p:p+kc], t.weight[p:p+kc]
		for i := 0; i < rows; i += dgemmRows {
			packWide(buf.strips[i*kc:], dgemmRows, min(dgemmRows, rows-i), y[r+i:], at, weight)
		}
		for j := 0; j < columns; j += dgemmColumns {
			first := 0
			if lower { // the first strip that reaches down to the diagonal
				first = max(0, (s+j-r)/dgemmRows)
			}
			if first*dgemmRows >= rows {
				break
			}
			packWide(buf.panels[j*kc:], dgemmColumns, min(dgemmColumns, columns-j), x[s+j:], at, nil)
			buf.panel(first, j, rows, columns, kc, 1, c, cols, true)
		}
	}
}

// packWide writes width neighbouring elements of each token, converted and times its
// weight (nil: 1), as [tokens][lanes] with zeros from width on.
func packWide(dst []float64, lanes, width int, src []float32, at []int, weight []float64) {
	if useAVX2 && width == lanes {
		w, step := &one, 0
		if weight != nil {
			w, step = &weight[0], 8
		}
		if lanes == dgemmColumns {
			packWide8AVX2(len(at), &src[0], &at[0], w, step, &dst[0])
		} else {
			packWide6AVX2(len(at), &src[0], &at[0], w, step, &dst[0])
		}
		return
	}
	for p, from := range at {
		w := 1.0
		if weight != nil {
			w = weight[p]
		}
		row := dst[p*lanes:][:lanes]
		for i, v := range src[from:][:width] {
			row[i] = w * float64(v)
		}
		clear(row[width:])
	}
}

var one = 1.0

// mirrorTile is the number of rows and columns that are mirrored at a time, through a
// tile in the first-level cache: rows of a large matrix share cache sets.
const mirrorTile = 16

// mirror writes the columns from the given one on, a tile of them, of the upper
// triangle.
func mirror(h []float64, n, from int) {
	var tile [mirrorTile][mirrorTile]float64
	to := min(n, from+mirrorTile)
	for top := 0; top < to; top += mirrorTile {
		rows := min(n, top+mirrorTile) - top
		for i := from; i < to; i++ {
			for j, v := range h[i*n+top:][:rows] {
				tile[j][i-from] = v
			}
		}
		for j := range rows {
			first := max(from, top+j)
			if first < to {
				copy(h[(top+j)*n+first:(top+j)*n+to], tile[j][first-from:])
			}
		}
	}
}
