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
	for c := l.start(from); from < to; c.next() {
		n := min(c.left, to-from)
		row := dst[from-d0:][:n]
		u, v := x[c.at[0]-x0:], y[c.at[1]-y0:]
		switch {
		case sx&sy == 1:
			f(row, u[:n], v[:n])
		case sx == 1:
			vectorScalar(op, f, row, u[:n], v[0])
		default:
			scalarVector(op, f, row, u[0], v[:n])
		}
		from += n
	}
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

// vectorScalar is an operation on a run and one value.
func vectorScalar(op compute.OpType, f func(dst, a, b []float32), dst, x []float32, s float32) {
	switch op {
	case compute.OpTypeAdd:
		kernels.AddScalar(dst, x, s)
	case compute.OpTypeSub:
		kernels.AddScalar(dst, x, -s)
	case compute.OpTypeMul:
		kernels.MulScalar(dst, x, s)
	case compute.OpTypeDiv:
		kernels.DivScalar(dst, x, s)
	default:
		var same [128]float32
		for i := range same {
			same[i] = s
		}
		for len(dst) > 0 {
			n := min(len(same), len(dst))
			f(dst[:n], x[:n], same[:n])
			dst, x = dst[n:], x[n:]
		}
	}
}

// scalarVector is an operation on one value and a run.
func scalarVector(op compute.OpType, f func(dst, a, b []float32), dst []float32, s float32, x []float32) {
	switch op {
	case compute.OpTypeAdd, compute.OpTypeMul, compute.OpTypeMax, compute.OpTypeMin: // commute
		vectorScalar(op, f, dst, x, s)
	default:
		var same [128]float32
		for i := range same {
			same[i] = s
		}
		for len(dst) > 0 {
			n := min(len(same), len(dst))
			f(dst[:n], same[:n], x[:n])
			dst, x = dst[n:], x[n:]
		}
	}
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
