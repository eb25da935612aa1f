package ptq

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// sameWeights compares the quantized weights of two methods on the tiny model.
func sameWeights(t *testing.T, a, b Method, format string) {
	t.Helper()
	tm := getTiny(t, 2)
	run := func(m Method) []*LayerResult {
		c := tm.calibration(t, m, format)
		results, _ := c.calibrate(t, c.tokens(t))
		return results
	}
	one, two := run(a), run(b)
	for i := range one {
		equalLayers(t, a.Name+" and "+b.Name, one[i].Quantized.Layer, two[i].Quantized.Layer)
	}
}

// Token weights that are all 1 leave GPTQ and GPTAQ, bit for bit: RSQ with its least weight
// at 1, VLMQ with γ = 1.
func TestFlatWeightsAreGPTQ(t *testing.T) {
	gptq, gptaq := mustFind(t, "gptq"), mustFind(t, "gptaq")
	for _, format := range []string{"w3a16", "w2a16g16"} {
		sameWeights(t, with(t, mustFind(t, "rsq"), "tokens.map.low=1", "rotate=none"), gptq, format)
		sameWeights(t, with(t, mustFind(t, "vlmq"), "tokens.importance=uniform"), gptq, format)
		sameWeights(t, with(t, mustFind(t, "vlmq-gptaq"), "tokens.importance=uniform"), gptaq, format)
	}
}

// On a rotated model RSQ with its least weight at 1 is QuaRot, bit for bit, and with other
// weights it is not.
func TestFlatRSQIsQuaRot(t *testing.T) {
	m := tinyModel(2, 5)
	rotation, err := NewRotation(m.Config, RotateHadamard, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	tm := &tiny{model: m.Edited(rotation.Edit())}
	if tm.runner, err = models.NewRunner(tm.model); err != nil {
		t.Fatal(err)
	}
	if tm.batches, err = tm.model.NewBatches(tinyEmbeddings(tm.model, tinyPatterns, 9)); err != nil {
		t.Fatal(err)
	}
	run := func(m Method) *models.Layer {
		c := tm.calibration(t, m, "w3a16")
		results, _ := c.calibrate(t, c.tokens(t))
		return results[2].Quantized.Layer
	}
	quarot := run(mustFind(t, "quarot"))
	equalLayers(t, "RSQ and QuaRot", run(with(t, mustFind(t, "rsq"), "tokens.map.low=1")), quarot)
	if slices.Equal(run(mustFind(t, "rsq")).Q.W, quarot.Q.W) {
		t.Error("RSQ's weights change nothing")
	}
}

// QIG's search with uniform weights over every token, which is what its targets and inputs
// leave when the importance says nothing, is AWQ's with absolute errors; and its exposed target
// that of the same module.
func TestFlatQIGIsAWQ(t *testing.T) {
	qig := with(t, mustFind(t, "qig-weights"), "tokens.importance=uniform", "tokens.integrate.steps=0", "tokens.integrate.from=", "tokens.mass=token")
	awq := with(t, mustFind(t, "awq"), "search.metric=mae")
	sameChoices(t, qig, awq, "w3a16g16")
}

// layerRunAt brings a calibration in front of a site of its first layer, whose earlier
// sites are calibrated.
func layerRunAt(t testing.TB, c *Calibration, set *TokenSet, site models.Site) *layerRun {
	t.Helper()
	exact, err := c.Model.Layer(0)
	if err != nil {
		t.Fatal(err)
	}
	r := &layerRun{c: c, state: c.Start(), exact: exact, folded: foldable(exact)}
	if r.samples, err = c.samples(); err != nil {
		t.Fatal(err)
	}
	r.takeTokens(set)
	partly := *r.folded
	r.partly = &QuantizedLayer{Layer: &partly, Grids: map[string]*Grid{}}
	r.smooth, r.bounds = map[models.Site][]float32{}, map[string][]float32{}
	r.grams, r.drifts = map[models.Site][]float64{}, map[models.Site][]float64{}
	if err := r.runFP(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, s := range models.Sites() {
		if s == site {
			break
		}
		if err := r.calibrateSite(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// Integrated gradients from zero at a linear have a closed form, for the error's sign does
// not change along the path: λ_t = (n−1)/n · mean_c |x_c · mean_o sign(d_o)·D_oc| with D = W − Ŵ,
// d = D·x and one of the n steps at zero.
func TestIntegratedAtALinear(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "qig-weights"), "w3a16g16")
	set := c.tokens(t)
	r := layerRunAt(t, c, set, models.Down)
	if err := r.selectLate(context.Background(), models.Down); err != nil {
		t.Fatal(err)
	}
	views, err := r.lateViews(context.Background(), models.Down, Needs{Integrated: true})
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := QuantizeLayer(r.exact, c.Format, RefuseGroup)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range c.Batches {
		x, err := r.unquantizedInput(i, models.Down)
		if err != nil {
			t.Fatal(err)
		}
		b.Rows(x, r.exact.Down.In, func(seq, token int, row []float32) {
			gradient := make([]float64, len(row))
			for o := range r.exact.Down.Out {
				var d float64
				diff := make([]float64, len(row))
				for k := range row {
					at := o*len(row) + k
					diff[k] = float64(r.exact.Down.W[at]) - float64(q.Layer.Down.W[at])
					d += diff[k] * float64(row[k])
				}
				for k := range row {
					gradient[k] += math.Copysign(diff[k], diff[k]*d) / float64(r.exact.Down.Out)
				}
			}
			var want float64
			for k := range row {
				want += math.Abs(float64(row[k])*gradient[k]) / float64(len(row)) * 31 / 32
			}
			if got := float64(views[b.Index[seq]].Integrated[token]); math.Abs(got-want) > 1e-4*want {
				t.Errorf("sample %d, token %d: %v, want %v", b.Index[seq], token, got, want)
			}
		})
	}
}

// QIG's weights of a sample sum to one, every token counts, and in front of the first layer,
// where both streams are equal, all tokens weigh alike and an event says so.
func TestQIGWeights(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "qig"), "w4a8")
	results, _ := c.calibrate(t, c.tokens(t))
	samples, _ := c.samples()
	for i, res := range results {
		for _, site := range []models.Site{models.QKV, models.GateUp, models.Down} {
			for s, set := range res.Late[site].Tokens {
				var sum float64
				for _, w := range set.Weight {
					sum += float64(w)
				}
				if len(set.Index) != samples[s].Len() || math.Abs(sum-1) > 1e-5 {
					t.Errorf("layer %d, %s, sample %d: %d of %d tokens weigh %v", i, site, s, len(set.Index), samples[s].Len(), sum)
				}
			}
		}
	}
	first := results[0].Late[models.QKV].Tokens[0].Weight
	if slices.Max(first) != slices.Min(first) || len(results[0].Report.Events) == 0 || results[0].Report.Events[0].Kind != "no-weight" {
		t.Errorf("the first group weighs its tokens %v; events %v", first, results[0].Report.Events)
	}
}

// A late set is stored and read without a difference, with what else the selection reads.
func TestLateTokensAreStored(t *testing.T) {
	tm := getTiny(t, 2)
	for _, m := range []Method{
		mustFind(t, "qig"),
		with(t, mustFind(t, "tlq"), "tokens.importance=attention", "tokens.control=shuffled"),
		with(t, mustFind(t, "tlq"), "tokens.weight=attention"),
	} {
		c := tm.calibration(t, m, "w4a8")
		set := c.tokens(t)
		if set.Late == nil {
			t.Fatalf("%s: tokens were selected beforehand", m.Name)
		}
		back, err := ReadTokenSet(reread(t, set.Tensors()), 3)
		if err != nil || !reflect.DeepEqual(back.Late, set.Late) || (back.Ratios == nil) != (set.Ratios == nil) {
			t.Errorf("%s: read %+v, %v", m.Name, back, err)
		}
		results, _ := c.calibrate(t, set)
		if late, err := ReadLate(reread(t, LateTensors(results[1].Late))); err != nil || len(late) < 3 || !reflect.DeepEqual(late, results[1].Late) {
			t.Errorf("%s: read %d late sites, %v", m.Name, len(late), err)
		}
		short := *set
		short.Late = &LateTokens{Importance: newTokenStats(2, 6)}
		if _, _, err := c.CalibrateLayer(context.Background(), c.Start(), &short); err == nil || !strings.Contains(err.Error(), "importance of 2 layers") {
			t.Errorf("%s: got %v", m.Name, err)
		}
	}
}

// RSQ's map, by hand.
func TestMap(t *testing.T) {
	values := []float64{4, 0, 2, 1, 3}
	for text, tc := range map[string]struct {
		m    Map
		want []float64
	}{
		"linear":   {Map{Low: 0.2, High: 1}, []float64{1, 0.2, 0.6, 0.4, 0.8}},
		"flat":     {Map{Low: 1, High: 1}, []float64{1, 1, 1, 1, 1}},
		"quantile": {Map{High: 1, Quantile: 0.75}, []float64{1, 0, 0.5, 0, 1}},
		"mask":     {Map{Low: 0.2, High: 1, Mask: 0.4}, []float64{1, 0, 1, 0, 1}},
		"truncate": {Map{Low: 0.2, High: 1, Truncate: 0.3}, []float64{1, 0, 0.6, 0.4, 0.8}},
		"bins":     {Map{Low: 0.5, High: 1, Bins: 2}, []float64{1, 0.5, 0.5, 0.5, 1}},
	} {
		list := make([]pooled, len(values))
		for i, v := range values {
			list[i].weight = v
		}
		tc.m.apply(list)
		for i, w := range tc.want {
			if math.Abs(list[i].weight-w) > 1e-12 {
				t.Errorf("%s: weight %d is %v, want %v", text, i, list[i].weight, w)
			}
		}
	}
	equal := []pooled{{weight: 7}, {weight: 7}}
	Map{Low: 0.1, High: 1}.apply(equal)
	if equal[0].weight != 1 || equal[1].weight != 1 {
		t.Errorf("equal weights become %v", equal)
	}
}

// Every token strategy measures what its formula says, on the layer's input.
func TestStrategies(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, with(t, mustFind(t, "rsq"), "rotate=none"), "w3a16")
	r := layerRunAt(t, c, c.tokens(t), models.QKV)
	views, err := r.lateViews(context.Background(), models.QKV, Needs{Norm: true, Change: true, Distance: true, Attention: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range c.Batches {
		y, err := c.Runner.Block(b, b.X, r.exact, models.BlockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for row, s := range b.Seqs {
			v := views[b.Index[row]]
			at := func(x []float32, token int) []float32 { return x[(row*b.T+token)*32:][:32] }
			var attention float64
			for token := range s.Len() {
				var norm, change, distance float64
				for k, x := range at(b.X, token) {
					norm += float64(x) * float64(x)
					d := float64(x) - float64(at(y.Y, token)[k])
					change += d * d
					for j := range s.Len() {
						d := float64(x) - float64(at(b.X, j)[k])
						distance += d * d / float64(s.Len())
					}
				}
				for what, pair := range map[string][2]float64{
					"norm": {float64(v.Norm[token]), math.Sqrt(norm)}, "change": {float64(v.Change[token]), math.Sqrt(change)}, "distance": {float64(v.Distance[token]), distance},
				} {
					if math.Abs(pair[0]-pair[1]) > 1e-5*pair[1] {
						t.Errorf("%s of token %d is %v, want %v", what, token, pair[0], pair[1])
					}
				}
				attention += float64(v.Attention[token])
			}
			if want := float64(4 * s.Len()); math.Abs(attention-want) > 1e-4*want {
				t.Errorf("attention sums to %v, want heads × tokens = %v", attention, want)
			}
		}
	}
	samples, _ := c.samples()
	count := 0
	for _, s := range samples {
		for _, id := range s.IDs {
			if id == samples[0].IDs[0] {
				count++
			}
		}
	}
	if got := views[0].Frequency[0]; got != float32(count) {
		t.Errorf("frequency %v, want %d", got, count)
	}
	parts := partsScore(&TokenView{Modality: make([]models.Modality, 10), Parts: Parts{Of: 4, Take: []int{0, 3}}})
	if !slices.Equal(parts, []float32{1, 1, 0, 0, 0, 0, 1, 1, 1, 1}) {
		t.Errorf("parts %v", parts)
	}
}

// VLMQ's γ² is positive in the first layer already, where both streams are equal, and RSQ's
// scores don't see it.
func TestBlockErrorInTheFirstLayer(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "vlmq"), "w2a16g16")
	results, _ := c.calibrate(t, c.tokens(t))
	for _, site := range models.Sites() {
		for s, set := range results[0].Late[site].Tokens {
			var sum float64
			for _, w := range set.Weight {
				sum += float64(w)
			}
			if n := float64(len(set.Weight)); math.Abs(sum-n) > 1e-4*n || slices.Max(set.Weight) == slices.Min(set.Weight) {
				t.Errorf("%s, sample %d: %v tokens weigh %v, all alike: %v", site, s, n, sum, slices.Max(set.Weight) == slices.Min(set.Weight))
			}
		}
	}
}

// In front of the first layer nothing is quantized yet, so that fresh gradients and errors
// are those that are measured beforehand; behind it they are not. Without exposure fresh gradients are
// the old ones in every layer.
func TestRefresh(t *testing.T) {
	tm := getTiny(t, 2)
	for _, expose := range []string{"group", "none"} {
		for _, importance := range []string{"gradient*error", "gradient", "error"} {
			settings := []string{"tokens.importance=" + importance, "tokens.weight=importance", "path.expose=" + expose, "search.points=2"}
			old := tm.calibration(t, with(t, mustFind(t, "tlq"), settings...), "w4a6")
			set := old.tokens(t)
			c := tm.calibration(t, with(t, old.Method, "tokens.refresh=true"), "w4a6")
			results, _ := c.calibrate(t, c.tokens(t))
			for i, res := range results {
				same := true
				for site, tokens := range res.Late {
					same = same && reflect.DeepEqual(tokens.Tokens, set.Layers[i].At(site))
				}
				if want := i == 0 || expose == "none"; want && !same || i == 1 && expose == "group" && same {
					t.Errorf("%s, %s, layer %d: fresh tokens are the old ones: %v", expose, importance, i, same)
				}
			}
		}
	}
}

// What is not selected weighs its modality's mass.
func TestRest(t *testing.T) {
	samples := samplesOf("tvvvvvvvvaa")
	g := randomStats(2, samples, 1)
	pick := func(settings ...string) *TokenSet {
		set, _, err := SelectTokens(with(t, mustFind(t, "tlq"), settings...).Tokens, Selection{Samples: samples, Gradients: g, Importance: g, Weights: g})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	kept, all := pick(), pick("tokens.rest=mass")
	for i, l := range all.Layers {
		dense, before := l.O[0].Dense(11), kept.Layers[i].O[0].Dense(11)
		for token := 1; token <= 8; token++ {
			want := before[token]
			if want == 0 {
				want = float32(all.Ratios[i].O.Vision)
			}
			if dense[token] != want {
				t.Errorf("layer %d, token %d weighs %v, want %v", i, token, dense[token], want)
			}
		}
	}
}
