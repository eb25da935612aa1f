package ptq

import (
	"context"

	"github.com/tlqlab/tlqlab/models"
)

// walkBytes bounds what a walk keeps of the batches that it takes together, in
// bytes; a single batch may need more. Without a file it is less.
const (
	walkBytes     = 1 << 30
	walkBytesHeap = 1 << 28
)

// walk brings some batches forward through all layers and the gradient of their answer
// loss back. Layers are read once for all of them. What a backward pass needs of
// the forward one, the streams in front of every layer, is in the Spill; each block's
// own values are computed anew, so that memory is that of one block and one batch,
// whatever the depth.
type walk struct {
	c     *Calibration
	chunk []*models.Batch
	fp    [][][]float32 // [layer][batch]: the stream of the unquantized model in front of the layer, and behind the last
	step  func() error
}

// eachWalk cuts the batches into runs and walks them one after the other. A walk
// keeps streams' worth of memory per layer.
func (c *Calibration) eachWalk(ctx context.Context, streams, passes int, f func(w *walk) error) error {
	limit := int64(walkBytesHeap)
	if c.Spill != nil && canMap {
		limit = walkBytes
	}
	layers := c.Model.NumLayers()
	done, total := 0, passes*layers*len(c.Batches)
	step := func() error {
		done++
		return c.step(ctx, done, total)
	}
	for from := 0; from < len(c.Batches); {
		to, bytes := from, int64(0)
		for to < len(c.Batches) {
			bytes += 4 * int64(len(c.Batches[to].X)) * int64(layers) * int64(streams)
			if to > from && bytes > limit {
				break
			}
			to++
		}
		if err := f(&walk{c: c, chunk: c.Batches[from:to], fp: make([][][]float32, layers+1), step: step}); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// eachLayer calls f for all batches at every layer in order, several side by side. f
// returns the stream behind the layer, which is kept where keep says so until it has been
// used by a backward pass.
func (w *walk) eachLayer(ctx context.Context, keep bool, layer func(i int) (*models.Layer, error), f func(layer, k int, l *models.Layer, x []float32) ([]float32, error)) error {
	w.fp[0] = make([][]float32, len(w.chunk))
	for k, b := range w.chunk {
		w.fp[0][k] = b.X
	}
	for i := range w.c.Model.NumLayers() {
		l, err := layer(i)
		if err != nil {
			return err
		}
		w.fp[i+1] = make([][]float32, len(w.chunk))
		err = ordered(ctx, w.c.workers(), len(w.chunk), func(k int) ([]float32, error) {
			defer w.c.Spill.Rest(w.fp[i][k])
			return f(i, k, l, w.fp[i][k])
		}, func(k int, y []float32) (err error) {
			if w.fp[i+1][k], err = w.c.Spill.Keep(y); err != nil {
				return err
			}
			if !keep {
				w.free(i, k)
			}
			return w.step()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// free gives a stream back, unless it is a batch's own.
func (w *walk) free(layer, k int) {
	if layer > 0 {
		w.c.Spill.Free(w.fp[layer][k])
	}
	w.fp[layer][k] = nil
}

// back takes the gradients at the outputs of o_proj and down_proj, [B, T, C], and hands
// them to visit, last layer first, several batches side by side. The forward pass must
// have kept its streams.
func (w *walk) back(ctx context.Context, visit func(layer, k int, o, down []float32)) error {
	layers := w.c.Model.NumLayers()
	dy, err := w.lossGradients(ctx)
	if err != nil {
		return err
	}
	type gradients struct{ dx, o []float32 }
	for i := layers - 1; i >= 0; i-- {
		l, err := w.c.Model.Layer(i)
		if err != nil {
			return err
		}
		err = ordered(ctx, w.c.workers(), len(w.chunk), func(k int) (g gradients, err error) {
			g.dx, g.o, err = w.c.Runner.BlockGradient(w.chunk[k], w.fp[i][k], dy[k], l)
			if err == nil {
				// The block's output is h + down_proj(…), so down_proj's gradient is dy itself.
				visit(i, k, g.o, dy[k])
			}
			return gradients{dx: g.dx}, err
		}, func(k int, g gradients) (err error) {
			w.c.Spill.Free(dy[k])
			w.free(i, k)
			if dy[k], err = w.c.Spill.Keep(g.dx); err != nil {
				return err
			}
			return w.step()
		})
		if err != nil {
			return err
		}
	}
	w.c.Spill.Free(dy...)
	return nil
}

// lossGradients is dL/dx behind the last layer, per batch. The head is in memory for
// all of them, and only now.
func (w *walk) lossGradients(ctx context.Context) ([][]float32, error) {
	head, err := w.c.Runner.Head()
	if err != nil {
		return nil, err
	}
	dy, last := make([][]float32, len(w.chunk)), w.c.Model.NumLayers()
	return dy, ordered(ctx, w.c.workers(), len(w.chunk), func(k int) ([]float32, error) {
		return w.c.Runner.LossGradient(w.chunk[k], w.fp[last][k], head)
	}, func(k int, g []float32) (err error) {
		w.free(last, k)
		dy[k], err = w.c.Spill.Keep(g)
		return err
	})
}
