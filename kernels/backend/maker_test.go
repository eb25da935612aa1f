package backend_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// maker draws a random graph. The same seed draws the same graph, whatever the
// type of numbers.
type maker struct {
	rng    *rand.Rand
	values []*graph.Node // of floating-point numbers
	trail  []string
}

const maxSize = 3000 // of an array

var sides = []int{1, 1, 2, 3, 4, 5, 7, 16, 17, 33}

// dims draws a shape.
func (m *maker) dims(maxRank int) []int {
	d := make([]int, m.rng.IntN(maxRank+1))
	total := 1
	for i := range d {
		d[i] = sides[m.rng.IntN(len(sides))]
		if total*d[i] > maxSize {
			d[i] = 1
		}
		total *= d[i]
	}
	return d
}

func (m *maker) pick() *graph.Node { return m.values[m.rng.IntN(len(m.values))] }

// pickRank draws a value with at least the given rank, or nil.
func (m *maker) pickRank(rank int) *graph.Node {
	for range 20 {
		if x := m.pick(); x.Rank() >= rank {
			return x
		}
	}
	return nil
}

func (m *maker) axes(rank, atLeast int) []int {
	axes := m.rng.Perm(rank)
	if rank <= atLeast {
		return axes
	}
	return axes[:atLeast+m.rng.IntN(rank-atLeast+1)]
}

// fitted shrinks x so that it broadcasts to dims, or not at all.
func (m *maker) fitted(x *graph.Node, dims []int) *graph.Node {
	if m.rng.IntN(8) == 0 {
		return graph.ReduceAllMean(x)
	}
	flat := graph.Reshape(x, x.Shape().Size())
	var want []int
	total := 1
	for _, d := range dims {
		if m.rng.IntN(3) == 0 || total*d > x.Shape().Size() {
			d = 1
		}
		want = append(want, d)
		total *= d
	}
	if total != x.Shape().Size() {
		flat = graph.Slice(flat, graph.AxisRange(0, total))
	}
	y := graph.Reshape(flat, want...)
	if m.rng.IntN(3) == 0 {
		y = graph.BroadcastToDims(y, dims...)
	}
	return y
}

// step adds one operation.
func (m *maker) step() {
	kinds := []func() *graph.Node{
		m.unary, m.unary, m.binary, m.binary, m.binary, m.reduce, m.reduce, m.reshape, m.transpose, m.broadcast,
		m.slice, m.concatenate, m.gather, m.scatter, m.where, m.dot, m.dot, m.pad, m.convert, m.softmax, m.attention,
	}
	k := m.rng.IntN(len(kinds))
	if y := kinds[k](); y != nil && y.Shape().Size() <= maxSize {
		m.trail = append(m.trail, fmt.Sprintf("%d:%s%v", k, y.Type(), y.Shape().Dimensions))
		m.values = append(m.values, y)
	}
}

func (m *maker) unary() *graph.Node {
	x := m.pick()
	switch m.rng.IntN(14) {
	case 0:
		return graph.Tanh(x)
	case 1:
		return graph.Sigmoid(x)
	case 2:
		return graph.Exp(graph.Tanh(x))
	case 3:
		return graph.Log(graph.OnePlus(graph.Square(x)))
	case 4:
		return graph.Sqrt(graph.OnePlus(graph.Square(x)))
	case 5:
		return graph.Neg(x)
	case 6:
		return graph.Abs(x)
	case 7:
		return graph.Sin(x)
	case 8:
		return graph.Cos(x)
	case 9:
		return graph.Erf(x)
	case 10:
		return graph.MulScalar(x, 0.5)
	case 11:
		return graph.StopGradient(graph.Floor(x))
	case 12:
		return graph.StopGradient(graph.Identity(x))
	default:
		return graph.Log1p(graph.Abs(x))
	}
}

func (m *maker) binary() *graph.Node {
	a := m.pick()
	b := m.fitted(m.pick(), a.Shape().Dimensions)
	if m.rng.IntN(2) == 0 {
		a, b = b, a
	}
	switch m.rng.IntN(6) {
	case 0:
		return graph.Add(a, b)
	case 1:
		return graph.Sub(a, b)
	case 2:
		return graph.Mul(a, graph.Tanh(b))
	case 3:
		return graph.Div(a, graph.AddScalar(graph.Square(b), 0.5))
	case 4:
		return graph.Max(a, b)
	default:
		return graph.Min(a, b)
	}
}

func (m *maker) reduce() *graph.Node {
	x := m.pickRank(1)
	if x == nil {
		return nil
	}
	axes := m.axes(x.Rank(), 1)
	if m.rng.IntN(2) == 0 {
		return graph.ReduceAndKeep(x, graph.ReduceMean, axes...)
	}
	switch m.rng.IntN(5) {
	case 0:
		return graph.ReduceSum(graph.MulScalar(x, 0.1), axes...)
	case 1:
		return graph.ReduceMean(x, axes...)
	case 2:
		return graph.ReduceMax(x, axes...)
	case 3:
		return graph.ReduceMin(x, axes...)
	default:
		return graph.StopGradient(graph.ReduceMultiply(graph.Cos(x), axes...))
	}
}

func (m *maker) softmax() *graph.Node {
	x := m.pickRank(1)
	if x == nil {
		return nil
	}
	axis := m.rng.IntN(x.Rank())
	peak := graph.StopGradient(graph.ReduceAndKeep(x, graph.ReduceMax, axis))
	e := graph.Exp(graph.Sub(x, peak))
	return graph.Div(e, graph.ReduceAndKeep(e, graph.ReduceSum, axis))
}

func (m *maker) reshape() *graph.Node {
	x := m.pick()
	rest := x.Shape().Size()
	var dims []int
	for _, d := range []int{2, 3, 4, 5, 7} {
		if rest%d == 0 && m.rng.IntN(2) == 0 {
			dims = append(dims, d)
			rest /= d
		}
	}
	dims = append(dims, rest)
	if m.rng.IntN(3) == 0 {
		dims = append(dims, 1)
	}
	m.rng.Shuffle(len(dims), func(i, j int) { dims[i], dims[j] = dims[j], dims[i] })
	return graph.Reshape(x, dims...)
}

func (m *maker) transpose() *graph.Node {
	x := m.pickRank(2)
	if x == nil {
		return nil
	}
	return graph.TransposeAllAxes(x, m.rng.Perm(x.Rank())...)
}

func (m *maker) broadcast() *graph.Node {
	x := m.pick()
	if x.Rank() >= 4 {
		return nil
	}
	at := m.rng.IntN(x.Rank() + 1)
	y := graph.ExpandAxes(x, at)
	dims := append([]int{}, y.Shape().Dimensions...)
	for i, d := range dims {
		if d == 1 && m.rng.IntN(2) == 0 {
			dims[i] = 1 + m.rng.IntN(4)
		}
	}
	return graph.BroadcastToDims(y, dims...)
}

func (m *maker) slice() *graph.Node {
	x := m.pickRank(1)
	if x == nil {
		return nil
	}
	specs := make([]graph.SliceAxisSpec, x.Rank())
	for i, d := range x.Shape().Dimensions {
		from := m.rng.IntN(d)
		specs[i] = graph.AxisRange(from, from+1+m.rng.IntN(d-from))
		if m.rng.IntN(3) == 0 {
			specs[i] = specs[i].Stride(1 + m.rng.IntN(3))
		}
	}
	return graph.Slice(x, specs...)
}

func (m *maker) concatenate() *graph.Node {
	x := m.pickRank(1)
	if x == nil {
		return nil
	}
	list := []*graph.Node{x, graph.Sin(x)}
	if m.rng.IntN(2) == 0 {
		list = append(list, x)
	}
	return graph.Concatenate(list, m.rng.IntN(x.Rank()))
}

// indices draws a constant of places along an axis of the given size.
func (m *maker) indices(g *graph.Graph, size int, dims ...int) *graph.Node {
	total := 1
	for _, d := range dims {
		total *= d
	}
	list := make([]int32, total)
	for i := range list {
		list[i] = int32(m.rng.IntN(size))
	}
	return graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(list, dims...))
}

func (m *maker) gather() *graph.Node {
	x := m.pickRank(1)
	if x == nil {
		return nil
	}
	n := 1 + m.rng.IntN(5)
	places := []*graph.Node{m.indices(x.Graph(), x.Shape().Dimensions[0], n, 1)}
	if x.Rank() > 1 && m.rng.IntN(2) == 0 {
		places = append(places, m.indices(x.Graph(), x.Shape().Dimensions[1], n, 1))
	}
	return graph.Gather(x, graph.Concatenate(places, 1))
}

func (m *maker) scatter() *graph.Node {
	x := m.pickRank(1)
	if x == nil {
		return nil
	}
	n := 1 + m.rng.IntN(6)
	places := m.indices(x.Graph(), x.Shape().Dimensions[0], n, 1)
	updates := graph.Cos(graph.Gather(x, m.indices(x.Graph(), x.Shape().Dimensions[0], n, 1)))
	switch m.rng.IntN(3) {
	case 0:
		return graph.ScatterMax(x, places, updates, false, false)
	case 1:
		return graph.ScatterMin(x, places, updates, false, false)
	default:
		return graph.ScatterSum(x, places, updates, false, false)
	}
}

func (m *maker) where() *graph.Node {
	a := m.pick()
	b := m.fitted(m.pick(), a.Shape().Dimensions)
	cond := graph.GreaterThan(a, b)
	if m.rng.IntN(2) == 0 {
		cond = graph.LogicalOr(graph.LogicalNot(cond), graph.LessOrEqual(a, graph.ScalarZero(a.Graph(), a.DType())))
	}
	if b.Rank() > 0 {
		b = graph.BroadcastToDims(b, cond.Shape().Dimensions...)
	}
	return graph.Where(cond, a, b)
}

func (m *maker) pad() *graph.Node {
	x := m.pickRank(1)
	if x == nil {
		return nil
	}
	config := make([]compute.PadAxis, x.Rank())
	for i := range config {
		config[i] = compute.PadAxis{Start: m.rng.IntN(3), End: m.rng.IntN(3), Interior: m.rng.IntN(2)}
	}
	y := graph.Pad(graph.StopGradient(x), graph.Const(x.Graph(), shapes.CastAsDType(0.25, x.DType())), config...)
	return graph.StopGradient(graph.Reverse(y, m.axes(y.Rank(), 1)...))
}

func (m *maker) convert() *graph.Node {
	x := m.pick()
	switch m.rng.IntN(3) {
	case 0:
		return graph.ConvertDType(graph.ConvertDType(x, dtypes.Float64), x.DType())
	case 1:
		return graph.StopGradient(graph.ConvertDType(graph.ConvertDType(graph.MulScalar(x, 10), dtypes.Int32), x.DType()))
	default:
		i := graph.ArgMax(graph.Reshape(x, x.Shape().Size()), 0, dtypes.Int64)
		return graph.StopGradient(graph.ConvertDType(i, x.DType()))
	}
}
