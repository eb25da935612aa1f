package backend

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	"github.com/tlqlab/tlqlab/kernels"
)

// product is a batch of matrix products [m, k]·[k, n].
type product struct {
	calc           arithmetic
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

// node is the operation: alone it runs in blocks, in a strip product by product.
func (d *product) node(shape shapes.Shape, a, b *node) *node {
	n := &node{op: compute.OpTypeDotGeneral, shape: shape, inputs: []*node{a, b}, run: d.run, key: fmt.Sprint(d.batch, d.m, d.n, d.k, d.a, d.b)}
	if d.batch > 1 && d.m*d.n > 0 && d.k > 0 {
		sizes := []int{a.shape.Size(), b.shape.Size()}
		n.rows = &rowwise{
			part: d.part, grain: d.m * d.n, natural: d.batch, cost: max(1, d.k/8),
			aligned: func(input, rows int) bool {
				return d.aligned([]*matrix{&d.a, &d.b}[input], rows, sizes[input])
			},
		}
	}
	return n
}

// aligned tells whether each of so many rows of products reads its own row of an
// operand of the given size.
func (d *product) aligned(m *matrix, rows, size int) bool {
	if d.batch%rows != 0 || size%rows != 0 {
		return false
	}
	width := size / rows
	for i, o := range m.offsets {
		row := i / (d.batch / rows)
		if o < row*width || o+m.extent > (row+1)*width {
			return false
		}
	}
	return true
}

// part computes places [from, to), which are whole products.
func (d *product) part(in []*buffer, out *buffer, from, to int) {
	each := d.m * d.n
	for batch := from / each; batch < to/each; batch++ {
		d.calc.product(d, block{batch: batch, m: d.m, n: d.n}, in[0], in[1], out)
	}
}

// block is a part of one of a product's results: m rows from i, n columns from j.
type block struct{ batch, i, m, j, n int }

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

// run splits the batch, and the rows and columns of each product.
func (d *product) run(in []*buffer, out *buffer) {
	if d.k == 0 || d.batch*d.m*d.n == 0 {
		clear(asBytes(out))
		return
	}
	rows, columns := d.blocks()
	down, across := (d.m+rows-1)/rows, (d.n+columns-1)/columns
	each := 2 * min(rows, d.m) * min(columns, d.n) * d.k
	parallel(d.batch*down*across, max(1, productGrain/each), func(from, to int) {
		for p := from; p < to; p++ {
			i, j := p/across%down*rows, p%across*columns
			d.calc.product(d, block{batch: p / (down * across), i: i, m: min(rows, d.m-i), j: j, n: min(columns, d.n-j)}, in[0], in[1], out)
		}
	})
}

// place is where the element in a row and a column of a batch lies.
func (m *matrix) place(batch, row, column int) int {
	if m.transposed {
		row, column = column, row
	}
	return m.offsets[batch] + row*m.stride + column
}

func (singles) product(d *product, b block, left, right, out *buffer) {
	x, x0 := valuesOf[float32](left)
	y, y0 := valuesOf[float32](right)
	c, c0 := valuesOf[float32](out)
	x, y = x[d.a.place(b.batch, b.i, 0)-x0:], y[d.b.place(b.batch, 0, b.j)-y0:]
	c = c[(b.batch*d.m+b.i)*d.n+b.j-c0:]
	kernels.Sgemm(d.a.transposed, d.b.transposed, b.m, b.n, d.k, x, d.a.stride, y, d.b.stride, c, d.n, false)
}

// product is the plain product of the other types, sums in ascending order.
func (numbers[T]) product(d *product, b block, left, right, out *buffer) {
	x, x0 := valuesOf[T](left)
	y, y0 := valuesOf[T](right)
	c, c0 := valuesOf[T](out)
	y = y[d.b.place(b.batch, 0, b.j)-y0:]
	step := 1
	if d.a.transposed {
		step = d.a.stride
	}
	for i := b.i; i < b.i+b.m; i++ {
		row := c[(b.batch*d.m+i)*d.n+b.j-c0:][:b.n]
		if v := x[d.a.place(b.batch, i, 0)-x0:]; d.b.transposed {
			rowByColumns(row, v, step, y, d.b.stride, d.k)
		} else {
			rowByRows(row, v, step, y, d.b.stride, d.k)
		}
	}
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
