package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The bound is the best of the ten by the error of the group's outputs, token by
// token.
func TestClipGroupsEqualsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const rows, cols, group, tokens, bits = 6, 16, 8, 30, 3
	w, x := make([]float32, rows*cols), make([]float32, tokens*cols)
	for i := range w {
		w[i] = float32(rng.NormFloat64() * math.Exp(rng.NormFloat64()))
	}
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	gram := make([]float64, cols*cols)
	AddGram(gram, x, nil, cols)
	for _, symmetric := range []bool{false, true} {
		bound := make([]float32, rows*cols/group)
		ClipGroups(bound, w, gram, rows, cols, group, bits, symmetric)
		shrunk := 0
		for k := range bound {
			r, g := k/(cols/group), k%(cols/group)
			values := w[r*cols+g*group : r*cols+(g+1)*group]
			top, best, least := absMax(values), float32(0), math.Inf(1)
			for i := range 10 {
				m := top * float32(1-float64(i)/20)
				q := make([]float32, group)
				for c, v := range values {
					q[c] = max(-m, min(m, v))
				}
				if symmetric {
					RoundSymmetric(q, nil, q, 1, group, group, bits)
				} else {
					RoundAsymmetric(q, nil, nil, q, 1, group, group, bits)
				}
				var sum float64
				for token := range tokens {
					var e float64
					for c := range group {
						e += float64(x[token*cols+g*group+c]) * (float64(values[c]) - float64(q[c]))
					}
					sum += e * e
				}
				if sum < least {
					least, best = sum, m
				}
			}
			if bound[k] != best {
				t.Errorf("symmetric %t, group %d: bound %v, want %v", symmetric, k, bound[k], best)
			}
			if best < top {
				shrunk++
			}
		}
		if shrunk == 0 {
			t.Error("nothing was clipped")
		}
		ClampGroups(w, bound, group)
	}
}
