package backend

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// Gather collects slices of the operand; see GoMLX's description. Starts beyond
// the operand are moved to its border.
func (f *function) Gather(operand, starts compute.Value, indexVectorAxis int, offsetAxes, collapsed, startMap, sizes []int, sorted bool) (compute.Value, error) {
	in, err := f.nodesOf(operand, starts)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Gather(in[0].shape, in[1].shape, indexVectorAxis, offsetAxes, collapsed, startMap, sizes, sorted)
	if err != nil {
		return nil, err
	}
	w := newWindow(in[0].shape, in[1].shape, indexVectorAxis, shape, offsetAxes, collapsed, startMap, sizes)
	return value(f.add(&node{op: compute.OpTypeGather, shape: shape, inputs: in, run: func(in []*buffer, out *buffer) {
		index := make([]int64, in[1].shape.Size())
		toInt64(in[1], index)
		move(shape.DType.Size(),
			func() { gather(w, asWords[uint8](in[0]), index, asWords[uint8](out)) },
			func() { gather(w, asWords[uint16](in[0]), index, asWords[uint16](out)) },
			func() { gather(w, asWords[uint32](in[0]), index, asWords[uint32](out)) },
			func() { gather(w, asWords[uint64](in[0]), index, asWords[uint64](out)) })
	}}))
}

// ScatterSum adds slices of updates to the operand at the given starts; slices
// that do not fit are left out. Updates are added in their order.
func (f *function) ScatterSum(operand, starts, updates compute.Value, indexVectorAxis int, windowAxes, inserted, scatterMap []int, sorted, unique bool) (compute.Value, error) {
	in, err := f.nodesOf(operand, starts, updates)
	if err != nil {
		return nil, err
	}
	shape, err := shapeinference.Scatter(in[0].shape, in[1].shape, in[2].shape, indexVectorAxis, windowAxes, inserted, scatterMap)
	if err != nil {
		return nil, err
	}
	sizes := make([]int, in[0].shape.Rank())
	k := 0
	for axis := range sizes {
		sizes[axis] = 1
		if !slices.Contains(inserted, axis) {
			sizes[axis] = in[2].shape.Dimensions[windowAxes[k]]
			k++
		}
	}
	w := newWindow(in[0].shape, in[1].shape, indexVectorAxis, in[2].shape, windowAxes, inserted, scatterMap, sizes)
	return value(f.add(&node{op: compute.OpTypeScatterSum, shape: shape, inputs: in, run: func(in []*buffer, out *buffer) {
		runScatter(w, in, out)
	}}))
}

func runScatter(w window, in []*buffer, out *buffer) {
	index := make([]int64, in[1].shape.Size())
	toInt64(in[1], index)
	switch dst := out.flat.(type) {
	case []float32:
		scatter(w, dst, in[0].flat.([]float32), index, in[2].flat.([]float32))
	case []float64:
		scatter(w, dst, in[0].flat.([]float64), index, in[2].flat.([]float64))
	case []int8:
		scatter(w, dst, in[0].flat.([]int8), index, in[2].flat.([]int8))
	case []int16:
		scatter(w, dst, in[0].flat.([]int16), index, in[2].flat.([]int16))
	case []int32:
		scatter(w, dst, in[0].flat.([]int32), index, in[2].flat.([]int32))
	case []int64:
		scatter(w, dst, in[0].flat.([]int64), index, in[2].flat.([]int64))
	case []uint8:
		scatter(w, dst, in[0].flat.([]uint8), index, in[2].flat.([]uint8))
	case []uint16:
		scatter(w, dst, in[0].flat.([]uint16), index, in[2].flat.([]uint16))
	case []uint32:
		scatter(w, dst, in[0].flat.([]uint32), index, in[2].flat.([]uint32))
	case []uint64:
		scatter(w, dst, in[0].flat.([]uint64), index, in[2].flat.([]uint64))
	}
}

func toInt64(b *buffer, dst []int64) {
	convert(b, &buffer{backend: b.backend, shape: b.shape, flat: dst})
}

// window says how slices of an operand correspond to places of a windowed array
// (Gather's output, Scatter's updates): each index vector names a slice.
type window struct {
	operandDims, operandSteps []int
	sizes                     []int // of a slice, per operand axis
	startMap                  []int // index vector component → operand axis

	indexBase []int // per slice: where its index vector begins
	indexStep int
	outBase   []int // per slice: where its values begin in the windowed array
	inner     strided
	// innerTo steps through the windowed array as inner steps through the
	// operand.
	innerTo []int
	rows    bool // slices are contiguous on both sides
}

func newWindow(operand, starts shapes.Shape, vectorAxis int, windowed shapes.Shape, offsetAxes, collapsed, startMap, sizes []int) window {
	w := window{operandDims: operand.Dimensions, operandSteps: operand.Strides(), sizes: sizes, startMap: startMap, indexStep: 1}
	to := windowed.Strides()
	k := 0
	for axis, n := range sizes {
		if slices.Contains(collapsed, axis) {
			continue
		}
		w.inner.dims = append(w.inner.dims, n)
		w.inner.steps = append(w.inner.steps, w.operandSteps[axis])
		w.innerTo = append(w.innerTo, to[offsetAxes[k]])
		k++
	}
	l := collapse(w.inner.dims, w.inner.steps, w.innerTo)
	w.inner = strided{dims: l.dims, steps: l.sa}
	w.innerTo = l.sb
	w.rows = len(l.dims) == 1 && l.sa[0] == 1 && l.sb[0] == 1
	var batchDims, batchTo, indexDims, indexSteps []int
	for axis, d := range windowed.Dimensions {
		if !slices.Contains(offsetAxes, axis) {
			batchDims, batchTo = append(batchDims, d), append(batchTo, to[axis])
		}
	}
	steps := starts.Strides()
	for axis, d := range starts.Dimensions {
		if axis == vectorAxis {
			w.indexStep = steps[axis]
			continue
		}
		indexDims, indexSteps = append(indexDims, d), append(indexSteps, steps[axis])
	}
	w.outBase, w.indexBase = offsets(batchDims, batchTo), offsets(indexDims, indexSteps)
	return w
}

// start is where the slice of an index vector begins in the operand; fits is
// false where it would reach beyond, in which case start is moved to the border.
func (w *window) start(index []int64, slice int) (at int, fits bool) {
	fits = true
	for i, axis := range w.startMap {
		p := index[w.indexBase[slice]+i*w.indexStep]
		limit := int64(w.operandDims[axis] - w.sizes[axis])
		if p < 0 || p > limit {
			fits = false
			p = max(0, min(p, limit))
		}
		at += int(p) * w.operandSteps[axis]
	}
	return at, fits
}

// each visits pairs of places (operand, windowed array) of a slice.
func (w *window) each(from, to int, visit func(from, to int)) {
	total := size(w.inner.dims)
	for i := range total {
		a, b, rest := from, to, i
		for axis := len(w.inner.dims) - 1; axis >= 0; axis-- {
			p := rest % w.inner.dims[axis]
			rest /= w.inner.dims[axis]
			a += p * w.inner.steps[axis]
			b += p * w.innerTo[axis]
		}
		visit(a, b)
	}
}

func gather[W words](w window, src []W, index []int64, dst []W) {
	if len(dst) == 0 {
		return
	}
	width := w.inner.dims[0]
	parallel(len(w.outBase), rowsPerPiece(size(w.inner.dims)), func(lo, hi int) {
		for s := lo; s < hi; s++ {
			at, _ := w.start(index, s)
			if w.rows {
				copy(dst[w.outBase[s]:w.outBase[s]+width], src[at:at+width])
				continue
			}
			w.each(at, w.outBase[s], func(from, to int) { dst[to] = src[from] })
		}
	})
}

func scatter[T number](w window, dst, operand []T, index []int64, updates []T) {
	copy(dst, operand)
	if len(updates) == 0 {
		return
	}
	for s := range w.outBase {
		at, fits := w.start(index, s)
		if !fits {
			continue
		}
		if w.rows {
			row := updates[w.outBase[s]:][:w.inner.dims[0]]
			out := dst[at:][:len(row)]
			for i, v := range row {
				out[i] += v
			}
			continue
		}
		w.each(at, w.outBase[s], func(to, from int) { dst[to] += updates[from] })
	}
}
