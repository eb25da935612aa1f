package ptq

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// sameChoices runs two methods on the tiny model and compares what they chose.
func sameChoices(t *testing.T, a, b Method, format string) {
	t.Helper()
	tm := getTiny(t, 2)
	run := func(m Method) []*LayerResult {
		c := tm.calibration(t, m, format)
		results, _ := c.calibrate(t, c.tokens(t))
		return results
	}
	one, two := run(a), run(b)
	for i := range one {
		if !reflect.DeepEqual(one[i].Report, two[i].Report) || !reflect.DeepEqual(one[i].Smooth, two[i].Smooth) {
			t.Errorf("%s and %s differ in layer %d:\n%+v\n%+v", a.Name, b.Name, i, one[i].Report, two[i].Report)
		}
		for _, site := range models.Sites() {
			for k, lin := range one[i].Quantized.Layer.Linears(site) {
				if !slices.Equal(lin.W, two[i].Quantized.Layer.Linears(site)[k].W) {
					t.Errorf("%s and %s: weights of layer %d, %s differ", a.Name, b.Name, i, site)
				}
			}
		}
	}
}

func with(t *testing.T, m Method, settings ...string) Method {
	t.Helper()
	m.Search.Sites = slices.Clone(m.Search.Sites)
	for _, s := range settings {
		if err := m.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// TLQ with everything kept, flat weights and no exposure is MBQ, and with its
// exposure MBQ's distort; uniform weights and squared errors make it AWQ.
func TestTLQContainsItsRelatives(t *testing.T) {
	for _, format := range []string{"w4a6", "w3a16g16"} {
		tlq := mustFind(t, "tlq")
		sameChoices(t, with(t, tlq, "tokens.keep=1", "tokens.weight=hard", "path.expose=none"), mustFind(t, "mbq"), format)
		sameChoices(t, with(t, tlq, "tokens.keep=1", "tokens.weight=hard"), mustFind(t, "mbq-distort"), format)
		sameChoices(t, with(t, tlq, "tokens.keep=1", "tokens.weight=hard", "path.expose=none", "tokens.mass=flat", "tokens.text=keep", "search.metric=mse"), mustFind(t, "awq"), format)
	}
}

// A search with α = 0 alone is rounding to nearest, bit for bit.
func TestOnePointIsRoundToNearest(t *testing.T) {
	tm := getTiny(t, 4)
	for _, name := range []string{"awq", "mbq", "tlq"} {
		c := tm.calibration(t, with(t, mustFind(t, name), "search.points=1"), "w4a8")
		results, _ := c.calibrate(t, c.tokens(t))
		for i, res := range results {
			exact, err := c.Model.Layer(i)
			if err != nil {
				t.Fatal(err)
			}
			want, _, err := QuantizeLayer(exact, c.Format, RefuseGroup)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(res.Quantized, want) {
				t.Errorf("%s with α = 0: layer %d is not rounded to nearest", name, i)
			}
		}
	}
}

// Every control keeps as many tokens as TLQ, in the last layer too, where vision
// tokens have no gradient; and does what its name says.
func TestControls(t *testing.T) {
	samples := samplesOf("tvvvvvvvvvvvvttaa", "vvvvvvvvta", "tvvvvvvvvvaaa", "taa", "vvvvvvvvvvvvvvvva")
	g, importance := randomStats(3, samples, 1), randomStats(3, samples, 2)
	pick := func(name string, seed uint64) *TokenSet {
		set, _, err := SelectTokens(mustFind(t, name).Tokens, Selection{Samples: samples, Gradients: g, Importance: importance, Weights: g, Rand: rand.New(rand.NewPCG(seed, 0))})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	tlq := pick("tlq", 0)
	for _, name := range []string{"tlq-random", "tlq-shuffled", "tlq-least", "tlq-fewer"} {
		set := pick(name, 1)
		for i := range set.Layers {
			for _, site := range outputSites {
				if got, want := Count(set.Layers[i].At(site)), Count(tlq.Layers[i].At(site)); got != want {
					t.Errorf("%s keeps %d tokens in layer %d, TLQ %d", name, got, i, want)
				}
				if name == "tlq-fewer" {
					continue
				}
				for s := range samples {
					if got, want := len(set.Layers[i].At(site)[s].Index), len(tlq.Layers[i].At(site)[s].Index); got != want {
						t.Errorf("%s keeps %d tokens of sample %d in layer %d, TLQ %d", name, got, s, i, want)
					}
				}
			}
		}
		if reflect.DeepEqual(set.Layers, tlq.Layers) {
			t.Errorf("%s selects as TLQ does", name)
		}
	}
	if !reflect.DeepEqual(pick("tlq-random", 1), pick("tlq-random", 1)) || reflect.DeepEqual(pick("tlq-random", 1), pick("tlq-random", 2)) {
		t.Error("the random control does not follow its seed")
	}
	// The least important and the most important of a sample don't meet.
	for s, set := range pick("tlq-least", 0).Layers[0].O {
		for _, token := range set.Index {
			if samples[s].Modality[token] == models.Vision && slices.Contains(tlq.Layers[0].O[s].Index, token) {
				t.Errorf("token %d of sample %d is among the most and the least important", token, s)
			}
		}
	}
	for s, set := range pick("answers", 0).Layers[1].Down {
		for k, token := range set.Index {
			if samples[s].Modality[token] != models.Answer || set.Weight[k] != 1 {
				t.Errorf("answers only: token %d of sample %d with weight %v", token, s, set.Weight[k])
			}
		}
	}
	checkFewer(t, samples, pick("tlq-fewer", 3).Layers[0].Down)
}

// checkFewer looks for whole samples, one cut one, and empty ones.
func checkFewer(t *testing.T, samples []*models.Sequence, sets []SampleTokens) {
	t.Helper()
	cut, empty := 0, 0
	for s, set := range sets {
		var counted []int
		for token, m := range samples[s].Modality {
			if m != models.Other {
				counted = append(counted, token)
			}
		}
		switch {
		case len(set.Index) == 0:
			empty++
		case !slices.Equal(set.Index, counted[:len(set.Index)]):
			t.Errorf("sample %d gives tokens %v, not its first", s, set.Index)
		case len(set.Index) < len(counted):
			cut++
		}
	}
	if empty == 0 || cut > 1 {
		t.Errorf("%d samples are left out, %d cut", empty, cut)
	}
}

// Where samples are left out, channel means are those of the others.
func TestFewerSamplesMeans(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "tlq-fewer"), "w4a8")
	r := &layerRun{c: c}
	var err error
	if r.samples, err = c.samples(); err != nil {
		t.Fatal(err)
	}
	if got := r.meanTokens(0, SampleTokens{}); len(got) != 0 {
		t.Errorf("a sample that is left out gives means of tokens %v", got)
	}
	if got := r.meanTokens(0, SampleTokens{Index: []int{1}}); len(got) != r.samples[0].Len() {
		t.Errorf("a sample that is taken gives means of tokens %v", got)
	}
}

// SmoothQuant against its formula: factors from plain loops, folding that keeps
// the layer's function, zero channels left alone.
func TestSmoothQuant(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "smoothquant"), "w8a8")
	results, states := c.calibrate(t, nil)
	for i, res := range results {
		exact, err := c.Model.Layer(i)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Smooth) != 2 {
			t.Fatalf("layer %d: %d sites are smoothed", i, len(res.Smooth))
		}
		for _, site := range []models.Site{models.QKV, models.GateUp} {
			top := make([]float64, 32)
			for k, b := range c.Batches {
				run, err := c.Runner.Block(b, states[i].FP[k], exact, models.BlockOptions{Taps: true})
				if err != nil {
					t.Fatal(err)
				}
				b.Rows(run.Inputs[site], 32, func(_, _ int, row []float32) {
					for ch, v := range row {
						top[ch] = max(top[ch], abs(v))
					}
				})
			}
			weights := make([]float64, 32)
			for _, lin := range exact.Linears(site) {
				for k, w := range lin.W {
					weights[k%32] = max(weights[k%32], abs(w))
				}
			}
			if want := SmoothFactors(top, weights, 0.5); !slices.Equal(res.Smooth[site], want) {
				t.Errorf("layer %d, %s: factors %v, want %v", i, site, res.Smooth[site], want)
			}
		}
	}
	if got := SmoothFactors([]float64{4, 0, 1e-12}, []float64{1, 1, 0}, 0.5); got[0] != 2 || got[1] != 1 || !(got[2] >= minMagnitude) {
		t.Errorf("got %v", got)
	}
}
