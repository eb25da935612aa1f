package models

import (
	"math"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// AttentionMass is the attention that each token receives in block l, whose input is
// x [B, T, C]: Σ over heads and over the sample's own queries of the softmax
// probability, [B, T]. It sums to heads × tokens over a sample; padding looks at tokens but
// doesn't count, and receives nothing.
func (r *Runner) AttentionMass(b *Batch, x []float32, l *Layer) ([]float32, error) {
	t := &r.Model.Config.Text
	args := append(b.geometryArgs(array(x, b.B, b.T, t.Hidden), b.realTokens()), paramArrays(l.Params())...)
	out, err := r.call("attention-mass", func(in []*node) []*node {
		g, q := takeGeometry(in)
		x, counts := q.next(), q.next()
		l := q.layer(t)
		queries, keys, _ := l.project(t, g, l.inputNorm.rms(x, t.Eps))
		return []*node{graph.ReduceSum(graph.Mul(attentionWeights(queries, keys, g.mask), graph.ExpandAxes(counts, 1, 3, 4)), 1, 2, 3)}
	}, args...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// attentionWeights is softmax(q·kᵀ/√D + mask), [B, KV, T, G, S], of the queries and
// keys of groupedAttention.
func attentionWeights(q, k, mask *node) *node {
	q = graph.MulScalar(q, 1/math.Sqrt(float64(q.Shape().Dim(4))))
	scores := graph.Einsum("btkgd,bskd->bktgs", q, k)
	return softmax(graph.Add(scores, graph.ExpandAxes(mask, 1, 3)))
}

// realTokens is 1 where a row of the batch is a token, 0 at padding, [B, T].
func (b *Batch) realTokens() *tensors.Tensor {
	counts := make([]float32, b.B*b.T)
	for row, s := range b.Seqs {
		for t := range s.Len() {
			counts[row*b.T+t] = 1
		}
	}
	return array(counts, b.B, b.T)
}
