package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
)

// NormGradients runs block l on x [B, T, C] and compares its output y with target channel
// by channel, by their means and variances over each sequence's real tokens (Norm Tweaking,
// arXiv:2309.02784):
//
//	L = 1/C · Σ_c ( |μ(target)_c − μ(y)_c| + |σ²(target)_c − σ²(y)_c| )
//
// summed over sequences. It returns L and its gradients with respect to the gains of the
// block's two norms, [C] each. aq is passed straight through by gradients, for its rounding has no
// useful derivative.
func (r *Runner) NormGradients(b *Batch, x []float32, l *Layer, aq *ActQuant, target []float32) (loss float32, input, post []float32, err error) {
	t := &r.Model.Config.Text
	args := append(b.geometryArgs(array(x, b.B, b.T, t.Hidden), array(target, b.B, b.T, t.Hidden), b.realTokens()), paramArrays(l.Params())...)
	out, err := r.call(fmt.Sprintf("norm-gradients/%s", aq.key()), func(in []*node) []*node {
		g, q := takeGeometry(in)
		x, target, counts := q.next(), q.next(), q.next()
		l := q.layer(t)
		y, _ := l.block(t, g, x, aq.straight(), nil)
		wantMean, wantVariance := channelMoments(target, counts)
		mean, variance := channelMoments(y, counts)
		distance := graph.Add(graph.Abs(graph.Sub(wantMean, mean)), graph.Abs(graph.Sub(wantVariance, variance)))
		loss := graph.DivScalar(graph.ReduceAllSum(distance), float64(t.Hidden))
		gradients := graph.Gradient(loss, l.inputNorm.gain, l.postNorm.gain)
		return []*node{loss, gradients[0], gradients[1]}
	}, args...)
	if err != nil {
		return 0, nil, nil, err
	}
	return out[0][0], out[1], out[2], nil
}

// channelMoments are the mean and the variance of every channel of x [B, T, C] over the
// tokens that count, [B, C].
func channelMoments(x, counts *node) (mean, variance *node) {
	weights := graph.Div(counts, graph.MaxScalar(graph.ReduceAndKeep(counts, graph.ReduceSum, -1), 1)) // rows of nothing but padding count nothing
	weights = graph.ExpandAxes(weights, -1)
	mean = graph.ReduceSum(graph.Mul(x, weights), 1)
	centred := graph.Sub(x, graph.ExpandAxes(mean, 1))
	return mean, graph.ReduceSum(graph.Mul(graph.Square(centred), weights), 1)
}

// straight is the quantizer with the gradient of doing nothing.
func (q *ActQuant) straight() *ActQuant {
	if q == nil {
		return nil
	}
	s := *q
	s.Key = q.Key + "/straight"
	s.Apply = func(x *graph.Node) *graph.Node {
		return graph.Add(x, graph.StopGradient(graph.Sub(q.Apply(x), x)))
	}
	return &s
}
