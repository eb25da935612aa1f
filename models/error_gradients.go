package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
)

// ModuleErrorGradient is the gradient, with respect to the input x [B, T, In] of site
// s, of the error that rounding makes in the inspected module F:
//
//	Σ_t mean_c |F(x; l)_tc − F(x; rounded)_tc|
//
// over real tokens; the result is [B, T, In]. Unlike in [Runner.Module], all linears of
// the rounded module are rounded, and aq quantizes the input of each of them. Where there is
// an aq the rounded module is taken as a constant, since rounding activations has no useful
// derivative; without one both modules are differentiated. (So does the released code of QIG.)
func (r *Runner) ModuleErrorGradient(b *Batch, s Site, x []float32, l, rounded *Layer, aq *ActQuant) ([]float32, error) {
	t := &r.Model.Config.Text
	args := append(b.geometryArgs(array(x, b.B, b.T, siteWidth(l, s)), b.realTokens()), paramArrays(l.Params())...)
	args = append(args, paramArrays(rounded.Params())...)
	out, err := r.call(fmt.Sprintf("module-error-gradient/%s/%s", s, aq.key()), func(in []*node) []*node {
		g, q := takeGeometry(in)
		x, counts := q.next(), q.next()
		e := moduleError(t, g, s, x, q.layer(t), q.layer(t), aq)
		e = graph.ReduceMean(graph.Mul(e, graph.StopGradient(graph.Sign(e))), -1) // |e|, of derivative 0 at 0
		return graph.Gradient(graph.ReduceAllSum(graph.Mul(e, counts)), x)
	}, args...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// moduleError is F(x; l) − F(x; rounded).
func moduleError(t *TextConfig, g geometry, s Site, x *node, l, rounded layerNode, aq *ActQuant) *node {
	switch {
	case aq != nil:
		return graph.Sub(l.wholeModule(t, g, s, x, nil), graph.StopGradient(rounded.wholeModule(t, g, s, x, aq)))
	case s == O: // the same number without cancellation, whose sign the gradient is
		return linearNode{w: graph.Sub(l.o.w, rounded.o.w)}.apply(x)
	case s == Down:
		return linearNode{w: graph.Sub(l.down.w, rounded.down.w)}.apply(x)
	}
	return graph.Sub(l.wholeModule(t, g, s, x, nil), rounded.wholeModule(t, g, s, x, nil))
}

// wholeModule is the inspected module of a site with quantized inputs at all its
// linears.
func (l layerNode) wholeModule(t *TextConfig, g geometry, s Site, x *node, aq *ActQuant) *node {
	x = aq.apply(x)
	switch s {
	case QKV:
		return l.o.apply(aq.apply(l.attention(t, g, x)))
	case O:
		return l.o.apply(x)
	case GateUp:
		return l.down.apply(aq.apply(l.gated(x)))
	default:
		return l.down.apply(x)
	}
}

// BlockErrorGradients runs block l on x [B, T, C] and takes the gradient of
// Σ‖y − target‖² over real tokens with respect to the output of every linear. Per site and
// token it returns mean|g| over all output channels of the site's linears, [B, T].
func (r *Runner) BlockErrorGradients(b *Batch, x []float32, l *Layer, target []float32) (map[Site][]float32, error) {
	t := &r.Model.Config.Text
	args := append(b.geometryArgs(array(x, b.B, b.T, t.Hidden), array(target, b.B, b.T, t.Hidden), b.realTokens()), paramArrays(l.Params())...)
	out, err := r.call("block-error-gradients", func(in []*node) []*node {
		g, q := takeGeometry(in)
		x, target, counts := q.next(), q.next(), q.next()
		l := q.layer(t)
		bySite := map[Site][]*linearNode{QKV: {&l.q, &l.k, &l.v}, O: {&l.o}, GateUp: {&l.gate, &l.up}, Down: {&l.down}}
		var bumps []*node
		for _, s := range Sites() {
			for _, lin := range bySite[s] {
				bumps = append(bumps, lin.bump(x))
			}
		}
		y, _ := l.block(t, g, x, nil, nil)
		loss := graph.ReduceAllSum(graph.Mul(graph.ReduceSum(graph.Square(graph.Sub(y, target)), -1), counts))
		gradients := graph.Gradient(loss, bumps...)
		var means []*node
		for _, s := range Sites() {
			n := len(bySite[s])
			own := gradients[0]
			if n > 1 {
				own = graph.Concatenate(gradients[:n], -1)
			}
			gradients = gradients[n:]
			means = append(means, graph.ReduceMean(graph.Abs(own), -1))
		}
		return means
	}, args...)
	if err != nil {
		return nil, err
	}
	bySite := map[Site][]float32{}
	for i, s := range Sites() {
		bySite[s] = out[i]
	}
	return bySite, nil
}

// bump adds a zero to a linear's output for tokens x [B, T, ·], as a bias of its own for
// every token, so that a gradient with respect to that output can be taken.
func (l *linearNode) bump(x *node) *node {
	shape := x.Shape().Clone()
	shape.Dimensions[2] = l.w.Shape().Dim(0)
	zero := graph.Zeros(x.Graph(), shape)
	bias := zero
	if l.b != nil {
		bias = graph.Add(zero, graph.ExpandLeftToRank(l.b, 3))
	}
	l.b = bias
	return zero
}

// Unrounded is an activation quantizer that rounds nothing.
func Unrounded() *ActQuant {
	return &ActQuant{Key: "unrounded", Apply: func(x *graph.Node) *graph.Node { return x }}
}
