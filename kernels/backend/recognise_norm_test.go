package backend_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/kernels/backend"
)

// normCase is a graph with norms in it.
type normCase struct {
	name  string
	graph func(in []*graph.Node) []*graph.Node // of x [B, T, D], a gain and a bias
	count int                                  // of operations, when norms are recognised
	plain int                                  // and one by one
}

var normCases = []normCase{
	{"rms", func(in []*graph.Node) []*graph.Node { return []*graph.Node{rmsNorm(in[0], in[1])} }, 1, 7},
	{"layer", func(in []*graph.Node) []*graph.Node { return []*graph.Node{layerNorm(in[0], in[1], in[2])} }, 5, 11},
	{"the root too", func(in []*graph.Node) []*graph.Node {
		s := graph.Sqrt(graph.AddScalar(graph.ReduceAndKeep(graph.Square(in[0]), graph.ReduceMean, -1), 1e-6))
		return []*graph.Node{rmsNorm(in[0], in[1]), s}
	}, 2, 7},
	{"the mean too", func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{rmsNorm(in[0], in[1]), graph.ReduceMean(graph.Square(in[0]), -1)}
	}, 6, 7},
	{"of columns", func(in []*graph.Node) []*graph.Node {
		s := graph.Sqrt(graph.AddScalar(graph.ReduceAndKeep(graph.Square(in[0]), graph.ReduceMean, 1), 1e-6))
		return []*graph.Node{graph.Mul(graph.Div(in[0], s), graph.ExpandLeftToRank(in[1], 3))}
	}, 7, 7},
	{"of other rows", func(in []*graph.Node) []*graph.Node {
		s := graph.Sqrt(graph.AddScalar(graph.ReduceAndKeep(graph.Square(graph.Neg(in[0])), graph.ReduceMean, -1), 1e-6))
		return []*graph.Node{graph.Mul(graph.Div(in[0], s), graph.ExpandLeftToRank(in[1], 3))}
	}, 3, 8},
	{"of a norm", func(in []*graph.Node) []*graph.Node { return []*graph.Node{rmsNorm(rmsNorm(in[0], in[1]), in[2])} }, 2, 14},
	{"rms with gradients", func(in []*graph.Node) []*graph.Node {
		y := rmsNorm(in[0], in[1])
		return append([]*graph.Node{y}, graph.Gradient(graph.ReduceAllSum(graph.Square(y)), in[:2]...)...)
	}, 0, 0},
	{"layer with gradients", func(in []*graph.Node) []*graph.Node {
		y := layerNorm(in[0], in[1], in[2])
		return append([]*graph.Node{y}, graph.Gradient(graph.ReduceAllSum(graph.Square(y)), in...)...)
	}, 0, 0},
}

// arguments are x, of the given number of rows and columns, a gain and a bias.
func (normCase) arguments(batch, rows, cols int) []any {
	rng := rand.New(rand.NewPCG(9, 9))
	var list []any
	for _, dims := range [][]int{{batch, rows, cols}, {cols}, {cols}} {
		n := 1
		for _, d := range dims {
			n *= d
		}
		flat := make([]float32, n)
		for i := range flat {
			flat[i] = float32(rng.NormFloat64())
		}
		list = append(list, tensors.FromFlatDataAndDimensions(flat, dims...))
	}
	return list
}

// call compiles and runs the graph.
func (c normCase) call(t *testing.T, on compute.Backend, args []any) []*tensors.Tensor {
	t.Helper()
	exec, err := graph.NewExec(on, c.graph)
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Norms that are found in their parts have the bits of the parts, forward and with
// gradients, for one row as for many, in strips and alone.
func TestRecognisedNorms(t *testing.T) {
	on := open(t, "tlq")
	for _, c := range normCases {
		for _, size := range [][3]int{{2, 40, 64}, {1, 1, 64}, {1, 33, 1}, {1, 1, 1}, {3, 7, 50}, {1, 600, 9}} {
			args := c.arguments(size[0], size[1], size[2])
			got := bits(t, c.call(t, on, args))
			var want []uint32
			backend.WithoutRecognising(func() {
				backend.WithoutFusing(func() { want = bits(t, c.call(t, on, args)) })
			})
			if !slices.Equal(got, want) {
				t.Errorf("%s of %v: other bits than its parts", c.name, size)
			}
		}
	}
}

// A row's norm and its gradient depend on that row alone.
func TestNormOfOneRow(t *testing.T) {
	const rows, cols = 50, 96
	on, c := open(t, "tlq"), normCases[0]
	args := c.arguments(1, rows, cols)
	all := float64s(t, c.call(t, on, args)[0])
	x := float64s(t, args[0].(*tensors.Tensor))
	for _, r := range []int{0, 17, rows - 1} {
		row := make([]float32, cols)
		for i := range row {
			row[i] = float32(x[r*cols+i])
		}
		one := float64s(t, c.call(t, on, []any{tensors.FromFlatDataAndDimensions(row, 1, 1, cols), args[1], args[2]})[0])
		if !slices.Equal(one, all[r*cols:(r+1)*cols]) {
			t.Errorf("row %d has other bits alone", r)
		}
	}
}

// An RMS norm is its formula in float64 within what seven roundings make of it.
func TestNormAgainstFloat64(t *testing.T) {
	const rows, cols = 20, 300
	const tolerance = 7 * 0x1p-24 // relative, of an element
	args := normCases[0].arguments(1, rows, cols)
	x, gain := float64s(t, args[0].(*tensors.Tensor)), float64s(t, args[1].(*tensors.Tensor))
	for i, got := range float64s(t, normCases[0].call(t, open(t, "tlq"), args)[0]) {
		sum := 0.0
		for _, v := range x[i/cols*cols:][:cols] {
			sum += v * v
		}
		want := x[i] / math.Sqrt(sum/cols+1e-6) * gain[i%cols]
		if math.Abs(got-want) > tolerance*math.Abs(want) {
			t.Errorf("element %d is %g; want %g", i, got, want)
		}
	}
}

// How many operations are left of a norm. What lies between them takes no memory, for
// those that are left make a strip.
func TestNormOperations(t *testing.T) {
	on := open(t, "tlq")
	for _, c := range normCases {
		if c.count == 0 {
			continue
		}
		count := func() int {
			exec, err := graph.NewExec(on, c.graph)
			if err != nil {
				t.Fatal(err)
			}
			_, g, err := exec.CallWithGraph(c.arguments(2, 40, 64)...)
			if err != nil {
				t.Fatal(err)
			}
			if m := backend.Memory(g.Executable()); c.count < c.plain && m > 2*40*4 { // a root for each row
				t.Errorf("%s: keeps %d bytes between steps", c.name, m)
			}
			return backend.Operations(g.Executable())
		}
		if got := count(); got != c.count {
			t.Errorf("%s: %d operations; want %d", c.name, got, c.count)
		}
		backend.WithoutRecognising(func() {
			if got := count(); got != c.plain {
				t.Errorf("%s: %d operations one by one; want %d", c.name, got, c.plain)
			}
		})
	}
}

// BenchmarkNorm is the RMS norm of a graph in one operation and as a strip of seven,
// forward and with gradients.
func BenchmarkNorm(b *testing.B) {
	for _, size := range [][3]int{{4, 512, 512}, {8, 144, 64}} {
		for _, c := range []normCase{normCases[0], normCases[7], normCases[8]} {
			name := fmt.Sprintf("%s/%dx%d/", c.name, size[0]*size[1], size[2])
			run := func(b *testing.B) {
				benchmarkGraph(b, open(b, "tlq"), c.graph, c.arguments(size[0], size[1], size[2]), 0)
			}
			b.Run(name+"recognised", run)
			b.Run(name+"strip", func(b *testing.B) { backend.WithoutRecognising(func() { run(b) }) })
		}
	}
}
