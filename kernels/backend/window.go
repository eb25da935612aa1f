package backend

import (
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// window says how slices of an operand correspond to places of a windowed array
// (Gather's output, Scatter's updates): each index vector names a slice.
type window struct {
	operandDims, operandSteps []int
	sizes                     []int // of a slice, per operand axis
	startMap                  []int // index vector component → operand axis

	indexBase []int // per slice: where its index vector begins
	indexStep int
	base      []int // per slice: where its values begin in the windowed array
	// inner walks a slice: operand 0 is the operand, 1 the windowed array.
	inner *loop
	width int // number of values of a slice
}

// newWindow lays out slices of the given sizes. windowAxes are the axes of the
// windowed array that hold them, collapsed those of the operand that it lacks.
func newWindow(operand, starts shapes.Shape, vectorAxis int, windowed shapes.Shape, windowAxes, collapsed, startMap, sizes []int) *window {
	w := &window{
		operandDims: operand.Dimensions, operandSteps: operand.Strides(), sizes: slices.Clone(sizes), startMap: slices.Clone(startMap), indexStep: 1,
	}
	to := windowed.Strides()
	var dims, steps, stepsTo []int
	for axis, n := range sizes {
		if slices.Contains(collapsed, axis) {
			continue
		}
		dims, steps = append(dims, n), append(steps, w.operandSteps[axis])
		stepsTo = append(stepsTo, to[windowAxes[len(stepsTo)]])
	}
	w.inner, w.width = newLoop(dims, steps, stepsTo), size(dims)
	var batchDims, batchTo, indexDims, indexSteps []int
	for axis, d := range windowed.Dimensions {
		if !slices.Contains(windowAxes, axis) {
			batchDims, batchTo = append(batchDims, d), append(batchTo, to[axis])
		}
	}
	from := starts.Strides()
	for axis, d := range starts.Dimensions {
		if axis == vectorAxis {
			w.indexStep = from[axis]
			continue
		}
		indexDims, indexSteps = append(indexDims, d), append(indexSteps, from[axis])
	}
	w.base, w.indexBase = offsets(batchDims, batchTo), offsets(indexDims, indexSteps)
	return w
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

// indices are a buffer's integers; what doesn't fit is the largest.
func indices(b *buffer) []int64 {
	switch v := b.flat.(type) {
	case []int64:
		return v
	case []uint64:
		list := make([]int64, len(v))
		for i, x := range v {
			list[i] = int64(min(x, math.MaxInt64))
		}
		return list
	}
	list := make([]int64, b.shape.Size())
	convertAll(b, &buffer{shape: shapes.Make(dtypes.Int64, len(list)), flat: list})
	return list
}

// runs visits the runs of one slice: n values at from in the operand, at to in
// the windowed array.
func (w *window) runs(from, to int, visit func(from, to, n int)) {
	c := w.inner.start(0)
	for left := w.width; left > 0; c.next() {
		visit(from+c.at[0], to+c.at[1], c.left)
		left -= c.left
	}
}

// gather copies slices of x to the windowed array.
func (moving[W]) gather(w *window, x *buffer, index []int64, out *buffer) {
	src, dst := asWords[W](x), asWords[W](out)
	if len(dst) == 0 {
		return
	}
	sf, st := w.inner.innerStep(0), w.inner.innerStep(1)
	parallel(len(w.base), max(1, pieceSize/w.width), func(lo, hi int) {
		for s := lo; s < hi; s++ {
			at, _ := w.start(index, s)
			w.runs(at, w.base[s], func(from, to, n int) {
				if sf == 1 && st == 1 {
					copy(dst[to:to+n], src[from:from+n])
					return
				}
				for range n {
					dst[to] = src[from]
					from, to = from+sf, to+st
				}
			})
		}
	})
}

// update copies one slice of the windowed array x into out, which holds the
// operand.
func (moving[W]) update(w *window, x *buffer, index []int64, out *buffer) {
	src, dst := asWords[W](x), asWords[W](out)
	if len(src) == 0 {
		return
	}
	sf, st := w.inner.innerStep(0), w.inner.innerStep(1)
	at, _ := w.start(index, 0)
	w.runs(at, 0, func(to, from, n int) {
		for range n {
			dst[to] = src[from]
			to, from = to+sf, from+st
		}
	})
}
