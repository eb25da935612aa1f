package ptq

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models"
)

// Importance is a way of telling how much a token matters. A new one is a value
// of this type that a method carries: see [Tokens.Use].
type Importance struct {
	Name  string
	Title string
	// Needs says which fields of TokenView Score reads, so that nothing else is
	// computed.
	Needs Needs
	// Score returns one finite value ≥ 0 per token of the sample; larger is more
	// important.
	Score func(v *TokenView) []float32
}

// Needs names the measurements that an [Importance] reads.
type Needs struct {
	Gradient bool // TokenView.Gradient: the result of [Calibration.Gradients]
	Error    bool // TokenView.Error: a pass along both paths
	Product  bool // TokenView.Product: a pass along both paths and a backward pass
	// The others are measured when a layer's turn comes, on the stream that the layers
	// calibrated before it left: see [LateTokens].
	Norm       bool // TokenView.Norm
	Change     bool // TokenView.Change: a pass through the layer
	Distance   bool // TokenView.Distance
	Attention  bool // TokenView.Attention: a pass through the attention
	Integrated bool // TokenView.Integrated: Tokens.Integrate.Steps backward passes through the site's module
	BlockError bool // TokenView.BlockError: a backward pass through the layer
}

// walk reports whether samples must be run along both paths beforehand.
func (n Needs) walk() bool { return n.Error || n.Product }

// early reports whether gradients or errors are needed.
func (n Needs) early() bool { return n.Gradient || n.walk() }

// Late reports whether the importance can only be measured while layers are
// calibrated.
func (n Needs) Late() bool {
	return n.Norm || n.Change || n.Distance || n.Attention || n.Integrated || n.BlockError
}

// TokenView is what an [Importance] sees of one sample at one site. All slices have
// one value per token; what the importance doesn't need is nil.
type TokenView struct {
	Layer int
	// Site is O or Down, at whose outputs gradients and errors are taken, or, for
	// importances that are measured late, the site whose turn it is.
	Site     models.Site
	Sample   int
	Modality []models.Modality
	// Frequency is how many tokens of all samples have the token's id.
	Frequency []float32
	// Parts are the method's.
	Parts Parts
	// Gradient is mean_c |g|, g the gradient of the sample's answer loss at the
	// site's output in the unquantized model.
	Gradient []float32
	// Error is mean_c |e|, e the error at the site's output when weights and
	// activations are rounded to nearest: of all layers up to this site where the
	// method exposes its path, of this layer alone where it doesn't.
	Error []float32
	// Product is Σ_c |g·e|, the first-order bound on the change of loss.
	Product []float32
	// Norm is ‖x_t‖₂, x the layer's input on the method's path.
	Norm []float32
	// Change is ‖y_t − x_t‖₂, y the output of the unquantized layer for that input.
	Change []float32
	// Distance is the mean of ‖x_t − x_j‖² over all tokens j of the sample.
	Distance []float32
	// Attention is the attention received in the unquantized layer for that input,
	// summed over heads and queries.
	Attention []float32
	// Integrated is mean_c |(x − x₀)_c · ∫ ∂E/∂x_c|, E the error of the rounded module summed
	// over tokens (mean over channels of magnitudes), x the site's input and the
	// integral taken along Tokens.Integrate.
	Integrated []float32
	// BlockError is γ_t², γ_t the mean over output channels of the site's linears of
	// |∂E/∂y_t|, E the squared error at the layer's output when its weights are rounded to
	// nearest, against the unquantized model's: see [models.Runner.BlockErrorGradients].
	BlockError []float32
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
		{Name: "random", Title: "random, the control of a selection", Score: func(v *TokenView) []float32 {
			out := make([]float32, len(v.Modality))
			for i := range out {
				out[i] = v.Rand.Float32()
			}
			return out
		}},
		{Name: "gradient^2", Title: "(mean |g|)²", Needs: Needs{Gradient: true}, Score: func(v *TokenView) []float32 {
			return product(v.Gradient, v.Gradient)
		}},
		{Name: "gradient*error-means", Title: "mean |g| · mean |e|", Needs: Needs{Gradient: true, Error: true}, Score: func(v *TokenView) []float32 {
			return product(v.Gradient, v.Error)
		}},
		{Name: "attention", Title: "attention received (RSQ's AttnCon)", Needs: Needs{Attention: true}, Score: func(v *TokenView) []float32 { return v.Attention }},
		{Name: "norm", Title: "norm of the layer's input (RSQ's ActNorm)", Needs: Needs{Norm: true}, Score: func(v *TokenView) []float32 { return v.Norm }},
		{Name: "steady", Title: "how little the layer changes the token (RSQ's ActDiff)", Needs: Needs{Change: true}, Score: func(v *TokenView) []float32 { return fromTop(v.Change) }},
		{Name: "distance", Title: "mean squared distance from the sample's tokens (RSQ's TokenSim)", Needs: Needs{Distance: true}, Score: func(v *TokenView) []float32 { return v.Distance }},
		{Name: "rarity", Title: "how rare the token's id is (RSQ's TokenFreq)", Score: func(v *TokenView) []float32 { return fromTop(v.Frequency) }},
		{Name: "parts", Title: "1 in the parts of a sample that count (RSQ's FirstN, First&LastN)", Score: partsScore},
		{Name: "integrated", Title: "integrated gradients of the error (QIG)", Needs: Needs{Integrated: true}, Score: func(v *TokenView) []float32 { return v.Integrated }},
		{Name: "block-error", Title: "γ², the block error's gradient (VLMQ, reconstruction)", Needs: Needs{BlockError: true}, Score: func(v *TokenView) []float32 { return v.BlockError }},
	}
}

func fill(n int, value float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = value
	}
	return out
}

func product(a, b []float32) []float32 {
	out := make([]float32, len(a))
	for i := range out {
		out[i] = a[i] * b[i]
	}
	return out
}

// fromTop is the distance of each value from the largest.
func fromTop(v []float32) []float32 {
	top := slices.Max(v)
	out := make([]float32, len(v))
	for i := range out {
		out[i] = top - v[i]
	}
	return out
}

// partsScore is 1 in the chosen parts, 0 elsewhere. Parts are runs of ⌊n/Of⌋ tokens; what
// is left over belongs to the last.
func partsScore(v *TokenView) []float32 {
	n := len(v.Modality)
	out := make([]float32, n)
	size := max(1, n/max(1, v.Parts.Of))
	for t := range out {
		if slices.Contains(v.Parts.Take, min(t/size, v.Parts.Of-1)) {
			out[t] = 1
		}
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

// OwnPrefix begins the names of importances that are not built in and that a method may
// name without carrying them, such as one that is read back from a record.
const OwnPrefix = "own:"

// Use makes an importance of the caller's own rank tokens for the selection. The
// method's JSON holds its name alone.
func (t *Tokens) Use(imp Importance) {
	t.own = append(slices.Clip(t.own), imp)
	t.Importance = imp.Name
}

// find looks a name up among the method's own importances, latest first, and the built-in
// ones.
func (t Tokens) find(name string) (Importance, error) {
	for _, imp := range slices.Backward(t.own) {
		if imp.Name == name {
			return imp, nil
		}
	}
	for _, imp := range Importances() {
		if imp.Name == name {
			return imp, nil
		}
	}
	if strings.HasPrefix(name, OwnPrefix) {
		return Importance{}, fmt.Errorf("ptq: importance %q is a function of the program that made the method; declare it there and pass it to Tokens.Use", name)
	}
	return Importance{}, fmt.Errorf("ptq: unknown importance %q; expected %s", name, choices(name, t.importanceNames()))
}

// checkOwn reports an importance that is named but not at hand.
func (t Tokens) checkOwn() error {
	for _, name := range []string{t.Importance, t.weighsBy()} {
		if strings.HasPrefix(name, OwnPrefix) {
			if _, err := t.find(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Needs is what the named importance reads; nothing where there is none of that name.
func (t Tokens) Needs(name string) Needs {
	imp, err := t.find(name)
	if err != nil {
		return Needs{}
	}
	return imp.Needs
}

// importanceNames lists the importances that t may name.
func (t Tokens) importanceNames() []string {
	var names []string
	for _, list := range [][]Importance{Importances(), t.own} {
		for _, imp := range list {
			names = append(names, imp.Name)
		}
	}
	for _, name := range []string{t.Importance, t.Weight} {
		if strings.HasPrefix(name, OwnPrefix) {
			names = append(names, name)
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
