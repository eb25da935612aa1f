package backend_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/nn"
)

// GoMLX's fused operations are the very nodes that it decomposes them into, so that
// graphs with gradients, which have both, compute neither twice.
func TestFusedIsDecomposed(t *testing.T) {
	b := open(t, "tlq")
	for name, build := range map[string]func(x, w *graph.Node) *graph.Node{
		"softmax":            func(x, _ *graph.Node) *graph.Node { return graph.Softmax(x) },
		"softmax of columns": func(x, _ *graph.Node) *graph.Node { return graph.Softmax(x, 0) },
		"gelu":               func(x, _ *graph.Node) *graph.Node { return activation.Gelu(x) },
		"layer norm":         func(x, w *graph.Node) *graph.Node { return nn.LayerNorm(x, []int{-1}, 1e-5, w, w, nil) },
		"layer norm of all":  func(x, _ *graph.Node) *graph.Node { return nn.LayerNorm(x, []int{0, 1}, 1e-5, nil, nil, nil) },
	} {
		for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64, dtypes.BFloat16} {
			t.Run(fmt.Sprint(name, " ", dtype), func(t *testing.T) {
				g := graph.NewGraph(b, "fused")
				x := graph.Parameter(g, "x", shapes.Make(dtype, 6, 10))
				w := graph.Parameter(g, "w", shapes.Make(dtype, 10))
				fused := build(x, w)
				t.Setenv(graph.FusionEnv, "false")
				decomposed := build(x, w)
				if got, want := fused.Type(), decomposed.Type(); got == want {
					t.Fatalf("%s is not fused", got)
				}
				if values(fused) != values(decomposed) {
					t.Errorf("%s is not what GoMLX decomposes it into", fused.Type())
				}
			})
		}
	}
}

// What a graph says twice is one node, and what differs is not.
func TestEqualNodesAreOne(t *testing.T) {
	b := open(t, "tlq")
	g := graph.NewGraph(b, "twice")
	x, y := graph.Parameter(g, "x", shapes.Make(dtypes.Float32, 4, 4)), graph.Parameter(g, "y", shapes.Make(dtypes.Float32, 4, 4))
	list := map[string]func() *graph.Node{
		"add":       func() *graph.Node { return graph.Add(x, y) },
		"swapped":   func() *graph.Node { return graph.Add(y, x) },
		"sub":       func() *graph.Node { return graph.Sub(x, y) },
		"row":       func() *graph.Node { return graph.Add(x, graph.ExpandAxes(graph.Const(g, []float32{1, 2, 3, 4}), 0)) },
		"column":    func() *graph.Node { return graph.Add(x, graph.ExpandAxes(graph.Const(g, []float32{1, 2, 3, 4}), 1)) },
		"transpose": func() *graph.Node { return graph.Transpose(x, 0, 1) },
		"rows":      func() *graph.Node { return graph.ReduceSum(x, 0) },
		"columns":   func() *graph.Node { return graph.ReduceSum(x, 1) },
		"dot":       func() *graph.Node { return graph.Dot(x, y).Product() },
		"dot by rows": func() *graph.Node {
			return graph.DotGeneral(x, []int{1}, nil, y, []int{1}, nil)
		},
		"slice":  func() *graph.Node { return graph.Slice(x, graph.AxisRange(0, 2)) },
		"slice2": func() *graph.Node { return graph.Slice(x, graph.AxisRange(1, 3)) },
		"half":   func() *graph.Node { return graph.ConvertDType(x, dtypes.Float16) },
		"wide":   func() *graph.Node { return graph.ConvertDType(x, dtypes.Float64) },
		"below":  func() *graph.Node { return graph.LessThan(x, y) },
		"above":  func() *graph.Node { return graph.GreaterThan(x, y) },
	}
	seen := map[any]string{}
	for name, build := range list {
		first, second := values(build()), values(build())
		if first != second {
			t.Errorf("%s is computed twice", name)
		}
		if other, ok := seen[first]; ok {
			t.Errorf("%s is taken for %s", name, other)
		}
		seen[first] = name
	}
}

// Powers with whole exponents have the precision of the others.
func TestWholePowers(t *testing.T) {
	b := open(t, "tlq")
	x := []float32{-3.7, -1, -0.25, 0, 1e-20, 0.1, 1, 2.9, 1e15, 1e30}
	for _, p := range []float64{1, 2, 3, 4, -1, -2} {
		exec, err := graph.NewExec(b, func(x *graph.Node) []*graph.Node {
			spread := graph.BroadcastToDims(graph.Scalar(x.Graph(), dtypes.Float32, p), len(x.Shape().Dimensions)*10)
			return []*graph.Node{graph.PowScalar(x, p), graph.Pow(x, graph.Add(spread, graph.Sub(x, x)))}
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(tensors.FromFlatDataAndDimensions(append([]float32{}, x...), 10))
		if err != nil {
			t.Fatal(err)
		}
		got, want := float64s(t, out[0]), float64s(t, out[1])
		if d := distance(got, want); d > 2e-7 {
			t.Errorf("x to the power %g: %v; want %v", p, got, want)
		}
	}
}
