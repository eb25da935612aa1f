package ptq

import (
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/models"
)

// Importance is a way of telling how much a token matters. A new one is a value
// of this type, passed to the stages beside the built-in ones.
type Importance struct {
	Name  string
	Title string
	// Needs says which fields of TokenView Score reads, so that nothing else is
	// computed.
	Needs Needs
	// Score returns one finite value ≥ 0 per token of the sample; larger is more
	// important. Nil: known but not built yet.
	Score func(v *TokenView) []float32
}

// Needs names the measurements that an [Importance] reads.
type Needs struct {
	Gradient bool // TokenView.Gradient: the result of [Calibration.Gradients]
	Error    bool // TokenView.Error: a pass along both paths
	Product  bool // TokenView.Product: a pass along both paths and a backward pass
	Norm     bool // TokenView.Norm: a pass along both paths
}

// walk reports whether samples must be run along both paths.
func (n Needs) walk() bool { return n.Error || n.Product || n.Norm }

// TokenView is what an [Importance] sees of one sample at one output site. All
// slices have one value per token.
type TokenView struct {
	Layer    int
	Site     models.Site // O or Down
	Sample   int
	Modality []models.Modality
	// Gradient is mean_c |g|, g the gradient of the sample's answer loss at the
	// site's output in the unquantized model.
	Gradient []float32
	// Error is mean_c |e|, e the error at the site's output when weights and
	// activations are rounded to nearest: of all layers up to this site where the
	// method exposes its path, of this layer alone where it doesn't.
	Error []float32
	// Product is Σ_c |g·e|, the first-order bound on the change of loss.
	Product []float32
	// Norm is the Euclidean norm of the layer's input on the method's path.
	Norm []float32
	// Rand is seeded per layer, site and sample.
	Rand *rand.Rand
}

// Importances lists the built-in importances.
func Importances() []Importance {
	return []Importance{
		{Name: "uniform", Title: "all tokens alike", Score: func(v *TokenView) []float32 {
			return fill(len(v.Modality), 1)
		}},
		{Name: "modality", Title: "mean gradient of the token's modality", Needs: Needs{Gradient: true}, Score: modalityScore},
		{Name: "gradient", Title: "mean |g|", Needs: Needs{Gradient: true}, Score: func(v *TokenView) []float32 { return v.Gradient }},
		{Name: "error", Title: "mean |e|", Needs: Needs{Error: true}, Score: func(v *TokenView) []float32 { return v.Error }},
		{Name: "gradient*error", Title: "Σ |g·e|", Needs: Needs{Product: true}, Score: func(v *TokenView) []float32 { return v.Product }},
		{Name: "norm", Title: "norm of the layer's input (RSQ's ActNorm)", Needs: Needs{Norm: true}, Score: func(v *TokenView) []float32 { return v.Norm }},
		{Name: "random", Title: "random, the control of a selection", Score: func(v *TokenView) []float32 {
			out := make([]float32, len(v.Modality))
			for i := range out {
				out[i] = v.Rand.Float32()
			}
			return out
		}},
		{Name: "attention", Title: "attention received (RSQ's AttnCon)"},
		{Name: "integrated", Title: "integrated gradients of the error (QIG)"},
	}
}

func fill(n int, value float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = value
	}
	return out
}

// modalityScore is the mean gradient magnitude over the sample's tokens of the
// same modality.
func modalityScore(v *TokenView) []float32 {
	var sum [3]float64
	var count [3]int
	for t, m := range v.Modality {
		sum[m] += float64(v.Gradient[t])
		count[m]++
	}
	out := make([]float32, len(v.Modality))
	for t, m := range v.Modality {
		out[t] = float32(sum[m] / float64(count[m]))
	}
	return out
}

// findImportance looks a name up among the caller's own and the built-in
// importances.
func findImportance(name string, own []Importance) (Importance, error) {
	for _, list := range [][]Importance{own, Importances()} {
		for _, imp := range list {
			if imp.Name == name {
				return imp, nil
			}
		}
	}
	return Importance{}, fmt.Errorf("ptq: unknown importance %q; expected %s", name, choices(name, importanceNames(own)))
}

func importanceNames(own []Importance) []string {
	var names []string
	for _, list := range [][]Importance{Importances(), own} {
		for _, imp := range list {
			names = append(names, imp.Name)
		}
	}
	return names
}

// checkScores refuses what no selection can be made from.
func checkScores(name string, v *TokenView, scores []float32) error {
	if len(scores) != len(v.Modality) {
		return fmt.Errorf("ptq: importance %q gave %d values for the %d tokens of sample %d; expected one per token", name, len(scores), len(v.Modality), v.Sample)
	}
	for t, s := range scores {
		if !(s >= 0) || s > maxScore {
			return fmt.Errorf("ptq: importance %q is %v at layer %d, %s, sample %d, token %d; expected a finite number ≥ 0", name, s, v.Layer, v.Site, v.Sample, t)
		}
	}
	return nil
}

// maxScore keeps sums of scores finite.
const maxScore = 1e30

// viewRand derives the generator of one layer, site and sample, so that a
// sample's numbers do not depend on which samples are drawn before it.
func viewRand(seed [2]uint64, layer, site, sample int) *rand.Rand {
	return rand.New(rand.NewPCG(seed[0]^uint64(layer)<<32^uint64(site), seed[1]^uint64(sample)))
}
