package backend_test

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// blockSize is a transformer block: pre-norm, separate projections with biases,
// full attention, an MLP four times as wide with the exact GELU.
type blockSize struct{ batch, tokens, width, heads int }

// transformer is the block that frameworks are compared on: 2048 tokens, 15.0
// GFLOP forward, 45.1 with the gradients of all inputs.
var transformer = blockSize{batch: 4, tokens: 512, width: 512, heads: 8}

// flops of the forward pass: products alone.
func (s blockSize) flops() float64 {
	rows := float64(s.batch * s.tokens)
	linears := 2 * rows * float64(s.width) * float64(12*s.width)
	scores := 4 * rows * float64(s.tokens*s.width)
	return linears + scores
}

func (s blockSize) arguments(seed uint64) []any {
	rng := rand.New(rand.NewPCG(seed, 3))
	var list []any
	normal := func(scale, mean float64, dims ...int) {
		n := 1
		for _, d := range dims {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(mean + scale*rng.NormFloat64())
		}
		list = append(list, tensors.FromFlatDataAndDimensions(data, dims...))
	}
	d := s.width
	root := 1 / math.Sqrt(float64(d))
	normal(1, 0, s.batch, s.tokens, d)
	normal(0.1, 1, d)
	normal(0.1, 0, d)
	for range 4 {
		normal(root, 0, d, d)
		normal(0.1, 0, d)
	}
	normal(0.1, 1, d)
	normal(0.1, 0, d)
	normal(root, 0, d, 4*d)
	normal(0.1, 0, 4*d)
	normal(root/2, 0, 4*d, d)
	normal(0.1, 0, d)
	return list
}

// forward is the block in plain operations; weights are [in, out].
func (s blockSize) forward(in []*graph.Node) *graph.Node {
	p := &parameters{nodes: in}
	x := p.take()
	project := func(x *graph.Node) *graph.Node {
		w, b := p.take(), p.take()
		return graph.Add(graph.DotGeneral(x, []int{2}, nil, w, []int{0}, nil), graph.ExpandLeftToRank(b, 3))
	}
	y := layerNorm(x, p.take(), p.take())
	split := func(y *graph.Node) *graph.Node {
		return graph.Reshape(y, s.batch, s.tokens, s.heads, s.width/s.heads)
	}
	q, k, v := split(project(y)), split(project(y)), split(project(y))
	scores := graph.MulScalar(graph.Einsum("bthd,bshd->bhts", q, k), 1/math.Sqrt(float64(s.width/s.heads)))
	y = graph.Reshape(graph.Einsum("bhts,bshd->bthd", rowSoftmax(scores), v), s.batch, s.tokens, s.width)
	x = graph.Add(x, project(y))
	y = project(layerNorm(x, p.take(), p.take()))
	y = graph.Mul(y, graph.MulScalar(graph.AddScalar(graph.Erf(graph.DivScalar(y, math.Sqrt2)), 1), 0.5))
	return graph.Add(x, project(y))
}

// step is the mean square of the result and its gradients of all inputs.
func (s blockSize) step(in []*graph.Node) []*graph.Node {
	loss := graph.ReduceAllMean(graph.Square(s.forward(in)))
	return append([]*graph.Node{loss}, graph.Gradient(loss, in...)...)
}

// The small block agrees with GoMLX's backend, forward and gradients.
func TestTransformerBlock(t *testing.T) {
	s := blockSize{batch: 2, tokens: 24, width: 32, heads: 4}
	var results [2][]*tensors.Tensor
	for i, name := range []string{"tlq", reference} {
		exec, err := graph.NewExec(open(t, name), func(in []*graph.Node) []*graph.Node {
			return append(s.step(in), s.forward(in))
		})
		if err != nil {
			t.Fatal(err)
		}
		if results[i], err = exec.Call(s.arguments(1)...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range results[0] {
		if d := distance(float64s(t, results[0][i]), float64s(t, results[1][i])); d > 1e-5 {
			t.Errorf("output %d %s: off by %g", i, results[0][i].Shape(), d)
		}
	}
}

// residentPeak is the process's largest resident memory since the last reset, in
// bytes; 0 where the system doesn't tell.
func residentPeak() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib * 1024
}

// resetResidentPeak starts a new measurement, where the system allows it.
func resetResidentPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// BenchmarkTransformerBlock measures the block on 4 × 512 tokens, width 512, 8
// heads. Beside the mean it gives the fastest time, the rate of the products in
// it, and the largest resident memory of the whole process.
func BenchmarkTransformerBlock(b *testing.B) {
	s := transformer
	for _, pass := range []struct {
		name  string
		flops float64
		graph func(in []*graph.Node) []*graph.Node
	}{
		{"forward", s.flops(), func(in []*graph.Node) []*graph.Node { return []*graph.Node{s.forward(in)} }},
		{"backward", 3 * s.flops(), s.step},
	} {
		b.Run(pass.name, func(b *testing.B) {
			benchmarkGraph(b, open(b, "tlq"), pass.graph, s.arguments(1), pass.flops)
		})
	}
}

// benchmarkGraph runs a graph again and again.
func benchmarkGraph(b *testing.B, on compute.Backend, build func([]*graph.Node) []*graph.Node, args []any, flops float64) {
	exec, err := graph.NewExec(on, build)
	if err != nil {
		b.Fatal(err)
	}
	defer exec.Finalize()
	call := func() {
		out, err := exec.Call(args...)
		if err != nil {
			b.Fatal(err)
		}
		for _, o := range out {
			if err := o.FinalizeAll(); err != nil {
				b.Fatal(err)
			}
		}
	}
	defer on.Finalize() // gives memory back
	resetResidentPeak()
	call() // compiles
	b.ReportAllocs()
	fastest := time.Hour
	for b.Loop() {
		from := time.Now()
		call()
		fastest = min(fastest, time.Since(from))
	}
	b.ReportMetric(fastest.Seconds(), "s/fastest") // on a machine that others use too
	b.ReportMetric(flops/fastest.Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(residentPeak(), "peak-bytes")
}
