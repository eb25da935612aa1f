package ptq

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// axes are the settings that compositions are drawn from. Values that only some neighbours
// allow are among them.
func axes() map[string][]string {
	return map[string][]string{
		"tokens.importance": Tokens{}.importanceNames(),
		"tokens.weight":     append([]string{WeightHard, WeightImportance}, Tokens{}.importanceNames()...),
		"tokens.clip":       {"none", "iqr", "iqr-both"},
		"tokens.keep":       {"0", "0.25", "0.5", "1"},
		"tokens.pool":       {"sample", "modality", "global"},
		"tokens.mass":       {"flat", "ratio", "balanced", "token", "sample"},
		"tokens.floor":      {"none", "median"},
		"tokens.answers":    {"keep", "pool"},
		"tokens.text":       {"drop", "keep", "ratio", "pool"},
		"tokens.means":      {"all", "kept"},
		"tokens.rest":       {"", "mass"},
		"tokens.refresh":    {"false", "true"},
		"tokens.control":    {"none", "least", "shuffled", "random", "fewer"},
		"path.expose":       {"none", "layer", "group"},
		"path.target":       {"fp", "same"},
		"search.kind":       {"none", "grid", "grid", "grid"},
		"search.metric":     {"mae", "mse"},
		"search.inspect":    {"block", "linear"},
	}
}

var roundings = []string{
	"rounding.kind=nearest", "rounding.kind=nearest rounding.clip=output",
	"rounding.kind=gptq rounding.block=8 rounding.damp=0.01", "rounding.kind=gptaq rounding.block=8 rounding.damp=0.01 rounding.drift=0.25",
	"rounding.kind=gptq rounding.block=128 rounding.damp=0.05 rounding.act_order=true rounding.static_groups=true",
}

// compose draws a method.
func compose(t *testing.T, rng *rand.Rand) Method {
	t.Helper()
	m := with(t, mustFind(t, "tlq"), "search.points=2")
	all := axes()
	for _, key := range methodKeys() {
		if values := all[key]; values != nil && rng.IntN(3) > 0 {
			m = with(t, m, key+"="+values[rng.IntN(len(values))])
		}
	}
	m = with(t, m, strings.Fields(roundings[rng.IntN(len(roundings))])...)
	if m.Tokens.reads("parts") {
		m.Tokens.Parts = Parts{Of: 4, Take: []int{0, 3}}
	}
	if m.Tokens.reads("integrated") {
		m.Tokens.Integrate = Integrate{Steps: 2, From: []From{FromPath, FromZero}[rng.IntN(2)]}
	}
	if m.Tokens.Weight != WeightHard && rng.IntN(4) == 0 {
		m.Tokens.Map = Map{Low: 0.1, High: 1}
	}
	return m
}

// Any composition of tokens, path, search and rounding is refused with one error that says
// what was expected, or runs and gives finite weights.
func TestCompositions(t *testing.T) {
	tm := getTiny(t, 4)
	rng := rand.New(rand.NewPCG(11, 12))
	ran, refused := 0, 0
	for i := range 120 {
		m := compose(t, rng)
		name := fmt.Sprintf("composition %d: %+v", i, m)
		if err := m.Validate(); err != nil {
			if refused++; !strings.Contains(err.Error(), "expected") || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		f, err := ParseFormat([]string{"w4a8", "w3a16g16", "w4a4g8", "w2a16"}[rng.IntN(4)])
		if err != nil {
			t.Fatal(err)
		}
		c := &Calibration{Model: tm.model, Runner: tm.runner, Batches: tm.batches, Method: m, Format: f}
		if err := c.Check(); err != nil {
			if refused++; !strings.Contains(err.Error(), "rounding.static_groups=true") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		ran++
		if err := runComposition(c); err != nil && !strings.Contains(err.Error(), "calibration set of layer") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ran < 40 || refused < 5 {
		t.Errorf("%d compositions ran, %d were refused", ran, refused)
	}
}

// runComposition calibrates the first layer.
func runComposition(c *Calibration) error {
	ctx := context.Background()
	samples, err := c.samples()
	if err != nil {
		return err
	}
	t := c.Method.Tokens
	rng := rand.New(rand.NewPCG(1, 1))
	in := Selection{Samples: samples, Rand: rng}
	if in.Gradients, err = c.Gradients(ctx); err != nil {
		return err
	}
	if !t.MeasuredLate(t.Importance) {
		if in.Importance, err = c.Importance(ctx, t.Importance, in.Gradients, rng); err != nil {
			return err
		}
	}
	if by := t.weighsBy(); by != "" && !t.MeasuredLate(by) {
		if in.Weights, err = c.Importance(ctx, by, in.Gradients, rng); err != nil {
			return err
		}
	}
	set, _, err := SelectTokens(t, in)
	if err != nil {
		return err
	}
	res, _, err := c.CalibrateLayer(ctx, c.Start(), set)
	if err != nil {
		return err
	}
	for _, site := range models.Sites() {
		for _, lin := range res.Quantized.Layer.Linears(site) {
			if i := firstNotFinite(lin.W); i >= 0 {
				return fmt.Errorf("%s: weight %d is %v", site, i, lin.W[i])
			}
		}
	}
	return nil
}

// TLQ's scales round by GPTQ without any code of their own: factors are TLQ's as long as
// nothing in front of a group depends on its rounding, and weights are GPTQ's on the scaled layer.
func TestScalesWithGPTQRounding(t *testing.T) {
	tm := getTiny(t, 2)
	m := with(t, mustFind(t, "tlq"), "path.expose=none", "rounding.kind=gptq", "rounding.block=128", "rounding.damp=0.01")
	c := tm.calibration(t, m, "w3a16g16")
	set := c.tokens(t)
	combined, _ := c.calibrate(t, set)
	plain := *c
	plain.Method = with(t, mustFind(t, "tlq"), "path.expose=none")
	nearest, _ := plain.calibrate(t, set)
	for i := range combined {
		for k, site := range combined[i].Report.Sites {
			if other := nearest[i].Report.Sites[k]; site.Alpha != other.Alpha {
				t.Errorf("layer %d, %s: exponent %v, with rounding to nearest %v", i, site.Site, site.Alpha, other.Alpha)
			}
		}
		for name, grid := range combined[i].Quantized.Grids {
			if grid.Group != 16 || len(grid.Step) != len(nearest[i].Quantized.Grids[name].Step) {
				t.Errorf("layer %d, %s: grid of groups of %d", i, name, grid.Group)
			}
		}
		if one, two := combined[i].Quantized.Layer.Gate.W, nearest[i].Quantized.Layer.Gate.W; len(one) != len(two) || equalFloats(one, two) {
			t.Errorf("layer %d: GPTQ rounds the scaled weights as rounding to nearest does", i)
		}
	}
}

func equalFloats(a, b []float32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Answers alone in GPTQ's Hessian: vision tokens of any content change no weight.
func TestAnswersOnlyGPTQ(t *testing.T) {
	m := with(t, mustFind(t, "gptq"), "tokens.keep=0", "tokens.text=drop")
	tm := getTiny(t, 2)
	c := tm.calibration(t, m, "w3a16")
	set := c.tokens(t)
	for s, tokens := range set.Layers[0].O {
		for _, token := range tokens.Index {
			if seq := sampleOf(c, s); seq.Modality[token] != models.Answer {
				t.Errorf("sample %d: token %d is %v", s, token, seq.Modality[token])
			}
		}
	}
	if _, _, err := c.CalibrateLayer(context.Background(), c.Start(), set); err != nil {
		t.Error(err)
	}
}

func sampleOf(c *Calibration, i int) *models.Sequence {
	list, err := c.samples()
	if err != nil {
		panic(err)
	}
	return list[i]
}
