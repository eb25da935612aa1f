package ptq

import (
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// integrated computes QIG's importance of a batch's tokens at a site (ucas-xiang/QIG, released
// code): with x the site's input on the unquantized path, x₀ as Tokens.Integrate.From says, and
// x_k = x₀ + (k/(n−1))·(x − x₀),
//
//	λ_t = mean_c |(x − x₀)_tc · 1/n Σ_k ∂E/∂x_tc (x_k)|
//
// with E of [models.Runner.ModuleErrorGradient].
func (r *layerRun) integrated(batch int, site models.Site, rounded *models.Layer) ([]float32, error) {
	c, b := r.c, r.c.Batches[batch]
	in := r.exact.Linears(site)[0].In
	to, err := r.unquantizedInput(batch, site)
	if err != nil {
		return nil, err
	}
	from, aq := make([]float32, len(to)), (*models.ActQuant)(nil)
	if c.Method.Tokens.Integrate.From == FromPath {
		if from, err = r.input(batch, site); err != nil {
			return nil, err
		}
		aq = constantRounding(c.Format)
	}
	steps := c.Method.Tokens.Integrate.Steps
	sum := make([]float64, len(to))
	x := make([]float32, len(to))
	for k := range steps {
		part := float64(k) / float64(steps-1)
		for i := range x {
			x[i] = float32(float64(from[i]) + part*(float64(to[i])-float64(from[i])))
		}
		g, err := c.Runner.ModuleErrorGradient(b, site, x, r.exact, rounded, aq)
		if err != nil {
			return nil, err
		}
		for i, v := range g {
			sum[i] += float64(v)
		}
	}
	out := make([]float32, b.B*b.T)
	for t := range out {
		var total float64
		for i := t * in; i < (t+1)*in; i++ {
			total += math.Abs((float64(to[i]) - float64(from[i])) * sum[i])
		}
		out[t] = float32(total / (float64(steps) * float64(in)))
	}
	return out, nil
}

// unquantizedInput is a site's input on the unquantized path.
func (r *layerRun) unquantizedInput(batch int, site models.Site) ([]float32, error) {
	defer r.c.Spill.Rest(r.state.FP[batch])
	return r.c.Runner.Input(r.c.Batches[batch], site, r.state.FP[batch], r.exact, nil)
}

// constantRounding is the format's activation quantizer or, at 16 bits, one that rounds
// nothing: a rounded module behind it is taken as a constant all the same.
func constantRounding(f Format) *models.ActQuant {
	if aq := f.ActQuant(); aq != nil {
		return aq
	}
	return models.Unrounded()
}

// tokenNorms is ‖x_t‖₂ or, with y, ‖x_t − y_t‖₂, [B, T].
func tokenNorms(b *models.Batch, x, y []float32) []float32 {
	c := width(b, x)
	out := make([]float32, b.B*b.T)
	for t := range out {
		var sum float64
		for i := t * c; i < (t+1)*c; i++ {
			d := float64(x[i])
			if y != nil {
				d -= float64(y[i])
			}
			sum += d * d
		}
		out[t] = float32(math.Sqrt(sum))
	}
	return out
}

// tokenDistances is the mean of ‖x_t − x_j‖² over the tokens j of t's sample, [B, T]:
// ‖x_t − m‖² + mean_j ‖x_j − m‖² with m the sample's mean.
func tokenDistances(b *models.Batch, x []float32) []float32 {
	c := width(b, x)
	out := make([]float32, b.B*b.T)
	for row, s := range b.Seqs {
		n := s.Len()
		mean := make([]float64, c)
		for i, v := range x[row*b.T*c:][:n*c] {
			mean[i%c] += float64(v) / float64(n)
		}
		from := make([]float64, n)
		var spread float64
		for t := range n {
			for k, m := range mean {
				d := float64(x[(row*b.T+t)*c+k]) - m
				from[t] += d * d
			}
			spread += from[t] / float64(n)
		}
		for t, d := range from {
			out[row*b.T+t] = float32(d + spread)
		}
	}
	return out
}

// frequencies counts, for every token of every sample, the tokens of all samples with the
// same id.
func frequencies(samples []*models.Sequence) [][]float32 {
	count := map[int32]float32{}
	for _, s := range samples {
		for _, id := range s.IDs {
			count[id]++
		}
	}
	out := make([][]float32, len(samples))
	for i, s := range samples {
		out[i] = make([]float32, len(s.IDs))
		for t, id := range s.IDs {
			out[i][t] = count[id]
		}
	}
	return out
}
