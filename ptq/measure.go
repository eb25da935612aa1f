package ptq

import (
	"context"
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// measurements are token statistics of errors; nil where not asked for.
type measurements struct{ error, product, gradient *TokenStats }

// measure runs the batches along the fp path and along the path of the rounded model,
// layer by layer, and reduces the errors at the output sites. With gradients, where
// products are asked for, the backward pass also gives those of
// [Calibration.Gradients].
func (c *Calibration) measure(ctx context.Context, needs Needs, gradients bool, samples int) (*measurements, error) {
	m := &measurements{}
	if !needs.walk() {
		return m, nil
	}
	layers := c.Model.NumLayers()
	if needs.Error {
		m.error = newTokenStats(layers, samples)
	}
	streams, passes := 1, 1
	if needs.Product {
		m.product = newTokenStats(layers, samples)
		streams, passes = 3, 2
		if gradients {
			m.gradient = newTokenStats(layers, samples)
		}
	}
	return m, c.eachWalk(ctx, streams, passes, func(w *walk) error { return m.walk(ctx, w) })
}

// outputErrors are the errors at the output sites of one layer, [B, T, C].
type outputErrors struct{ o, down []float32 }

// walk measures one run of batches.
func (m *measurements) walk(ctx context.Context, w *walk) error {
	c := w.c
	errors := make([][]outputErrors, c.Model.NumLayers()) // [layer][batch]
	for i := range errors {
		errors[i] = make([]outputErrors, len(w.chunk))
	}
	path := make([][]float32, len(w.chunk)) // nil where it is the fp path
	var rounded *models.Layer
	layer := func(i int) (*models.Layer, error) {
		rounded = nil // the last one need not outlive its turn
		l, err := c.Model.Layer(i)
		if err != nil {
			return nil, err
		}
		q, _, err := QuantizeLayer(l, c.Format, c.Fallback)
		if err != nil {
			return nil, err
		}
		rounded = q.Layer
		return l, nil
	}
	err := w.eachLayer(ctx, m.product != nil, layer, func(i, k int, l *models.Layer, x []float32) ([]float32, error) {
		p := path[k]
		if p == nil {
			p = x
		}
		y, next, e, err := c.layerError(w.chunk[k], l, rounded, x, p)
		if err != nil {
			return nil, err
		}
		if m.error != nil {
			m.error.Layers[i].set(models.O, w.chunk[k], e.o, meanAbs)
			m.error.Layers[i].set(models.Down, w.chunk[k], e.down, meanAbs)
		}
		if m.product != nil {
			if errors[i][k], err = c.keepErrors(e); err != nil {
				return nil, err
			}
		}
		c.Spill.Free(path[k])
		path[k] = nil
		if next != nil {
			path[k], err = c.Spill.Keep(next)
		}
		return y, err
	})
	c.Spill.Free(path...)
	rounded = nil
	if err != nil || m.product == nil {
		return err
	}
	return w.back(ctx, func(i, k int, o, down []float32) {
		e, b := &errors[i][k], w.chunk[k]
		m.product.Layers[i].setProduct(models.O, b, e.o, o)
		m.product.Layers[i].setProduct(models.Down, b, e.down, down)
		if m.gradient != nil {
			m.gradient.Layers[i].set(models.O, b, o, meanAbs)
			m.gradient.Layers[i].set(models.Down, b, down, meanAbs)
		}
		c.Spill.Free(e.o, e.down)
		*e = outputErrors{}
	})
}

// keepErrors moves errors to where they stay until the gradients come.
func (c *Calibration) keepErrors(e outputErrors) (kept outputErrors, err error) {
	if kept.o, err = c.Spill.Keep(e.o); err != nil {
		return kept, err
	}
	kept.down, err = c.Spill.Keep(e.down)
	return kept, err
}

// layerError runs a layer on both paths and returns the streams behind it, that of the
// rounded path nil where it is the other, and the errors of the rounded layer's outputs.
func (c *Calibration) layerError(b *models.Batch, l, rounded *models.Layer, fp, path []float32) (nextFP, nextPath []float32, e outputErrors, err error) {
	defer c.Spill.Rest(path)
	exact, err := c.Runner.Block(b, fp, l, models.BlockOptions{Outputs: true})
	if err != nil {
		return nil, nil, e, err
	}
	quantized, err := c.Runner.Block(b, path, rounded, models.BlockOptions{ActQuant: c.Format.ActQuant(), Outputs: true})
	if err != nil {
		return nil, nil, e, err
	}
	nextFP = exact.Y
	if c.Method.Path.Expose != ExposeNone {
		nextPath = quantized.Y
		if c.Method.Path.Target == TargetSame {
			if exact, err = c.Runner.Block(b, path, l, models.BlockOptions{Outputs: true}); err != nil {
				return nil, nil, e, err
			}
		}
	}
	return nextFP, nextPath, outputErrors{subtract(quantized.OOut, exact.OOut), subtract(quantized.Down, exact.Down)}, nil
}

// subtract writes a − b to a.
func subtract(a, b []float32) []float32 {
	for i := range a {
		a[i] -= b[i]
	}
	return a
}

// setProduct stores Σ_c |e·g| per token.
func (l *LayerStats) setProduct(site models.Site, b *models.Batch, e, g []float32) {
	c := width(b, e)
	for row, sample := range b.Index {
		n := b.Seqs[row].Len()
		values := make([]float32, n)
		for t := range n {
			at := (row*b.T + t) * c
			var sum float64
			for k := at; k < at+c; k++ {
				sum += math.Abs(float64(e[k]) * float64(g[k]))
			}
			values[t] = float32(sum)
		}
		l.At(site)[sample] = values
	}
}
