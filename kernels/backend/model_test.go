package backend_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// modelSize is a vision-language model in small: pictures of patches go through a
// vision transformer, four patches make a token, and a decoder with grouped
// queries, rotary positions and a gated MLP reads pictures and text.
type modelSize struct {
	pictures, patches, tokens, scored int
	visionLayers, layers              int
	width, heads, groups, hidden      int
	vocab                             int
}

// zoo is the shape of a training step of the smallest models of the zoo.
var zoo = modelSize{pictures: 8, patches: 256, tokens: 144, scored: 24, visionLayers: 3, layers: 8, width: 64, heads: 4, groups: 2, hidden: 128, vocab: 1024}

// mini is the shape of a training step of a model of 5 million parameters.
var mini = modelSize{pictures: 8, patches: 256, tokens: 144, scored: 24, visionLayers: 3, layers: 11, width: 192, heads: 6, groups: 3, hidden: 384, vocab: 1280}

// small has every part of zoo.
var small = modelSize{pictures: 3, patches: 64, tokens: 40, scored: 5, visionLayers: 1, layers: 2, width: 64, heads: 4, groups: 2, hidden: 128, vocab: 256}

const patchWidth = 384

// parameters hands out the model's inputs in order, or collects their shapes.
type parameters struct {
	nodes []*graph.Node
	next  int
}

func (p *parameters) take() *graph.Node {
	p.next++
	return p.nodes[p.next-1]
}

// shapesOf lists the shapes of the weights in the order of loss.
func (s modelSize) shapesOf() [][]int {
	w, kv := s.width, s.width*s.groups/s.heads
	list := [][]int{{s.vocab, w}, {w, patchWidth}}
	for range s.visionLayers {
		list = append(list, []int{w}, []int{w}, []int{w, w}, []int{w}, []int{w, w}, []int{w, w}, []int{w, w}, []int{w}, []int{w}, []int{s.hidden, w}, []int{w, s.hidden})
	}
	list = append(list, []int{w, 4 * w})
	for range s.layers {
		list = append(list, []int{w}, []int{w, w}, []int{w}, []int{kv, w}, []int{kv, w}, []int{w, w}, []int{w}, []int{s.hidden, w}, []int{s.hidden, w}, []int{w, s.hidden})
	}
	return append(list, []int{w})
}

// parameterCount is the number of weights.
func (s modelSize) parameterCount() int {
	n := 0
	for _, dims := range s.shapesOf() {
		k := 1
		for _, d := range dims {
			k *= d
		}
		n += k
	}
	return n
}

// flops of a step's products: those that the model's equations have, not what
// turns heads to their positions; each once forward and twice backward, but
// nothing asks for the gradient of the patches.
func (s modelSize) flops() float64 {
	w, hidden, kv := float64(s.width), float64(s.hidden), float64(s.width*s.groups/s.heads)
	patches, tokens := float64(s.pictures*s.patches), float64(s.pictures*s.tokens)
	vision := float64(s.visionLayers) * patches * (8*w*w + 4*w*hidden + 4*float64(s.patches)*w)
	merger := patches / 4 * 8 * w * w
	decoder := float64(s.layers) * tokens * (4*w*w + 4*w*kv + 6*w*hidden + 4*float64(s.tokens)*w)
	head := 2 * float64(s.pictures*s.scored*s.vocab) * w
	return 3*(vision+merger+decoder+head) + 2*2*patches*patchWidth*w
}

// arguments draws weights and a batch.
func (s modelSize) arguments(seed uint64) []any {
	rng := rand.New(rand.NewPCG(seed, 1))
	normal := func(scale float64, dims ...int) *tensors.Tensor {
		n := 1
		for _, d := range dims {
			n *= d
		}
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(scale * rng.NormFloat64())
		}
		return tensors.FromFlatDataAndDimensions(list, dims...)
	}
	ints := func(below, n int) *tensors.Tensor {
		list := make([]int32, n)
		for i := range list {
			list[i] = int32(rng.IntN(below))
		}
		return tensors.FromFlatDataAndDimensions(list, n)
	}
	merged := s.patches / 4
	ids := make([]int32, s.pictures*s.tokens)
	for i := range ids {
		ids[i] = int32(rng.IntN(s.vocab))
		if t := i % s.tokens; t < merged {
			ids[i] = int32(s.vocab + i/s.tokens*merged + t)
		}
	}
	mask := make([]float32, s.pictures*s.tokens*s.tokens)
	for i := range mask {
		if i%s.tokens > i/s.tokens%s.tokens {
			mask[i] = -1e30
		}
	}
	d := s.width / s.heads
	list := []any{
		normal(1, s.pictures, s.patches, patchWidth), tensors.FromFlatDataAndDimensions(ids, len(ids)),
		tensors.FromFlatDataAndDimensions(mask, s.pictures, s.tokens, s.tokens),
		normal(1, s.pictures, s.tokens, d), normal(1, s.pictures, s.tokens, d),
		ints(s.pictures*s.tokens, s.pictures*s.scored), ints(s.vocab, s.pictures*s.scored),
	}
	for _, dims := range s.shapesOf() {
		list = append(list, normal(0.05, dims...))
	}
	return list
}

func linear(x, w *graph.Node) *graph.Node {
	return graph.DotGeneral(x, []int{x.Rank() - 1}, nil, w, []int{1}, nil)
}

func affine(x, w, b *graph.Node) *graph.Node {
	return graph.Add(linear(x, w), graph.ExpandLeftToRank(b, x.Rank()))
}

func rmsNorm(x, gain *graph.Node) *graph.Node {
	ms := graph.ReduceAndKeep(graph.Square(x), graph.ReduceMean, -1)
	return graph.Mul(graph.Div(x, graph.Sqrt(graph.AddScalar(ms, 1e-6))), graph.ExpandLeftToRank(gain, x.Rank()))
}

func layerNorm(x, gain, bias *graph.Node) *graph.Node {
	x = graph.Sub(x, graph.ReduceAndKeep(x, graph.ReduceMean, -1))
	variance := graph.ReduceAndKeep(graph.Square(x), graph.ReduceMean, -1)
	x = graph.Div(x, graph.Sqrt(graph.AddScalar(variance, 1e-6)))
	return graph.Add(graph.Mul(x, graph.ExpandLeftToRank(gain, x.Rank())), graph.ExpandLeftToRank(bias, x.Rank()))
}

func rowSoftmax(x *graph.Node) *graph.Node {
	e := graph.Exp(graph.Sub(x, graph.StopGradient(graph.ReduceAndKeep(x, graph.ReduceMax, -1))))
	return graph.Div(e, graph.ReduceAndKeep(e, graph.ReduceSum, -1))
}

func rotated(x, cos, sin *graph.Node) *graph.Node {
	d := x.Shape().Dim(-1)
	swap := make([]float32, d*d)
	for i := range d / 2 {
		swap[(i+d/2)*d+i], swap[i*d+i+d/2] = -1, 1
	}
	turned := graph.DotGeneral(x, []int{3}, nil, graph.ConstTensor(x.Graph(), tensors.FromFlatDataAndDimensions(swap, d, d)), []int{0}, nil)
	return graph.Add(graph.Mul(x, graph.ExpandAxes(cos, 2)), graph.Mul(turned, graph.ExpandAxes(sin, 2)))
}

// vision is a block of the vision transformer.
func (s modelSize) vision(p *parameters, x *graph.Node) *graph.Node {
	heads, d := s.groups, s.width/s.groups
	split := func(y *graph.Node) *graph.Node { return graph.Reshape(y, s.pictures, s.patches, heads, d) }
	y := layerNorm(x, p.take(), p.take())
	q, k, v := split(affine(y, p.take(), p.take())), split(linear(y, p.take())), split(linear(y, p.take()))
	scores := graph.Einsum("bthd,bshd->bhts", graph.MulScalar(q, 1/math.Sqrt(float64(d))), k)
	y = graph.Reshape(graph.Einsum("bhts,bshd->bthd", rowSoftmax(scores), v), s.pictures, s.patches, s.width)
	x = graph.Add(x, linear(y, p.take()))
	y = linear(layerNorm(x, p.take(), p.take()), p.take())
	y = graph.Mul(y, graph.Sigmoid(graph.MulScalar(y, 1.702)))
	return graph.Add(x, linear(y, p.take()))
}

// decoder is a block of the language model.
func (s modelSize) decoder(p *parameters, x, mask, cos, sin *graph.Node) *graph.Node {
	d := s.width / s.heads
	y := rmsNorm(x, p.take())
	q := graph.Reshape(affine(y, p.take(), p.take()), s.pictures, s.tokens, s.heads, d)
	k := graph.Reshape(linear(y, p.take()), s.pictures, s.tokens, s.groups, d)
	v := graph.Reshape(linear(y, p.take()), s.pictures, s.tokens, s.groups, d)
	q = graph.Reshape(rotated(q, cos, sin), s.pictures, s.tokens, s.groups, s.heads/s.groups, d)
	q = graph.MulScalar(q, 1/math.Sqrt(float64(d)))
	scores := graph.Einsum("btkgd,bskd->bktgs", q, rotated(k, cos, sin))
	scores = graph.Add(scores, graph.ExpandAxes(mask, 1, 3))
	y = graph.Reshape(graph.Einsum("bktgs,bskd->btkgd", rowSoftmax(scores), v), s.pictures, s.tokens, s.width)
	x = graph.Add(x, linear(y, p.take()))
	y = rmsNorm(x, p.take())
	gate := linear(y, p.take())
	y = graph.Mul(graph.Mul(gate, graph.Sigmoid(gate)), linear(y, p.take()))
	return graph.Add(x, linear(y, p.take()))
}

// step is the loss and the gradients of all weights.
func (s modelSize) step(in []*graph.Node) []*graph.Node {
	patches, ids, mask, cos, sin, rows, targets := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
	p := &parameters{nodes: in[7:]}
	embed := p.take()
	x := linear(patches, p.take())
	for range s.visionLayers {
		x = s.vision(p, x)
	}
	features := linear(graph.Reshape(x, s.pictures*s.patches/4, 4*s.width), p.take())
	x = graph.Gather(graph.Concatenate([]*graph.Node{embed, features}, 0), graph.ExpandAxes(ids, 1))
	x = graph.Reshape(x, s.pictures, s.tokens, s.width)
	for range s.layers {
		x = s.decoder(p, x, mask, cos, sin)
	}
	picked := graph.Gather(graph.Reshape(x, s.pictures*s.tokens, s.width), graph.ExpandAxes(rows, 1))
	logits := linear(rmsNorm(picked, p.take()), embed)
	logits = graph.Sub(logits, graph.StopGradient(graph.ReduceAndKeep(logits, graph.ReduceMax, -1)))
	logits = graph.Sub(logits, graph.Log(graph.ReduceAndKeep(graph.Exp(logits), graph.ReduceSum, -1)))
	loss := graph.Neg(graph.ReduceAllMean(graph.ReduceSum(graph.Mul(logits, graph.OneHot(targets, s.vocab, dtypes.Float32)), -1)))
	return append([]*graph.Node{loss}, graph.Gradient(loss, in[7:]...)...)
}

func (s modelSize) exec(t testing.TB, b compute.Backend) *graph.Exec {
	t.Helper()
	exec, err := graph.NewExec(b, s.step)
	if err != nil {
		t.Fatal(err)
	}
	return exec
}

// The model's gradients agree with GoMLX's backend.
func TestModelGradients(t *testing.T) {
	got, err := small.exec(t, open(t, "tlq")).Call(small.arguments(1)...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := small.exec(t, open(t, reference)).Call(small.arguments(1)...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		g, w := float64s(t, got[i]), float64s(t, want[i])
		largest, most := 0.0, 0.0
		for j := range w {
			largest, most = max(largest, math.Abs(w[j])), max(most, math.Abs(g[j]-w[j]))
		}
		if most > 2e-5*largest || largest == 0 {
			t.Errorf("output %d %s: off by %g of at most %g", i, want[i].Shape(), most, largest)
		}
	}
}

// BenchmarkTrainingStep is the loss and all gradients of models of the zoo's
// smallest size and of 5 million parameters, on 8 pictures: what a training step
// costs, apart from the optimizer. The rate is that of the model's products.
func BenchmarkTrainingStep(b *testing.B) {
	for _, m := range []struct {
		name string
		size modelSize
	}{{"nano", zoo}, {"mini", mini}} {
		b.Run(m.name, func(b *testing.B) {
			benchmarkGraph(b, open(b, "tlq"), m.size.step, m.size.arguments(1), m.size.flops())
			b.ReportMetric(float64(m.size.parameterCount()), "parameters")
		})
	}
}

// BenchmarkProduct is what a training step's rate is compared with: a plain
// product on all processors.
func BenchmarkProduct(b *testing.B) {
	const n = 1024
	x := make([]float32, n*n)
	for i := range x {
		x[i] = float32(i%13) - 6
	}
	benchmarkGraph(b, open(b, "tlq"), func(in []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.Dot(in[0], in[1]).Product()}
	}, []any{tensors.FromFlatDataAndDimensions(x, n, n), tensors.FromFlatDataAndDimensions(x, n, n)}, 2*n*n*n)
}
