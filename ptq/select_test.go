package ptq

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// samplesOf makes sequences from patterns of v (vision), a (answer), t (text).
func samplesOf(patterns ...string) []*models.Sequence {
	kinds := map[rune]models.Modality{'v': models.Vision, 'a': models.Answer, 't': models.Other}
	var list []*models.Sequence
	for _, p := range patterns {
		s := &models.Sequence{IDs: make([]int32, len(p))}
		for _, c := range p {
			s.Modality = append(s.Modality, kinds[c])
		}
		list = append(list, s)
	}
	return list
}

// statsOf makes statistics of the given layers from f.
func statsOf(layers int, samples []*models.Sequence, f func(layer, site, sample, token int) float32) *TokenStats {
	st := newTokenStats(layers, len(samples))
	for i := range st.Layers {
		for k, site := range outputSites {
			rows := st.Layers[i].At(site)
			for s := range samples {
				for token := range samples[s].Len() {
					rows[s] = append(rows[s], f(i, k, s, token))
				}
			}
		}
	}
	return st
}

// randomStats are heavy-tailed, larger on answers, and zero on all but answers
// in the last layer, as real gradients are.
func randomStats(layers int, samples []*models.Sequence, seed uint64) *TokenStats {
	rng := rand.New(rand.NewPCG(seed, 1))
	return statsOf(layers, samples, func(layer, _, s, token int) float32 {
		m := samples[s].Modality[token]
		x := float32(math.Exp(2 * rng.NormFloat64()))
		switch {
		case m == models.Answer:
			return 20 * x
		case layer == layers-1:
			return 0
		}
		return x
	})
}

// naiveMBQ is MBQ's ratio of one site, straight from its definition.
func naiveMBQ(samples []*models.Sequence, g *TokenStats, site models.Site) []float64 {
	var r []float64
	for i := range g.Layers {
		var v, a, nv, na float64
		for s, sample := range samples {
			var sum, n [3]float64
			for t, m := range sample.Modality {
				sum[m] += float64(g.Layers[i].At(site)[s][t])
				n[m]++
			}
			if n[models.Vision] > 0 {
				v += sum[models.Vision] / n[models.Vision]
				nv++
			}
			a += sum[models.Answer] / n[models.Answer]
			na++
		}
		r = append(r, (v/nv)/(a/na))
	}
	sorted := slices.Sorted(slices.Values(r))
	median := (sorted[(len(r)-1)/2] + sorted[len(r)/2]) / 2
	for i := range r {
		r[i] = max(r[i], median)
	}
	return r
}

// With everything kept and flat weights, the set is MBQ's: exactly 1 on answers,
// exactly r on vision tokens, nothing else, whatever the importance.
func TestKeepAllFlatIsMBQ(t *testing.T) {
	samples := samplesOf("tvvvvvvttaa", "tta", "tvvvttaaaa", "vvvvvvvvvvvva")
	g := randomStats(4, samples, 7)
	for _, pool := range []Pool{PoolSample, PoolModality, PoolGlobal} {
		tokens := mustFind(t, "tlq").Tokens
		tokens.Keep, tokens.Weight, tokens.Pool = 1, WeightHard, pool
		set, events, err := SelectTokens(tokens, Selection{Samples: samples, Gradients: g, Importance: randomStats(4, samples, 8)})
		if err != nil || len(events) != 0 {
			t.Fatal(err, events)
		}
		for _, site := range models.Sites() {
			r := naiveMBQ(samples, g, site)
			for i := range set.Layers {
				for s, sample := range samples {
					dense := set.Layers[i].At(site)[s].Dense(sample.Len())
					for k, m := range sample.Modality {
						want := map[models.Modality]float32{models.Answer: 1, models.Vision: float32(r[i])}[m]
						if dense[k] != want {
							t.Fatalf("pool %s, %s, layer %d, sample %d, token %d (%s): weight %v, want %v", pool, site, i, s, k, m, dense[k], want)
						}
					}
				}
			}
		}
	}
}

// The selection keeps each modality's mass, takes the most important, and keeps
// answers at weight 1.
func TestSelectionKeepsMass(t *testing.T) {
	samples := samplesOf("tvvvvvvvvvvttaa", "vvvvta", "tvvvvvvvaaa")
	g, importance := randomStats(3, samples, 1), randomStats(3, samples, 2)
	tokens := mustFind(t, "tlq").Tokens
	set, events, err := SelectTokens(tokens, Selection{Samples: samples, Gradients: g, Importance: importance, Weights: g})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 4 { // last layer: no importance and no weight, at two sites
		t.Errorf("events %v", events)
	}
	for i := range set.Layers {
		for _, site := range outputSites {
			r := set.Ratios[i].At(site).Vision
			for s, sample := range samples {
				dense := set.Layers[i].At(site)[s].Dense(sample.Len())
				var mass float64
				n, kept := 0, 0
				least, best := math.Inf(1), 0.0 // importance of the kept and of the dropped
				for k, m := range sample.Modality {
					value := float64(importance.Layers[i].At(site)[s][k])
					switch {
					case m == models.Answer && dense[k] != 1, m == models.Other && dense[k] != 0:
						t.Fatalf("%s token weighs %v", m, dense[k])
					case m != models.Vision:
						continue
					case dense[k] > 0:
						kept++
						mass += float64(dense[k])
						least = min(least, value)
					default:
						best = max(best, value)
					}
					n++
				}
				if i < 2 && (kept != (n+3)/4 || least < best) {
					t.Errorf("layer %d, sample %d: kept %d of %d; least kept %v, best dropped %v", i, s, kept, n, least, best)
				}
				if math.Abs(mass-r*float64(n)) > 1e-5*mass {
					t.Errorf("layer %d, %s, sample %d: mass %v, want %v", i, site, s, mass, r*float64(n))
				}
			}
		}
	}
}

func TestClipIQR(t *testing.T) {
	values := []float64{1, 2, 3, 4, 100, 5, 6, 7} // sorted: Q1 = 2.75, Q3 = 6.25
	list := make([]*pooled, len(values))
	for i, v := range values {
		list[i] = &pooled{score: v}
	}
	(&selector{t: Tokens{Clip: ClipIQR}}).clipIQR(list, func(p *pooled) *float64 { return &p.score })
	want := []float64{1, 2, 3, 4, 6.25 + 1.5*3.5, 5, 6, 7}
	for i, p := range list {
		if p.score != want[i] {
			t.Errorf("element %d: %v, want %v", i, p.score, want[i])
		}
	}
	both := []*pooled{{score: 0}, {score: 10}, {score: 11}, {score: 12}, {score: 13}} // Q1 = 10, Q3 = 12
	(&selector{t: Tokens{Clip: ClipIQRBoth}}).clipIQR(both, func(p *pooled) *float64 { return &p.score })
	if both[0].score != 7 || both[1].score != 10 || both[4].score != 13 {
		t.Errorf("clipped on both sides to %v, %v, %v", both[0].score, both[1].score, both[4].score)
	}
}

// The two selected tokens of a pool, by hand, for every pool, role and control.
func TestSelectionByHand(t *testing.T) {
	samples := samplesOf("vvvvta", "vvta")
	importance := statsOf(1, samples, func(_, _, s, token int) float32 {
		return [][]float32{{1, 5, 5, 0, 9, 2}, {8, 4, 7, 3}}[s][token]
	})
	base := Tokens{Importance: "gradient", Clip: ClipNone, Keep: 0.5, Pool: PoolModality, Weight: WeightImportance, Mass: MassFlat, Floor: FloorNone, Answers: RoleKeep, Text: RoleDrop, Means: MeansAll, Control: ControlNone}
	for name, c := range map[string]struct {
		change func(*Tokens)
		want   [][]float32
	}{
		"vision":   {func(*Tokens) {}, [][]float32{{0, 2, 2, 0, 0, 1}, {2, 0, 0, 1}}},
		"hard":     {func(t *Tokens) { t.Weight = WeightHard; t.Keep = 0.25 }, [][]float32{{0, 4, 0, 0, 0, 1}, {2, 0, 0, 1}}},
		"text":     {func(t *Tokens) { t.Text = RoleKeep }, [][]float32{{0, 2, 2, 0, 1, 1}, {2, 0, 1, 1}}},
		"least":    {func(t *Tokens) { t.Control = ControlLeast }, [][]float32{{4, 0, 0, 0, 0, 1}, {0, 2, 0, 1}}},
		"sample":   {func(t *Tokens) { t.Pool = PoolSample; t.Answers = RolePool; t.Text = RolePool }, [][]float32{{0, 2, 2, 0, 1, 0}, {2, 0, 1, 0}}},
		"global":   {func(t *Tokens) { t.Pool = PoolGlobal; t.Weight = WeightHard }, [][]float32{{0, 2, 2, 0, 0, 1}, {2, 0, 0, 1}}},
		"together": {func(t *Tokens) { t.Pool = PoolSample; t.Text = RolePool; t.Weight = WeightHard }, [][]float32{{0, 2, 2, 0, 1, 1}, {2, 0, 1, 1}}},
	} {
		tokens := base
		c.change(&tokens)
		set, _, err := SelectTokens(tokens, Selection{Samples: samples, Importance: importance})
		if err != nil {
			t.Fatal(name, err)
		}
		for s := range samples {
			if got := set.Layers[0].At(models.QKV)[s].Dense(samples[s].Len()); !slices.Equal(got, c.want[s]) {
				t.Errorf("%s, sample %d: %v, want %v", name, s, got, c.want[s])
			}
		}
	}
}

// Shuffling keeps the multiset of weights within a sample's modality and is
// reproducible.
func TestShuffledControl(t *testing.T) {
	samples := samplesOf("vvvvvvvvvvvvvvvvta", "tvvvvvvvvvvvvvvvaa")
	g := randomStats(3, samples, 3)
	tokens := mustFind(t, "tlq").Tokens
	run := func(c Control, seed uint64) *TokenSet {
		tokens.Control = c
		set, _, err := SelectTokens(tokens, Selection{Samples: samples, Gradients: g, Importance: g, Weights: g, Rand: rand.New(rand.NewPCG(seed, 0))})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	plain, shuffled := run(ControlNone, 5), run(ControlShuffled, 5)
	if !reflect.DeepEqual(shuffled, run(ControlShuffled, 5)) || reflect.DeepEqual(shuffled, run(ControlShuffled, 6)) || reflect.DeepEqual(shuffled.Layers, plain.Layers) {
		t.Error("the seed decides the shuffle, and nothing else")
	}
	for i := range plain.Layers {
		for s := range samples {
			a, b := plain.Layers[i].O[s], shuffled.Layers[i].O[s]
			if !slices.Equal(slices.Sorted(slices.Values(a.Weight)), slices.Sorted(slices.Values(b.Weight))) {
				t.Errorf("layer %d, sample %d: weights %v became %v", i, s, a.Weight, b.Weight)
			}
		}
	}
}

func TestSelectErrors(t *testing.T) {
	samples := samplesOf("vvta")
	g := randomStats(2, samples, 3)
	tokens := mustFind(t, "tlq").Tokens
	for want, in := range map[string]Selection{
		"no calibration samples": {},
		"needs importance":       {Samples: samples},
		"no gradients given":     {Samples: samples, Importance: g, Weights: g},
		"no weights given":       {Samples: samples, Importance: g, Gradients: g},
		"4 tokens; the sample":   {Samples: samplesOf("vvtaa"), Importance: g, Gradients: g, Weights: g},
		"of 1 samples; expected": {Samples: samplesOf("vvta", "a"), Importance: g, Gradients: g, Weights: g},
	} {
		if _, _, err := SelectTokens(tokens, in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	noAnswers := samplesOf("vvt")
	if _, _, err := SelectTokens(mustFind(t, "mbq").Tokens, Selection{Samples: noAnswers, Gradients: randomStats(2, noAnswers, 1), Importance: randomStats(2, noAnswers, 1)}); err == nil {
		t.Error("samples without answers were accepted")
	}
	textOnly := samplesOf("tt")
	flat := mustFind(t, "mbq").Tokens
	flat.Mass = MassFlat
	if _, _, err := SelectTokens(flat, Selection{Samples: textOnly, Importance: randomStats(2, textOnly, 1)}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("got %v", err)
	}
}

// On text alone every predicted token is an answer and MBQ is uniform on them.
func TestTextOnlyIsUniform(t *testing.T) {
	samples := samplesOf("aaat", "aaaaat")
	g := randomStats(2, samples, 3)
	set, _, err := SelectTokens(mustFind(t, "mbq").Tokens, Selection{Samples: samples, Gradients: g, Importance: g})
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Layers[1].O[0]; !slices.Equal(got.Index, []int{0, 1, 2}) || !slices.Equal(got.Weight, []float32{1, 1, 1}) {
		t.Errorf("got %v", got)
	}
}

func TestTokenTensorsRoundTrip(t *testing.T) {
	samples := samplesOf("tvvvvvvvvvvttaa", "vvvvta", "tvvvvvvvaaa")
	g := randomStats(3, samples, 1)
	set, _, err := SelectTokens(mustFind(t, "tlq").Tokens, Selection{Samples: samples, Gradients: g, Importance: g, Weights: g})
	if err != nil {
		t.Fatal(err)
	}
	back, err := ReadTokenSet(reread(t, set.Tensors()), 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set.Layers, back.Layers); diff != "" {
		t.Error(diff)
	}
	if math.Abs(back.Ratios[1].O.RawVision-set.Ratios[1].O.RawVision) > 1e-7 {
		t.Error("ratios differ")
	}
	stats, err := ReadTokenStats(reread(t, g.Tensors()), 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g, stats); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadTokenStats(reread(t, g.Tensors()), 4); err == nil {
		t.Error("statistics of 3 layers were read as 4")
	}
}

// reread writes tensors and opens them again.
func reread(t *testing.T, list []safetensors.Tensor) *safetensors.File {
	t.Helper()
	var buf strings.Builder
	if err := safetensors.Write(&buf, nil, list...); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse([]byte(buf.String()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCheckScores(t *testing.T) {
	v := &TokenView{Modality: make([]models.Modality, 2), Site: models.O, Sample: 3}
	for _, bad := range [][]float32{{1}, {1, -1}, {1, float32(math.NaN())}, {1, float32(math.Inf(1))}} {
		if err := checkScores("mine", v, bad); err == nil || !strings.Contains(err.Error(), "mine") {
			t.Errorf("%v: got %v", bad, err)
		}
	}
	if err := checkScores("mine", v, []float32{0, 1}); err != nil {
		t.Error(err)
	}
}

func ExampleSelectTokens() {
	samples := samplesOf("vvvvta") // four vision tokens, one of text, one answer
	importance := statsOf(1, samples, func(_, _, _, token int) float32 { return float32(token) })
	tokens := Tokens{
		Keep: 0.5, Pool: PoolModality, Clip: ClipNone, Weight: WeightHard, Mass: MassFlat, Answers: RoleKeep, Text: RoleDrop, Control: ControlNone,
	}
	set, _, err := SelectTokens(tokens, Selection{Samples: samples, Importance: importance})
	fmt.Println(set.Layers[0].O[0], err)
	// Output: {[2 3 5] [2 2 1]} <nil>
}
