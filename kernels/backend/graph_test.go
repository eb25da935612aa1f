package backend_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	_ "github.com/gomlx/compute/gobackend" // GoMLX's own, the reference
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// reference is GoMLX's own backend; run in parallel it can deadlock.
const reference = "go:parallelism=-1"

func open(t testing.TB, config string) compute.Backend {
	t.Helper()
	if config == reference && raceDetector {
		t.Skip("GoMLX's own backend makes pointers beyond its slices")
	}
	b, err := compute.NewWithConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// build draws a graph over the inputs: some of its values, repeated values and
// inputs among them, a loss and its gradients.
func build(seed uint64, in []*graph.Node) ([]*graph.Node, []string) {
	m := &maker{rng: rand.New(rand.NewPCG(seed, 1)), values: append([]*graph.Node{}, in...)}
	for range 4 + m.rng.IntN(16) {
		m.step()
	}
	g := in[0].Graph()
	loss := graph.ScalarZero(g, in[0].DType())
	for _, v := range m.values {
		loss = graph.Add(loss, graph.ReduceAllMean(graph.Sin(v)))
	}
	var out []*graph.Node
	for range 1 + m.rng.IntN(5) {
		out = append(out, m.pick())
	}
	out = append(out, out[0], loss)
	return append(out, graph.Gradient(loss, in...)...), m.trail
}

// inputs draws the inputs of a seed's graph.
func inputs(seed uint64, t dtypes.DType) []any {
	rng := rand.New(rand.NewPCG(seed, 2))
	m := &maker{rng: rng}
	var list []any
	for range 2 + rng.IntN(2) {
		dims := m.dims(4)
		total := 1
		for _, d := range dims {
			total *= d
		}
		wide, narrow := make([]float64, total), make([]float32, total)
		for i := range wide {
			narrow[i] = float32(rng.NormFloat64())
			wide[i] = float64(narrow[i])
		}
		if t == dtypes.Float64 {
			list = append(list, tensors.FromFlatDataAndDimensions(wide, dims...))
		} else {
			list = append(list, tensors.FromFlatDataAndDimensions(narrow, dims...))
		}
	}
	return list
}

// run runs a seed's graph: the outputs' shapes and values.
func run(t testing.TB, b compute.Backend, seed uint64, dtype dtypes.DType) (out [][]float64, dims [][]int, trail []string) {
	t.Helper()
	exec, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
		var out []*graph.Node
		out, trail = build(seed, in)
		return out
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	results, err := exec.Call(inputs(seed, dtype)...)
	if err != nil {
		t.Fatalf("seed %d on %s: %v", seed, b.Name(), err)
	}
	for _, r := range results {
		dims = append(dims, r.Shape().Dimensions)
		out = append(out, float64s(t, r))
	}
	return out, dims, trail
}

func float64s(t testing.TB, x *tensors.Tensor) []float64 {
	t.Helper()
	if x.DType() == dtypes.Float64 {
		flat, err := tensors.CopyFlatData[float64](x)
		if err != nil {
			t.Fatal(err)
		}
		return flat
	}
	flat, err := tensors.CopyFlatData[float32](x)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(flat))
	for i, v := range flat {
		out[i] = float64(v)
	}
	return out
}

// distance is the largest difference relative to the array's largest value, or
// to one; NaN and infinities must agree.
func distance(a, b []float64) float64 {
	scale, most := 1.0, 0.0
	for _, v := range b {
		if !math.IsInf(v, 0) {
			scale = max(scale, math.Abs(v))
		}
	}
	for i, v := range a {
		if v == b[i] || (math.IsNaN(v) && math.IsNaN(b[i])) {
			continue
		}
		d := math.Abs(v-b[i]) / scale
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		most = max(most, d)
	}
	return most
}

// More graphs than the few of an ordinary run, or others:
//
//	go test ./kernels/backend -run TestRandomGraphs -graphs 5000 -first 300
var (
	randomGraphs = flag.Uint64("graphs", 150, "`number` of random graphs")
	firstGraph   = flag.Uint64("first", 0, "`seed` of the first random graph")
)

// jumps is how far each output of a seed's graph moves in float64 when its inputs
// move by no more than float32 rounds them: what no computation in float32 can be
// better than. Gradients of maxima and choices jump where operands are equal but
// for rounding.
func jumps(t testing.TB, b compute.Backend, seed uint64) []float64 {
	t.Helper()
	exec, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
		out, _ := build(seed, in)
		return out
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	var first [][]float64
	var most []float64
	for draw := range 9 {
		rng := rand.New(rand.NewPCG(seed, uint64(100+draw)))
		args := inputs(seed, dtypes.Float64)
		for i, x := range args {
			flat := float64s(t, x.(*tensors.Tensor))
			for k := range flat {
				if draw > 0 {
					flat[k] *= 1 + 0x1p-24*(2*rng.Float64()-1)
				}
			}
			args[i] = tensors.FromFlatDataAndDimensions(flat, x.(*tensors.Tensor).Shape().Dimensions...)
		}
		out, err := exec.Call(args...)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range out {
			v := float64s(t, o)
			if draw == 0 {
				first, most = append(first, v), append(most, 0)
			}
			most[i] = max(most[i], distance(v, first[i]))
		}
	}
	return most
}

// Seed 2953 has a gradient that jumps: in float32 it is off by 1.4e-3, more than a
// thousand times what rounding does elsewhere, and it moves as far in float64
// when its inputs are rounded otherwise.
func TestJumpingGradient(t *testing.T) {
	const seed, output = 2953, 7
	if moved := jumps(t, open(t, "tlq"), seed)[output]; moved < 3e-4 {
		t.Errorf("moves by %g", moved)
	}
	got, _, _ := run(t, open(t, "tlq"), seed, dtypes.Float32)
	exact, _, _ := run(t, open(t, "tlq"), seed, dtypes.Float64)
	if d := distance(got[output], exact[output]); d > 5e-3 {
		t.Errorf("off by %g", d)
	}
}

// Random graphs with their gradients: in float64 they differ from GoMLX's own
// backend by rounding alone; in float32, by no more than GoMLX's own differs
// from float64, give or take, or than the results jump.
func TestRandomGraphs(t *testing.T) {
	ours, theirs := open(t, "tlq"), open(t, reference)
	const (
		exact  = 1e-10 // of 52 bits, sums of at most a few thousand values, some twenty operations deep
		single = 2e-5  // of 23 bits, as above
	)
	for seed := *firstGraph; seed < *firstGraph+*randomGraphs; seed++ {
		want, dims, trail := run(t, theirs, seed, dtypes.Float64)
		got, gotDims, _ := run(t, ours, seed, dtypes.Float64)
		got32, _, _ := run(t, ours, seed, dtypes.Float32)
		want32, _, _ := run(t, theirs, seed, dtypes.Float32)
		for i := range want {
			if fmt.Sprint(dims[i]) != fmt.Sprint(gotDims[i]) {
				t.Fatalf("seed %d: output %d has shape %v; want %v\n%v", seed, i, gotDims[i], dims[i], trail)
			}
			if d := distance(got[i], want[i]); d > exact {
				t.Errorf("seed %d: output %d %v is off by %g in float64\n%v", seed, i, dims[i], d, trail)
			}
			d, their := distance(got32[i], want[i]), distance(want32[i], want[i])
			if d > 4*their+single && d > 4*(their+jumps(t, ours, seed)[i])+single {
				t.Errorf("seed %d: output %d %v is off by %g in float32, theirs by %g\n%v", seed, i, dims[i], d, their, trail)
			}
		}
		if t.Failed() {
			return
		}
	}
}
