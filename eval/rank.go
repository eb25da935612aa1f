package eval

import (
	"fmt"
	"math"
	"slices"
)

// Spearman returns the rank correlation of two lists of equal length, in −1..1:
// Pearson's correlation of the ranks, tied values taking the mean of their places
// (Spearman, American Journal of Psychology 15, 1904; the form that R and SciPy use).
// It is NaN where one of the lists doesn't vary, which has no ranking to compare. NaN
// values, lengths that differ and fewer than two values are errors.
func Spearman(a, b []float64) (float64, error) {
	if len(a) != len(b) || len(a) < 2 {
		return 0, fmt.Errorf("eval: rank correlation of %d values with %d: expected two lists of one length, at least 2", len(a), len(b))
	}
	for i := range a {
		if math.IsNaN(a[i]) || math.IsNaN(b[i]) {
			return 0, fmt.Errorf("eval: rank correlation: value %d is NaN, which has no rank", i)
		}
	}
	return pearson(ranks(a), ranks(b)), nil
}

// ranks numbers values from 1 by size, tied ones alike.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case values[i] < values[j]:
			return -1
		case values[i] > values[j]:
			return 1
		}
		return 0
	})
	out := make([]float64, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			out[i] = float64(from+to+1) / 2 // the mean of from+1 … to
		}
		from = to
	}
	return out
}

// pearson is the product-moment correlation; NaN where a list doesn't vary.
func pearson(a, b []float64) float64 {
	ma, mb := Mean(a), Mean(b)
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return math.NaN()
	}
	return max(-1, min(1, ab/math.Sqrt(aa*bb)))
}

// Choice is what an objective's choice among candidates costs by the true loss.
type Choice struct {
	Pick   int     `json:"pick"`   // the objective's first strict minimum
	Best   int     `json:"best"`   // the truth's first strict minimum
	Regret float64 `json:"regret"` // truth[Pick] − truth[Best] ≥ 0
	Gain   float64 `json:"gain"`   // truth[0] − truth[Pick]: what the pick gains on the first candidate
	Room   float64 `json:"room"`   // truth[0] − truth[Best] ≥ 0: what could be gained on it
}

// ChooseBy lets an objective choose among candidates and says what the choice costs
// by their true losses. The first candidate is the one that a choice has to beat,
// such as rounding without scaling.
func ChooseBy(objective, truth []float64) (Choice, error) {
	if len(objective) != len(truth) || len(truth) == 0 {
		return Choice{}, fmt.Errorf("eval: choice by %d values among %d candidates: expected one value per candidate", len(objective), len(truth))
	}
	c := Choice{Pick: firstLeast(objective), Best: firstLeast(truth)}
	c.Regret, c.Gain, c.Room = truth[c.Pick]-truth[c.Best], truth[0]-truth[c.Pick], truth[0]-truth[c.Best]
	return c, nil
}

// firstLeast is the place of the first strict minimum.
func firstLeast(values []float64) int {
	best := 0
	for i, v := range values {
		if v < values[best] {
			best = i
		}
	}
	return best
}
