package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// Linears runs the linears of site s themselves on x, the site's input [B, T, In],
// which is divided by smooth ([In]; nil: ones) and passes aq first. Result: their outputs side by
// side, [B, T, ΣOut].
func (r *Runner) Linears(b *Batch, s Site, x []float32, l *Layer, smooth []float32, aq *ActQuant) ([]float32, error) {
	return r.linears(b, s, x, l, smooth, aq, nil, "")
}

// LinearsError runs them and returns, per token, the distance of their outputs from target
// [B, T, ΣOut], by the metrics of [Runner.TokenError]. Result: [B, T].
func (r *Runner) LinearsError(b *Batch, s Site, x []float32, l *Layer, smooth []float32, aq *ActQuant, target []float32, metric string) ([]float32, error) {
	if metric != "mae" && metric != "mse" {
		return nil, fmt.Errorf("models: error metric %q; expected mae or mse", metric)
	}
	return r.linears(b, s, x, l, smooth, aq, target, metric)
}

func (r *Runner) linears(b *Batch, s Site, x []float32, l *Layer, smooth []float32, aq *ActQuant, target []float32, metric string) ([]float32, error) {
	in, width := siteWidth(l, s), 0
	args := []*tensors.Tensor{array(x, b.B, b.T, in)}
	if smooth != nil {
		args = append(args, array(smooth, in))
	}
	var biased []bool
	var weights []*tensors.Tensor
	for _, lin := range l.Linears(s) {
		width += lin.Out
		weights = append(weights, array(lin.W, lin.Out, lin.In))
		if biased = append(biased, lin.B != nil); lin.B != nil {
			weights = append(weights, array(lin.B, lin.Out))
		}
	}
	if metric != "" {
		args = append(args, array(target, b.B, b.T, width))
	}
	smoothed := smooth != nil // the closure outlives this call
	kind := fmt.Sprintf("linears/%s/%s/smooth=%t/%s/bias=%v", s, aq.key(), smoothed, metric, biased)
	out, err := r.call(kind, func(in []*node) []*node {
		q := nodeQueue(in)
		x := q.next()
		if smoothed {
			x = graph.Div(x, graph.ExpandLeftToRank(q.next(), 3))
		}
		var want *node
		if metric != "" {
			want = q.next()
		}
		x = aq.apply(x)
		var parts []*node
		for _, bias := range biased {
			parts = append(parts, q.linear(bias).apply(x))
		}
		y := parts[0]
		if len(parts) > 1 {
			y = graph.Concatenate(parts, -1)
		}
		return []*node{distance(want, y, metric)}
	}, append(args, weights...)...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// distance is y's distance from want over the last axis or, without a metric, y.
func distance(want, y *node, metric string) *node {
	switch metric {
	case "mae":
		return graph.ReduceSum(graph.Abs(graph.Sub(want, y)), -1)
	case "mse":
		return graph.ReduceSum(graph.Square(graph.Sub(want, y)), -1)
	}
	return y
}
