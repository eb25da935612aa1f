package report

import (
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"

	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// sequence is a sample of tokens of these kinds: v, a or o.
func sequence(kinds string) *models.Sequence {
	s := &models.Sequence{IDs: make([]int32, len(kinds))}
	for _, k := range kinds {
		s.Modality = append(s.Modality, map[rune]models.Modality{'v': models.Vision, 'a': models.Answer, 'o': models.Other}[k])
	}
	return s
}

// twoSamples have gradients in layer 0, and none at vision tokens in layer 1.
func twoSamples() ([]*models.Sequence, *ptq.TokenStats) {
	samples := []*models.Sequence{sequence("vvvvoa"), sequence("vva")}
	first := [][]float32{{1, 2, 3, 6, 9, 10}, {5, 7, 20}}
	last := [][]float32{{0, 0, 0, 0, 0, 10}, {0, 0, 30}}
	return samples, &ptq.TokenStats{Layers: []ptq.LayerStats{{O: first, Down: first}, {O: last, Down: last}}}
}

func TestGradientLine(t *testing.T) {
	samples, g := twoSamples()
	for _, tc := range []struct {
		m    models.Modality
		mean []float64
	}{
		{models.Vision, []float64{(3 + 6) / 2.0, 0}}, // samples count alike, not tokens
		{models.Answer, []float64{15, 20}},
		{models.Other, []float64{9, 0}}, // only the first sample has any
	} {
		if l := gradientLine(samples, g, models.O, tc.m); !slices.Equal(l.mean, tc.mean) {
			t.Errorf("%s: %v, want %v", tc.m, l.mean, tc.mean)
		}
	}
	if l := gradientLine(samples, g, models.Down, models.Vision); l.low[0] != 1 || l.high[0] != 6 {
		t.Errorf("80%% of the vision tokens lie between %v and %v, want 1 and 6", l.low[0], l.high[0])
	}
	if got, want := topQuarter(samples, g), (6.0/12+7.0/12)/2; math.Abs(got-want) > 1e-12 {
		t.Errorf("the top quarter holds %v, want %v", got, want)
	}
}

func TestGradientsFigure(t *testing.T) {
	samples, g := twoSamples()
	f, err := Gradients(samples, g)
	if err != nil {
		t.Fatal(err)
	}
	if width, _ := rendered(t, f); width != 1400 {
		t.Errorf("the figure is %d pixels wide", width)
	}
	for _, want := range []string{
		"2 samples of 9 tokens (6 vision, 2 answer, 1 other)", "is 0.300 times an answer token's", "in layer 1 it is zero", "holds 54.2% of their sum",
	} {
		if !strings.Contains(f.Caption, want) {
			t.Errorf("the caption lacks %q: %s", want, f.Caption)
		}
	}

	text := []*models.Sequence{sequence("aa")}
	one := [][]float32{{1, 2}}
	f, err = Gradients(text, &ptq.TokenStats{Layers: []ptq.LayerStats{{O: one, Down: one}}})
	if err != nil {
		t.Fatal(err)
	}
	rendered(t, f)
	if strings.Contains(f.Caption, "vision token") {
		t.Errorf("text alone: %s", f.Caption)
	}

	zero := [][]float32{{0, 0}}
	for _, tc := range []struct {
		samples []*models.Sequence
		g       *ptq.TokenStats
		want    string
	}{
		{nil, g, "nothing to draw"},
		{samples, nil, "nothing to draw"},
		{samples[:1], g, "2 samples beside 1"},
		{[]*models.Sequence{samples[1], samples[0]}, g, "6 tokens in sample 0 of 3"},
		{text, &ptq.TokenStats{Layers: []ptq.LayerStats{{O: zero, Down: zero}}}, "all gradients are zero"},
	} {
		if _, err := Gradients(tc.samples, tc.g); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want one with %q", err, tc.want)
		}
	}
}

func TestKeptTokensFigure(t *testing.T) {
	samples, _ := twoSamples()
	sets := []ptq.SampleTokens{{Index: []int{3, 5}, Weight: []float32{2, 1}}, {Index: []int{0, 1, 2}, Weight: []float32{1, 1, 1}}}
	set := &ptq.TokenSet{Layers: []ptq.LayerTokens{{O: sets, Down: sets}}}
	f, err := KeptTokens(samples, set)
	if err != nil {
		t.Fatal(err)
	}
	rendered(t, f)
	for _, want := range []string{
		"Of 9 tokens in 2 samples the set keeps 50.0% of 6 vision tokens, 100.0% of 2 answer tokens and 0.0% of 1 other tokens", "Vision tokens carry 66.7% of the objective's weight",
	} {
		if !strings.Contains(f.Caption, want) {
			t.Errorf("the caption lacks %q: %s", want, f.Caption)
		}
	}
	for _, tc := range []struct {
		samples []*models.Sequence
		set     *ptq.TokenSet
		want    string
	}{
		{samples, nil, "nothing to draw"},
		{nil, set, "nothing to draw"},
		{samples[:1], set, "2 samples beside 1"},
		{[]*models.Sequence{samples[1], samples[0]}, set, "keeps token 3 of sample 0, which has 3"},
	} {
		if _, err := KeptTokens(tc.samples, tc.set); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want one with %q", err, tc.want)
		}
	}
}

func TestPowersOfTen(t *testing.T) {
	label := func(ticks []plot.Tick) (out []string) {
		for _, k := range ticks {
			out = append(out, k.Label)
		}
		return out
	}
	if got, want := label(powers{}.Ticks(2e-6, 0.1)), []string{"1e−5", "1e−4", "1e−3", "1e−2", "1e−1"}; !slices.Equal(got, want) {
		t.Errorf("ticks %v, want %v", got, want)
	}
	if n := len(powers{}.Ticks(1e-30, 1)); n < 3 || n > 7 {
		t.Errorf("%d ticks over 30 decades", n)
	}
}

// TestFiguresOfStages draws what the stages of a real model give.
func TestFiguresOfStages(t *testing.T) {
	m := tinyModel(t)
	c, err := m.Calibration("default", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	q, err := harness.NewQuantization("tlq", "w4a8")
	if err != nil {
		t.Fatal(err)
	}
	seqs, err := c.Sequences()
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Gradients(c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Gradients(seqs, g)
	if err != nil {
		t.Fatal(err)
	}
	rendered(t, f)
	if !strings.Contains(f.Caption, "(32 vision,") || !strings.Contains(f.Caption, "in layer 2 it is zero") {
		t.Errorf("caption of 16 vision tokens each in three layers: %s", f.Caption)
	}
	set, err := m.Tokens(c, q)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = KeptTokens(seqs, set); err != nil {
		t.Fatal(err)
	}
	rendered(t, f)
	if !strings.Contains(f.Caption, "of 32 vision tokens") {
		t.Errorf("caption %s", f.Caption)
	}
}
