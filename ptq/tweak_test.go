package ptq

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// With a rate of 0 nothing is tuned; with one above, norms alone are, and the moments of the
// rounded layer's channels come nearer to the unquantized ones in every layer. (Layers behind the first
// read other inputs in both cases, so that each layer is compared on its own.)
func TestNormTweaking(t *testing.T) {
	tm := getTiny(t, 2)
	for _, format := range []string{"w2a16g16", "w3a8"} {
		base := tm.calibration(t, mustFind(t, "rtn"), format)
		plain, _ := base.calibrate(t, nil)
		tweak := func(rate string) (*Calibration, []*LayerResult, []*State) {
			c := tm.calibration(t, with(t, mustFind(t, "rtn"), "after=norm-tweaking", "tweak.passes=2", "tweak.scale=1", "tweak.rate="+rate), format)
			results, states := c.calibrate(t, nil)
			return c, results, states
		}
		_, none, _ := tweak("0")
		c, tuned, states := tweak("0.002")
		for i := range plain {
			equalLayers(t, "rate 0", none[i].Quantized.Layer, plain[i].Quantized.Layer)
			exact, err := c.Model.Layer(i)
			if err != nil {
				t.Fatal(err)
			}
			before, after := plain[i].Quantized.Layer, tuned[i].Quantized.Layer
			for _, site := range models.Sites() {
				for k, lin := range after.Linears(site) {
					if !slices.Equal(lin.W, before.Linears(site)[k].W) {
						t.Errorf("%s, layer %d: the weights of %s changed", format, i, site)
					}
				}
			}
			if slices.Equal(after.InputNorm, exact.InputNorm) || slices.Equal(after.PostNorm, exact.PostNorm) {
				t.Errorf("%s, layer %d: a norm was not tuned", format, i)
			}
			if was, is := momentsDistance(t, c, states[i], exact, before), momentsDistance(t, c, states[i], exact, after); !(is < was) {
				t.Errorf("%s, layer %d: the moments' distance went from %v to %v", format, i, was, is)
			}
		}
	}
	checkBatching(t, with(t, mustFind(t, "gptq-tweaked"), "tweak.rate=0.01"))
}

// momentsDistance is the tuned objective by its definition, in float64, summed over samples.
func momentsDistance(t *testing.T, c *Calibration, st *State, exact, rounded *models.Layer) float64 {
	t.Helper()
	var total float64
	for i, b := range c.Batches {
		want, err := c.Runner.Block(b, st.Exposed[i], exact, models.BlockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Runner.Block(b, st.Exposed[i], rounded, models.BlockOptions{ActQuant: c.Format.ActQuant()})
		if err != nil {
			t.Fatal(err)
		}
		for row, s := range b.Seqs {
			n := float64(s.Len())
			for ch := range 32 {
				moments := func(y []float32) (mean, variance float64) {
					for token := range s.Len() {
						mean += float64(y[(row*b.T+token)*32+ch]) / n
					}
					for token := range s.Len() {
						d := float64(y[(row*b.T+token)*32+ch]) - mean
						variance += d * d / n
					}
					return mean, variance
				}
				mean1, variance1 := moments(want.Y)
				mean2, variance2 := moments(got.Y)
				total += (math.Abs(mean1-mean2) + math.Abs(variance1-variance2)) / 32
			}
		}
	}
	return total
}

// The loss of a batch is the definition's.
func TestNormGradientsLoss(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "rtn"), "w2a16g16")
	exact, err := c.Model.Layer(0)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := QuantizeLayer(exact, c.Format, RefuseGroup)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, b := range c.Batches {
		want, err := c.Runner.Block(b, b.X, exact, models.BlockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		loss, _, _, err := c.Runner.NormGradients(b, b.X, q.Layer, nil, want.Y)
		if err != nil {
			t.Fatal(err)
		}
		sum += float64(loss)
	}
	near(t, "loss", sum, momentsDistance(t, c, c.Start(), exact, q.Layer), 1e-5)
}

// A rate that throws the layer away is an error with the mend, and settings that don't belong
// are refused.
func TestTweakErrors(t *testing.T) {
	for settings, want := range map[string]string{
		"after=norm-tweaking": "tweak.passes is 0",
		"tweak.rate=0.1":      "belongs to after",
		"after=norm-tweaking tweak.passes=1 tweak.rate=2": "expected 0 to 1",
		"after=norm": "did you mean",
	} {
		if err := with(t, mustFind(t, "rtn"), strings.Fields(settings)...).Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", settings, err, want)
		}
	}
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "gptq-tweaked"), "w3a16")
	st := c.Start()
	st.Exposed = slices.Clone(st.Exposed)
	st.Exposed[0] = slices.Clone(st.Exposed[0])
	st.Exposed[0][0] = float32(math.Inf(1))
	if _, _, err := c.CalibrateLayer(context.Background(), st, c.tokens(t)); err == nil {
		t.Error("an infinite input was tuned on")
	}
}
