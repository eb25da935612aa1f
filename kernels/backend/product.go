package backend

import "github.com/tlqlab/tlqlab/kernels"

// product is a batch of matrix products [m, k]·[k, n].
type product struct {
	batch, m, n, k int
	a, b           matrix
}

const (
	// rowGrain is the number of rows a goroutine takes of a product: a multiple of
	// the kernel's height.
	rowGrain = 96
	// columnGrain is the least number of neighbouring columns that a goroutine
	// takes of a product or a reduction: the kernel's width, a cache line.
	columnGrain = 16
	// productGrain is the number of operations that is worth a goroutine.
	productGrain = 1 << 20
	// fewBlocks is the number of blocks that a product of some size should have at
	// least.
	fewBlocks = 4
)

// blocks is the size of the blocks that a product is computed in. It depends on
// the sizes alone.
func (d *product) blocks() (rows, columns int) {
	rows, columns = rowGrain, d.n
	for {
		half := (columns/2 + columnGrain - 1) / columnGrain * columnGrain
		count := d.batch * ((d.m + rows - 1) / rows) * ((d.n + columns - 1) / columns)
		if count >= fewBlocks || half >= columns || 2*min(rows, d.m)*columns*d.k < 2*productGrain {
			return rows, columns
		}
		columns = half
	}
}

// ordered copies an operand into the order its matrix wants, where needed.
func (m *matrix) ordered(b *buffer) *buffer {
	if m.order == nil || b.shape.Size() == 0 {
		return b
	}
	sorted := &buffer{shape: b.shape, flat: allocate(b.shape.DType, b.shape.Size())}
	move := moverOf(b.shape.DType)
	parallel(b.shape.Size(), pieceSize, func(from, to int) { move.strided(m.order, b, sorted, from, to) })
	return sorted
}

// product splits the batch, and the rows and columns of each product, into blocks
// of a size that depends on the sizes alone.
func (singles) product(d *product, a, b, out *buffer) {
	left, right, c := d.a.ordered(a).flat.([]float32), d.b.ordered(b).flat.([]float32), out.flat.([]float32)
	if d.k == 0 || len(c) == 0 {
		clear(c)
		return
	}
	rows, columns := d.blocks()
	down, across := (d.m+rows-1)/rows, (d.n+columns-1)/columns
	each := 2 * min(rows, d.m) * min(columns, d.n) * d.k
	parallel(d.batch*down*across, max(1, productGrain/each), func(from, to int) {
		for p := from; p < to; p++ {
			batch, i, j := p/(down*across), p/across%down*rows, p%across*columns
			m, n := min(rows, d.m-i), min(columns, d.n-j)
			x, y := left[d.a.offsets[batch]+d.a.at(i, 0):], right[d.b.offsets[batch]+d.b.at(0, j):]
			kernels.Sgemm(d.a.transposed, d.b.transposed, m, n, d.k, x, d.a.stride, y, d.b.stride, c[(batch*d.m+i)*d.n+j:], d.n, false)
		}
	})
}

// at is where the element in a row and a column lies.
func (m *matrix) at(row, column int) int {
	if m.transposed {
		return column*m.stride + row
	}
	return row*m.stride + column
}

// product is the plain product of the other types, sums in ascending order.
func (numbers[T]) product(d *product, a, b, out *buffer) {
	left, right, c := d.a.ordered(a).flat.([]T), d.b.ordered(b).flat.([]T), out.flat.([]T)
	if d.k == 0 || len(c) == 0 {
		clear(c)
		return
	}
	step := d.a.at(0, 1)
	parallel(d.batch*d.m, max(1, pieceSize/(d.n*d.k)), func(from, to int) {
		for r := from; r < to; r++ {
			batch, i := r/d.m, r%d.m
			x, y := left[d.a.offsets[batch]+d.a.at(i, 0):], right[d.b.offsets[batch]:]
			if d.b.transposed {
				rowByColumns(c[r*d.n:(r+1)*d.n], x, step, y, d.b.stride, d.k)
			} else {
				rowByRows(c[r*d.n:(r+1)*d.n], x, step, y, d.b.stride, d.k)
			}
		}
	})
}

// rowByColumns multiplies a row of k values, step apart, with a matrix of which
// each column lies together.
func rowByColumns[T number](c, x []T, step int, y []T, stride, k int) {
	for j := range c {
		var sum T
		for i, v := range y[j*stride:][:k] {
			sum += x[i*step] * v
		}
		c[j] = sum
	}
}

// rowByRows multiplies a row of k values, step apart, with a matrix of which each
// row lies together.
func rowByRows[T number](c, x []T, step int, y []T, stride, k int) {
	clear(c)
	for i := range k {
		v := x[i*step]
		for j, w := range y[i*stride:][:len(c)] {
			c[j] += v * w
		}
	}
}
