package train

import (
	"math"
	"runtime"
	"strings"
	"sync"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// optimizer steps the matrices inside the blocks by Muon and everything else
// (embeddings, positions, gains, biases) by AdamW, as Jordan et al. propose. Both
// share one learning rate.
type optimizer struct {
	recipe *Recipe
	params []models.Param
	m      [][]float32 // first moment
	v      [][]float32 // second moment; nil where Muon steps
}

func newOptimizer(r *Recipe, params []models.Param) *optimizer {
	o := &optimizer{recipe: r, params: params}
	for _, p := range params {
		o.m = append(o.m, make([]float32, len(p.Data)))
		var v []float32
		if !orthogonal(p) {
			v = make([]float32, len(p.Data))
		}
		o.v = append(o.v, v)
	}
	return o
}

// orthogonal reports that Muon steps p: a matrix between activations, not a table of
// vectors that are looked up.
func orthogonal(p models.Param) bool {
	return len(p.Shape) == 2 && !strings.Contains(p.Name, "embed") && p.Name != "lm_head.weight"
}

// rate is the learning rate of a step, counted from 1.
func (r *Recipe) rate(step int) float64 {
	if step <= r.Warmup {
		return r.Peak * float64(step) / float64(r.Warmup)
	}
	t := float64(step-r.Warmup) / float64(max(r.Steps-r.Warmup, 1))
	return r.Peak * (r.Final + (1-r.Final)*(1+math.Cos(math.Pi*min(t, 1)))/2)
}

// step applies the gradients and returns their norm before clipping; it uses grads
// as scratch. Step counts from 1. The sum for the norm runs in float64 in a fixed order.
func (o *optimizer) step(step int, grads [][]float32) float64 {
	sum := 0.0
	for _, g := range grads {
		for _, x := range g {
			sum += float64(x) * float64(x)
		}
	}
	norm := math.Sqrt(sum)
	scale := 1.0
	if norm > o.recipe.Clip {
		scale = o.recipe.Clip / norm
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				if o.v[i] == nil {
					o.muon(i, step, grads[i])
				} else {
					o.adamW(i, step, grads[i], float32(scale))
				}
			}
		})
	}
	for i := range o.params {
		next <- i
	}
	close(next)
	wg.Wait()
	return norm
}

// keep is what a step leaves of a matrix's weights: decay is decoupled from the
// gradient; gains and biases don't decay.
func (o *optimizer) keep(i int, rate float64) float32 {
	if len(o.params[i].Shape) > 1 {
		return float32(1 - rate*o.recipe.Decay)
	}
	return 1
}

const adamEpsilon = 1e-8

// adamW steps parameter i by Adam with decoupled weight decay (Loshchilov and Hutter,
// arXiv:1711.05101, algorithm 2):
//
//	m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²
//	w ← w − η·(m̂ / (√v̂ + ε) + λw)
//
// with m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ), and g times scale, which clips.
func (o *optimizer) adamW(i, step int, grad []float32, scale float32) {
	r, rate := o.recipe, o.recipe.rate(step)
	beta1, beta2 := float32(r.Beta1), float32(r.Beta2)
	lr := float32(rate / (1 - math.Pow(r.Beta1, float64(step))))
	rootC2 := float32(1 / math.Sqrt(1-math.Pow(r.Beta2, float64(step))))
	keep := o.keep(i, rate)
	w, m, v := o.params[i].Data, o.m[i], o.v[i]
	for k, g := range grad {
		g *= scale
		m[k] = float32(beta1*m[k]) + float32((1-beta1)*g)
		v[k] = float32(beta2*v[k]) + float32(float32((1-beta2)*g)*g)
		root := float32(math.Sqrt(float64(v[k]))) * rootC2
		w[k] = float32(keep*w[k]) - float32(lr*m[k])/(root+adamEpsilon)
	}
}

// muonScale makes a Muon step as large as AdamW's usual one, root mean square 0.2, so
// that both share a learning rate (Liu et al., arXiv:2502.16982, section 2.2).
const muonScale = 0.2

// muon steps matrix i [rows, cols] by Muon (Jordan et al. 2024) with Nesterov's
// momentum μ:
//
//	m ← μm + g;  O ≈ UVᵀ where UΣVᵀ = g + μm
//	w ← w − η·(0.2·√max(rows, cols)·O + λw)
//
// Clipping doesn't matter: the step doesn't depend on the gradient's size.
func (o *optimizer) muon(i, step int, grad []float32) {
	p, m, rate := o.params[i], o.m[i], o.recipe.rate(step)
	mu := float32(o.recipe.Momentum)
	for k, g := range grad {
		m[k] = float32(mu*m[k]) + g
		grad[k] = g + float32(mu*m[k])
	}
	rows, cols := p.Shape[0], p.Shape[1]
	orthogonalize(grad, rows, cols)
	lr := float32(rate * muonScale * math.Sqrt(float64(max(rows, cols))))
	keep := o.keep(i, rate)
	for k, g := range grad {
		p.Data[k] = float32(keep*p.Data[k]) - float32(lr*g)
	}
}

// The quintic of Jordan et al.: x ← a·x + b·x³ + c·x⁵ takes singular values from
// (0, 1] to about 0.7 … 1.2 in five turns; the slope at 0 is as steep as can be.
const (
	quinticTurns = 5
	quinticA     = 3.4445
	quinticB     = -4.7750
	quinticC     = 2.0315
)

// orthogonalize replaces the matrix g [rows, cols] by nearly UVᵀ, where UΣVᵀ is its
// singular value decomposition: Newton and Schulz's iteration on the shorter side.
// A zero matrix stays zero.
func orthogonalize(g []float32, rows, cols int) {
	n, k := min(rows, cols), max(rows, cols)
	x := make([]float32, n*k)
	if rows <= cols {
		copy(x, g)
	} else {
		transpose(x, g, rows, cols)
	}
	sum := kernels.DotFloat64(x, x)
	if sum == 0 {
		return
	}
	kernels.MulScalar(x, x, float32(1/math.Sqrt(sum)))
	gram, poly, y := make([]float32, n*n), make([]float32, n*n), make([]float32, n*k)
	for range quinticTurns {
		kernels.Sgemm(false, true, n, n, k, x, k, x, k, gram, n, false)
		kernels.Sgemm(false, false, n, n, n, gram, n, gram, n, poly, n, false)
		for i := range poly {
			poly[i] = float32(quinticB*gram[i]) + float32(quinticC*poly[i])
		}
		for i := range n {
			poly[i*n+i] += quinticA
		}
		kernels.Sgemm(false, false, n, k, n, poly, n, x, k, y, k, false)
		x, y = y, x
	}
	if rows <= cols {
		copy(g, x)
	} else {
		transpose(g, x, cols, rows)
	}
}

// transpose writes the transpose of src [rows, cols] to dst.
func transpose(dst, src []float32, rows, cols int) {
	for r := range rows {
		for c := range cols {
			dst[c*rows+r] = src[r*cols+c]
		}
	}
}
