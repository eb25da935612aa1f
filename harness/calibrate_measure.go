package harness

import (
	"fmt"
	"math"
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// measure adds what the figures need: the size of the unquantized stream, and
// the error that the layer makes alone.
func (w *walk) measure(l *calibratedLayer, next *ptq.State) error {
	var local streamSums
	for i, b := range w.engine.Batches {
		y, err := w.engine.Runner.Block(b, w.state.FP[i], l.layer, models.BlockOptions{ActQuant: w.q.Format.ActQuant()})
		if err != nil {
			return err
		}
		local.add(b, next.FP[i], y.Y)
		w.engine.Spill.Rest(w.state.FP[i], next.FP[i])
	}
	l.report.Local, l.report.FPNorm = local.errors(), local.norm()
	return w.checkFinite(&l.report)
}

// checkFinite refuses a layer behind which a stream is not finite, before anything is
// stored of it.
func (w *walk) checkFinite(r *layerReport) error {
	for _, stream := range []struct {
		name string
		size float64
	}{
		{"the unquantized model's stream", r.FPNorm},
		{"the output of the rounded layer", r.Local.All},
		{"the quantized model's stream", r.Report.Stream.All},
	} {
		if math.IsNaN(stream.size) || math.IsInf(stream.size, 0) {
			return fmt.Errorf("harness: layer %d: %s is not finite behind it: weights or activations have overflowed; expected finite numbers", w.state.Next, stream.name)
		}
	}
	return nil
}

// streamSums compares a stream with the unquantized one.
type streamSums struct {
	difference, size [3]float64 // by modality: Σ(x̂−x)², Σx²
	values           int
}

func (s *streamSums) add(b *models.Batch, fp, x []float32) {
	width := len(fp) / (b.B * b.T)
	for row, seq := range b.Seqs {
		for t, m := range seq.Modality {
			at := (row*b.T + t) * width
			for k := at; k < at+width; k++ {
				d := float64(x[k]) - float64(fp[k])
				s.difference[m] += d * d
				s.size[m] += float64(fp[k]) * float64(fp[k])
			}
		}
		s.values += seq.Len() * width
	}
}

func (s *streamSums) relative(modalities ...models.Modality) float64 {
	var d, n float64
	for _, m := range modalities {
		d, n = d+s.difference[m], n+s.size[m]
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}

func (s *streamSums) errors() TokenErrors {
	return TokenErrors{
		All:    s.relative(models.Other, models.Vision, models.Answer),
		Vision: s.relative(models.Vision), Answer: s.relative(models.Answer), Other: s.relative(models.Other),
	}
}

// norm is the root mean square of the unquantized stream.
func (s *streamSums) norm() float64 {
	if s.values == 0 {
		return 0
	}
	return math.Sqrt((s.size[0] + s.size[1] + s.size[2]) / float64(s.values))
}

// spread is the minimum, median and maximum of smoothing factors.
func spread(factors []float32) [3]float64 {
	sorted := slices.Sorted(slices.Values(factors))
	return [3]float64{float64(sorted[0]), float64(sorted[len(sorted)/2]), float64(sorted[len(sorted)-1])}
}
