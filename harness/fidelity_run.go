package harness

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
	"github.com/tlqlab/tlqlab/ptq"
)

// fidelityRun is surrogate fidelity being measured.
type fidelityRun struct {
	m       *Model
	s       FidelitySettings
	format  ptq.Format
	methods []ptq.Method
	samples *Samples
	sites   []models.Site
	data    Key
}

func (m *Model) newFidelityRun(s FidelitySettings) (*fidelityRun, error) {
	s.Prompts = s.Prompts.of(m)
	methods, err := m.checkFidelity(s)
	if err != nil {
		return nil, err
	}
	format, err := ptq.ParseFormat(s.Format)
	if err != nil {
		return nil, err
	}
	samples, err := m.Calibration(s.Calibration.Name, s.Calibration.Samples, s.Seed)
	if err != nil {
		return nil, err
	}
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	r := &fidelityRun{m: m, s: s, format: format, methods: methods, samples: samples, sites: s.Sites, data: Key(hash)}
	if len(r.sites) == 0 {
		r.sites = models.Sites()
	}
	return r, nil
}

// key names the result.
func (r *fidelityRun) key() Key {
	inputs := []Key{r.m.key, r.data, r.samples.key}
	for _, method := range r.methods {
		keys := layerKeys(r.m, r.samples, Quantization{Method: method, Format: r.format})
		inputs = append(inputs, keys[len(keys)-1])
	}
	return NewKey(fidelityStage, r.s, inputs...)
}

func (r *fidelityRun) measure() (*Fidelity, error) {
	prompts, err := r.m.prompts(r.s.Prompts)
	if err != nil {
		return nil, err
	}
	out := &Fidelity{Model: r.m.Name, Settings: r.s, Prompts: len(prompts.seqs), Skipped: map[string]string{}}
	for _, site := range r.sites {
		l, err := r.m.Layer(0)
		if err != nil {
			return nil, err
		}
		if err := ptq.FoldScale(l.Clone(), site, ones(l.Linears(site)[0].In)); err != nil {
			out.Skipped[string(site)] = "its input has no channels of its own to scale (grouped-query attention)"
		}
	}
	sites := slices.DeleteFunc(slices.Clone(r.sites), func(s models.Site) bool { return out.Skipped[string(s)] != "" })
	if len(sites) == 0 {
		return nil, fmt.Errorf("harness: fidelity: none of the sites can be scaled")
	}
	points := r.methods[0].Search.Points
	for k := range points {
		out.Alphas = append(out.Alphas, float64(k)/float64(points))
	}
	curves, err := r.objectives()
	if err != nil {
		return nil, err
	}
	var truths [][]*truth
	if truths, err = r.truths(prompts, sites, out.Alphas); err != nil {
		return nil, err
	}
	for layer := range truths {
		for k, site := range sites {
			x, err := r.site(prompts, layer, site, truths[layer][k], curves)
			if err != nil {
				return nil, fmt.Errorf("layer %d, %s: %w", layer, site, err)
			}
			out.Sites = append(out.Sites, *x)
		}
	}
	seen := map[string]bool{}
	for _, c := range prompts.clusters {
		seen[c] = true
	}
	out.Clusters = len(seen)
	return out, r.overSites(out)
}

func ones(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = 1
	}
	return out
}

// objectives runs every method's own search, as the engine does it, and returns its
// curves: [method][layer][site].
func (r *fidelityRun) objectives() (map[string][]map[models.Site][]float64, error) {
	out := map[string][]map[models.Site][]float64{}
	for _, method := range r.methods {
		layers, err := r.m.calibrate(r.samples, Quantization{Method: method, Format: r.format})
		if err != nil {
			return nil, fmt.Errorf("method %s: %w", method.Name, err)
		}
		for _, l := range layers.reports {
			curves := map[models.Site][]float64{}
			for _, s := range l.Report.Sites {
				if s.Skipped == "" {
					curves[s.Site] = s.Curve
				}
			}
			out[method.Name] = append(out[method.Name], curves)
		}
	}
	return out, nil
}

// truth is what one site's candidates cost each prompt: [α][prompt].
type truth struct{ kl, nll [][]float64 }

// truths measures every candidate of every site, [layer][site]. The unquantized
// streams run through the layers once; a candidate runs its own layer and those above
// it. Stage truth, one step per layer.
func (r *fidelityRun) truths(p *promptSet, sites []models.Site, alphas []float64) ([][]*truth, error) {
	w := &truthWalk{r: r, p: p, sites: sites, alphas: alphas}
	var out [][]*truth
	for layer := range r.m.NumLayers() {
		key := NewKey(truthStage, struct {
			Layer   int           `json:"layer"`
			Format  string        `json:"format"`
			Sites   []models.Site `json:"sites"`
			Alphas  []float64     `json:"alphas"`
			Prompts Prompts       `json:"prompts"`
		}{layer, r.format.String(), sites, alphas, r.s.Prompts}, r.m.key, r.data, r.samples.key)
		name := fmt.Sprintf("true losses of layer %d of %s at %s", layer, r.m.Name, r.format)
		t, err := once(r.m, name, key, truthCodec(len(sites), len(alphas), len(p.seqs)), func(m *Model) ([]*truth, error) { return w.layer(m, layer) })
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		r.m.s.step(1)
	}
	return out, nil
}

// truthCodec keeps a layer's truths as one tensor, [site, 2, α, prompt]: KL, then NLL.
func truthCodec(sites, alphas, prompts int) codec[[]*truth] {
	return codec[[]*truth]{
		encode: func(list []*truth) (*Artifact, error) {
			var flat []float32
			for _, t := range list {
				for _, rows := range [][][]float64{t.kl, t.nll} {
					for _, row := range rows {
						for _, v := range row {
							flat = append(flat, float32(v))
						}
					}
				}
			}
			return &Artifact{Tensors: []safetensors.Tensor{safetensors.FromFloat32("truth", []int{sites, 2, alphas, prompts}, flat)}}, nil
		},
		decode: func(a *Artifact) ([]*truth, error) {
			flat, err := a.Float32s("truth")
			if err != nil {
				return nil, err
			}
			if len(flat) != sites*2*alphas*prompts {
				return nil, fmt.Errorf("%d values: expected %d", len(flat), sites*2*alphas*prompts)
			}
			row := func() []float64 {
				out := make([]float64, prompts)
				for i := range out {
					out[i] = float64(flat[i])
				}
				flat = flat[prompts:]
				return out
			}
			list := make([]*truth, sites)
			for i := range list {
				list[i] = &truth{}
				for range alphas {
					list[i].kl = append(list[i].kl, row())
				}
				for range alphas {
					list[i].nll = append(list[i].nll, row())
				}
			}
			return list, nil
		},
	}
}

// site compares the objectives with the truth at one site.
func (r *fidelityRun) site(p *promptSet, layer int, site models.Site, t *truth, curves map[string][]map[models.Site][]float64) (*FidelitySite, error) {
	out := &FidelitySite{
		Layer: layer, Site: site, Objectives: map[string][]float64{},
		Rho: map[string]eval.Interval{}, RhoNLL: map[string]float64{}, Choice: map[string]eval.Choice{},
	}
	for k := range t.kl {
		out.KL, out.NLL = append(out.KL, eval.Mean(t.kl[k])), append(out.NLL, eval.Mean(t.nll[k]))
	}
	mean := make([]float64, len(t.kl))
	for _, method := range r.methods {
		j := curves[method.Name][layer][site]
		if len(j) != len(t.kl) {
			return nil, fmt.Errorf("method %s searched %d candidates: expected %d", method.Name, len(j), len(t.kl))
		}
		out.Objectives[method.Name] = j
		rho, err := eval.BootstrapOf(p.clusters, r.s.Stats.Bootstrap, rand.New(rand.NewPCG(r.s.Stats.Seed, uint64(layer))), func(times []int) float64 {
			for k, row := range t.kl {
				sum := 0.0
				for i, n := range times {
					sum += float64(n) * row[i]
				}
				mean[k] = sum
			}
			rho, err := eval.Spearman(j, mean)
			if err != nil {
				return math.NaN()
			}
			return rho
		})
		if err != nil {
			return nil, fmt.Errorf("method %s: %w", method.Name, err)
		}
		out.Rho[method.Name] = rho
		if out.RhoNLL[method.Name], err = eval.Spearman(j, out.NLL); err != nil {
			return nil, err
		}
		if out.Choice[method.Name], err = eval.ChooseBy(j, out.KL); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// overSites averages over sites and compares methods.
func (r *fidelityRun) overSites(f *Fidelity) error {
	names := make([]string, len(f.Sites)) // a site is a unit
	for i, s := range f.Sites {
		names[i] = fmt.Sprintf("%d %s", s.Layer, s.Site)
	}
	rng := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(r.s.Stats.Seed, 1<<32+stream)) }
	column := func(of func(*FidelitySite) float64) []float64 {
		out := make([]float64, len(f.Sites))
		for i := range f.Sites {
			out[i] = of(&f.Sites[i])
		}
		return out
	}
	plain := column(func(s *FidelitySite) float64 { return s.KL[0] })
	var err error
	if f.Possible, err = eval.BootstrapRatio(column(func(s *FidelitySite) float64 { return slices.Min(s.KL) }), plain, names, r.s.Stats.Bootstrap, rng(0)); err != nil {
		return err
	}
	rhos := map[string][]float64{}
	for _, method := range r.methods {
		name := method.Name
		m := FidelityMethod{Name: name, Title: method.Title}
		rhos[name] = column(func(s *FidelitySite) float64 { return s.Rho[name].Mean })
		var err error
		for _, x := range []struct {
			to     *eval.Interval
			values []float64
		}{
			{&m.Rho, rhos[name]},
			{&m.RhoNLL, column(func(s *FidelitySite) float64 { return s.RhoNLL[name] })},
			{&m.Regret, column(func(s *FidelitySite) float64 { return s.Choice[name].Regret })},
		} {
			if *x.to, err = eval.Bootstrap(x.values, names, r.s.Stats.Bootstrap, rng(0)); err != nil {
				return fmt.Errorf("method %s over sites: %w", name, err)
			}
		}
		m.Gain, err = eval.BootstrapRatio(column(func(s *FidelitySite) float64 { return s.Choice[name].Gain }),
			column(func(s *FidelitySite) float64 { return s.Choice[name].Room }), names, r.s.Stats.Bootstrap, rng(0))
		if err != nil {
			return fmt.Errorf("method %s: share of the possible gain: %w", name, err)
		}
		picked := column(func(s *FidelitySite) float64 { return s.KL[s.Choice[name].Pick] })
		if m.Relative, err = eval.BootstrapRatio(picked, plain, names, r.s.Stats.Bootstrap, rng(0)); err != nil {
			return err
		}
		for i := range f.Sites {
			if c := f.Sites[i].Choice[name]; c.Pick == c.Best {
				m.Hits++
			}
		}
		f.Methods = append(f.Methods, m)
	}
	return r.compare(f, rhos, names)
}

// compare sets methods against each other, paired over sites.
func (r *fidelityRun) compare(f *Fidelity, rhos map[string][]float64, names []string) error {
	var pairs [][2]string
	for _, m := range r.methods {
		if m.Name != r.s.Reference && rhos[r.s.Reference] != nil {
			pairs = append(pairs, [2]string{m.Name, r.s.Reference})
		}
	}
	if rhos["tlq"] != nil {
		for _, m := range r.methods {
			if m.Tokens.Control != ptq.ControlNone || m.Name == "answers" {
				pairs = append(pairs, [2]string{"tlq", m.Name})
			}
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	var claims []eval.Claim
	var differences []eval.Interval
	for _, p := range pairs {
		d := make([]float64, len(names))
		for i := range d {
			d[i] = rhos[p[0]][i] - rhos[p[1]][i]
		}
		interval, err := eval.Bootstrap(d, names, r.s.Stats.Bootstrap, rand.New(rand.NewPCG(r.s.Stats.Seed, 2<<32)))
		if err != nil {
			return err
		}
		claims = append(claims, eval.Claim{Name: fmt.Sprintf("%s ranks candidates better than %s at %s", p[0], p[1], r.s.Format)})
		differences = append(differences, interval)
	}
	verdicts, err := eval.DecideFamily(claims, differences)
	if err != nil {
		return err
	}
	for i, p := range pairs {
		f.Pairs = append(f.Pairs, FidelityPair{A: p[0], B: p[1], Verdict: verdicts[i]})
	}
	return nil
}
