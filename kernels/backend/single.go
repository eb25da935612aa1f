package backend

import (
	"github.com/gomlx/compute"
	"github.com/tlqlab/tlqlab/kernels"
)

// binary runs the arithmetic of float32 on vector kernels wherever the operands
// step by 0 or 1 within a run.
func (singles) binary(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	f := singleBinary(op)
	sx, sy := l.innerStep(0), l.innerStep(1)
	if f == nil || sx|sy != 1 { // only (0, 1), (1, 0) and (1, 1) give 1
		floats[float32]{}.binary(op, l, a, b, out, from, to)
		return
	}
	x, x0 := valuesOf[float32](a)
	y, y0 := valuesOf[float32](b)
	dst, d0 := valuesOf[float32](out)
	for c := l.start(from); from < to; {
		rows, n := c.take(to - from)
		r := rowPair{rows: rows, n: n, stepX: c.row[0], stepY: c.row[1], dst: dst[from-d0:], x: x[c.at[0]-x0:], y: y[c.at[1]-y0:]}
		switch {
		case sx&sy == 1:
			r.vectors(f)
		case sx == 1:
			r.vectorScalar(op, f)
		default:
			r.scalarVector(op, f)
		}
		from += rows * n
		c.skip(rows)
	}
}

// rowPair are rows of two operands, n values each; the rows of the result lie one
// after the other.
type rowPair struct {
	rows, n      int
	stepX, stepY int // from row to row
	dst, x, y    []float32
}

// vectors is an operation on rows of both operands.
func (r *rowPair) vectors(f func(dst, a, b []float32)) {
	if r.rows > 1 && r.stepX == r.n && r.stepY == r.n {
		r.rows, r.n = 1, r.rows*r.n
	}
	for k := range r.rows {
		i, j := k*r.stepX, k*r.stepY
		f(r.dst[k*r.n:][:r.n], r.x[i:][:r.n], r.y[j:][:r.n])
	}
}

// vectorScalar is an operation on rows of x and one value of y for each.
func (r *rowPair) vectorScalar(op compute.OpType, f func(dst, a, b []float32)) {
	g := scalarKernel(op)
	if g == nil {
		r.repeat(false, f)
		return
	}
	for k := range r.rows {
		s := r.y[k*r.stepY]
		if op == compute.OpTypeSub {
			s = -s
		}
		g(r.dst[k*r.n:][:r.n], r.x[k*r.stepX:][:r.n], s)
	}
}

// scalarVector is an operation on one value of x for each row of y.
func (r *rowPair) scalarVector(op compute.OpType, f func(dst, a, b []float32)) {
	switch op {
	case compute.OpTypeAdd, compute.OpTypeMul: // commute
		r.x, r.y, r.stepX, r.stepY = r.y, r.x, r.stepY, r.stepX
		r.vectorScalar(op, f)
	default:
		r.repeat(true, f)
	}
}

// repeat spreads one value per row, of x or of y, over a run and applies an
// operation on runs.
func (r *rowPair) repeat(left bool, f func(dst, a, b []float32)) {
	var same [64]float32
	for k := range r.rows {
		dst, x, y := r.dst[k*r.n:][:r.n], r.x[k*r.stepX:], r.y[k*r.stepY:]
		s := y[0]
		if left {
			s = x[0]
		}
		for i := range same[:min(len(same), r.n)] {
			same[i] = s
		}
		for at := 0; at < r.n; at += len(same) {
			n := min(len(same), r.n-at)
			if left {
				f(dst[at:at+n], same[:n], y[at:at+n])
			} else {
				f(dst[at:at+n], x[at:at+n], same[:n])
			}
		}
	}
}

// scalarKernel is the kernel of an operation on a slice and a value, or nil. Sub
// adds the negative value, which is the same.
func scalarKernel(op compute.OpType) func(dst, x []float32, s float32) {
	switch op {
	case compute.OpTypeAdd, compute.OpTypeSub:
		return kernels.AddScalar
	case compute.OpTypeMul:
		return kernels.MulScalar
	case compute.OpTypeDiv:
		return kernels.DivScalar
	}
	return nil
}

// singleBinary is the kernel of an operation on two slices, or nil.
func singleBinary(op compute.OpType) func(dst, a, b []float32) {
	switch op {
	case compute.OpTypeAdd:
		return kernels.Add
	case compute.OpTypeSub:
		return kernels.Sub
	case compute.OpTypeMul:
		return kernels.Mul
	case compute.OpTypeDiv:
		return kernels.Div
	case compute.OpTypeMax:
		return kernels.Max
	case compute.OpTypeMin:
		return kernels.Min
	}
	return nil
}

// unary runs the functions of float32 that have vector kernels on those.
func (singles) unary(op compute.OpType, x, out *buffer, from, to int) {
	f := singleUnary(op)
	if f == nil {
		floats[float32]{}.unary(op, x, out, from, to)
		return
	}
	src, s0 := valuesOf[float32](x)
	dst, d0 := valuesOf[float32](out)
	f(dst[from-d0:to-d0], src[from-s0:to-s0])
}

// singleUnary is the kernel of an operation on a slice, or nil.
func singleUnary(op compute.OpType) func(dst, x []float32) {
	switch op {
	case compute.OpTypeExp:
		return kernels.Exp
	case compute.OpTypeLogistic:
		return kernels.Sigmoid
	case compute.OpTypeTanh:
		return kernels.Tanh
	case compute.OpTypeErf:
		return kernels.Erf
	case compute.OpTypeLog:
		return kernels.Log
	case compute.OpTypeSqrt:
		return kernels.Sqrt
	case compute.OpTypeNeg:
		return negate
	}
	return nil
}

func negate(dst, x []float32) { kernels.MulScalar(dst, x, -1) }
