package ptq

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// naiveGram is (2/samples)·Σ a·x·xᵀ over the inputs of a site on the exposed path, or
// on that of the unquantized model.
func naiveGram(t *testing.T, c *Calibration, st *State, l *models.Layer, aq *models.ActQuant, site models.Site, smooth []float32, weight func(sample, token int) float64) []float64 {
	t.Helper()
	in := l.Linears(site)[0].In
	rows := make([][]float32, 0)
	var weights []float64
	bySample := make([][][]float32, len(tinyPatterns))
	for i, b := range c.Batches {
		x := st.Exposed[i]
		if c.Method.Path.Expose == ExposeNone {
			x = st.FP[i]
		}
		res, err := c.Runner.Block(b, x, l, models.BlockOptions{ActQuant: aq, Taps: true})
		if err != nil {
			t.Fatal(err)
		}
		b.Rows(res.Inputs[site], in, func(seq, _ int, row []float32) {
			bySample[b.Index[seq]] = append(bySample[b.Index[seq]], row)
		})
	}
	for s, tokens := range bySample {
		for k, row := range tokens {
			rows, weights = append(rows, row), append(weights, weight(s, k))
		}
	}
	h := make([]float64, in*in)
	for k, row := range rows {
		for i := range in {
			for j := range in {
				a, b := float64(row[i]), float64(row[j])
				if smooth != nil {
					a, b = float64(row[i]/smooth[i]), float64(row[j]/smooth[j])
				}
				h[i*in+j] += 2 / float64(len(bySample)) * weights[k] * a * b
			}
		}
	}
	return h
}

// GPTQ's codes are the column solver's on the Hessian of the path's inputs with
// the method's token weights, site after site.
func TestGPTQEqualsDefinition(t *testing.T) {
	for _, name := range []string{"gptq", "tlq-gptq"} {
		for _, format := range []string{"w3a16g16", "w4a8"} {
			tm := getTiny(t, 2)
			c := tm.calibration(t, mustFind(t, name), format)
			set := c.tokens(t)
			results, states := c.calibrate(t, set)
			for i, res := range results[:2] {
				partly, err := c.Model.Layer(i)
				if err != nil {
					t.Fatal(err)
				}
				partly = partly.Clone()
				for _, site := range models.Sites() {
					h := naiveGram(t, c, states[i], partly, c.Format.ActQuant(), site, nil, func(s, token int) float64 {
						return float64(set.Layers[i].At(site)[s].Dense(len(tinyPatterns[s]))[token])
					})
					for k, lin := range partly.Linears(site) {
						checkSolved(t, c, lin, h, res.Quantized.Layer.Linears(site)[k].W)
						lin.W = res.Quantized.Layer.Linears(site)[k].W
					}
				}
			}
		}
	}
}

func checkSolved(t *testing.T, c *Calibration, lin *models.Linear, h []float64, got []float32) {
	t.Helper()
	wide := make([]float64, len(lin.W))
	for i, v := range lin.W {
		wide[i] = float64(v)
	}
	rule := kernels.GridRule{Kind: kernels.GridRange, Bits: c.Format.Bits, Symmetric: c.Format.Symmetric}
	s, err := kernels.SolveColumns(wide, lin.Out, lin.In, h, kernels.SolveOptions{Rule: rule, Group: c.Format.Group, Block: 128, Damp: 0.01, ActOrder: true, StaticGroups: true})
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i := range got {
		if want := s.Value(i/lin.In, i%lin.In, lin.Out, lin.In); math.Abs(float64(got[i])-want) > 1e-6*(1+math.Abs(want)) {
			wrong++
		}
	}
	if wrong > 0 {
		t.Errorf("%s %s: %d of %d weights differ", c.Method.Name, c.Format, wrong, len(got))
	}
}

// Uniform tokens make TLQ in GPTQ plain GPTQ; values lie on their grids.
func TestUniformTokensAreGPTQ(t *testing.T) {
	uniform := with(t, mustFind(t, "tlq-gptq"), "tokens.keep=1", "tokens.weight=hard", "tokens.mass=flat", "tokens.text=keep")
	sameChoices(t, uniform, mustFind(t, "gptq"), "w3a16g16")
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "gptq"), "w3a16g16")
	results, _ := c.calibrate(t, c.tokens(t))
	for name, grid := range results[1].Quantized.Grids {
		if slices.ContainsFunc(grid.Zero, func(z float32) bool { return z < 0 || z > 7 || z != float32(int(z)) }) {
			t.Errorf("%s: zero points %v", name, grid.Zero)
		}
	}
	lin := results[1].Quantized.Layer.Down
	for i, w := range lin.W {
		grid := results[1].Quantized.Grids["down_proj"]
		code := float64(w/grid.Step[i/16] + grid.Zero[i/16])
		if math.Abs(code-math.Round(code)) > 1e-4 || code < -1e-4 || code > 7+1e-4 {
			t.Fatalf("weight %d is code %v", i, code)
		}
	}
}

// GPTQ leaves less of the squared output error that it minimises than rounding to
// nearest, at every linear of the first layer, and its combination with a scale search runs
// on scaled inputs.
func TestGPTQBeatsNearest(t *testing.T) {
	tm := getTiny(t, 4)
	for _, settings := range []string{"", "search.kind=grid search.points=4 path.expose=none", "search.kind=smooth search.alpha=0.5 search.points=1"} {
		m := with(t, mustFind(t, "gptq"), strings.Fields(settings)...)
		c := tm.calibration(t, m, "w3a16g16")
		results, states := c.calibrate(t, c.tokens(t))
		folded, err := c.Model.Layer(0)
		if err != nil {
			t.Fatal(err)
		}
		exact := folded
		folded = folded.Clone()
		for _, site := range models.Sites() {
			if s := results[0].Smooth[site]; s != nil {
				if err := FoldScale(folded, site, s); err != nil {
					t.Fatal(err)
				}
			}
		}
		nearest, _, err := QuantizeLayer(folded, c.Format, RefuseGroup)
		if err != nil {
			t.Fatal(err)
		}
		h := naiveGram(t, c, states[0], exact, nil, models.QKV, results[0].Smooth[models.QKV], func(int, int) float64 { return 1 })
		for k, lin := range folded.Linears(models.QKV) {
			solved := outputError(lin, results[0].Quantized.Layer.Linears(models.QKV)[k].W, h)
			if plain := outputError(lin, nearest.Layer.Linears(models.QKV)[k].W, h); !(solved < plain) {
				t.Errorf("%q, linear %d: error %v, to nearest %v", settings, k, solved, plain)
			}
		}
	}
}

// outputError is tr((W−Q)·H·(W−Q)ᵀ).
func outputError(lin *models.Linear, q []float32, h []float64) (sum float64) {
	for r := range lin.Out {
		for i := range lin.In {
			for j := range lin.In {
				sum += float64(lin.W[r*lin.In+i]-q[r*lin.In+i]) * h[i*lin.In+j] * float64(lin.W[r*lin.In+j]-q[r*lin.In+j])
			}
		}
	}
	return sum
}

// AWQ's clip search sees the scaled inputs, leaves queries and keys alone, and
// its bounds are those of the kernel on the folded weights.
func TestClipSearch(t *testing.T) {
	tm := getTiny(t, 4)
	c := tm.calibration(t, mustFind(t, "awq-clip"), "w3a16g16")
	results, states := c.calibrate(t, c.tokens(t))
	plain := tm.calibration(t, mustFind(t, "awq"), "w3a16g16")
	scales, _ := plain.calibrate(t, plain.tokens(t))
	for i, res := range results {
		if !reflect.DeepEqual(res.Smooth, scales[i].Smooth) {
			t.Error("clipping changes AWQ's scales")
		}
		exact, err := c.Model.Layer(i)
		if err != nil {
			t.Fatal(err)
		}
		folded := exact.Clone()
		for _, site := range models.Sites() {
			if err := FoldScale(folded, site, res.Smooth[site]); err != nil {
				t.Fatal(err)
			}
		}
		if res.Bounds["q_proj"] != nil || res.Bounds["k_proj"] != nil || len(res.Bounds) != 5 {
			t.Errorf("layer %d: bounds of %d linears", i, len(res.Bounds))
		}
		for _, site := range models.Sites() {
			h := naiveGram(t, c, states[i], exact, nil, site, res.Smooth[site], func(int, int) float64 { return 1 })
			for k, lin := range folded.Linears(site) {
				bound, ok := res.Bounds[linearNames(site)[k]]
				if !ok {
					continue
				}
				want := make([]float32, len(bound))
				kernels.ClipGroups(want, lin.W, h, lin.Out, lin.In, 16, 3, false)
				if !slices.Equal(bound, want) {
					t.Errorf("layer %d, %s: bounds differ", i, linearNames(site)[k])
				}
				w := slices.Clone(lin.W)
				kernels.ClampGroups(w, bound, 16)
				kernels.RoundAsymmetric(w, nil, nil, w, lin.Out, lin.In, 16, 3)
				if !slices.Equal(w, res.Quantized.Layer.Linears(site)[k].W) {
					t.Errorf("layer %d, %s: weights are not the clipped ones, rounded", i, linearNames(site)[k])
				}
			}
		}
	}
}

// Where nothing drifts GPTAQ is GPTQ, bit for bit: on the unquantized path, and at the
// first group of the first layer. Elsewhere its correction changes codes.
func TestGPTAQ(t *testing.T) {
	tm := getTiny(t, 2)
	run := func(m Method) []*LayerResult {
		c := tm.calibration(t, m, "w3a16g16")
		results, _ := c.calibrate(t, c.tokens(t))
		return results
	}
	plain, drift := run(mustFind(t, "gptq")), run(mustFind(t, "gptaq"))
	if !slices.Equal(plain[0].Quantized.Layer.Q.W, drift[0].Quantized.Layer.Q.W) {
		t.Error("the inputs of the first group cannot have drifted")
	}
	if slices.Equal(plain[0].Quantized.Layer.Down.W, drift[0].Quantized.Layer.Down.W) {
		t.Error("the correction changes nothing")
	}
	a, b := run(with(t, mustFind(t, "gptq"), "path.expose=none")), run(with(t, mustFind(t, "gptaq"), "path.expose=none"))
	for i := range a {
		equalLayers(t, "unexposed", b[i].Quantized.Layer, a[i].Quantized.Layer)
	}
}

// The drift is Σ (x_fp − x̂)·x̂ᵀ of inputs scaled alike.
func TestDriftEqualsDefinition(t *testing.T) {
	tm := getTiny(t, 2)
	m := with(t, mustFind(t, "gptaq"), "search.kind=smooth", "search.alpha=0.5", "search.points=1", "search.sites=gate_up")
	c := tm.calibration(t, m, "w4a8")
	results, states := c.calibrate(t, c.tokens(t))
	s := results[1].Smooth[models.GateUp]
	exact, err := c.Model.Layer(1)
	if err != nil {
		t.Fatal(err)
	}
	folded := exact.Clone()
	if err := FoldScale(folded, models.GateUp, s); err != nil {
		t.Fatal(err)
	}
	path := folded.Clone()
	for _, site := range []models.Site{models.QKV, models.O} {
		for k, lin := range path.Linears(site) {
			lin.W = results[1].Quantized.Layer.Linears(site)[k].W
		}
	}
	h, d := make([]float64, 32*32), make([]float64, 32*32)
	for i, b := range c.Batches {
		fp, err := c.Runner.Block(b, states[1].FP[i], folded, models.BlockOptions{Taps: true})
		if err != nil {
			t.Fatal(err)
		}
		q, err := c.Runner.Block(b, states[1].Exposed[i], path, models.BlockOptions{Taps: true, ActQuant: c.Format.ActQuant()})
		if err != nil {
			t.Fatal(err)
		}
		for row := range b.Seqs {
			for token := range b.Seqs[row].Len() {
				at := (row*b.T + token) * 32
				for j := range 32 {
					for k := range 32 {
						x := float64(q.Inputs[models.GateUp][at+k])
						h[j*32+k] += 2 / float64(len(tinyPatterns)) * float64(q.Inputs[models.GateUp][at+j]) * x
						d[j*32+k] += 2 / float64(len(tinyPatterns)) * (float64(fp.Inputs[models.GateUp][at+j]) - float64(q.Inputs[models.GateUp][at+j])) * x
					}
				}
			}
		}
	}
	wide := make([]float64, len(folded.Gate.W))
	for i, v := range folded.Gate.W {
		wide[i] = float64(v)
	}
	want, err := kernels.SolveColumns(wide, folded.Gate.Out, 32, h, kernels.SolveOptions{
		Rule: kernels.GridRule{Kind: kernels.GridRange, Bits: 4, Symmetric: true}, Block: 128, Damp: 0.01, ActOrder: true, StaticGroups: true, Drift: d, DriftWeight: 0.25,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range results[1].Quantized.Layer.Gate.W {
		if w := want.Value(i/32, i%32, folded.Gate.Out, 32); math.Abs(float64(v)-w) > 1e-6*(1+math.Abs(w)) {
			t.Fatalf("weight %d is %v, want %v", i, v, w)
		}
	}
}

// Groups that act-order would scatter are refused, with the mend.
func TestActOrderNeedsStaticGroups(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "gptq"), "w3a16g16")
	c.Method = with(t, c.Method, "rounding.static_groups=false")
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "rounding.static_groups=true") {
		t.Errorf("got %v", err)
	}
	c.Format.Group = 0
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}
