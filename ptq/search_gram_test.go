package ptq

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// Both forms of the objective give the same means and curves, with token weights and
// exposed inputs, for every site that has the Gram form. Direct sums are float32 products
// over tokens, whose errors are differences: 1e-5 of J is what they keep.
func TestGramFormEqualsDirect(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct{ format, set string }{
		{"w3a16g16", "path.target=same search.inspect=linear"},
		{"w4a16", "path.expose=none tokens.keep=1"},
		{"w2a16g8sym", "path.expose=none search.inspect=linear tokens.means=kept"},
	} {
		m := with(t, mustFind(t, "tlq"), strings.Fields("search.metric=mse "+tc.set)...)
		tm := getTiny(t, 4)
		c := tm.calibration(t, m, tc.format)
		set := c.tokens(t)
		sites := []models.Site{models.O, models.Down}
		if m.Search.Inspect == InspectLinear {
			sites = models.Sites()
		}
		for _, site := range sites {
			r := layerRunAt(t, c, set, site)
			direct, err := r.direct(ctx, site)
			if err != nil {
				t.Fatal(err)
			}
			gram, err := r.gram(ctx, site)
			if err != nil {
				t.Fatal(err)
			}
			if direct.form != FormDirect || gram.form != FormGram || direct.channels != gram.channels {
				t.Errorf("forms %s and %s over %d and %d channels", direct.form, gram.form, direct.channels, gram.channels)
			}
			for k, mean := range direct.means {
				if gram.means[k] != mean {
					t.Errorf("%s: mean of channel %d is %v, directly %v", site, k, gram.means[k], mean)
				}
			}
			for k := range 5 {
				s := ScaleFactors(direct.means, float64(k)/5)
				want, err := direct.cost(ctx, s)
				if err != nil {
					t.Fatal(err)
				}
				got, err := gram.cost(ctx, s)
				if err != nil {
					t.Fatal(err)
				}
				near(t, tc.format+" "+tc.set+" "+string(site), got, want, 1e-5)
			}
			direct.close()
			gram.close()
		}
	}
}

// The Gram form is taken where J has it and it costs less, and nowhere else.
func TestGramFormIsTakenWhereItHolds(t *testing.T) {
	tm := getTiny(t, 4)
	for _, tc := range []struct {
		method, format string
		want           []models.Site // out of many tokens
	}{
		{"awq", "w3a16g16", []models.Site{models.O, models.Down}},
		{"awq", "w4a8", nil},                       // activations are rounded
		{"mbq", "w3a16g16", nil},                   // absolute errors
		{"awq path.expose=group", "w3a16g16", nil}, // targets come from other inputs
		{"awq path.expose=group path.target=same", "w3a16", []models.Site{models.O, models.Down}}, // they don't
		{"awq search.inspect=linear", "w3a16", models.Sites()},
	} {
		words := strings.Fields(tc.method)
		c := tm.calibration(t, with(t, mustFind(t, words[0]), words[1:]...), tc.format)
		r := layerRunAt(t, c, c.tokens(t), models.QKV)
		var got []models.Site
		for _, site := range models.Sites() {
			many := SampleTokens{Index: make([]int, 100000), Weight: make([]float32, 100000)}
			r.tokens = &LayerTokens{O: []SampleTokens{many}, Down: []SampleTokens{many}}
			if r.gramForm(site) {
				got = append(got, site)
			}
			one := SampleTokens{Index: []int{0}, Weight: []float32{1}}
			r.tokens = &LayerTokens{O: []SampleTokens{one}, Down: []SampleTokens{one}}
			if r.gramForm(site) {
				t.Errorf("%s, %s: the Gram form is taken for one token", tc.method, site)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s at %s: Gram form at %v, want %v", tc.method, tc.format, got, tc.want)
		}
	}
}

// BenchmarkSearchForms searches down_proj of a nano model on 16 samples of 90 tokens, by
// both forms: passes up to the site and 20 candidates.
func BenchmarkSearchForms(b *testing.B) {
	c, _ := benchCalibration(b)
	c.Method, c.Format = mustFind(b, "awq"), Format{Bits: 3, Activation: 16, Group: 16}
	set := c.tokens(b)
	ctx := context.Background()
	for name, form := range map[string]func(r *layerRun) (*objective, error){
		"direct": func(r *layerRun) (*objective, error) { return r.direct(ctx, models.Down) },
		"gram":   func(r *layerRun) (*objective, error) { return r.gram(ctx, models.Down) },
	} {
		b.Run(name, func(b *testing.B) {
			r := layerRunAt(b, c, set, models.Down)
			for b.Loop() {
				j, err := form(r)
				if err != nil {
					b.Fatal(err)
				}
				for k := range 20 {
					if _, err := j.cost(ctx, ScaleFactors(j.means, float64(k)/20)); err != nil {
						b.Fatal(err)
					}
				}
				j.close()
			}
		})
	}
}
