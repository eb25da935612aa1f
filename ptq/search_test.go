package ptq

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// naiveSearch is J(α) of one site straight from the definition: one sample at a
// time, all of its tokens, the whole module for every exponent, float64 sums.
type naiveSearch struct {
	c      *Calibration
	set    *TokenSet
	st     *State
	exact  *models.Layer
	folded *models.Layer
	done   map[models.Site]bool // groups already rounded
}

// partly is folded with the finished groups rounded.
func (n *naiveSearch) partly(t *testing.T) *models.Layer {
	q, _, err := QuantizeLayer(n.folded, n.c.Format, RefuseGroup)
	if err != nil {
		t.Fatal(err)
	}
	l := n.folded.Clone()
	for site := range n.done {
		for i, lin := range q.Layer.Linears(site) {
			*l.Linears(site)[i] = *lin
		}
	}
	return l
}

// path is a batch's input of a site and the target, [B, T, In] and [B, T, C].
func (n *naiveSearch) path(t *testing.T, batch int, site models.Site) (x, target []float32) {
	c, b := n.c, n.c.Batches[batch]
	block := func(x []float32, l *models.Layer, aq *models.ActQuant) *models.BlockResult {
		res, err := c.Runner.Block(b, x, l, models.BlockOptions{ActQuant: aq, Taps: true})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	fp := block(n.st.FP[batch], n.exact, nil).Inputs[site]
	x = fp
	switch c.Method.Path.Expose {
	case ExposeLayer:
		x = block(n.st.Exposed[batch], n.exact, nil).Inputs[site]
	case ExposeGroup:
		x = block(n.st.Exposed[batch], n.partly(t), c.Format.ActQuant()).Inputs[site]
	}
	if c.Method.Path.Target == TargetSame {
		fp = x
	}
	return x, n.output(t, b, site, fp, n.exact, nil, nil)
}

// output is what errors are measured at.
func (n *naiveSearch) output(t *testing.T, b *models.Batch, site models.Site, x []float32, l *models.Layer, s []float32, aq *models.ActQuant) []float32 {
	run := n.c.Runner.Module
	if n.c.Method.Search.Inspect == InspectLinear {
		run = n.c.Runner.Linears
	}
	y, err := run(b, site, x, l, s, aq)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// channels of that output.
func (n *naiveSearch) channels(site models.Site) int {
	if n.c.Method.Search.Inspect != InspectLinear {
		return n.exact.O.Out
	}
	out := 0
	for _, lin := range n.exact.Linears(site) {
		out += lin.Out
	}
	return out
}

// curve returns J for every exponent, and the channel means.
func (n *naiveSearch) curve(t *testing.T, site models.Site) (curve, means []float64) {
	c := n.c
	in := n.exact.Linears(site)[0].In
	means = make([]float64, in)
	xs, targets := make([][]float32, len(c.Batches)), make([][]float32, len(c.Batches))
	count := 0.0
	for i, b := range c.Batches {
		xs[i], targets[i] = n.path(t, i, site)
		for row, sample := range b.Index {
			kept := n.set.Layers[n.st.Next].At(site)[sample].Index
			for token := range b.Seqs[row].Len() {
				if c.Method.Tokens.Means == MeansKept && !slices.Contains(kept, token) {
					continue
				}
				count++
				for k := range means {
					means[k] += math.Abs(float64(xs[i][(row*b.T+token)*in+k]))
				}
			}
		}
	}
	for k := range means {
		means[k] /= count
	}
	for k := range c.Method.Search.Points {
		curve = append(curve, n.cost(t, site, ScaleFactors(means, float64(k)/float64(c.Method.Search.Points)), xs, targets))
	}
	return curve, means
}

// cost is Σ a_t·ρ_t for given factors.
func (n *naiveSearch) cost(t *testing.T, site models.Site, s []float32, xs, targets [][]float32) float64 {
	scaled := n.exact.Clone()
	for _, lin := range scaled.Linears(site) {
		for k := range lin.W {
			lin.W[k] *= s[k%lin.In]
		}
	}
	q, _, err := QuantizeLayer(scaled, n.c.Format, RefuseGroup)
	if err != nil {
		t.Fatal(err)
	}
	cand := n.exact.Clone()
	for i, lin := range q.Layer.Linears(site) {
		*cand.Linears(site)[i] = *lin
	}
	var j float64
	for i, b := range n.c.Batches {
		y, width := n.output(t, b, site, xs[i], cand, s, n.c.Format.ActQuant()), n.channels(site)
		for row, sample := range b.Index {
			tokens := n.set.Layers[n.st.Next].At(site)[sample]
			for p, token := range tokens.Index {
				at := (row*b.T + token) * width
				for k := at; k < at+width; k++ {
					e := math.Abs(float64(targets[i][k]) - float64(y[k]))
					if n.c.Method.Search.Metric == MSE {
						e *= e
					}
					j += float64(tokens.Weight[p]) * e
				}
			}
		}
	}
	return j
}

// The search finds the curves and the exponents of the definition, whatever the
// path, the target, the metric and the tokens.
func TestSearchEqualsDefinition(t *testing.T) {
	for _, tc := range []struct {
		kv     int
		format string
		set    string
	}{
		{2, "w4a8", ""},
		{2, "w4a4g8", "tokens.means=kept path.target=same search.metric=mse"},
		{4, "w3a16g16", "path.expose=layer tokens.pool=global"},
		{4, "w4a6", "path.expose=none tokens.text=ratio tokens.keep=0.6"},
		{2, "w4a8", "search.inspect=linear"},
		{4, "w3a16g16", "search.inspect=linear search.metric=mse path.target=same tokens.keep=0.5"},
	} {
		m := mustFind(t, "tlq")
		for _, s := range strings.Fields(tc.set + " search.points=5") {
			if err := m.Set(s); err != nil {
				t.Fatal(err)
			}
		}
		tm := getTiny(t, tc.kv)
		c := tm.calibration(t, m, tc.format)
		set := c.tokens(t)
		results, states := c.calibrate(t, set)
		for i, res := range results[:2] {
			exact, _ := tm.model.Layer(i)
			n := &naiveSearch{c: c, set: set, st: states[i], exact: exact, folded: exact.Clone(), done: map[models.Site]bool{}}
			for _, site := range res.Report.Sites {
				if site.Skipped == "" {
					checkSite(t, fmt.Sprintf("%s %s, layer %d, %s", tc.format, tc.set, i, site.Site), n, site, res.Smooth[site.Site])
				}
				n.done[site.Site] = true
			}
		}
	}
}

func checkSite(t *testing.T, name string, n *naiveSearch, got SiteReport, smooth []float32) {
	t.Helper()
	curve, means := n.curve(t, got.Site)
	best := 0
	for k, j := range curve {
		if j < curve[best] {
			best = k
		}
		near(t, fmt.Sprintf("%s: J(%v)", name, got.Alphas[k]), got.Curve[k]*float64(got.Tokens)*float64(n.channels(got.Site)), j, 1e-4)
	}
	if got.Alpha != got.Alphas[best] || !slices.Equal(smooth, ScaleFactors(means, got.Alpha)) {
		t.Errorf("%s: exponent %v, want %v", name, got.Alpha, got.Alphas[best])
	}
	if err := FoldScale(n.folded, got.Site, smooth); err != nil {
		t.Fatal(err)
	}
}

// Importances against their definitions on the paths of the method.
func TestImportanceDefinitions(t *testing.T) {
	tm := getTiny(t, 2)
	for _, expose := range []Expose{ExposeNone, ExposeGroup} {
		for _, target := range []Target{TargetFP, TargetSame} {
			m := mustFind(t, "tlq")
			m.Path = Path{expose, target}
			c := tm.calibration(t, m, "w4a6")
			want := naiveErrors(t, c)
			for name, stats := range want {
				got, err := c.Importance(context.Background(), name, nil, rand.New(rand.NewPCG(1, 2)))
				if err != nil {
					t.Fatal(err)
				}
				for i := range stats.Layers {
					for _, site := range outputSites {
						for s, row := range stats.Layers[i].At(site) {
							for k, v := range row {
								near(t, fmt.Sprintf("%s/%s %s, layer %d, %s, sample %d, token %d", expose, target, name, i, site, s, k),
									float64(got.Layers[i].At(site)[s][k]), float64(v), 1e-5)
							}
						}
					}
				}
			}
		}
	}
}

// naiveErrors computes "error" and "gradient*error", layer by layer and token by
// token.
func naiveErrors(t *testing.T, c *Calibration) map[string]*TokenStats {
	t.Helper()
	layers, n := c.Model.NumLayers(), len(tinyPatterns)
	out := map[string]*TokenStats{"error": newTokenStats(layers, n), "gradient*error": newTokenStats(layers, n)}
	for _, b := range c.Batches {
		gradients := make([]map[models.Site][]float32, layers)
		err := c.Runner.Gradients(b, func(layer int, o, down []float32) error {
			gradients[layer] = map[models.Site][]float32{models.O: slices.Clone(o), models.Down: slices.Clone(down)}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		fp, path := b.X, b.X
		for i := range layers {
			exact, _ := c.Model.Layer(i)
			q, _, err := QuantizeLayer(exact, c.Format, RefuseGroup)
			if err != nil {
				t.Fatal(err)
			}
			run := func(x []float32, l *models.Layer, aq *models.ActQuant) *models.BlockResult {
				res, err := c.Runner.Block(b, x, l, models.BlockOptions{ActQuant: aq, Outputs: true})
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			rounded := run(path, q.Layer, c.Format.ActQuant())
			from := fp
			if c.Method.Path.Target == TargetSame {
				from = path
			}
			ref := run(from, exact, nil)
			for _, site := range outputSites {
				y, want := rounded.OOut, ref.OOut
				if site == models.Down {
					y, want = rounded.Down, ref.Down
				}
				for row, sample := range b.Index {
					for token := range b.Seqs[row].Len() {
						var e, ge float64
						for k := (row*b.T + token) * 32; k < (row*b.T+token+1)*32; k++ {
							d := math.Abs(float64(y[k] - want[k]))
							e += d / 32
							ge += d * math.Abs(float64(gradients[i][site][k]))
						}
						for name, v := range map[string]float64{"error": e, "gradient*error": ge} {
							rows := out[name].Layers[i].At(site)
							rows[sample] = append(rows[sample], float32(v))
						}
					}
				}
			}
			fp = run(fp, exact, nil).Y
			if path = rounded.Y; c.Method.Path.Expose == ExposeNone {
				path = fp
			}
		}
	}
	return out
}

// A user's importance gets what it asked for; its errors name it; random ones
// follow the seed and differ between sites and samples.
func TestOwnAndRandomImportance(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "tlq"), "w4a8")
	own := []Importance{
		{Name: "late", Needs: Needs{Gradient: true, Error: true}, Score: func(v *TokenView) []float32 {
			out := make([]float32, len(v.Modality))
			for k := range out {
				out[k] = float32(k) + 0*v.Gradient[k]*v.Error[k]
			}
			return out
		}},
		{Name: "broken", Score: func(v *TokenView) []float32 { return []float32{-1} }},
	}
	for _, imp := range own {
		c.Method.Tokens.Use(imp)
	}
	ctx := context.Background()
	gradients, err := c.Gradients(ctx)
	if err != nil {
		t.Fatal(err)
	}
	late, err := c.Importance(ctx, "late", gradients, rand.New(rand.NewPCG(1, 1)))
	if err != nil || late.Layers[2].Down[1][5] != 5 {
		t.Errorf("got %v", err)
	}
	for name, want := range map[string]string{"broken": "broken", "lat": `did you mean "late"`, "attention": "measured while layers are calibrated", "gradient": "no gradients given"} {
		if _, err := c.Importance(ctx, name, nil, rand.New(rand.NewPCG(1, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	draw := func(seed uint64) *TokenStats {
		st, err := c.Importance(ctx, "random", nil, rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	a, b, other := draw(1), draw(1), draw(2)
	if !slices.Equal(a.Layers[1].O[2], b.Layers[1].O[2]) || slices.Equal(a.Layers[1].O[2], other.Layers[1].O[2]) ||
		slices.Equal(a.Layers[1].O[2], a.Layers[1].Down[2]) || slices.Equal(a.Layers[1].O[2], a.Layers[2].O[2]) || a.Layers[0].O[0][0] == a.Layers[0].O[1][0] {
		t.Error("random importance does not follow its seed")
	}
}

// Among exponents that cost the same the first wins, as in the reference code, which asks
// for a strictly smaller loss: a linear of zeros costs nothing whatever its input's scale.
func TestFirstOfEqualExponentsWins(t *testing.T) {
	tm := getTiny(t, 2)
	for _, method := range []string{"tlq", "awq"} {
		for _, format := range []string{"w3a16g16", "w4a8"} {
			c := tm.calibration(t, mustFind(t, method), format)
			set := c.tokens(t)
			c.Model = tm.model.WithSource(func(i int) (*models.Layer, error) {
				exact, err := tm.model.Layer(i)
				if err != nil {
					return nil, err
				}
				l := *exact // shares what the other tests read
				l.Down.W = make([]float32, len(l.Down.W))
				return &l, nil
			})
			res, _, err := c.CalibrateLayer(t.Context(), c.Start(), set)
			if err != nil {
				t.Fatal(err)
			}
			down := res.Report.Sites[len(res.Report.Sites)-1]
			if down.Site != models.Down || len(down.Curve) != 20 || down.Curve[0] != down.Curve[19] || down.Alpha != 0 {
				t.Errorf("%s, %s: %s chose α = %v of costs %v", method, format, down.Site, down.Alpha, down.Curve)
			}
		}
	}
}
