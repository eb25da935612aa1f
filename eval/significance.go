package eval

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// McNemar returns the exact two-sided p of McNemar's test (McNemar 1947;
// exact form: Fagerland, Lydersen and Laake, BMC Medical Research Methodology
// 13:91, 2013, equation 2). onlyFirst and onlySecond count the questions that
// only one of two models got right; questions on which both agree say nothing.
// Under "both are equally good" the smaller count is binomial(n, 1/2):
//
//	p = min(1, 2 Σ_{k≤min(b,c)} C(n,k) / 2ⁿ),  n = b + c
//
// The sum starts at its largest term, taken from log-gamma, and runs down by
// the ratio k/(n−k+1), so it is exact to about 1e-9 relative at a million
// discordant pairs and never overflows. No discordant pair gives 1. Samples
// are taken as independent: with strongly clustered questions trust the
// bootstrap.
func McNemar(onlyFirst, onlySecond int) (float64, error) {
	if onlyFirst < 0 || onlySecond < 0 {
		return 0, fmt.Errorf("eval: McNemar of %d and %d discordant pairs, expected counts of 0 or more", onlyFirst, onlySecond)
	}
	n, smaller := float64(onlyFirst)+float64(onlySecond), min(onlyFirst, onlySecond)
	if onlyFirst == onlySecond {
		return 1, nil
	}
	logTerm := logFactorial(n) - logFactorial(float64(smaller)) - logFactorial(n-float64(smaller)) - n*math.Ln2
	term, sum := 1.0, 1.0
	for k := smaller; k > 0 && term > sum*1e-18; k-- {
		term *= float64(k) / (n - float64(k) + 1)
		sum += term
	}
	return min(1, 2*math.Exp(logTerm)*sum), nil
}

// logFactorial returns ln n!.
func logFactorial(n float64) float64 {
	v, _ := math.Lgamma(n + 1)
	return v
}

// Holm returns p-values adjusted for a family of comparisons by Holm's
// step-down procedure (Scandinavian Journal of Statistics 6, 1979), in the
// order given: sorted ascending, the i-th of m becomes
//
//	max_{j≤i} min(1, (m−j+1)·p_j)
//
// An adjusted p below 0.05 keeps the chance of even one false discovery in
// the family below 0.05, whatever the dependence between comparisons.
func Holm(p []float64) ([]float64, error) {
	order := make([]int, len(p))
	for i, v := range p {
		if !(v >= 0 && v <= 1) {
			return nil, fmt.Errorf("eval: p-value %d of the family is %v, expected a number from 0 to 1", i, v)
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	adjusted := make([]float64, len(p))
	var reached float64
	for rank, i := range order {
		reached = max(reached, min(1, float64(len(p)-rank)*p[i]))
		adjusted[i] = reached
	}
	return adjusted, nil
}
