package backend

import (
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/tlqlab/tlqlab/kernels"
)

// ReduceSum sums over axes, in float64 for the floating types.
func (f *function) ReduceSum(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceSum, x, axes)
}

// ReduceMax is the largest value over axes, NaN if there is one.
func (f *function) ReduceMax(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceMax, x, axes)
}

// ReduceMin is the smallest value over axes, NaN if there is one.
func (f *function) ReduceMin(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceMin, x, axes)
}

// ReduceProduct multiplies over axes.
func (f *function) ReduceProduct(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceProduct, x, axes)
}

// ReduceLogicalAnd tells whether all hold.
func (f *function) ReduceLogicalAnd(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalAnd, x, axes)
}

// ReduceLogicalOr tells whether any holds.
func (f *function) ReduceLogicalOr(x compute.Value, axes ...int) (compute.Value, error) {
	return f.reduce(compute.OpTypeReduceLogicalOr, x, axes)
}

func (f *function) reduce(op compute.OpType, x compute.Value, axes []int) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	if len(axes) == 0 {
		for axis := range n.shape.Rank() {
			axes = append(axes, axis)
		}
	}
	shape, err := shapeinference.Reduce(n.shape, axes)
	if err != nil {
		return nil, err
	}
	p := planReduction(n.shape.Dimensions, axes)
	return value(f.add(&node{op: op, shape: shape, inputs: []*node{n}, run: func(in []*buffer, out *buffer) {
		runReduction(op, p, in[0], out)
	}}))
}

// reduction is a reduction seen as [outer, n, inner] → [outer, inner]; where the
// reduced axes are not neighbours, the operand is first read in the given order.
type reduction struct {
	outer, n, inner int
	order           *strided
}

func planReduction(dims, axes []int) reduction {
	reduced := make([]bool, len(dims))
	for _, a := range axes {
		reduced[a] = true
	}
	first, last := slices.Index(reduced, true), -1
	r := reduction{outer: 1, n: 1, inner: 1}
	if first < 0 {
		for _, d := range dims {
			r.outer *= d
		}
		return r
	}
	for a := range dims {
		if reduced[a] {
			last = a
		}
	}
	together := true
	for a := first; a <= last; a++ {
		together = together && (reduced[a] || dims[a] == 1)
	}
	if together {
		for a, d := range dims {
			switch {
			case a < first:
				r.outer *= d
			case a <= last:
				r.n *= d
			default:
				r.inner *= d
			}
		}
		return r
	}
	steps := make([]int, len(dims))
	step := 1
	for a := len(dims) - 1; a >= 0; a-- {
		steps[a] = step
		step *= dims[a]
	}
	s := strided{}
	for _, keep := range []bool{true, false} {
		for a, d := range dims {
			if reduced[a] == keep {
				continue
			}
			s.dims, s.steps = append(s.dims, d), append(s.steps, steps[a])
			if keep {
				r.outer *= d
			} else {
				r.n *= d
			}
		}
	}
	s = s.joined()
	r.order = &s
	return r
}

func runReduction(op compute.OpType, p reduction, in, out *buffer) {
	if out.shape.Size() == 0 {
		return
	}
	if p.order != nil && in.shape.Size() > 0 {
		sorted := &buffer{backend: in.backend, shape: in.shape, flat: allocate(in.shape.DType, in.shape.Size())}
		move(in.shape.DType.Size(),
			func() { gatherStrided(asWords[uint8](sorted), asWords[uint8](in), *p.order) },
			func() { gatherStrided(asWords[uint16](sorted), asWords[uint16](in), *p.order) },
			func() { gatherStrided(asWords[uint32](sorted), asWords[uint32](in), *p.order) },
			func() { gatherStrided(asWords[uint64](sorted), asWords[uint64](in), *p.order) })
		in = sorted
	}
	switch dst := out.flat.(type) {
	case []float32:
		if op == compute.OpTypeReduceSum {
			sumFloat32(p, in.flat.([]float32), dst)
			return
		}
		fold(op, p, in.flat.([]float32), dst, float32(math.Inf(-1)), float32(math.Inf(1)))
	case []float64:
		fold(op, p, in.flat.([]float64), dst, math.Inf(-1), math.Inf(1))
	case []int8:
		fold(op, p, in.flat.([]int8), dst, math.MinInt8, math.MaxInt8)
	case []int16:
		fold(op, p, in.flat.([]int16), dst, math.MinInt16, math.MaxInt16)
	case []int32:
		fold(op, p, in.flat.([]int32), dst, math.MinInt32, math.MaxInt32)
	case []int64:
		fold(op, p, in.flat.([]int64), dst, math.MinInt64, math.MaxInt64)
	case []uint8:
		fold(op, p, in.flat.([]uint8), dst, 0, math.MaxUint8)
	case []uint16:
		fold(op, p, in.flat.([]uint16), dst, 0, math.MaxUint16)
	case []uint32:
		fold(op, p, in.flat.([]uint32), dst, 0, math.MaxUint32)
	case []uint64:
		fold(op, p, in.flat.([]uint64), dst, 0, math.MaxUint64)
	case []bool:
		foldBool(op, p, in.flat.([]bool), dst)
	}
}

// sumFloat32 accumulates in float64, in the order of the operand.
func sumFloat32(p reduction, src, dst []float32) {
	if p.inner == 1 {
		parallel(p.outer, rowsPerPiece(p.n), func(lo, hi int) {
			for o := lo; o < hi; o++ {
				dst[o] = float32(kernels.SumFloat64(src[o*p.n : (o+1)*p.n]))
			}
		})
		return
	}
	parallel(p.outer, max(1, rowsPerPiece(p.n*p.inner)), func(lo, hi int) {
		acc := make([]float64, p.inner)
		for o := lo; o < hi; o++ {
			clear(acc)
			for r := range p.n {
				row := src[(o*p.n+r)*p.inner:][:p.inner]
				for i, v := range row {
					acc[i] += float64(v)
				}
			}
			for i, v := range acc {
				dst[o*p.inner+i] = float32(v)
			}
		}
	})
}

// fold reduces with a scalar operation; low and high are the neutral elements of
// the maximum and the minimum.
func fold[T number](op compute.OpType, p reduction, src, dst []T, low, high T) {
	start, f := low, larger[T]
	switch op {
	case compute.OpTypeReduceSum:
		start, f = 0, func(a, b T) T { return a + b }
	case compute.OpTypeReduceProduct:
		start, f = 1, func(a, b T) T { return a * b }
	case compute.OpTypeReduceMin:
		start, f = high, smaller[T]
	}
	if x, ok := any(src).([]float32); ok && op == compute.OpTypeReduceMax && p.inner == 1 {
		maxRows(p, x, any(dst).([]float32))
		return
	}
	parallel(p.outer, rowsPerPiece(p.n*p.inner), func(lo, hi int) {
		for o := lo; o < hi; o++ {
			acc := dst[o*p.inner : (o+1)*p.inner]
			for i := range acc {
				acc[i] = start
			}
			for r := range p.n {
				row := src[(o*p.n+r)*p.inner:][:p.inner]
				for i, v := range row {
					acc[i] = f(acc[i], v)
				}
			}
		}
	})
}

func foldBool(op compute.OpType, p reduction, src, dst []bool) {
	all := op == compute.OpTypeReduceLogicalAnd
	for o := range p.outer {
		for i := range p.inner {
			v := all
			for r := range p.n {
				x := src[(o*p.n+r)*p.inner+i]
				if all {
					v = v && x
				} else {
					v = v || x
				}
			}
			dst[o*p.inner+i] = v
		}
	}
}

// ArgMinMax is the index of the smallest or largest value along an axis, the
// first among equals; NaN counts as the extreme.
func (f *function) ArgMinMax(x compute.Value, axis int, t dtypes.DType, isMin bool) (compute.Value, error) {
	n, err := f.node(x)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.ArgMinMax(n.shape, axis, t)
	if err != nil {
		return nil, err
	}
	if axis < 0 {
		axis += n.shape.Rank()
	}
	p := planReduction(n.shape.Dimensions, []int{axis})
	return value(f.add(&node{op: compute.OpTypeArgMinMax, shape: shape, inputs: []*node{n}, run: func(in []*buffer, out *buffer) {
		index := make([]int64, out.shape.Size())
		arg(p, in[0], index, isMin)
		convertFrom(index, out)
	}}))
}

func arg(p reduction, in *buffer, index []int64, isMin bool) {
	switch src := in.flat.(type) {
	case []float32:
		argOf(p, src, index, isMin)
	case []float64:
		argOf(p, src, index, isMin)
	case []int8:
		argOf(p, src, index, isMin)
	case []int16:
		argOf(p, src, index, isMin)
	case []int32:
		argOf(p, src, index, isMin)
	case []int64:
		argOf(p, src, index, isMin)
	case []uint8:
		argOf(p, src, index, isMin)
	case []uint16:
		argOf(p, src, index, isMin)
	case []uint32:
		argOf(p, src, index, isMin)
	case []uint64:
		argOf(p, src, index, isMin)
	case []bool:
		argOf(p, asWords[uint8](in), index, isMin)
	}
}

func argOf[T number](p reduction, src []T, index []int64, isMin bool) {
	parallel(p.outer, rowsPerPiece(p.n*p.inner), func(lo, hi int) {
		for o := lo; o < hi; o++ {
			for i := range p.inner {
				best, at := src[o*p.n*p.inner+i], 0
				for r := 1; r < p.n && best == best; r++ {
					v := src[(o*p.n+r)*p.inner+i]
					if v != v || (isMin && v < best) || (!isMin && v > best) {
						best, at = v, r
					}
				}
				index[o*p.inner+i] = int64(at)
			}
		}
	})
}
