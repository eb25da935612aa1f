package ptq

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// benchCalibration is one layer of a nano model's shapes and 16 samples.
func benchCalibration(b *testing.B) (*Calibration, *TokenSet) {
	b.Helper()
	c := tinyConfig(2)
	c.Text.Hidden, c.Text.HeadDim, c.Text.Intermediate, c.Text.Layers, c.Text.MRopeSection = 64, 16, 192, 1, [3]int{2, 3, 3}
	w := models.NewWeights(c)
	rng := rand.New(rand.NewPCG(1, 17))
	w.Randomize(c, rng)
	m := models.New(&models.Processor{Config: c}, w)
	r, err := models.NewRunner(m)
	if err != nil {
		b.Fatal(err)
	}
	pattern := "ttt" + strings.Repeat("v", 64) + strings.Repeat("t", 20) + "aaa"
	batches, err := m.NewBatches(tinyEmbeddings(m, slices.Repeat([]string{pattern}, 16), 9))
	if err != nil {
		b.Fatal(err)
	}
	cal := &Calibration{Model: m, Runner: r, Batches: batches, Method: mustFind(b, "tlq"), Format: Format{Bits: 4, Activation: 8, Symmetric: true}}
	return cal, cal.tokens(b)
}

// BenchmarkCalibrateLayer searches one layer of a nano model on 16 samples of 90
// tokens: with TLQ's quarter of the vision tokens, and with MBQ's all.
func BenchmarkCalibrateLayer(b *testing.B) {
	c, set := benchCalibration(b)
	run := func(name string, c *Calibration, set *TokenSet) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := c.CalibrateLayer(context.Background(), c.Start(), set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("tlq", c, set)
	mbq := *c
	mbq.Method = mustFind(b, "mbq-distort")
	run("mbq-exposed", &mbq, mbq.tokens(b))
}

// BenchmarkCandidate rounds the 20 candidates of gate_up of a nano model, as the
// search does and by the formula: the share of the search that is not forward
// passes.
func BenchmarkCandidate(b *testing.B) {
	c, _ := benchCalibration(b)
	exact, err := c.Model.Layer(0)
	if err != nil {
		b.Fatal(err)
	}
	means := make([]float64, 64)
	for k := range means {
		means[k] = 1 + float64(k%7)
	}
	cand, err := newCandidate(exact, models.GateUp, c.Format, RefuseGroup)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("fast", func(b *testing.B) {
		for b.Loop() {
			for k := range 20 {
				cand.set(ScaleFactors(means, float64(k)/20))
			}
		}
	})
	b.Run("naive", func(b *testing.B) {
		for b.Loop() {
			for k := range 20 {
				s := ScaleFactors(means, float64(k)/20)
				l := exact.Clone()
				for _, lin := range l.Linears(models.GateUp) {
					for r := range lin.Out {
						naiveRow(lin.W[r*lin.In:(r+1)*lin.In], s, c.Format.Bits)
					}
				}
			}
		}
	})
}

// naiveRow scales and rounds a row symmetrically, in place.
func naiveRow(w, s []float32, bits int) {
	var top float64
	for i := range w {
		w[i] *= s[i]
		top = math.Max(top, math.Abs(float64(w[i])))
	}
	high := math.Exp2(float64(bits-1)) - 1
	step := float32(max(top, 1e-5) / high)
	for i, v := range w {
		q := math.RoundToEven(float64(v / step))
		w[i] = float32(math.Min(math.Max(q, -high-1), high)) * step
	}
}
