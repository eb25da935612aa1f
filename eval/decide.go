package eval

import (
	"fmt"
	"math"
)

// Outcome is what the data say about a claim.
type Outcome string

// The possible outcomes.
const (
	Shown       Outcome = "shown"       // the interval lies on the claimed side of 0
	Refuted     Outcome = "refuted"     // the interval lies on the other side of 0
	Undecidable Outcome = "undecidable" // the interval holds 0: more samples are needed
	Identical   Outcome = "identical"   // both models are the same weights: there is nothing to decide
)

// MinClusters is the number of independent clusters below which nothing is
// decided: percentile intervals from fewer are too narrow.
const MinClusters = 8

// Normal quantiles for a two-sided 5% test with 80% power (Φ⁻¹(0.975) and
// Φ⁻¹(0.8), any table of the normal distribution).
const (
	zTwoSided95 = 1.959963984540054
	zPower80    = 0.8416212335729143
)

// Claim says that one model beats another on one measure.
type Claim struct {
	Name          string  `json:"name"`            // "tlq lowers kl against rtn at w4a8"
	LowerIsBetter bool    `json:"lower_is_better"` // KL and NLL: the claimed difference is negative
	Effect        float64 `json:"effect"`          // smallest difference worth finding, in the measure's unit; 0: the one observed
}

// Verdict is a claim with what became of it.
type Verdict struct {
	Claim
	Outcome    Outcome  `json:"outcome"`
	Difference Interval `json:"difference"` // second model − first
	AdjustedP  float64  `json:"adjusted_p"` // Holm's, over the family; alone: the bootstrap's own
	Detectable float64  `json:"detectable"` // difference that this n finds with 80% power, in the measure's unit
	NeededN    int      `json:"needed_n"`   // samples that would decide; 0 where decided, or where no two scores differ
}

// String is the verdict in words.
func (v Verdict) String() string {
	switch {
	case v.Outcome != Undecidable:
		return fmt.Sprintf("%s: %s (n = %d)", v.Name, v.Outcome, v.Difference.N)
	case v.NeededN == 0:
		return fmt.Sprintf("%s: undecidable at n = %d (too few or too equal scores to say what it would take)", v.Name, v.Difference.N)
	default:
		return fmt.Sprintf("%s: undecidable at n = %d (it would take about %d)", v.Name, v.Difference.N, v.NeededN)
	}
}

// Decide judges one claim by the interval of the differences (second − first)
// from [Bootstrap] or [BootstrapCrossed]. The claim is shown when the whole
// interval lies on the claimed side of 0, refuted when it lies on the other,
// else undecidable.
//
// Detectable is (z_{0.975} + z_{0.8})·SE, the difference found with 80% power
// at the two-sided 5% level; NeededN scales n by (Detectable/effect)², as the
// standard error falls with √n at an unchanged cluster size. Example: 2,000
// questions of which 5% change sides give SE = √(0.05/2000) = 0.5 points, so
// 1.4 points are detectable.
func Decide(claim Claim, difference Interval) Verdict {
	v := Verdict{
		Claim:      claim,
		Outcome:    Undecidable,
		Difference: difference,
		AdjustedP:  difference.P,
		Detectable: (zTwoSided95 + zPower80) * difference.StdErr,
	}
	low, high := difference.Low, difference.High
	if claim.LowerIsBetter {
		low, high = -high, -low
	}
	if difference.Clusters >= MinClusters {
		switch {
		case low > 0:
			v.Outcome = Shown
		case high < 0:
			v.Outcome = Refuted
		}
	}
	if v.Outcome == Undecidable {
		v.NeededN = neededN(difference.N, v.Detectable, effectOf(claim, difference))
	}
	return v
}

// effectOf is the difference that a larger experiment should find.
func effectOf(claim Claim, difference Interval) float64 {
	if claim.Effect != 0 {
		return math.Abs(claim.Effect)
	}
	return math.Abs(difference.Mean)
}

// neededN scales n until effect becomes detectable; at least n+1, since n did
// not do. 0: no finite number is known.
func neededN(n int, detectable, effect float64) int {
	if detectable == 0 || effect == 0 {
		return 0
	}
	needed := math.Ceil(float64(n) * (detectable / effect) * (detectable / effect))
	return int(min(max(needed, float64(n+1)), math.MaxInt32))
}

// DecideFamily judges claims that are reported together. Holm's correction
// runs over their bootstrap p-values, and an outcome whose adjusted p exceeds
// 1 − level is undecidable. claims and differences correspond by index.
func DecideFamily(claims []Claim, differences []Interval) ([]Verdict, error) {
	if len(claims) != len(differences) {
		return nil, fmt.Errorf("eval: %d claims but %d differences: expected one each", len(claims), len(differences))
	}
	p := make([]float64, len(claims))
	for i, d := range differences {
		p[i] = d.P
	}
	adjusted, err := Holm(p)
	if err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(claims))
	for i, claim := range claims {
		v := Decide(claim, differences[i])
		v.AdjustedP = adjusted[i]
		if v.Outcome != Undecidable && v.AdjustedP > 1-differences[i].Level {
			v.Outcome = Undecidable
			v.NeededN = neededN(v.Difference.N, v.Detectable, effectOf(claim, v.Difference))
		}
		verdicts[i] = v
	}
	return verdicts, nil
}
