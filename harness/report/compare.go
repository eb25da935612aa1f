package report

import (
	"errors"
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/eval"
)

// comparison sets two methods against each other on the same questions. The
// claim is that a is better than b.
type comparison struct {
	setting *setting
	a, b    *score
	seeds   int // calibration seeds that both have
	n       int // questions
	// kl, nll and accuracy judge the claim, each Holm-corrected over the run; their
	// differences are a − b.
	kl, nll, accuracy eval.Verdict
	// p is McNemar's exact test on the changed answers; NaN with several seeds,
	// whose answers to one question depend on each other.
	p float64
	// problem says why there is no verdict; "" where there is one.
	problem string
}

// compared reports whether there is a verdict.
func (c *comparison) compared() bool { return c.problem == "" }

// other is the comparison's method that s is not; nil where s is not in it.
func (c *comparison) other(s *score) *score {
	switch s {
	case c.a:
		return c.b
	case c.b:
		return c.a
	}
	return nil
}

// outcome is the verdict as seen from s: does s have the lower KL?
func (c *comparison) outcome(s *score) eval.Outcome { return seenFrom(c.kl.Outcome, s == c.a) }

// accuracyOutcome is the same for a higher accuracy.
func (c *comparison) accuracyOutcome(s *score) eval.Outcome {
	return seenFrom(c.accuracy.Outcome, s == c.a)
}

func seenFrom(o eval.Outcome, first bool) eval.Outcome {
	switch {
	case first:
		return o
	case o == eval.Shown:
		return eval.Refuted
	case o == eval.Refuted:
		return eval.Shown
	}
	return o
}

// compare makes all comparisons of the run: in every setting everything
// against the baseline, the focus against everything, and the method with the
// least KL against the next.
func (r *run) compare() ([]*comparison, error) {
	var all, judged []*comparison
	for _, st := range r.settings {
		done := st.finished()
		for i, x := range done {
			for _, y := range done[:i] {
				if a, b, ok := r.pair(x, y); ok {
					all = append(all, &comparison{setting: st, a: a, b: b, p: math.NaN()})
				}
			}
		}
	}
	err := eachAtOnce(all, func(c *comparison) error {
		if err := r.measure(c); err != nil {
			return fmt.Errorf("report: %s: %s against %s: %w", r.settingName(c.setting), c.a.method, c.b.method, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.compared() && c.kl.Outcome != eval.Identical {
			judged = append(judged, c)
		}
		if c.problem != "" && c.seeds > 0 && r.dir != "" {
			r.leaveOut(fmt.Sprintf("%s against %s at %s", r.label(c.a.method), r.label(c.b.method), r.settingName(c.setting)), "", errors.New(c.problem))
		}
	}
	return all, judge(judged)
}

// pair orders two methods of a setting into a claim, "a is better than b"; ok
// is false where the two are not compared.
func (r *run) pair(x, y *score) (a, b *score, ok bool) {
	ranked := x.setting.ranked()
	focus, baseline := r.focus(), r.baseline()
	switch {
	case x.method == focus || y.method == baseline:
		return x, y, true
	case y.method == focus || x.method == baseline:
		return y, x, true
	case ranked[0] == x && ranked[1] == y:
		return x, y, true
	case ranked[0] == y && ranked[1] == x:
		return y, x, true
	}
	return nil, nil, false
}

// measure takes the paired differences, question by question.
func (r *run) measure(c *comparison) error {
	var first, second []*answers
	identical := true
	for _, ra := range c.a.records {
		for _, rb := range c.b.records {
			if ra.Seed != rb.Seed {
				continue
			}
			first, second = append(first, r.answers[ra.Cell()]), append(second, r.answers[rb.Cell()])
			identical = identical && ra.WeightsSHA256 != "" && ra.WeightsSHA256 == rb.WeightsSHA256 && ra.Metrics == rb.Metrics
			c.n = ra.N
		}
	}
	c.seeds = len(first)
	switch {
	case c.seeds == 0:
		c.problem = "no calibration seed in common"
		return nil
	case identical:
		c.kl.Outcome, c.nll.Outcome, c.accuracy.Outcome, c.p = eval.Identical, eval.Identical, eval.Identical, 1
		return nil
	case !sameQuestions(append(first, second...)...):
		c.problem = "per-question answers missing"
		return nil
	}
	return r.differences(c, first, second)
}

// differences resamples a − b.
func (r *run) differences(c *comparison, first, second []*answers) error {
	kl, nll, accuracy := make([][]float64, c.seeds), make([][]float64, c.seeds), make([][]float64, c.seeds)
	for i := range first {
		if first[i].kl == nil || second[i].kl == nil {
			c.problem = "answers without a KL"
			return nil
		}
		kl[i], nll[i] = difference(first[i].kl, second[i].kl), difference(first[i].nll, second[i].nll)
		accuracy[i] = difference(first[i].correct, second[i].correct)
	}
	var err error
	if c.kl.Difference, err = r.resample(kl, first[0].clusters, pairStream); err != nil {
		return err
	}
	if c.nll.Difference, err = r.resample(nll, first[0].clusters, pairStream); err != nil {
		return err
	}
	if c.accuracy.Difference, err = r.resample(accuracy, first[0].clusters, pairStream); err != nil {
		return err
	}
	if c.seeds == 1 {
		gained, lost := 0, 0
		for _, d := range accuracy[0] {
			if d > 0 {
				gained++
			} else if d < 0 {
				lost++
			}
		}
		c.p, err = eval.McNemar(lost, gained)
	}
	return err
}

// judge decides the families of claims, one per metric.
func judge(comparisons []*comparison) error {
	if len(comparisons) == 0 {
		return nil
	}
	family := func(lower bool, verdict func(*comparison) *eval.Verdict) error {
		claims, differences := make([]eval.Claim, len(comparisons)), make([]eval.Interval, len(comparisons))
		for i, c := range comparisons {
			claims[i] = eval.Claim{Name: fmt.Sprintf("%s better than %s at %s", c.a.method, c.b.method, c.setting.format), LowerIsBetter: lower}
			differences[i] = tailed(verdict(c).Difference)
		}
		verdicts, err := eval.DecideFamily(claims, differences)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		for i, c := range comparisons {
			*verdict(c) = verdicts[i]
		}
		return nil
	}
	if err := family(true, func(c *comparison) *eval.Verdict { return &c.kl }); err != nil {
		return err
	}
	if err := family(true, func(c *comparison) *eval.Verdict { return &c.nll }); err != nil {
		return err
	}
	return family(false, func(c *comparison) *eval.Verdict { return &c.accuracy })
}
