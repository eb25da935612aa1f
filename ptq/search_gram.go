package ptq

import (
	"context"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// Form is how a search computes its objective.
type Form string

// Forms.
const (
	FormDirect Form = "direct" // candidates run on tokens
	FormGram   Form = "gram"   // tr(E·H·Eᵀ)
)

// gramForm reports whether a site's objective has the Gram form and is cheaper so.
//
// The direct form runs n tokens through out·in weights for each of the points; the Gram form
// takes n·in² operations once and out·in² for each point, in float64, which are counted
// twice. n counts the tokens of the token-level calibration set.
func (r *layerRun) gramForm(site models.Site) bool {
	m := &r.c.Method
	linear := site == models.O || site == models.Down || r.linearsOnly(site)
	sameInputs := m.Path.Target == TargetSame || m.Path.Expose == ExposeNone
	if m.Search.Metric != MSE || r.c.Format.Activation != 16 || !linear || !sameInputs {
		return false
	}
	n, in, out, points := float64(Count(r.tokens.At(site))), 0.0, 0.0, float64(m.Search.Points)
	for _, lin := range r.exact.Linears(site) {
		in, out = float64(lin.In), out+float64(lin.Out)
	}
	return 2*(n*in*in+points*out*in*in) < points*n*out*in
}

// gram measures J(α) = Σ tr(E·H·Eᵀ) over the site's linears, E = W − Q(W·s)/s and
// H = Σ_t a_t·x_t·xᵀ_t: Σ_t a_t ‖E·x_t‖², which the direct form sums token by token.
func (r *layerRun) gram(ctx context.Context, site models.Site) (*objective, error) {
	means, h, err := r.gatherSearchGram(ctx, site)
	if err != nil {
		return nil, err
	}
	cand, err := newCandidate(r.exact, site, r.c.Format, r.c.Fallback)
	if err != nil {
		return nil, err
	}
	j := &objective{means: means, channels: r.inspected(site), form: FormGram, close: func() {}}
	j.cost = func(_ context.Context, s []float32) (float64, error) {
		cand.set(s)
		var sum float64
		rounded := cand.layer.Linears(site)
		for i, lin := range r.exact.Linears(site) {
			sum += gramError(lin, rounded[i].W, s, h)
		}
		return sum, nil
	}
	return j, nil
}

// gramError is tr(E·H·Eᵀ) for E = W − Ŵ/s, in float64.
func gramError(lin *models.Linear, rounded, s []float32, h []float64) float64 {
	e, eh := make([]float64, len(lin.W)), make([]float64, len(lin.W))
	for i, w := range lin.W {
		e[i] = float64(w) - float64(rounded[i])/float64(s[i%lin.In])
	}
	kernels.ParallelDgemm(false, false, lin.Out, lin.In, lin.In, 1, e, lin.In, h, lin.In, eh, lin.In, false)
	var sum float64
	for i, v := range e {
		sum += v * eh[i]
	}
	return sum
}

// gatherSearchGram runs the method's path up to a site: the channel means of its input, and
// H, to which samples are added in sample order.
func (r *layerRun) gatherSearchGram(ctx context.Context, site models.Site) (means []float64, h []float64, err error) {
	in := r.exact.Linears(site)[0].In
	h = make([]float64, in*in)
	m := newChannelMeans(len(r.samples), in)
	waiting := make([][]float32, len(r.samples)) // counted rows of samples whose turn has not come
	arrived := make([]bool, len(r.samples))
	next := 0
	err = ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) ([]float32, error) {
		return r.input(i, site)
	}, func(i int, x []float32) error {
		b := r.c.Batches[i]
		for row, sample := range b.Index {
			tokens := r.tokens.At(site)[sample]
			m.add(b, row, x, r.meanTokens(sample, tokens))
			for _, t := range tokens.Index {
				at := (row*b.T + t) * in
				waiting[sample] = append(waiting[sample], x[at:at+in]...)
			}
			arrived[sample] = true
		}
		for ; next < len(waiting) && arrived[next]; next++ {
			kernels.AddGram(h, waiting[next], r.tokens.At(site)[next].Weight, in)
			waiting[next] = nil
		}
		return r.step(ctx)
	})
	if err != nil {
		return nil, nil, err
	}
	means, err = m.means()
	return means, h, err
}
