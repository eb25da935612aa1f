package models

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

type node = graph.Node

// ActQuant is what the input of a linear passes through on the way to its
// weights; nil means nothing. Key tells two quantizers apart in the cache of
// compiled graphs.
type ActQuant struct {
	Key   string
	Apply func(x *graph.Node) *graph.Node
	// Only is the one site of a block whose input is quantized; empty: all.
	Only Site
}

// on is what the input of a site passes through.
func (q *ActQuant) on(s Site) *ActQuant {
	if q == nil || q.Only != "" && q.Only != s {
		return nil
	}
	return q
}

func (q *ActQuant) apply(x *node) *node {
	if q == nil {
		return x
	}
	return q.Apply(x)
}

func (q *ActQuant) key() string {
	if q == nil {
		return ""
	}
	if q.Only != "" {
		return q.Key + "@" + string(q.Only)
	}
	return q.Key
}

// linearNode is a linear layer's weights inside a graph. Tokens that marked, [B, T],
// names pass through other instead of w; nil: none.
type linearNode struct{ w, b, other, marked *node }

// apply computes x·Wᵀ + b over the last axis of x.
func (l linearNode) apply(x *node) *node {
	y := graph.DotGeneral(x, []int{x.Rank() - 1}, nil, l.w, []int{1}, nil)
	if l.marked != nil {
		y = graph.Where(l.marked, graph.DotGeneral(x, []int{x.Rank() - 1}, nil, l.other, []int{1}, nil), y)
	}
	if l.b == nil {
		return y
	}
	return graph.Add(y, graph.ExpandLeftToRank(l.b, y.Rank()))
}

// normNode is a norm's weights inside a graph; bias is nil for an RMS norm.
type normNode struct{ gain, bias *node }

// rmsNorm is x / sqrt(mean(x²) + eps) · gain over the last axis.
func (n normNode) rms(x *node, eps float64) *node {
	ms := graph.ReduceAndKeep(graph.Square(x), graph.ReduceMean, -1)
	y := graph.Div(x, graph.Sqrt(graph.AddScalar(ms, eps)))
	return graph.Mul(y, graph.ExpandLeftToRank(n.gain, x.Rank()))
}

// layer is the layer norm over the last axis.
func (n normNode) layer(x *node, eps float64) *node {
	x = graph.Sub(x, graph.ReduceAndKeep(x, graph.ReduceMean, -1))
	variance := graph.ReduceAndKeep(graph.Square(x), graph.ReduceMean, -1)
	y := graph.Div(x, graph.Sqrt(graph.AddScalar(variance, eps)))
	y = graph.Mul(y, graph.ExpandLeftToRank(n.gain, x.Rank()))
	return graph.Add(y, graph.ExpandLeftToRank(n.bias, x.Rank()))
}

// layerNode is a decoder block's weights inside a graph.
type layerNode struct {
	inputNorm, postNorm normNode
	q, k, v, o          linearNode
	gate, up, down      linearNode
	online              OnlineHadamard
}

// nodeQueue hands out a graph's inputs in the order of a Params list.
type nodeQueue []*node

func (q *nodeQueue) next() *node {
	n := (*q)[0]
	*q = (*q)[1:]
	return n
}

func (q *nodeQueue) linear(bias bool) linearNode {
	l := linearNode{w: q.next()}
	if bias {
		l.b = q.next()
	}
	return l
}

func (q *nodeQueue) norm() normNode { return normNode{gain: q.next(), bias: q.next()} }

// layer takes a block's weights in the order of [Layer.Params].
func (q *nodeQueue) layer(t *TextConfig) layerNode {
	return layerNode{
		inputNorm: normNode{gain: q.next()},
		q:         q.linear(t.QKVBias), k: q.linear(t.QKVBias), v: q.linear(t.QKVBias), o: q.linear(t.OutBias),
		postNorm: normNode{gain: q.next()},
		gate:     q.linear(t.MLPBias), up: q.linear(t.MLPBias), down: q.linear(t.MLPBias),
		online: t.Online,
	}
}

// geometry is what attention needs besides its input: rotary tables [B, T, D]
// and the additive mask [B, T, T] (0 where a query may look, maskedOut elsewhere).
type geometry struct{ cos, sin, mask *node }

// maskedOut is added to forbidden scores: exp(maskedOut − max) is exactly zero
// in float32, and no arithmetic on it overflows.
const maskedOut = -1e30

// blockTaps are values inside a block that callers may want.
type blockTaps struct {
	inputs       map[Site]*node // what the site's linears read, before quantization
	keys, values *node          // post-rotary keys and values, [B, T, KV, D]
	oOut         *node          // output of o_proj before the residual addition
	downOut      *node          // output of down_proj before the residual addition
}

// block is a decoder block: x + attention(norm(x)), then h + mlp(norm(h)).
// bumpO, where set, is added to the output of o_proj, so that a gradient with
// respect to that output can be taken.
func (l layerNode) block(t *TextConfig, g geometry, x *node, aq *ActQuant, bumpO *node) (*node, blockTaps) {
	taps := blockTaps{inputs: map[Site]*node{}}
	taps.inputs[QKV] = l.inputNorm.rms(x, t.Eps)
	q, k, v := l.project(t, g, aq.on(QKV).apply(taps.inputs[QKV]))
	taps.keys, taps.values = k, v
	taps.inputs[O] = l.online.mixHeads(t, groupedAttention(q, k, v, g.mask))
	taps.oOut = l.o.apply(aq.on(O).apply(taps.inputs[O]))
	if bumpO != nil {
		taps.oOut = graph.Add(taps.oOut, bumpO)
	}
	h := graph.Add(x, taps.oOut)
	taps.inputs[GateUp] = l.postNorm.rms(h, t.Eps)
	taps.inputs[Down] = l.gated(aq.on(GateUp).apply(taps.inputs[GateUp]))
	taps.downOut = l.down.apply(aq.on(Down).apply(taps.inputs[Down]))
	return graph.Add(h, taps.downOut), taps
}

// module runs the inspected module of site s from that site's input: the whole
// attention for qkv, the whole MLP for gate_up, the linear itself for o and down.
// Only the site's own linears see quantized inputs; the rest of the module
// stays unquantized (the inspected module of AWQ and MBQ).
func (l layerNode) module(t *TextConfig, g geometry, s Site, x *node, aq *ActQuant) *node {
	x = aq.apply(x)
	switch s {
	case QKV:
		return l.o.apply(l.attention(t, g, x))
	case O:
		return l.o.apply(x)
	case GateUp:
		return l.down.apply(l.gated(x))
	default:
		return l.down.apply(x)
	}
}

// attention maps the (quantized) input of q, k and v to the input of o_proj.
func (l layerNode) attention(t *TextConfig, g geometry, x *node) *node {
	q, k, v := l.project(t, g, x)
	return l.online.mixHeads(t, groupedAttention(q, k, v, g.mask))
}

// project computes queries [B, T, KV, G, D], keys and values [B, T, KV, D];
// queries and keys are turned to their positions.
func (l layerNode) project(t *TextConfig, g geometry, x *node) (q, k, v *node) {
	b, n := x.Shape().Dim(0), x.Shape().Dim(1)
	q = graph.Reshape(l.q.apply(x), b, n, t.Heads, t.HeadDim)
	k = graph.Reshape(l.k.apply(x), b, n, t.KVHeads, t.HeadDim)
	v = graph.Reshape(l.v.apply(x), b, n, t.KVHeads, t.HeadDim)
	q = graph.Reshape(rotate(q, g.cos, g.sin), b, n, t.KVHeads, t.Heads/t.KVHeads, t.HeadDim)
	return q, rotate(k, g.cos, g.sin), v
}

// groupedAttention is softmax(q·kᵀ/√D + mask)·v for q [B, T, KV, G, D] and k, v
// [B, S, KV, D]; mask is [B, T, S], or nil where every query may look everywhere.
// Result: [B, T, KV·G·D]. A backend that has an attention of its own, with
// gradients, keeps no array of scores.
func groupedAttention(q, k, v, mask *node) *node {
	plain := func() *node { return plainAttention(q, k, v, mask) }
	own := q.Graph().Backend().Capabilities().Operations
	if !own[compute.OpTypeFusedScaledDotProductAttention] || !own[compute.OpTypeFusedScaledDotProductAttentionVJP] {
		return plain()
	}
	dims := q.Shape().Dimensions
	out, _ := graph.InternalFusedOpCaller(func() *node {
		options := &compute.ScaledDotProductAttentionConfig{}
		if mask != nil {
			may := graph.GreaterThan(mask, graph.Const(q.Graph(), float32(maskedOut/2)))
			options.Mask = graph.InternalBackendOutputs(graph.ExpandAxes(may, 2))[0]
		}
		heads := graph.Reshape(q, dims[0], dims[1], dims[2]*dims[3], dims[4])
		out, _ := graph.BackendFusedScaledDotProductAttention(heads, k, v, compute.AttentionAxesLayoutBSHD, options)
		return graph.Reshape(out, dims[0], dims[1], dims[2]*dims[3]*dims[4])
	}, plain, false)
	return out
}

// plainAttention is groupedAttention in a graph's own operations.
func plainAttention(q, k, v, mask *node) *node {
	dims := q.Shape().Dimensions
	q = graph.MulScalar(q, 1/math.Sqrt(float64(dims[4])))
	// The order [B, KV, T, G, S] is the product's own: nothing of size T·S is
	// transposed.
	scores := graph.Einsum("btkgd,bskd->bktgs", q, k)
	if mask != nil {
		scores = graph.Add(scores, graph.ExpandAxes(mask, 1, 3))
	}
	out := graph.Einsum("bktgs,bskd->btkgd", softmax(scores), v)
	return graph.Reshape(out, dims[0], dims[1], dims[2]*dims[3]*dims[4])
}

// softmax over the last axis, decomposed so that no backend falls back on a
// fused form with another rounding.
func softmax(x *node) *node {
	peak := graph.StopGradient(graph.ReduceAndKeep(x, graph.ReduceMax, -1))
	e := graph.Exp(graph.Sub(x, peak))
	return graph.Div(e, graph.ReduceAndKeep(e, graph.ReduceSum, -1))
}

// gated is the input of down_proj: silu(gate(x))·up(x), transformed where the model
// asks for it.
func (l layerNode) gated(x *node) *node {
	gate := l.gate.apply(x)
	return l.online.mixDown(graph.Mul(graph.Mul(gate, graph.Sigmoid(gate)), l.up.apply(x)))
}

// rotate applies rotary positions to x [B, T, H, D]; cos and sin are [B, T, D].
// Halves are rotated against each other: the pair of channel i is i + D/2.
// The swap is a product with a signed permutation, exact in float32 and free of
// slices.
func rotate(x, cos, sin *node) *node {
	swap := graph.ConstTensor(x.Graph(), halfRotation(x.Shape().Dim(-1)))
	turned := graph.DotGeneral(x, []int{3}, nil, swap, []int{0}, nil)
	cos, sin = graph.ExpandAxes(cos, 2), graph.ExpandAxes(sin, 2)
	return graph.Add(graph.Mul(x, cos), graph.Mul(turned, sin))
}

// halfRotation is the matrix R with (x·R)_i = −x_{i+d/2} for i < d/2 and
// x_{i−d/2} above.
func halfRotation(d int) *tensors.Tensor {
	r := make([]float32, d*d)
	for i := range d / 2 {
		r[(i+d/2)*d+i] = -1
		r[i*d+i+d/2] = 1
	}
	return tensors.FromFlatDataAndDimensions(r, d, d)
}
