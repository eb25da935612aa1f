package backend

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/tlqlab/tlqlab/kernels"
)

// DotGeneral contracts axes of two operands; see GoMLX's description. Transposes
// in front of it are read through.
func (f *function) DotGeneral(lhs compute.Value, lhsContracting, lhsBatch []int, rhs compute.Value, rhsContracting, rhsBatch []int, config compute.DotGeneralConfig) (compute.Value, error) {
	in, err := f.nodesOf(lhs, rhs)
	if err != nil {
		return nil, err
	}
	t := in[0].shape.DType
	for _, other := range []dtypes.DType{config.AccumulatorDType, config.OutputDType} {
		if other != dtypes.InvalidDType && other != t {
			return nil, fmt.Errorf("backend %s: DotGeneral of %s with accumulator or output %s: %w", Name, t, other, compute.ErrNotImplemented)
		}
	}
	shape, err := shapeinference.DotGeneral(in[0].shape, lhsContracting, lhsBatch, in[1].shape, rhsContracting, rhsBatch, config)
	if err != nil {
		return nil, err
	}
	a := newOperand(in[0], lhsBatch, lhsContracting)
	b := newOperand(in[1], rhsBatch, rhsContracting)
	d := product{batch: size(a.batchDims), m: size(a.crossDims), n: size(b.crossDims), k: size(a.innerDims), a: a.matrix(true), b: b.matrix(false)}
	return value(f.add(&node{op: compute.OpTypeDotGeneral, shape: shape, inputs: []*node{a.node, b.node}, run: func(in []*buffer, out *buffer) {
		d.run(in[0], in[1], out)
	}}))
}

// operand is one side of a contraction: dimensions and steps in memory of its
// batch, cross and contracted axes.
type operand struct {
	node                            *node
	batchDims, crossDims, innerDims []int
	batch, cross, inner             []int
}

func newOperand(n *node, batch, contracting []int) operand {
	o := operand{node: n}
	dims, steps := n.shape.Dimensions, n.shape.Strides()
	if n.op == compute.OpTypeTranspose {
		o.node = n.inputs[0]
		from := o.node.shape.Strides()
		for i, axis := range n.permutation {
			steps[i] = from[axis]
		}
	}
	for _, a := range batch {
		o.batchDims, o.batch = append(o.batchDims, dims[a]), append(o.batch, steps[a])
	}
	for _, a := range contracting {
		o.innerDims, o.inner = append(o.innerDims, dims[a]), append(o.inner, steps[a])
	}
	for a := range dims {
		if !slices.Contains(batch, a) && !slices.Contains(contracting, a) {
			o.crossDims, o.cross = append(o.crossDims, dims[a]), append(o.cross, steps[a])
		}
	}
	return o
}

// matrix is how an operand's values become matrices: in place, with a row stride
// and maybe transposed, or copied into order first.
type matrix struct {
	offsets    []int // of each batch's matrix
	ld         int
	transposed bool // stored as [k, rows] for the left, [n, k] for the right operand
	order      *strided
}

// matrix finds the cheapest way to read an operand. left operands are wanted as
// [cross, inner], right ones as [inner, cross].
func (o operand) matrix(left bool) matrix {
	cross, inner := axisGroup(o.crossDims, o.cross), axisGroup(o.innerDims, o.inner)
	var m matrix
	switch {
	case cross.even && inner.even && inner.step == 1 && cross.step >= inner.n:
		m = matrix{ld: cross.step, transposed: !left}
	case cross.even && inner.even && cross.step == 1 && inner.step >= cross.n:
		m = matrix{ld: inner.step, transposed: left}
	default:
		s := strided{dims: slices.Concat(o.batchDims, o.crossDims, o.innerDims), steps: slices.Concat(o.batch, o.cross, o.inner)}.joined()
		batch := size(o.batchDims)
		each := cross.n * inner.n
		m = matrix{ld: max(inner.n, 1), transposed: !left, order: &s, offsets: make([]int, batch)}
		for i := range m.offsets {
			m.offsets[i] = i * each
		}
		return m
	}
	m.offsets = offsets(o.batchDims, o.batch)
	return m
}

// group is a set of axes seen as one: even where one step walks through all of
// them.
type group struct {
	n, step int
	even    bool
}

// anyStride stands for the step of an axis of one value.
const anyStride = 1 << 40

func axisGroup(dims, steps []int) group {
	l := collapse(dims, steps, steps)
	g := group{n: size(dims), step: 1, even: len(l.dims) == 1}
	if g.n > 1 && g.even {
		g.step = l.sa[0]
	}
	if g.n == 1 { // a single row may have any stride
		g.step = anyStride
	}
	return g
}

// offsets lists where each batch begins.
func offsets(dims, steps []int) []int {
	list := []int{0}
	for i, d := range dims {
		next := make([]int, 0, len(list)*d)
		for _, o := range list {
			for k := range d {
				next = append(next, o+k*steps[i])
			}
		}
		list = next
	}
	return list
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// product is a batch of matrix products [m, k]·[k, n].
type product struct {
	batch, m, n, k int
	a, b           matrix
}

// rowGrain is the number of rows a goroutine takes of a product: a multiple of
// the kernel's height.
const rowGrain = 96

func (d product) run(a, b, out *buffer) {
	if out.shape.Size() == 0 {
		return
	}
	a, b = d.a.ordered(a), d.b.ordered(b)
	switch dst := out.flat.(type) {
	case []float32:
		d.float32(a.flat.([]float32), b.flat.([]float32), dst)
	case []float64:
		contract(d, a.flat.([]float64), b.flat.([]float64), dst)
	case []int8:
		contract(d, a.flat.([]int8), b.flat.([]int8), dst)
	case []int16:
		contract(d, a.flat.([]int16), b.flat.([]int16), dst)
	case []int32:
		contract(d, a.flat.([]int32), b.flat.([]int32), dst)
	case []int64:
		contract(d, a.flat.([]int64), b.flat.([]int64), dst)
	case []uint8:
		contract(d, a.flat.([]uint8), b.flat.([]uint8), dst)
	case []uint16:
		contract(d, a.flat.([]uint16), b.flat.([]uint16), dst)
	case []uint32:
		contract(d, a.flat.([]uint32), b.flat.([]uint32), dst)
	case []uint64:
		contract(d, a.flat.([]uint64), b.flat.([]uint64), dst)
	}
}

// ordered copies an operand into the order its matrix wants, where needed.
func (m matrix) ordered(b *buffer) *buffer {
	if m.order == nil || b.shape.Size() == 0 {
		return b
	}
	sorted := &buffer{backend: b.backend, shape: b.shape, flat: allocate(b.shape.DType, b.shape.Size())}
	move(b.shape.DType.Size(),
		func() { gatherStrided(asWords[uint8](sorted), asWords[uint8](b), *m.order) },
		func() { gatherStrided(asWords[uint16](sorted), asWords[uint16](b), *m.order) },
		func() { gatherStrided(asWords[uint32](sorted), asWords[uint32](b), *m.order) },
		func() { gatherStrided(asWords[uint64](sorted), asWords[uint64](b), *m.order) })
	return sorted
}

// float32 splits the batch, or the rows of a single product.
func (d product) float32(a, b, c []float32) {
	if d.k == 0 {
		clear(c)
		return
	}
	one := func(i, lo, hi int) {
		left := a[d.a.offsets[i]:]
		if d.a.transposed {
			left = left[lo:]
		} else {
			left = left[lo*d.lda():]
		}
		kernels.Sgemm(d.a.transposed, d.b.transposed, hi-lo, d.n, d.k, left, d.lda(), b[d.b.offsets[i]:], d.ldb(), c[(i*d.m+lo)*d.n:], d.n, false)
	}
	pieces := (d.m + rowGrain - 1) / rowGrain
	perPiece := 2 * rowGrain * d.n * d.k
	parallel(d.batch*pieces, max(1, productGrain/max(perPiece, 1)), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			i, from := p/pieces, p%pieces*rowGrain
			one(i, from, min(d.m, from+rowGrain))
		}
	})
}

// productGrain is the number of operations that is worth a goroutine.
const productGrain = 1 << 20

func (d product) lda() int {
	if d.a.ld >= anyStride {
		if d.a.transposed {
			return d.m
		}
		return d.k
	}
	return d.a.ld
}

func (d product) ldb() int {
	if d.b.ld >= anyStride {
		if d.b.transposed {
			return d.k
		}
		return d.n
	}
	return d.b.ld
}

// contract is the plain product of the other types.
func contract[T number](d product, a, b, c []T) {
	parallel(d.batch*d.m, max(1, productGrain/max(d.n*d.k, 1)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			batch, i := r/d.m, r%d.m
			left, right := a[d.a.offsets[batch]:], b[d.b.offsets[batch]:]
			for j := range d.n {
				var sum T
				for k := range d.k {
					sum += at(left, d.a.transposed, d.lda(), i, k) * at(right, d.b.transposed, d.ldb(), k, j)
				}
				c[r*d.n+j] = sum
			}
		}
	})
}

func at[T number](x []T, transposed bool, ld, row, col int) T {
	if transposed {
		row, col = col, row
	}
	return x[row*ld+col]
}
