package ptq

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tlqlab/tlqlab/models"
)

// Tweak are the settings of AfterNormTweaking.
type Tweak struct {
	// Rate is the learning rate in front of the first layer; 0 changes nothing.
	Rate float64 `json:"rate"`
	// Scale makes it grow with depth: Rate·(1 + Scale·layer/layers).
	Scale float64 `json:"scale"`
	// Passes over the samples.
	Passes int `json:"passes"`
}

func (t Tweak) validate(after After) error {
	switch {
	case after != AfterNormTweaking && t == Tweak{}:
		return nil
	case after != AfterNormTweaking:
		return fmt.Errorf("tweak belongs to after %q; expected none (tweak.rate=0, tweak.scale=0, tweak.passes=0) with %q", AfterNormTweaking, after)
	case !(t.Rate >= 0 && t.Rate <= 1) || !(t.Scale >= 0 && t.Scale <= 1000):
		return fmt.Errorf("tweak.rate is %v and tweak.scale %v; expected 0 to 1 (published from 1e-5) and 0 to 1000 (usually 5)", t.Rate, t.Scale)
	case t.Passes < 1 || t.Passes > 1000:
		return fmt.Errorf("tweak.passes is %d; expected 1 to 1000 (published with 1)", t.Passes)
	}
	return nil
}

// Adam's constants.
const (
	adamMean     = 0.9
	adamVariance = 0.999
	adamFloor    = 1e-8
)

// adam is an optimizer of one parameter list, in float64.
type adam struct {
	mean, variance []float64
	steps          int
}

// step moves v against its gradient.
func (a *adam) step(v, gradient []float32, rate float64) {
	if a.mean == nil {
		a.mean, a.variance = make([]float64, len(v)), make([]float64, len(v))
	}
	a.steps++
	unbias1, unbias2 := 1-math.Pow(adamMean, float64(a.steps)), 1-math.Pow(adamVariance, float64(a.steps))
	for i, g32 := range gradient {
		g := float64(g32)
		a.mean[i] = adamMean*a.mean[i] + (1-adamMean)*g
		a.variance[i] = adamVariance*a.variance[i] + (1-adamVariance)*g*g
		v[i] = float32(float64(v[i]) - rate*(a.mean[i]/unbias1)/(math.Sqrt(a.variance[i]/unbias2)+adamFloor))
	}
}

// tweakNorms tunes the gains of the rounded layer's two norms, one sample and one step of Adam at a
// time in sample order, so that the means and variances of its output channels on the exposed
// stream come to those of the unquantized layer for the same input (Norm Tweaking,
// arXiv:2309.02784; [models.Runner.NormGradients]). Deviations: samples are the calibration
// samples, not text that the model wrote; what the next layer reads is a pass through the tuned layer,
// where the third-party code passes on outputs from before each step; gains alone, for RMS norms have
// no biases.
func (r *layerRun) tweakNorms(ctx context.Context) error {
	c := r.c
	if c.Method.After != AfterNormTweaking {
		return nil
	}
	l := r.partly.Layer
	l.InputNorm, l.PostNorm = slices.Clone(l.InputNorm), slices.Clone(l.PostNorm)
	rate := c.Method.Tweak.Rate * (1 + c.Method.Tweak.Scale*float64(r.state.Next)/float64(c.Model.NumLayers()))
	var input, post adam
	for range c.Method.Tweak.Passes {
		for _, at := range r.places() {
			if err := ctx.Err(); err != nil {
				return err
			}
			b, err := r.alone(at)
			if err != nil {
				return err
			}
			want, err := c.Runner.Block(b, b.X, r.exact, models.BlockOptions{})
			if err != nil {
				return err
			}
			loss, dInput, dPost, err := c.Runner.NormGradients(b, b.X, l, c.Format.ActQuant(), want.Y)
			if err != nil {
				return err
			}
			if v := float64(loss); math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("ptq: layer %d: the distance of the channels' moments is %v; expected a finite number: try a smaller tweak.rate than %v", r.state.Next, v, c.Method.Tweak.Rate)
			}
			input.step(l.InputNorm, dInput, rate)
			post.step(l.PostNorm, dPost, rate)
		}
	}
	return nil
}

// place is where a sample lies.
type place struct{ batch, row int }

// places lists them in sample order.
func (r *layerRun) places() []place {
	list := make([]place, len(r.samples))
	for i, b := range r.c.Batches {
		for row, sample := range b.Index {
			list[sample] = place{i, row}
		}
	}
	return list
}

// alone is one sample of the exposed stream in a batch of its own, so that steps don't depend
// on how samples are cut into batches.
func (r *layerRun) alone(at place) (*models.Batch, error) {
	b, stream := r.c.Batches[at.batch], r.state.Exposed[at.batch]
	defer r.c.Spill.Rest(stream)
	s, c := b.Seqs[at.row], width(b, stream)
	list, err := r.c.Model.NewBatches([]*models.Sequence{s}, [][]float32{slices.Clone(stream[at.row*b.T*c:][:s.Len()*c])})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}
