package backend

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/tlqlab/tlqlab/kernels"
)

// recogniseNorms replaces the operations of an RMS norm of float32 rows,
//
//	x/√(Σx²·factor + eps)·gain
//
// by one. Where something else needs its parts, as gradients do, the root alone is
// one, and so is x/s·gain, whatever s is: both are found in layer norms too.
func (f *function) recogniseNorms(uses map[*node]int) {
	roots := map[*node]root{}
	for _, n := range f.nodes {
		if uses[n] == 0 || n.shape.DType != dtypes.Float32 {
			continue
		}
		if r, ok := rootOfSquares(n, uses); ok {
			roots[n] = r
			n.inputs, n.rows, n.joined = []*node{r.x}, r.rowwise(), true
		}
		if d, ok := dividedAndScaled(n, uses); ok {
			n.inputs, n.rows = d.replacement(roots, uses)
			n.joined = true
		}
	}
}

// root is √(Σx²·factor + eps) of rows of x.
type root struct {
	x           *node
	rows, cols  int
	factor, eps float32
}

// rootOfSquares tells whether n is a root of rows, whose steps nothing else needs.
func rootOfSquares(n *node, uses map[*node]int) (root, bool) {
	if n.op != compute.OpTypeSqrt || n.shape.Size() == 0 {
		return root{}, false
	}
	mean, eps, ok := scalarOperand(behindViews(n.inputs[0], uses), compute.OpTypeAdd, uses)
	if !ok {
		return root{}, false
	}
	sum, factor, ok := scalarOperand(behindViews(mean, uses), compute.OpTypeMul, uses)
	if !ok {
		return root{}, false
	}
	sum = behindViews(sum, uses)
	p := sum.reduction
	if p == nil || sum.op != compute.OpTypeReduceSum || uses[sum] != 1 || p.inner != 1 || p.order != nil || n.shape.Size() != p.outer {
		return root{}, false
	}
	square := sum.inputs[0]
	if square.op != compute.OpTypeMul || square.joined || uses[square] != 1 || square.inputs[0] != square.inputs[1] {
		return root{}, false
	}
	r := root{x: square.inputs[0], rows: p.outer, cols: p.n, factor: factor, eps: eps}
	return r, sameShape(r.x.shape, square.shape)
}

// behindViews is the node that owns n's values, where nothing else needs the views.
func behindViews(n *node, uses map[*node]int) *node {
	for n.op == compute.OpTypeReshape && uses[n] == 1 {
		n = n.inputs[0]
	}
	return n
}

// rowwise is the operation of a root.
func (r root) rowwise() *rowwise {
	return &rowwise{
		cost: r.cols, natural: r.rows,
		aligned: func(_, rows int) bool { return r.rows%rows == 0 },
		part: func(in []*buffer, out *buffer, from, to int) {
			x, x0 := valuesOf[float32](in[0])
			dst, d0 := valuesOf[float32](out)
			kernels.RootMeanSquareRows(dst[from-d0:to-d0], x[from*r.cols-x0:to*r.cols-x0], to-from, r.cols, r.factor, r.eps)
		},
	}
}

// divided is x/s·gain with one s for each row and one gain for each column.
type divided struct {
	x, s, gain *node
	rows, cols int
}

// dividedAndScaled tells whether n is that, and nothing else needs x/s.
func dividedAndScaled(n *node, uses map[*node]int) (divided, bool) {
	rank := n.shape.Rank()
	if n.op != compute.OpTypeMul || n.joined || rank == 0 || n.shape.Size() == 0 {
		return divided{}, false
	}
	cols := n.shape.Dimensions[rank-1]
	perRow, perColumn := slices.Clone(n.shape.Dimensions), slices.Repeat([]int{1}, rank)
	perRow[rank-1], perColumn[rank-1] = 1, cols
	for i, q := range n.inputs {
		gain := n.inputs[1-i]
		if q.op == compute.OpTypeDiv && uses[q] == 1 && sameShape(q.shape, n.shape) && sameShape(q.inputs[0].shape, n.shape) &&
			slices.Equal(q.inputs[1].shape.Dimensions, perRow) && slices.Equal(gain.shape.Dimensions, perColumn) {
			return divided{x: q.inputs[0], s: q.inputs[1], gain: gain, rows: n.shape.Size() / cols, cols: cols}, true
		}
	}
	return divided{}, false
}

// replacement is one operation that divides and scales and, if s is the root of x
// and nothing else needs it, computes s too.
func (d divided) replacement(roots map[*node]root, uses map[*node]int) ([]*node, *rowwise) {
	w := &rowwise{
		cost: 4, natural: d.rows, grain: d.cols, inPlace: true,
		aligned: func(input, rows int) bool { return input < 2 && d.rows%rows == 0 },
	}
	s := behindViews(d.s, uses)
	if r, ok := roots[s]; ok && uses[s] == 1 && r.x == d.x && r.cols == d.cols {
		w.aligned = func(input, rows int) bool { return input < 1 && d.rows%rows == 0 }
		w.part = func(in []*buffer, out *buffer, from, to int) {
			x, x0 := valuesOf[float32](in[0])
			dst, d0 := valuesOf[float32](out)
			gain, _ := valuesOf[float32](in[1])
			kernels.RMSNormStepsRows(dst[from-d0:to-d0], x[from-x0:to-x0], gain, (to-from)/d.cols, d.cols, r.factor, r.eps)
		}
		return []*node{d.x, d.gain}, w
	}
	w.part = func(in []*buffer, out *buffer, from, to int) {
		x, x0 := valuesOf[float32](in[0])
		dst, d0 := valuesOf[float32](out)
		s, s0 := valuesOf[float32](in[1])
		gain, _ := valuesOf[float32](in[2])
		kernels.DivideScaleRows(dst[from-d0:to-d0], x[from-x0:to-x0], s[from/d.cols-s0:to/d.cols-s0], gain, (to-from)/d.cols, d.cols)
	}
	return []*node{d.x, d.s, d.gain}, w
}
