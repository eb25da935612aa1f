package kernels

import (
	"fmt"
	"math"
	"slices"
)

// clipSteps is the number of bounds that [ClipGroups] tries: max|w|·(1 − i/20),
// i = 0 … 9.
const clipSteps = 10

// ClipGroups searches for every group of w [rows, cols] the bound on |w| that
// harms the group's output least when clipped weights are rounded by
// [RoundAsymmetric] or, symmetric, [RoundSymmetric] (AWQ's clip search,
// arXiv:2306.00978): with d = w − Q(clamp(w, −m, m)) the least dᵀ·G·d wins, the first
// of equals. gram is Σ x·xᵀ over inputs, [cols, cols]; only the blocks of groups are
// read. bound receives m, [rows, cols/group]. Errors are summed in float64, bounds
// are float32. Rows run on several threads.
func ClipGroups(bound, w []float32, gram []float64, rows, cols, group, bits int, symmetric bool) {
	groups := checkRound("ClipGroups", w, bound, w, rows, cols, group, bits)
	if len(gram) != cols*cols {
		panic(fmt.Sprintf("kernels: ClipGroups: a Gram matrix of %d, want [%d, %d]", len(gram), cols, cols))
	}
	split(rows, func(r int) {
		clipped, d := make([]float32, group), make([]float64, group)
		for g := range groups {
			values := w[r*cols+g*group : r*cols+(g+1)*group]
			top := absMax(values)
			least := math.Inf(1)
			for i := range clipSteps {
				m := top * float32(1-float64(i)/20)
				Clamp(clipped, values, m)
				if symmetric {
					roundSymmetricGroup(clipped, clipped, bits)
				} else {
					roundAsymmetricGroup(clipped, clipped, bits)
				}
				for k := range d {
					d[k] = float64(values[k]) - float64(clipped[k])
				}
				if e := quadratic(d, gram, g*group, cols); e < least {
					least, bound[r*groups+g] = e, m
				}
			}
		}
	})
}

// quadratic is dᵀ·G·d with G the block of gram that starts at [at, at].
func quadratic(d, gram []float64, at, cols int) float64 {
	var sum float64
	for i, v := range d {
		sum += v * dot(d, gram[(at+i)*cols+at:])
	}
	return sum
}

// Clamp writes w clamped to [−bound, bound] to dst, which may be w.
func Clamp(dst, w []float32, bound float32) {
	copy(dst, w)
	for i, v := range dst {
		dst[i] = min(max(v, -bound), bound)
	}
}

// ClampGroups clamps every group of w [rows, cols] to its bound, in place.
func ClampGroups(w, bound []float32, group int) {
	for g, part := range slices.Collect(slices.Chunk(w, group)) {
		Clamp(part, part, bound[g])
	}
}
