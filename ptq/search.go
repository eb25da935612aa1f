package ptq

import (
	"context"
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// A search measures J(α) for every exponent and keeps the first strict minimum.
//
// The direct form is always used: candidates run on tokens. The Gram form
// J = tr(E·H·Eᵀ) needs a squared error that is linear in the weights; the default
// metric is an absolute one, activations are rounded nonlinearly, targets lie on
// another path than inputs, and the inspected module is not linear. What a token
// costs is saved instead: at sites whose module treats tokens alone (o, gate_up,
// down), candidates run on the token-level calibration set only, its rows packed
// without padding. Attention needs all tokens as context.

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

// search finds the factors of a site and leaves them in r.smooth.
func (r *layerRun) search(ctx context.Context, site models.Site) (*SiteReport, error) {
	means, work, err := r.gather(ctx, site)
	if err != nil {
		return nil, err
	}
	defer r.forget(site, work)
	points := r.c.Method.Search.Points
	report := &SiteReport{Site: site, Tokens: Count(r.tokens.At(site))}
	channels := r.exact.O.Out
	cand, err := newCandidate(r.exact, site, r.c.Format, r.c.Fallback)
	if err != nil {
		return nil, err
	}
	best, least := 0, math.Inf(1)
	for k := range points {
		if err := r.step(ctx); err != nil {
			return nil, err
		}
		alpha := float64(k) / float64(points)
		costs, err := r.costs(ctx, cand, ScaleFactors(means, alpha), work)
		if err != nil {
			return nil, err
		}
		var sum float64
		for _, j := range costs { // in sample order
			sum += j
		}
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			return nil, fmt.Errorf("the search objective is %v at α = %v; expected a finite number", sum, alpha)
		}
		report.Alphas = append(report.Alphas, alpha)
		report.Curve = append(report.Curve, sum/(float64(report.Tokens)*float64(channels)))
		if sum < least { // the first strict minimum
			best, least = k, sum
		}
	}
	report.Alpha = report.Alphas[best]
	r.smooth[site] = ScaleFactors(means, report.Alpha)
	return report, nil
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
		return r.c.Runner.TokenError(w.batch, cand.site, w.x, cand.layer, s, aq, w.target, metric)
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
	packed := newPacker(r.c, r.exact, site)
	err = ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) (siteData, error) {
		return r.siteData(i, site)
	}, func(i int, d siteData) error {
		b := r.c.Batches[i]
		for row, sample := range b.Index {
			tokens := r.tokens.At(site)[sample]
			m.add(b, row, d.x, r.meanTokens(sample, tokens))
			if site == models.QKV {
				continue
			}
			if err := packed.add(b, row, d, tokens); err != nil {
				return err
			}
		}
		if site == models.QKV {
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
	if site != models.QKV {
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
		if site != models.QKV || r.c.Method.Path.Target == TargetSame {
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
	d.target = r.fp[batch].outputs[outputSites[outputIndex(site)]]
	if r.c.Method.Path.Target == TargetSame {
		d.target, err = r.c.Runner.Module(r.c.Batches[batch], site, d.x, r.exact, nil, nil)
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

// packer collects rows of the token-level calibration set into batches of
// rowsPerCall.
type packer struct {
	c       *Calibration
	in, out int
	batch   *models.Batch // of any content: see open
	siteData
	rows []weightedRow
	work []workload
}

func newPacker(c *Calibration, l *models.Layer, site models.Site) *packer {
	return &packer{c: c, in: l.Linears(site)[0].In, out: l.O.Out}
}

// add appends the tokens of one sample.
func (p *packer) add(b *models.Batch, row int, d siteData, tokens SampleTokens) error {
	for i, t := range tokens.Index {
		if tokens.Weight[i] == 0 {
			continue
		}
		if len(p.rows) == 0 {
			if err := p.open(); err != nil {
				return err
			}
		}
		at, k := row*b.T+t, len(p.rows)
		p.rows = append(p.rows, weightedRow{at: k, sample: b.Index[row], weight: float64(tokens.Weight[i])})
		copy(p.x[k*p.in:], d.x[at*p.in:(at+1)*p.in])
		copy(p.target[k*p.out:], d.target[at*p.out:(at+1)*p.out])
		if len(p.rows) == rowsPerCall {
			p.flush()
		}
	}
	return nil
}

// open begins a batch of zeros. The module looks at no other token, so that the
// sequence's content and its positions play no part.
func (p *packer) open() (err error) {
	if p.batch == nil {
		batches, err := p.c.Model.NewBatches([]*models.Sequence{models.TextSequence(make([]int32, rowsPerCall))}, [][]float32{make([]float32, rowsPerCall*p.out)})
		if err != nil {
			return err
		}
		if len(batches) != 1 || batches[0].B != 1 || batches[0].T != rowsPerCall {
			return fmt.Errorf("a sequence of %d tokens was not packed as one row of that length", rowsPerCall)
		}
		p.batch = batches[0]
	}
	if p.x, err = p.c.Spill.Floats(rowsPerCall * p.in); err != nil {
		return err
	}
	p.target, err = p.c.Spill.Floats(rowsPerCall * p.out)
	return err
}

// flush closes the current batch.
func (p *packer) flush() {
	p.c.Spill.Rest(p.x, p.target)
	p.work = append(p.work, workload{batch: p.batch, siteData: p.siteData, rows: p.rows})
	p.siteData, p.rows = siteData{}, nil
}

func (p *packer) finish() []workload {
	if len(p.rows) > 0 {
		p.flush()
	}
	return p.work
}

// channelMeans accumulates Σ_t|x_tc| per sample in float64.
type channelMeans struct {
	sums   [][]float64 // [sample][in]
	counts []int
	in     int
}

func newChannelMeans(samples, in int) *channelMeans {
	return &channelMeans{sums: make([][]float64, samples), counts: make([]int, samples), in: in}
}

// add takes the given tokens of row of the batch.
func (m *channelMeans) add(b *models.Batch, row int, x []float32, tokens []int) {
	sum := make([]float64, m.in)
	for _, t := range tokens {
		at := (row*b.T + t) * m.in
		for c, v := range x[at : at+m.in] {
			sum[c] += abs(v)
		}
	}
	m.sums[b.Index[row]], m.counts[b.Index[row]] = sum, len(tokens)
}

// means adds the samples in their order.
func (m *channelMeans) means() ([]float64, error) {
	total := make([]float64, m.in)
	n := 0
	for i, sum := range m.sums {
		for c, v := range sum {
			total[c] += v
		}
		n += m.counts[i]
	}
	for c := range total {
		total[c] /= float64(n)
		if math.IsNaN(total[c]) || math.IsInf(total[c], 0) {
			return nil, fmt.Errorf("the mean input magnitude of channel %d is %v; expected a finite number", c, total[c])
		}
	}
	return total, nil
}
