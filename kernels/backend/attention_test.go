package backend_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// attentionCase is an attention and how it is masked.
type attentionCase struct {
	layout                                       compute.AttentionAxesLayout
	batch, heads, keyHeads, queries, keys, width int
	scale                                        float64
	mask                                         string // "", causal, boolean, rows, added, bias, lengths, nothing
}

func (c attentionCase) dims(heads, rows int) []int {
	if c.layout == compute.AttentionAxesLayoutBSHD {
		return []int{c.batch, rows, heads, c.width}
	}
	return []int{c.batch, heads, rows, c.width}
}

// allowed is the boolean mask [batch, 1, queries, keys] of a case, in the order of
// BHSD: padded at the end, or with holes.
func (c attentionCase) allowed() []bool {
	list := make([]bool, c.batch*c.queries*c.keys)
	for i := range list {
		b, q, k := i/(c.queries*c.keys), i/c.keys%c.queries, i%c.keys
		switch c.mask {
		case "boolean":
			list[i] = k <= q && k < c.keys-2*b
		case "rows":
			list[i] = (q+k*k+b)%3 != 0 && q%5 != 4
		}
	}
	return list
}

// fused is the attention with the backend's operation.
func (c attentionCase) fused(q, k, v *graph.Node) *graph.Node {
	g := q.Graph()
	cfg := &compute.ScaledDotProductAttentionConfig{Scale: c.scale, Causal: c.mask == "causal"}
	switch c.mask {
	case "boolean", "rows":
		dims := []int{c.batch, 1, c.queries, c.keys}
		if c.layout == compute.AttentionAxesLayoutBSHD {
			dims = []int{c.batch, c.queries, 1, c.keys}
		}
		cfg.Mask = values(graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(c.allowed(), dims...)))
	case "added":
		cfg.Mask = values(c.added(g, 1))
	case "bias":
		cfg.Bias = values(c.added(g, c.heads))
	case "lengths":
		nq, nk := c.lengths()
		cfg.QuerySeqLen, cfg.KeyValueSeqLen = values(graph.Const(g, nq)), values(graph.Const(g, nk))
	case "nothing":
		cfg.Mask = values(graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(make([]bool, c.queries), c.queries, 1)))
	}
	out, _ := graph.BackendFusedScaledDotProductAttention(q, k, v, c.layout, cfg)
	return out
}

func values(n *graph.Node) compute.Value { return graph.InternalBackendOutputs(n)[0] }

func (c attentionCase) lengths() (queries, keys []int32) {
	for b := range c.batch {
		queries, keys = append(queries, int32(c.queries-2*b)), append(keys, int32(c.keys-3*b))
	}
	return queries, keys
}

// added is an additive mask or bias: [1, 1, queries, keys] in the layout's order, or
// [1, heads, queries, keys].
func (c attentionCase) added(g *graph.Graph, heads int) *graph.Node {
	dims := []int{1, heads, c.queries, c.keys}
	if heads == 1 && c.layout == compute.AttentionAxesLayoutBSHD {
		dims = []int{1, c.queries, 1, c.keys}
	}
	return graph.Sin(graph.IotaFull(g, shapes.Make(dtypes.Float32, dims...)))
}

// plain is the attention in float64 with an array of all scores.
func (c attentionCase) plain(q, k, v *graph.Node) *graph.Node {
	g := q.Graph()
	toHeads := func(x *graph.Node) *graph.Node {
		x = graph.ConvertDType(x, dtypes.Float64)
		if c.layout == compute.AttentionAxesLayoutBSHD {
			x = graph.TransposeAllAxes(x, 0, 2, 1, 3)
		}
		return x
	}
	group := c.heads / c.keyHeads
	repeat := func(x *graph.Node) *graph.Node {
		x = graph.BroadcastToDims(graph.ExpandAxes(toHeads(x), 2), c.batch, c.keyHeads, group, c.keys, c.width)
		return graph.Reshape(x, c.batch, c.heads, c.keys, c.width)
	}
	scale := c.scale
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(c.width))
	}
	scores := graph.MulScalar(graph.Einsum("bhtd,bhsd->bhts", toHeads(q), repeat(k)), scale)
	var may *graph.Node
	switch dims := []int{c.batch, 1, c.queries, c.keys}; c.mask {
	case "causal":
		may = graph.Reshape(graph.LowerTriangular(g, c.queries), 1, 1, c.queries, c.queries)
	case "boolean", "rows":
		may = graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(c.allowed(), dims...))
	case "added", "bias":
		heads := 1
		if c.mask == "bias" {
			heads = c.heads
		}
		b := c
		b.layout = compute.AttentionAxesLayoutBHSD
		scores = graph.Add(scores, graph.ConvertDType(b.added(g, heads), dtypes.Float64))
	case "lengths":
		nq, nk := c.lengths()
		list := make([]bool, c.batch*c.queries*c.keys)
		for i := range list {
			b := i / (c.queries * c.keys)
			list[i] = i/c.keys%c.queries < int(nq[b]) && i%c.keys < int(nk[b])
		}
		may = graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(list, dims...))
	case "nothing":
		may = graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(make([]bool, c.batch*c.queries*c.keys), dims...))
	}
	var p *graph.Node
	if may == nil {
		p = rowSoftmax(scores)
	} else {
		may = graph.BroadcastToDims(may, scores.Shape().Dimensions...)
		scores = graph.Where(may, scores, graph.AddScalar(graph.ZerosLike(scores), -100))
		e := graph.Where(may, graph.Exp(graph.Sub(scores, graph.StopGradient(graph.ReduceAndKeep(scores, graph.ReduceMax, -1)))), graph.ZerosLike(scores))
		sum := graph.ReduceAndKeep(e, graph.ReduceSum, -1)
		p = graph.Div(e, graph.Where(graph.Equal(sum, graph.ZerosLike(sum)), graph.OnesLike(sum), sum))
	}
	out := graph.Einsum("bhts,bhsd->bhtd", p, repeat(v))
	if c.layout == compute.AttentionAxesLayoutBSHD {
		out = graph.TransposeAllAxes(out, 0, 2, 1, 3)
	}
	return out
}

// inputs draws queries, keys and values.
func (c attentionCase) inputs() []any {
	rng := rand.New(rand.NewPCG(uint64(c.queries), uint64(c.keys)))
	draw := func(dims []int) any {
		n := 1
		for _, d := range dims {
			n *= d
		}
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(rng.NormFloat64())
		}
		return tensors.FromFlatDataAndDimensions(list, dims...)
	}
	return []any{draw(c.dims(c.heads, c.queries)), draw(c.dims(c.keyHeads, c.keys)), draw(c.dims(c.keyHeads, c.keys))}
}

// result is the output and the gradients of a loss.
func (c attentionCase) result(t *testing.T, b compute.Backend, attend func(q, k, v *graph.Node) *graph.Node) [][]float64 {
	t.Helper()
	exec, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
		out := attend(in[0], in[1], in[2])
		loss := graph.ReduceAllSum(graph.Mul(out, graph.Sin(graph.IotaFull(out.Graph(), out.Shape()))))
		return append([]*graph.Node{out}, graph.Gradient(loss, in...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	results, err := exec.Call(c.inputs()...)
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	var list [][]float64
	for _, r := range results {
		list = append(list, float64s(t, r))
	}
	return list
}

// The fused attention and its gradients agree with float64, whatever masks it.
func TestFusedAttention(t *testing.T) {
	b := open(t, "tlq")
	const tolerance = 3e-6 // of 23 bits, sums of at most 300 products
	bhsd, bshd := compute.AttentionAxesLayoutBHSD, compute.AttentionAxesLayoutBSHD
	for _, c := range []attentionCase{
		{layout: bshd, batch: 2, heads: 4, keyHeads: 2, queries: 50, keys: 50, width: 16, mask: "boolean"},
		{layout: bhsd, batch: 1, heads: 1, keyHeads: 1, queries: 1, keys: 1, width: 1},
		{layout: bhsd, batch: 2, heads: 6, keyHeads: 3, queries: 7, keys: 300, width: 5, scale: 0.3},
		{layout: bshd, batch: 2, heads: 3, keyHeads: 3, queries: 250, keys: 40, width: 8, mask: "rows"},
		{layout: bhsd, batch: 2, heads: 3, keyHeads: 1, queries: 33, keys: 41, width: 20, mask: "rows"},
		{layout: bshd, batch: 1, heads: 2, keyHeads: 2, queries: 200, keys: 200, width: 32, mask: "causal"},
		{layout: bhsd, batch: 2, heads: 4, keyHeads: 1, queries: 49, keys: 49, width: 7, mask: "causal"},
		{layout: bshd, batch: 2, heads: 2, keyHeads: 2, queries: 30, keys: 20, width: 6, mask: "added"},
		{layout: bhsd, batch: 2, heads: 2, keyHeads: 2, queries: 30, keys: 20, width: 6, mask: "added"},
		{layout: bshd, batch: 2, heads: 4, keyHeads: 2, queries: 11, keys: 13, width: 6, mask: "bias"},
		{layout: bshd, batch: 3, heads: 4, keyHeads: 2, queries: 11, keys: 13, width: 6, mask: "lengths"},
		{layout: bhsd, batch: 2, heads: 2, keyHeads: 2, queries: 9, keys: 5, width: 3, mask: "nothing"},
		{layout: bshd, batch: 1, heads: 97, keyHeads: 1, queries: 3, keys: 5, width: 3},
	} {
		got, want := c.result(t, b, c.fused), c.result(t, b, c.plain)
		for i, name := range []string{"output", "gradient of queries", "gradient of keys", "gradient of values"} {
			if d := distance(got[i], want[i]); d > tolerance {
				t.Errorf("%+v: %s off by %g", c, name, d)
			}
		}
	}
}

// A query's result has the same bits whatever other queries and hidden keys there
// are, and so have the gradients of keys and values; the number of processors
// decides nothing either.
func TestFusedAttentionRowsAreIndependent(t *testing.T) {
	b := open(t, "tlq")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const width, tokens = 5, 130
	var want [][]float64
	for _, total := range []int{130, 144, 400} { // padded behind
		for _, procs := range []int{1, 2, 7} {
			runtime.GOMAXPROCS(procs)
			c := attentionCase{layout: compute.AttentionAxesLayoutBHSD, batch: 1, heads: 2, keyHeads: 1, queries: total, keys: total, width: width}
			in := make([][]float32, 3)
			var args []any
			for i, heads := range []int{2, 1, 1} {
				in[i] = make([]float32, heads*total*width)
				for k := range in[i] {
					row := k / width % total
					in[i][k] = float32(math.Sin(float64(i + k/width/total*1000 + row*width + k%width)))
				}
				args = append(args, tensors.FromFlatDataAndDimensions(in[i], 1, heads, total, width))
			}
			exec, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
				g := in[0].Graph()
				cfg := &compute.ScaledDotProductAttentionConfig{Mask: values(graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(causalMask(total), total, total)))}
				out, _ := graph.BackendFusedScaledDotProductAttention(in[0], in[1], in[2], c.layout, cfg)
				seen := graph.Slice(out, graph.AxisRange(), graph.AxisRange(), graph.AxisRange(0, tokens), graph.AxisRange())
				weight := make([]float32, total)
				for i := range tokens {
					weight[i] = 1
				}
				loss := graph.ReduceAllSum(graph.Mul(graph.Square(out), graph.ConstTensor(g, tensors.FromFlatDataAndDimensions(weight, 1, 1, total, 1))))
				list := []*graph.Node{seen}
				for _, d := range graph.Gradient(loss, in...) {
					list = append(list, graph.Slice(d, graph.AxisRange(), graph.AxisRange(), graph.AxisRange(0, tokens), graph.AxisRange()))
				}
				return list
			})
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Call(args...)
			if err != nil {
				t.Fatal(err)
			}
			var got [][]float64
			for _, o := range out {
				got = append(got, float64s(t, o))
			}
			if want == nil {
				want = got
			}
			for i := range got {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("%d tokens, %d processors: result %d has other bits", total, procs, i)
				}
			}
		}
	}
}

func causalMask(n int) []bool {
	list := make([]bool, n*n)
	for i := range list {
		list[i] = i%n <= i/n
	}
	return list
}

// What the fused attention does not take is refused with operation and shapes, or
// left to GoMLX's own form.
func TestFusedAttentionErrors(t *testing.T) {
	f := open(t, "tlq").Builder("attention").Main()
	parameter := func(dtype dtypes.DType, dims ...int) compute.Value {
		v, err := f.Parameter("p", shapes.Make(dtype, dims...), nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	q, k, flat := parameter(dtypes.Float32, 2, 4, 6, 8), parameter(dtypes.Float32, 2, 2, 5, 8), parameter(dtypes.Float32, 2, 4)
	type config = compute.ScaledDotProductAttentionConfig
	call := func(q, k, v compute.Value, cfg *config) error {
		_, _, err := f.FusedScaledDotProductAttention(q, k, v, compute.AttentionAxesLayoutBHSD, cfg)
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want string // "": not implemented
	}{
		"half":          {call(parameter(dtypes.Float16, 1, 1, 1, 1), k, k, nil), ""},
		"learned mask":  {call(q, k, k, &config{Mask: parameter(dtypes.Float32, 6, 5)}), ""},
		"learned bias":  {call(q, k, k, &config{Bias: parameter(dtypes.Float32, 2, 4, 6, 5)}), ""},
		"oblong causal": {call(q, k, k, &config{Causal: true}), ""},
		"rank":          {call(flat, k, k, nil), "rank 2"},
		"heads":         {call(parameter(dtypes.Float32, 2, 3, 6, 8), k, k, nil), "3 heads"},
		"values":        {call(q, k, q, nil), "different shapes"},
		"width":         {call(parameter(dtypes.Float32, 2, 4, 6, 7), k, k, nil), "widths"},
		"mask":          {call(q, k, k, &config{Mask: parameter(dtypes.Bool, 6, 4)}), "axis 1 has 4"},
		"one length":    {call(q, k, k, &config{QuerySeqLen: parameter(dtypes.Int32, 2)}), "both or none"},
		"lengths":       {call(q, k, k, &config{QuerySeqLen: parameter(dtypes.Int32, 2), KeyValueSeqLen: parameter(dtypes.Int32, 3)}), "Int32)[2]"},
	} {
		switch {
		case c.err == nil:
			t.Errorf("%s: no error", name)
		case c.want == "" && !compute.IsNotImplemented(c.err):
			t.Errorf("%s: %v; want %v", name, c.err, compute.ErrNotImplemented)
		case !strings.Contains(c.err.Error(), c.want) || !strings.Contains(c.err.Error(), "FusedScaledDotProductAttention"):
			t.Errorf("%s: %v; want %q", name, c.err, c.want)
		}
	}
}

// BenchmarkAttention compares attention in plain operations with the fused one, with
// and without gradients.
func BenchmarkAttention(b *testing.B) {
	for _, c := range []attentionCase{
		{layout: compute.AttentionAxesLayoutBSHD, batch: 8, heads: 4, keyHeads: 2, queries: 144, keys: 144, width: 16, mask: "causal"},
		{layout: compute.AttentionAxesLayoutBSHD, batch: 4, heads: 8, keyHeads: 8, queries: 512, keys: 512, width: 64},
	} {
		flops := 4 * float64(c.batch*c.heads*c.queries*c.keys*c.width)
		for _, form := range []struct {
			name   string
			attend func(q, k, v *graph.Node) *graph.Node
		}{{"fused", c.fused}, {"plain", c.inOperations}} {
			b.Run(fmt.Sprintf("%d/%s/forward", c.queries, form.name), func(b *testing.B) {
				benchmarkGraph(b, open(b, "tlq"), func(in []*graph.Node) []*graph.Node {
					return []*graph.Node{form.attend(in[0], in[1], in[2])}
				}, c.inputs(), flops)
			})
			b.Run(fmt.Sprintf("%d/%s/backward", c.queries, form.name), func(b *testing.B) {
				benchmarkGraph(b, open(b, "tlq"), func(in []*graph.Node) []*graph.Node {
					return graph.Gradient(graph.ReduceAllSum(graph.Square(form.attend(in[0], in[1], in[2]))), in...)
				}, c.inputs(), 3*flops)
			})
		}
	}
}

// inOperations is the attention as models write it.
func (c attentionCase) inOperations(q, k, v *graph.Node) *graph.Node {
	q = graph.MulScalar(graph.Reshape(q, c.batch, c.queries, c.keyHeads, c.heads/c.keyHeads, c.width), 1/math.Sqrt(float64(c.width)))
	scores := graph.Einsum("btkgd,bskd->bktgs", q, k)
	if c.mask == "causal" {
		may := graph.ConvertDType(graph.Reshape(graph.LowerTriangular(q.Graph(), c.queries), 1, 1, c.queries, 1, c.queries), dtypes.Float32)
		scores = graph.Add(scores, graph.MulScalar(graph.AddScalar(may, -1), 1e30))
	}
	return graph.Einsum("bktgs,bskd->btkgd", rowSoftmax(scores), v)
}

// Half precision is converted to float32 and back. The gradients read the output as it
// was rounded, which they would otherwise have exactly.
func TestFusedAttentionInHalf(t *testing.T) {
	b := open(t, "tlq")
	for half, rounding := range map[dtypes.DType]float64{dtypes.BFloat16: 1.0 / (1 << 7), dtypes.Float16: 1.0 / (1 << 10)} {
		for _, c := range []attentionCase{
			{layout: compute.AttentionAxesLayoutBSHD, batch: 2, heads: 4, keyHeads: 2, queries: 11, keys: 11, width: 8, mask: "causal"},
			{layout: compute.AttentionAxesLayoutBHSD, batch: 2, heads: 2, keyHeads: 2, queries: 9, keys: 5, width: 6, mask: "boolean"},
		} {
			to := func(t dtypes.DType, list ...*graph.Node) []*graph.Node {
				out := make([]*graph.Node, len(list))
				for i, x := range list {
					out[i] = graph.ConvertDType(x, t)
				}
				return out
			}
			inHalf := c.result(t, b, func(q, k, v *graph.Node) *graph.Node {
				h := to(half, q, k, v)
				return graph.ConvertDType(c.fused(h[0], h[1], h[2]), dtypes.Float32)
			})
			byHand := c.result(t, b, func(q, k, v *graph.Node) *graph.Node {
				w := to(dtypes.Float32, to(half, q, k, v)...)
				return graph.ConvertDType(graph.ConvertDType(c.fused(w[0], w[1], w[2]), half), dtypes.Float32)
			})
			for i, name := range []string{"output", "gradient of queries", "gradient of keys", "gradient of values"} {
				tolerance := rounding
				if i == 0 {
					tolerance = 0
				}
				if d := distance(inHalf[i], byHand[i]); d > tolerance {
					t.Errorf("%s, %+v: %s differs by %g", half, c, name, d)
				}
			}
		}
	}
}
