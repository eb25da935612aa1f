package ptq

import (
	"context"
	"fmt"

	"github.com/tlqlab/tlqlab/models"
)

// freshViews are what importances of gradients and errors see at a site under
// Tokens.Refresh: gradients of the answer loss in a model whose layers up to here are the
// quantized ones and whose others are not, and errors of this layer, rounded to nearest, on the
// streams found here. Everything is measured once per layer.
func (r *layerRun) freshViews(ctx context.Context, site models.Site, needs Needs) ([]TokenView, error) {
	if needs.Late() {
		return nil, fmt.Errorf("an importance that reads gradients or errors cannot read what only late ones see; expected one or the other")
	}
	if r.late.fresh == nil {
		var err error
		if r.late.fresh, err = r.freshen(ctx); err != nil {
			return nil, err
		}
	}
	fresh := r.late.fresh
	frequency := frequencies(r.samples)
	views := make([]TokenView, len(r.samples))
	for i, s := range r.samples {
		views[i] = TokenView{
			Layer: r.state.Next, Sample: i, Modality: s.Modality, Frequency: frequency[i], Parts: r.c.Method.Tokens.Parts,
			Gradient: fresh.gradient.row(0, site, i), Error: fresh.error.row(0, site, i), Product: fresh.product.row(0, site, i),
		}
	}
	return views, nil
}

// freshen measures the layer.
func (r *layerRun) freshen(ctx context.Context) (*measurements, error) {
	n := len(r.samples)
	m := &measurements{error: newTokenStats(1, n), product: newTokenStats(1, n), gradient: newTokenStats(1, n)}
	q, _, err := QuantizeLayer(r.exact, r.c.Format, r.c.Fallback)
	if err != nil {
		return nil, err
	}
	head, err := r.c.Runner.Head()
	if err != nil {
		return nil, err
	}
	err = ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) (struct{}, error) {
		b := r.c.Batches[i]
		defer r.c.Spill.Rest(r.state.FP[i], r.state.Exposed[i])
		o, down, err := r.gradientsFrom(b, r.stream(i), head)
		if err != nil {
			return struct{}{}, err
		}
		_, _, e, err := r.c.layerError(b, r.exact, q.Layer, r.state.FP[i], r.stream(i))
		if err != nil {
			return struct{}{}, err
		}
		for site, pair := range map[models.Site][2][]float32{models.O: {o, e.o}, models.Down: {down, e.down}} {
			m.gradient.Layers[0].set(site, b, pair[0], meanAbs)
			m.error.Layers[0].set(site, b, pair[1], meanAbs)
			m.product.Layers[0].setProduct(site, b, pair[1], pair[0])
		}
		return struct{}{}, nil
	}, func(int, struct{}) error { return ctx.Err() })
	return m, err
}

// gradientsFrom runs a batch from the layer's input x through this layer and those behind it,
// unquantized, and takes the gradient of the answer loss at this layer's outputs, [B, T, C].
func (r *layerRun) gradientsFrom(b *models.Batch, x []float32, head *models.Head) (o, down []float32, err error) {
	first, last := r.state.Next, r.c.Model.NumLayers()-1
	layers, inputs := []*models.Layer{r.exact}, [][]float32{x}
	for i := first; i <= last; i++ {
		if i > first {
			l, err := r.c.Model.Layer(i)
			if err != nil {
				return nil, nil, err
			}
			layers = append(layers, l)
		}
		res, err := r.c.Runner.Block(b, inputs[i-first], layers[i-first], models.BlockOptions{})
		if err != nil {
			return nil, nil, err
		}
		inputs = append(inputs, res.Y)
	}
	dy, err := r.c.Runner.LossGradient(b, inputs[len(layers)], head)
	if err != nil {
		return nil, nil, err
	}
	for i := len(layers) - 1; ; i-- {
		dx, dO, err := r.c.Runner.BlockGradient(b, inputs[i], dy, layers[i])
		if err != nil || i == 0 {
			return dO, dy, err
		}
		dy = dx
	}
}
