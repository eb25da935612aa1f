package backend_test

import (
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
)

// cut makes an array of the given shape out of x's values, repeated where there
// are too few.
func (m *maker) cut(x *graph.Node, dims ...int) *graph.Node {
	total := 1
	for _, d := range dims {
		total *= d
	}
	flat := graph.Reshape(x, x.Shape().Size())
	for flat.Shape().Size() < total {
		flat = graph.Concatenate([]*graph.Node{flat, graph.Neg(flat)}, 0)
	}
	return graph.Reshape(graph.Slice(flat, graph.AxisRange(0, total)), dims...)
}

// attention is enough batches of it to run as a strip, with heads in front of or
// behind the tokens.
func (m *maker) attention() *graph.Node {
	b, h, t, s, d := 4+m.rng.IntN(4), 2+m.rng.IntN(2), 1+m.rng.IntN(7), 1+m.rng.IntN(9), 1+m.rng.IntN(5)
	q, k, v := m.cut(m.pick(), b, t, h, d), m.cut(m.pick(), b, s, h, d), m.cut(m.pick(), b, s, h, d)
	equation, value := "bthd,bshd->bhts", "bhts,bshd->bthd"
	if m.rng.IntN(3) == 0 {
		q, equation = graph.TransposeAllAxes(q, 0, 2, 1, 3), "bhtd,bshd->bhts"
	}
	if m.rng.IntN(3) == 0 {
		value = "bhts,bshd->bhtd"
	}
	scores := graph.Einsum(equation, q, k)
	if m.rng.IntN(2) == 0 {
		scores = graph.Add(graph.MulScalar(scores, 0.5), graph.ExpandAxes(m.cut(m.pick(), b, t, s), 1))
	}
	return graph.Einsum(value, rowSoftmax(scores), v)
}

// dot contracts x with a value cut to fit, axes in any order.
func (m *maker) dot() *graph.Node {
	x, y := m.pickRank(1), m.pick()
	if x == nil {
		return nil
	}
	axes := m.rng.Perm(x.Rank())
	contracted := 1 + m.rng.IntN(len(axes))
	batched := m.rng.IntN(len(axes) - contracted + 1)
	dims := []int{}
	for _, a := range axes[:contracted+batched] {
		dims = append(dims, x.Shape().Dimensions[a])
	}
	if m.rng.IntN(4) > 0 {
		dims = append(dims, sides[m.rng.IntN(6)])
	}
	total := 1
	for _, d := range dims {
		total *= d
	}
	if total > maxSize {
		return nil
	}
	w := m.cut(y, dims...)
	order := m.rng.Perm(len(dims)) // w's axis i becomes order[i]
	to := make([]int, len(dims))
	for i, a := range order {
		to[a] = i
	}
	w = graph.TransposeAllAxes(w, to...)
	if m.rng.IntN(2) == 0 {
		w = graph.MulScalar(w, 1)
	}
	out := graph.DotGeneral(x, axes[:contracted], axes[contracted:contracted+batched], w, order[:contracted], order[contracted:contracted+batched])
	out = graph.MulScalar(out, 1/math.Sqrt(float64(total)))
	for _, list := range [][]int{axes[:contracted], axes[contracted : contracted+batched], order[:contracted], order[contracted : contracted+batched]} {
		if !slices.IsSorted(list) { // GoMLX differentiates those wrongly
			return graph.StopGradient(out)
		}
	}
	return out
}
