package backend

import (
	"github.com/gomlx/compute"
	"github.com/tlqlab/tlqlab/kernels"
)

// binary runs the arithmetic of float32 on vector kernels wherever the operands
// step by 0 or 1 within a run.
func (singles) binary(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	if op == compute.OpTypePow && wholePower(l, a, b, out, from, to) {
		return
	}
	sx, sy := l.innerStep(0), l.innerStep(1)
	k := rowKernelsOf(op)
	if k.vectors == nil || sx|sy != 1 { // only (0, 1), (1, 0) and (1, 1) give 1
		floats[float32]{}.binary(op, l, a, b, out, from, to)
		return
	}
	x, x0 := valuesOf[float32](a)
	y, y0 := valuesOf[float32](b)
	dst, d0 := valuesOf[float32](out)
	for c := l.start(from); from < to; {
		rows, n := c.take(to - from)
		d, u, v := dst[from-d0:], x[c.at[0]-x0:], y[c.at[1]-y0:]
		switch {
		case sx&sy == 1:
			k.vectors(d, u, v, rows, n, c.row[0], c.row[1])
		case sx == 1:
			k.right(d, u, v, rows, n, c.row[0], c.row[1])
		default:
			k.left(d, v, u, rows, n, c.row[1], c.row[0])
		}
		from += rows * n
		c.skip(rows)
	}
}

// wholePower computes squares and cubes where the exponent is one scalar, in double
// precision like other powers, and tells whether it did.
func wholePower(l *loop, a, b, out *buffer, from, to int) bool {
	p := b.flat.([]float32)[0]
	if len(l.dims) > 1 || l.innerStep(1) != 0 || l.innerStep(0) != 1 || (p != 2 && p != 3) {
		return false
	}
	if p == 2 {
		each1(func(v float32) float32 { return float32(float64(v) * float64(v)) }, a, out, from, to)
	} else {
		each1(func(v float32) float32 { return float32(float64(v) * float64(v) * float64(v)) }, a, out, from, to)
	}
	return true
}

// rowKernel is an operation on rows of two operands.
type rowKernel = func(dst, a, b []float32, rows, n, strideA, strideB int)

// rowKernels are the kernels of an operation on rows of both operands, and on rows
// and one value for each that stands on the right or on the left.
type rowKernels struct{ vectors, right, left rowKernel }

// rowKernelsOf an operation; nil for operations without.
func rowKernelsOf(op compute.OpType) rowKernels {
	switch op {
	case compute.OpTypeAdd:
		return rowKernels{kernels.AddRows, kernels.AddRowScalars, kernels.AddRowScalars}
	case compute.OpTypeSub:
		return rowKernels{kernels.SubRows, kernels.SubRowScalars, spread(func(dst, x, s []float32) { kernels.Sub(dst, s, x) })}
	case compute.OpTypeMul:
		return rowKernels{kernels.MulRows, kernels.MulRowScalars, kernels.MulRowScalars}
	case compute.OpTypeDiv:
		return rowKernels{kernels.DivRows, kernels.DivRowScalars, spread(func(dst, x, s []float32) { kernels.Div(dst, s, x) })}
	case compute.OpTypeMax:
		return rowKernels{rowByRow(kernels.Max), spread(kernels.Max), spread(kernels.Max)}
	case compute.OpTypeMin:
		return rowKernels{rowByRow(kernels.Min), spread(kernels.Min), spread(kernels.Min)}
	}
	return rowKernels{}
}

func rowByRow(f func(dst, a, b []float32)) rowKernel {
	return func(dst, a, b []float32, rows, n, strideA, strideB int) {
		for r := range rows {
			f(dst[r*n:][:n], a[r*strideA:][:n], b[r*strideB:][:n])
		}
	}
}

// spread makes a kernel on rows and one value for each out of one on two slices.
func spread(f func(dst, a, b []float32)) rowKernel {
	return func(dst, x, s []float32, rows, n, strideX, strideS int) {
		same := make([]float32, min(n, 256))
		for r := range rows {
			for i := range same {
				same[i] = s[r*strideS]
			}
			for at := 0; at < n; at += len(same) {
				k := min(len(same), n-at)
				f(dst[r*n+at:][:k], x[r*strideX+at:][:k], same[:k])
			}
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
	case compute.OpTypeAbs:
		return absSingles
	case compute.OpTypeRound:
		return roundSingles
	}
	return nil
}

func negate(dst, x []float32) { kernels.MulScalar(dst, x, -1) }
