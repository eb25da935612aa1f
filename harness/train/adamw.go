package train

import (
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// adamW is Adam with decoupled weight decay (Loshchilov and Hutter,
// arXiv:1711.05101, algorithm 2):
//
//	m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²
//	w ← w − η·(m̂ / (√v̂ + ε) + λw)
//
// with m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ). Matrices decay; gains and biases don't.
type adamW struct {
	recipe *Recipe
	params []models.Param
	m, v   [][]float32
}

func newAdamW(r *Recipe, params []models.Param) *adamW {
	a := &adamW{recipe: r, params: params}
	for _, p := range params {
		a.m = append(a.m, make([]float32, len(p.Data)))
		a.v = append(a.v, make([]float32, len(p.Data)))
	}
	return a
}

// rate is the learning rate of a step, counted from 1.
func (r *Recipe) rate(step int) float64 {
	if step <= r.Warmup {
		return r.Peak * float64(step) / float64(r.Warmup)
	}
	t := float64(step-r.Warmup) / float64(max(r.Steps-r.Warmup, 1))
	return r.Peak * (r.Final + (1-r.Final)*(1+math.Cos(math.Pi*min(t, 1)))/2)
}

// step applies the gradients and returns their norm before clipping. Step counts
// from 1. The sum for the norm runs in float64 in a fixed order.
func (a *adamW) step(step int, grads [][]float32) float64 {
	sum := 0.0
	for _, g := range grads {
		for _, x := range g {
			sum += float64(x) * float64(x)
		}
	}
	norm := math.Sqrt(sum)
	scale := 1.0
	if norm > a.recipe.Clip {
		scale = a.recipe.Clip / norm
	}
	r := a.recipe
	rate := r.rate(step)
	c1, c2 := 1-math.Pow(r.Beta1, float64(step)), 1-math.Pow(r.Beta2, float64(step))
	for i, p := range a.params {
		decay := 0.0
		if len(p.Shape) > 1 {
			decay = r.Decay
		}
		update(p.Data, a.m[i], a.v[i], grads[i], float32(scale), float32(r.Beta1), float32(r.Beta2),
			float32(rate/c1), float32(1/math.Sqrt(c2)), float32(1-rate*decay))
	}
	return norm
}

const adamEpsilon = 1e-8

// update is one tensor's step; lr holds η/(1−β₁ᵗ), rootC2 1/√(1−β₂ᵗ), keep 1−ηλ.
func update(w, m, v, g []float32, scale, beta1, beta2, lr, rootC2, keep float32) {
	for i, x := range g {
		x *= scale
		m[i] = float32(beta1*m[i]) + float32((1-beta1)*x)
		v[i] = float32(beta2*v[i]) + float32(float32((1-beta2)*x)*x)
		root := float32(math.Sqrt(float64(v[i]))) * rootC2
		w[i] = float32(keep*w[i]) - float32(lr*m[i])/(root+adamEpsilon)
	}
}
