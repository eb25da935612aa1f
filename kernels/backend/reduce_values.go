package backend

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/tlqlab/tlqlab/kernels"
)

func (floats[T]) reduce(op compute.OpType, p *reduction, x, out *buffer, from, to int) {
	switch op {
	case compute.OpTypeReduceSum:
		sums[T](p, x, out, from, to)
	case compute.OpTypeReduceMax:
		fold(p, T(math.Inf(-1)), func(a, b T) T { return max(a, b) }, x, out, from, to)
	case compute.OpTypeReduceMin:
		fold(p, T(math.Inf(1)), func(a, b T) T { return min(a, b) }, x, out, from, to)
	default:
		fold(p, 1, func(a, b T) T { return a * b }, x, out, from, to)
	}
}

func (integers[T]) reduce(op compute.OpType, p *reduction, x, out *buffer, from, to int) {
	start, f := T(0), integerBinary[T](compute.OpTypeAdd)
	low, high := limits[T]()
	switch op {
	case compute.OpTypeReduceMax:
		start, f = low, integerBinary[T](compute.OpTypeMax)
	case compute.OpTypeReduceMin:
		start, f = high, integerBinary[T](compute.OpTypeMin)
	case compute.OpTypeReduceProduct:
		start, f = 1, integerBinary[T](compute.OpTypeMul)
	case compute.OpTypeReduceBitwiseAnd:
		start, f = ^start, bitwise[T](compute.OpTypeBitwiseAnd)
	case compute.OpTypeReduceBitwiseOr:
		f = bitwise[T](compute.OpTypeBitwiseOr)
	case compute.OpTypeReduceBitwiseXor:
		f = bitwise[T](compute.OpTypeBitwiseXor)
	}
	fold(p, start, f, x, out, from, to)
}

func (booleans) reduce(op compute.OpType, p *reduction, x, out *buffer, from, to int) {
	start, f := false, boolBinary(compute.OpTypeLogicalOr)
	switch op {
	case compute.OpTypeReduceLogicalAnd, compute.OpTypeReduceMin:
		start, f = true, boolBinary(compute.OpTypeLogicalAnd)
	case compute.OpTypeReduceLogicalXor:
		f = boolBinary(compute.OpTypeLogicalXor)
	}
	fold(p, start, f, x, out, from, to)
}

// reduce runs sums and maxima of float32 rows on vector kernels, and sums of
// columns.
func (singles) reduce(op compute.OpType, p *reduction, x, out *buffer, from, to int) {
	if p.inner > 1 && op == compute.OpTypeReduceSum {
		src, s0 := valuesOf[float32](x)
		dst, d0 := valuesOf[float32](out)
		for from < to {
			n := p.columns(from, to)
			kernels.SumColumns(dst[from-d0:][:n], src[p.row(from)-s0:], p.n, p.inner)
			from += n
		}
		return
	}
	if p.inner != 1 || (op != compute.OpTypeReduceSum && op != compute.OpTypeReduceMax) {
		floats[float32]{}.reduce(op, p, x, out, from, to)
		return
	}
	src, s0 := valuesOf[float32](x)
	dst, d0 := valuesOf[float32](out)
	src, dst = src[from*p.n-s0:to*p.n-s0], dst[from-d0:to-d0]
	if op == compute.OpTypeReduceMax {
		kernels.RowMax(dst, src, to-from, p.n)
		return
	}
	for i := range dst {
		dst[i] = float32(kernels.SumFloat64(src[i*p.n : (i+1)*p.n]))
	}
}

// row is where the values of a place of the output begin in the operand; they are
// inner apart.
func (p *reduction) row(i int) int { return i/p.inner*p.n*p.inner + i%p.inner }

// columns is how many of the places [from, to) lie beside each other in the
// operand.
func (p *reduction) columns(from, to int) int { return min(to-from, p.inner-from%p.inner) }

// sums adds up in float64, in the order of the operand.
func sums[T float](p *reduction, x, out *buffer, from, to int) {
	src, s0 := valuesOf[T](x)
	dst, d0 := valuesOf[T](out)
	if p.inner == 1 {
		for i := from; i < to; i++ {
			sum := 0.0
			for _, v := range src[i*p.n-s0:][:p.n] {
				sum += float64(v)
			}
			dst[i-d0] = T(sum)
		}
		return
	}
	acc := make([]float64, min(p.inner, to-from))
	for from < to {
		n := p.columns(from, to)
		acc := acc[:n]
		clear(acc)
		at := p.row(from) - s0
		for range p.n {
			for i, v := range src[at : at+n] {
				acc[i] += float64(v)
			}
			at += p.inner
		}
		for i, v := range acc {
			dst[from-d0+i] = T(v)
		}
		from += n
	}
}

// fold reduces with an operation on single values from a neutral start.
func fold[T any](p *reduction, start T, f func(a, b T) T, x, out *buffer, from, to int) {
	src, s0 := valuesOf[T](x)
	dst, d0 := valuesOf[T](out)
	if p.inner == 1 {
		for i := from; i < to; i++ {
			acc := start
			for _, v := range src[i*p.n-s0:][:p.n] {
				acc = f(acc, v)
			}
			dst[i-d0] = acc
		}
		return
	}
	for from < to {
		n := p.columns(from, to)
		acc := dst[from-d0:][:n]
		for i := range acc {
			acc[i] = start
		}
		at := p.row(from) - s0
		for range p.n {
			for i, v := range src[at : at+n] {
				acc[i] = f(acc[i], v)
			}
			at += p.inner
		}
		from += n
	}
}

func (numbers[T]) argMinMax(p *reduction, isMin bool, x *buffer, index []int64) {
	src, _ := valuesOf[T](x)
	parallel(len(index), max(1, pieceSize/max(p.n, 1)), func(from, to int) {
		for i := from; i < to; i++ {
			at := p.row(i)
			best, where := src[at], 0
			for r := 1; r < p.n && best == best; r++ {
				at += p.inner
				v := src[at]
				if v != v || (isMin && v < best) || (!isMin && v > best) {
					best, where = v, r
				}
			}
			index[i] = int64(where)
		}
	})
}
