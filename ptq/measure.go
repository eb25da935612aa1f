package ptq

import (
	"context"
	"math"
	"sync"

	"github.com/tlqlab/tlqlab/models"
)

// measurements are token statistics of errors; nil where not asked for.
type measurements struct{ error, product *TokenStats }

// measure runs every batch along the fp path and along the path of the rounded
// model, and reduces the errors at the output sites. Memory is one batch's errors
// of all layers, where products with gradients are asked for.
func (c *Calibration) measure(ctx context.Context, needs Needs, samples int) (*measurements, error) {
	m := &measurements{}
	if !needs.walk() {
		return m, nil
	}
	layers := c.Model.NumLayers()
	if needs.Error {
		m.error = newTokenStats(layers, samples)
	}
	if needs.Product {
		m.product = newTokenStats(layers, samples)
	}
	rounded := layerCache{c: c}
	return m, c.eachBatch(ctx, func(b *models.Batch) error { return c.measureBatch(ctx, b, m, &rounded) })
}

// outputErrors are the errors at the output sites of one layer, [B, T, C].
type outputErrors struct{ o, down []float32 }

func (c *Calibration) measureBatch(ctx context.Context, b *models.Batch, m *measurements, rounded *layerCache) error {
	errors := make([]outputErrors, c.Model.NumLayers())
	fp, path := b.X, b.X
	for i := range errors {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if fp, path, errors[i], err = c.layerError(b, i, fp, path, rounded); err != nil {
			return err
		}
		if m.error != nil {
			m.error.Layers[i].set(models.O, b, errors[i].o, meanAbs)
			m.error.Layers[i].set(models.Down, b, errors[i].down, meanAbs)
		}
		if m.product == nil {
			errors[i] = outputErrors{}
		}
	}
	if m.product == nil {
		return nil
	}
	return c.Runner.Gradients(b, func(layer int, o, down []float32) error {
		m.product.Layers[layer].setProduct(models.O, b, errors[layer].o, o)
		m.product.Layers[layer].setProduct(models.Down, b, errors[layer].down, down)
		return ctx.Err()
	})
}

// layerError runs layer i on both paths and returns the streams behind it and
// the errors of the rounded layer's outputs.
func (c *Calibration) layerError(b *models.Batch, i int, fp, path []float32, rounded *layerCache) (nextFP, nextPath []float32, e outputErrors, err error) {
	l, q, err := rounded.layer(i)
	if err != nil {
		return nil, nil, e, err
	}
	exact, err := c.Runner.Block(b, fp, l, models.BlockOptions{Outputs: true})
	if err != nil {
		return nil, nil, e, err
	}
	quantized, err := c.Runner.Block(b, path, q, models.BlockOptions{ActQuant: c.Format.ActQuant(), Outputs: true})
	if err != nil {
		return nil, nil, e, err
	}
	nextFP, nextPath = exact.Y, quantized.Y
	if c.Method.Path.Expose == ExposeNone {
		nextPath = exact.Y
	} else if c.Method.Path.Target == TargetSame {
		if exact, err = c.Runner.Block(b, path, l, models.BlockOptions{Outputs: true}); err != nil {
			return nil, nil, e, err
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

// layerCache gives layers and their rounded forms, and keeps them while they
// are small: rounding again is cheap beside running a batch, memory is not.
type layerCache struct {
	c     *Calibration
	mu    sync.Mutex
	kept  map[int][2]*models.Layer
	bytes int
}

// cacheLimit is the size in bytes up to which a layerCache keeps layers.
const cacheLimit = 1 << 28

func (k *layerCache) layer(i int) (exact, rounded *models.Layer, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pair, ok := k.kept[i]; ok {
		return pair[0], pair[1], nil
	}
	l, err := k.c.Model.Layer(i)
	if err != nil {
		return nil, nil, err
	}
	q, _, err := QuantizeLayer(l, k.c.Format, k.c.Fallback)
	if err != nil {
		return nil, nil, err
	}
	size := 0
	for _, p := range l.Params() {
		size += 2 * 4 * len(p.Data)
	}
	if k.bytes+size <= cacheLimit {
		if k.kept == nil {
			k.kept = map[int][2]*models.Layer{}
		}
		k.kept[i] = [2]*models.Layer{l, q.Layer}
		k.bytes += size
	}
	return l, q.Layer, nil
}
