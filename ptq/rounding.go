package ptq

import (
	"context"
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// dampRetries is how often damping is added again to a Hessian that has no
// Cholesky factor (RSQ's released code).
const dampRetries = 50

// clipTokens is the number of tokens that a clip search aims at (AWQ's released
// code, which takes every ⌊n/512⌋-th of n).
const clipTokens = 512

// needsGram reports whether rounding reads Σ a·x·xᵀ of the sites' inputs.
func (r *layerRun) needsGram() bool {
	return r.c.Method.Rounding.solves() || r.c.Method.Rounding.Clip != ClipOff
}

// gatherGram runs the method's path up to a site whose scales are folded and
// leaves (2/samples)·Σ a_t·x_t·xᵀ_t in r.grams, x_t what the scaled linears read and a_t
// the token-level calibration set's weight or, for a clip search, 1 on evenly
// spaced tokens. Inputs are taken before they are rounded. For RoundGPTAQ the same sum
// of (x_fp − x)·xᵀ goes to r.drifts, x_fp the input on the unquantized path, scaled alike.
func (r *layerRun) gatherGram(ctx context.Context, site models.Site) error {
	if !r.needsGram() {
		return nil
	}
	in := r.exact.Linears(site)[0].In
	sums := moments{gram: make([]float64, in*in), weights: r.gramWeights(site), in: in}
	if r.c.Method.Rounding.Kind == RoundGPTAQ {
		sums.drift = make([]float64, in*in)
	}
	waiting := make([]*sampleInput, len(r.samples)) // samples whose turn has not come
	next := 0
	err := ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) (pathInput, error) {
		return r.bothInputs(i, site, sums.drift != nil)
	}, func(i int, p pathInput) error {
		b := r.c.Batches[i]
		for row, sample := range b.Index {
			from, to := row*b.T*in, row*b.T*in+b.Seqs[row].Len()*in
			waiting[sample] = &sampleInput{x: r.scaled(site, p.x[from:to], r.c.Method.Path.Expose != ExposeGroup)}
			if p.fp != nil {
				waiting[sample].fp = r.scaled(site, p.fp[from:to], true)
			}
		}
		for next < len(waiting) && waiting[next] != nil { // in sample order, whatever the batches
			sums.add(next, waiting[next])
			waiting[next] = nil
			next++
		}
		return r.step(ctx)
	})
	if err != nil {
		return err
	}
	for i := range sums.gram {
		sums.gram[i] *= 2 / float64(len(r.samples))
	}
	for i := range sums.drift {
		sums.drift[i] *= 2 / float64(len(r.samples))
	}
	r.grams[site], r.drifts[site] = sums.gram, sums.drift
	return nil
}

// pathInput is a batch's input of a site on the method's path and, where asked
// for, on the unquantized one, [B, T, In]; sampleInput the tokens of one sample.
type (
	pathInput   struct{ x, fp []float32 }
	sampleInput struct{ x, fp []float32 }
)

// bothInputs runs a batch up to a site.
func (r *layerRun) bothInputs(batch int, site models.Site, fp bool) (p pathInput, err error) {
	if p.x, err = r.input(batch, site); err != nil || !fp {
		return p, err
	}
	p.fp, err = r.unquantizedInput(batch, site)
	return p, err
}

// moments are the sums that rounding reads.
type moments struct {
	gram, drift []float64   // [in, in]; drift nil where nothing reads it
	weights     [][]float32 // [sample][token]
	in          int
}

// add takes one sample; its fp is overwritten.
func (m *moments) add(sample int, s *sampleInput) {
	kernels.AddGram(m.gram, s.x, m.weights[sample], m.in)
	if m.drift == nil {
		return
	}
	for i := range s.fp {
		s.fp[i] -= s.x[i]
	}
	kernels.AddCross(m.drift, s.fp, s.x, m.weights[sample], m.in)
}

// scaled copies inputs, divided by the site's factors where the layer that gave
// them does not have those folded: every one but the exposed path's under ExposeGroup.
func (r *layerRun) scaled(site models.Site, x []float32, divide bool) []float32 {
	x = slices.Clone(x)
	s := r.smooth[site]
	if s == nil || !divide {
		return x
	}
	for i := range x {
		x[i] /= s[i%len(s)]
	}
	return x
}

// gramWeights is a weight per token, [sample][token].
func (r *layerRun) gramWeights(site models.Site) [][]float32 {
	out := make([][]float32, len(r.samples))
	if r.c.Method.Rounding.solves() {
		for s, set := range r.tokens.At(site) {
			out[s] = set.Dense(r.samples[s].Len())
		}
		return out
	}
	total := 0
	for _, s := range r.samples {
		total += s.Len()
	}
	step := max(1, total/clipTokens)
	at := 0
	for s, sample := range r.samples {
		out[s] = make([]float32, sample.Len())
		for t := range out[s] {
			if at%step == 0 {
				out[s][t] = 1
			}
			at++
		}
	}
	return out
}

// roundSite rounds the linears of a site of the folded layer by the method's
// algorithm.
func (r *layerRun) roundSite(site models.Site) error {
	if !r.needsGram() {
		return r.partly.roundSite(r.folded, site, r.c.Format, r.c.Fallback)
	}
	targets := r.partly.Layer.Linears(site)
	for i, lin := range r.folded.Linears(site) {
		name := linearNames(site)[i]
		round := r.solveLinear
		if !r.c.Method.Rounding.solves() {
			round = r.clipLinear
		}
		grid, w, err := round(lin, name, site)
		if err != nil {
			return fmt.Errorf("ptq: layer %d, %s: %w", r.folded.Index, name, err)
		}
		*targets[i] = models.Linear{W: w, B: lin.B, Out: lin.Out, In: lin.In}
		r.partly.Grids[name] = grid
	}
	return nil
}

// clipLinear clips a weight, except those of queries and keys, and rounds it to
// nearest.
func (r *layerRun) clipLinear(lin *models.Linear, name string, site models.Site) (*Grid, []float32, error) {
	group, err := checkLinear(lin, r.c.Format, r.c.Fallback)
	if err != nil || name == "q_proj" || name == "k_proj" {
		return roundLinear(lin, r.c.Format, r.c.Fallback)
	}
	bound := make([]float32, len(lin.W)/group)
	kernels.ClipGroups(bound, lin.W, r.grams[site], lin.Out, lin.In, group, r.c.Format.Bits, r.c.Format.Symmetric)
	r.bounds[name] = bound
	clipped := *lin
	clipped.W = slices.Clone(lin.W)
	kernels.ClampGroups(clipped.W, bound, group)
	return roundLinear(&clipped, r.c.Format, r.c.Fallback)
}

// solveLinear rounds a weight column by column.
func (r *layerRun) solveLinear(lin *models.Linear, name string, site models.Site) (*Grid, []float32, error) {
	group, err := checkLinear(lin, r.c.Format, r.c.Fallback)
	if err != nil {
		return nil, nil, err
	}
	o := r.solveOptions(group, lin.In)
	o.Drift, o.DriftWeight = r.drifts[site], r.c.Method.Rounding.Drift
	s, err := kernels.SolveColumns(lin.W, lin.Out, lin.In, r.grams[site], o)
	if err != nil {
		return nil, nil, err
	}
	if s.Attempts > 1 {
		r.report.Events = append(r.report.Events, event("damping", "layer %d, %s: the Hessian needed its damping %d times", r.folded.Index, name, s.Attempts))
	}
	if len(s.Dead) > 0 {
		r.report.Events = append(r.report.Events, event("dead-column", "layer %d, %s: %d of %d input columns are zero on all counted tokens; their weights become 0", r.folded.Index, name, len(s.Dead), lin.In))
	}
	grid, w := solvedGrid(s, lin, group, r.c.Format.Symmetric)
	return grid, w, nil
}

func (r *layerRun) solveOptions(group, in int) kernels.SolveOptions {
	m := r.c.Method.Rounding
	o := kernels.SolveOptions{
		Rule:  kernels.GridRule{Kind: m.Grid, Bits: r.c.Format.Bits, Symmetric: r.c.Format.Symmetric},
		Block: m.Block, Damp: m.Damp, Retries: dampRetries, ActOrder: m.ActOrder, StaticGroups: m.StaticGroups,
		InPlace: true, // linears of a site are solved one after the other
	}
	if m.Grid == "" {
		o.Rule.Kind = kernels.GridRange
	}
	if group < in {
		o.Group = group
	}
	return o
}

// solvedGrid writes a solution as float32: steps first, values from them, so that
// values lie on the grid exactly. Symmetric grids have no zero points: those of
// GPTQ's rule shift codes only.
func solvedGrid(s *kernels.Solution, lin *models.Linear, group int, symmetric bool) (*Grid, []float32) {
	grid := &Grid{Group: group, Step: make([]float32, len(s.Step))}
	if !symmetric {
		grid.Zero = make([]float32, len(s.Zero))
	}
	for i := range s.Step {
		grid.Step[i] = float32(s.Step[i])
		if !symmetric {
			grid.Zero[i] = float32(s.Zero[i])
		}
	}
	w := make([]float32, len(lin.W))
	for i := range w {
		g := i / group // groups are runs of columns
		w[i] = kernels.Dequantize(float32(s.Codes[i]), grid.Step[g], float32(s.Zero[g]))
	}
	return grid, w
}
