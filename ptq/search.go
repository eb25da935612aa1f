package ptq

import (
	"context"
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// A search measures J(α) for every exponent and keeps the first strict minimum.
//
// Which form of J is computed follows from the method and the format:
//
//   - Gram: J = tr(E·H·Eᵀ) with H = Σ_t a_t·x_t·xᵀ_t, E = W − Q(W·s)/s. A candidate costs the
//     same whatever the number of tokens. It needs a squared error of a module that is linear in its
//     weights, with inputs that are not rounded and a target that comes from the same inputs: see
//     [layerRun.gramForm], which also asks whether it is cheaper.
//   - Direct, token by token: where the module treats tokens alone, candidates run on the
//     token-level calibration set only, its rows packed without padding. So a set of a quarter of
//     the tokens costs a quarter.
//   - Direct, whole samples: attention needs all tokens as context.

// rowsPerCall is the number of packed tokens that a candidate is run on at once.
// It is fixed, so that a token's numbers cannot depend on how many others there are.
const rowsPerCall = 256

// workload is what the candidates of a site are run on.
type workload struct {
	batch *models.Batch
	siteData
	// rows that count, ascending.
	rows []weightedRow
}

// weightedRow is a row of a workload that counts.
type weightedRow struct {
	at     int // row in the result, b·T + t
	sample int
	weight float64
}

// objective is J of a site.
type objective struct {
	means    []float64 // of the site's input channels
	channels int       // of the inspected output
	form     Form
	cost     func(ctx context.Context, s []float32) (float64, error)
	close    func()
}

// search finds the factors of a site and leaves them in r.smooth.
func (r *layerRun) search(ctx context.Context, site models.Site) (*SiteReport, error) {
	measure := r.direct
	if r.gramForm(site) {
		measure = r.gram
	}
	j, err := measure(ctx, site)
	if err != nil {
		return nil, err
	}
	defer j.close()
	points := r.c.Method.Search.Points
	report := &SiteReport{Site: site, Form: j.form, Tokens: Count(r.tokens.At(site))}
	best, least := 0, math.Inf(1)
	for k := range points {
		if err := r.step(ctx); err != nil {
			return nil, err
		}
		alpha := float64(k) / float64(points)
		sum, err := j.cost(ctx, ScaleFactors(j.means, alpha))
		if err != nil {
			return nil, err
		}
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			return nil, fmt.Errorf("the search objective is %v at α = %v; expected a finite number", sum, alpha)
		}
		report.Alphas = append(report.Alphas, alpha)
		report.Curve = append(report.Curve, sum/(float64(report.Tokens)*float64(j.channels)))
		if sum < least { // the first strict minimum
			best, least = k, sum
		}
	}
	report.Alpha = report.Alphas[best]
	r.smooth[site] = ScaleFactors(j.means, report.Alpha)
	return report, nil
}

// direct measures J on tokens.
func (r *layerRun) direct(ctx context.Context, site models.Site) (*objective, error) {
	means, work, err := r.gather(ctx, site)
	if err != nil {
		return nil, err
	}
	j := &objective{means: means, channels: r.inspected(site), form: FormDirect, close: func() { r.forget(site, work) }}
	cand, err := newCandidate(r.exact, site, r.c.Format, r.c.Fallback)
	if err != nil {
		j.close()
		return nil, err
	}
	j.cost = func(ctx context.Context, s []float32) (float64, error) {
		costs, err := r.costs(ctx, cand, s, work)
		var sum float64
		for _, c := range costs { // in sample order
			sum += c
		}
		return sum, err
	}
	return j, nil
}

// linearsOnly reports whether errors are measured at the outputs of a site's linears where
// those are not the inspected module anyway.
func (r *layerRun) linearsOnly(site models.Site) bool {
	return r.c.Method.Search.Inspect == InspectLinear && (site == models.QKV || site == models.GateUp)
}

// whole reports whether a site's module needs whole samples.
func (r *layerRun) whole(site models.Site) bool { return site == models.QKV && !r.linearsOnly(site) }

// inspected is the number of channels of the inspected output.
func (r *layerRun) inspected(site models.Site) int {
	if !r.linearsOnly(site) {
		return r.exact.O.Out
	}
	n := 0
	for _, lin := range r.exact.Linears(site) {
		n += lin.Out
	}
	return n
}

// candidate is a layer whose linears at one site are overwritten for every
// exponent.
type candidate struct {
	exact, layer *models.Layer
	site         models.Site
	format       Format
	group        int
}

func newCandidate(exact *models.Layer, site models.Site, f Format, fallback GroupFallback) (*candidate, error) {
	group, _, err := f.GroupSize(exact.Linears(site)[0].In, fallback)
	if err != nil {
		return nil, err
	}
	layer := *exact
	for _, lin := range layer.Linears(site) {
		lin.W = make([]float32, len(lin.W))
	}
	return &candidate{exact: exact, layer: &layer, site: site, format: f, group: group}, nil
}

// set makes the layer that of scaling factors s.
func (c *candidate) set(s []float32) {
	targets := c.layer.Linears(c.site)
	for i, lin := range c.exact.Linears(c.site) {
		roundScaled(targets[i].W, lin, s, c.format, c.group)
	}
}

// costs is Σ_t a_t·ρ_t per sample for scaling factors s.
func (r *layerRun) costs(ctx context.Context, cand *candidate, s []float32, work []workload) ([]float64, error) {
	cand.set(s)
	aq := r.c.Format.ActQuant()
	metric := string(r.c.Method.Search.Metric)
	costs := make([]float64, len(r.samples))
	err := ordered(ctx, r.c.workers(), len(work), func(i int) ([]float32, error) {
		w := &work[i]
		defer r.c.Spill.Rest(w.x, w.target)
		measure := r.c.Runner.TokenError
		if r.linearsOnly(cand.site) {
			measure = r.c.Runner.LinearsError
		}
		return measure(w.batch, cand.site, w.x, cand.layer, s, aq, w.target, metric)
	}, func(i int, errors []float32) error {
		for _, row := range work[i].rows {
			costs[row.sample] += row.weight * float64(errors[row.at])
		}
		return nil
	})
	return costs, err
}

// gather runs the method's path up to a site: the channel means of the site's
// input and what the candidates are to be run on.
func (r *layerRun) gather(ctx context.Context, site models.Site) (means []float64, work []workload, err error) {
	m := newChannelMeans(len(r.samples), r.exact.Linears(site)[0].In)
	packed, whole := &packer{c: r.c, in: r.exact.Linears(site)[0].In, out: r.inspected(site), hidden: r.exact.O.Out}, r.whole(site)
	err = ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) (siteData, error) {
		return r.siteData(i, site)
	}, func(i int, d siteData) error {
		b := r.c.Batches[i]
		for row, sample := range b.Index {
			tokens := r.tokens.At(site)[sample]
			m.add(b, row, d.x, r.meanTokens(sample, tokens))
			if whole {
				continue
			}
			if err := packed.add(b, row, d, tokens); err != nil {
				return err
			}
		}
		if whole {
			kept, err := r.keepWhole(d)
			if err != nil {
				return err
			}
			work = append(work, wholeBatch(b, kept, r.tokens.At(site)))
		}
		r.c.Spill.Rest(d.target)
		return r.step(ctx)
	})
	if err != nil {
		return nil, nil, err
	}
	if !whole {
		work = packed.finish()
	}
	means, err = m.means()
	return means, work, err
}

// forget gives the workloads of a site back. The targets of whole batches are the
// unquantized layer's outputs, which other sites may need.
func (r *layerRun) forget(site models.Site, work []workload) {
	for i := range work {
		r.c.Spill.Free(work[i].x)
		if !r.whole(site) || r.c.Method.Path.Target == TargetSame {
			r.c.Spill.Free(work[i].target)
		}
	}
}

// siteData is the input of a site's linears on the method's path and the output
// that candidates should reproduce from it: [B, T, In], [B, T, C].
type siteData struct{ x, target []float32 }

// input runs a batch up to a site on the method's path and returns what the
// site's linears read there, [B, T, In].
func (r *layerRun) input(batch int, site models.Site) ([]float32, error) {
	stream, layer, aq := r.state.Exposed[batch], r.exact, (*models.ActQuant)(nil)
	switch r.c.Method.Path.Expose {
	case ExposeNone:
		stream = r.state.FP[batch]
	case ExposeGroup:
		layer, aq = r.partly.Layer, r.c.Format.ActQuant()
	}
	defer r.c.Spill.Rest(stream)
	return r.c.Runner.Input(r.c.Batches[batch], site, stream, layer, aq)
}

// siteData is a batch's input of a site and the target.
func (r *layerRun) siteData(batch int, site models.Site) (d siteData, err error) {
	if d.x, err = r.input(batch, site); err != nil {
		return d, err
	}
	same := r.c.Method.Path.Target == TargetSame
	switch {
	case r.linearsOnly(site):
		from := d.x
		if !same {
			if from, err = r.unquantizedInput(batch, site); err != nil {
				return d, err
			}
		}
		d.target, err = r.c.Runner.Linears(r.c.Batches[batch], site, from, r.exact, nil, nil)
	case same:
		d.target, err = r.c.Runner.Module(r.c.Batches[batch], site, d.x, r.exact, nil, nil)
	default:
		d.target = r.fp[batch].outputs[outputSites[outputIndex(site)]]
	}
	return d, err
}

// meanTokens lists the tokens that channel means are taken over.
func (r *layerRun) meanTokens(sample int, tokens SampleTokens) []int {
	t := &r.c.Method.Tokens
	if t.Means == MeansKept || t.Control == ControlFewer && len(tokens.Index) == 0 {
		return tokens.Index
	}
	all := make([]int, r.samples[sample].Len())
	for i := range all {
		all[i] = i
	}
	return all
}

// keepWhole moves a batch's data to where it stays during a search: the input, and the
// target where it is not an output that is kept already.
func (r *layerRun) keepWhole(d siteData) (kept siteData, err error) {
	if kept.x, err = r.c.Spill.Keep(d.x); err != nil {
		return kept, err
	}
	if kept.target = d.target; r.c.Method.Path.Target == TargetSame {
		kept.target, err = r.c.Spill.Keep(d.target)
	}
	return kept, err
}

// wholeBatch is the workload of a batch whose tokens need each other.
func wholeBatch(b *models.Batch, d siteData, sets []SampleTokens) workload {
	w := workload{batch: b, siteData: d}
	for row, sample := range b.Index {
		for i, t := range sets[sample].Index {
			w.rows = append(w.rows, weightedRow{at: row*b.T + t, sample: sample, weight: float64(sets[sample].Weight[i])})
		}
	}
	return w
}
