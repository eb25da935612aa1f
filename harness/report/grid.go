package report

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// whole is the grid taken as one: every method's mean over all settings, each setting
// counting once.
//
// A setting's KL is divided by the baseline's there, so that a damaged setting doesn't
// speak for all; NLL is taken above the unquantized model's; accuracy is divided by the
// unquantized one. Settings are fixed, the conclusion speaks of these models and formats;
// questions, by cluster, and calibration seeds are resampled, the same ones in every
// setting at once.
type whole struct {
	settings  []*setting // in which every method finished
	methods   []*wholeMethod
	pairs     []*wholePair
	seeds     []uint64 // that every cell has
	questions int
	clusters  []string
}

// wholeMethod is one method over the grid.
type wholeMethod struct {
	method        string
	kl, nll, kept estimate // share of the baseline's KL; nats above unquantized; share of the unquantized accuracy
	leads         int      // settings in which its KL is the least
}

// wholePair sets two methods against each other over the grid: the claim is that a is
// better than b.
type wholePair struct {
	a, b              string
	kl, nll, accuracy eval.Verdict // differences a − b in wholeMethod's units
	identical         bool
}

// verdict is that of a metric.
func (p *wholePair) verdict(metric string) *eval.Verdict {
	switch metric {
	case harness.MetricNLL:
		return &p.nll
	case harness.MetricAccuracy:
		return &p.accuracy
	}
	return &p.kl
}

// of is a method's mean of a metric.
func (m *wholeMethod) of(metric string) estimate {
	switch metric {
	case harness.MetricNLL:
		return m.nll
	case harness.MetricAccuracy:
		return m.kept
	}
	return m.kl
}

// errNoGrid is why a grid can't be taken as one.
var errNoGrid = errors.New("report: the grid cannot be taken as one")

// grid takes the run as one; errNoGrid is wrapped where its settings have no methods,
// seeds or questions in common.
func (r *run) grid() (*whole, error) {
	g := &whole{}
	if len(r.methods) < 2 {
		return nil, fmt.Errorf("%w: fewer than two methods", errNoGrid)
	}
	for _, st := range r.settings {
		if fp := r.fp[st.model]; len(st.finished()) == len(r.methods) && fp != nil && fp.Metrics.Accuracy > 0 && r.plain(st) > 0 {
			g.settings = append(g.settings, st)
		}
	}
	if len(g.settings) < 2 {
		return nil, fmt.Errorf("%w: fewer than two settings in which every method finished", errNoGrid)
	}
	if err := r.common(g); err != nil {
		return nil, err
	}
	columns := map[string]map[string][][]float64{}
	for _, m := range r.methods {
		columns[m] = map[string][][]float64{}
		for _, metric := range harness.ClaimMetrics() {
			columns[m][metric] = r.overGrid(g, m, metric, nil)
		}
	}
	if err := r.gridMeans(g, columns); err != nil {
		return nil, err
	}
	return g, r.gridPairs(g, columns)
}

// plain is the baseline's KL in a setting.
func (r *run) plain(st *setting) float64 {
	for _, s := range st.finished() {
		if s.method == r.baseline() {
			return s.kl.mean
		}
	}
	return 0
}

// common finds the seeds that all cells have and checks that all answered the same
// questions.
func (r *run) common(g *whole) error {
	for _, rec := range g.settings[0].finished()[0].records {
		everywhere := true
		for _, st := range g.settings {
			for _, s := range st.finished() {
				everywhere = everywhere && s.seed(rec.Seed) != nil
			}
		}
		if everywhere {
			g.seeds = append(g.seeds, rec.Seed)
		}
	}
	if len(g.seeds) == 0 {
		return fmt.Errorf("%w: no calibration seed that all cells finished", errNoGrid)
	}
	var all []*answers
	for _, st := range g.settings {
		all = append(all, r.answers[st.model+" "+harness.MethodFP])
		for _, s := range st.finished() {
			for _, seed := range g.seeds {
				all = append(all, r.answers[s.seed(seed).Cell()])
			}
		}
	}
	if !sameQuestions(all...) {
		return fmt.Errorf("%w: answers are missing or to other questions", errNoGrid)
	}
	if slices.ContainsFunc(all[1:], func(a *answers) bool { return a.kl == nil }) {
		return fmt.Errorf("%w: answers without a KL", errNoGrid)
	}
	g.questions, g.clusters = len(all[0].keys), all[0].clusters
	return nil
}

// seed is the record of a calibration seed; nil where there is none.
func (s *score) seed(seed uint64) *harness.Record {
	for _, rec := range s.records {
		if rec.Seed == seed {
			return rec
		}
	}
	return nil
}

// overGrid is a method's metric per seed and question, averaged over settings in the
// grid's units. A ratio of two means, A/B, enters linearly (the delta method): a question
// counts A/B + (a − b·A/B)/B, so that the mean is the ratio and the interval knows that
// numerator and denominator are of the same questions. only lists the questions that
// count; nil: all.
func (r *run) overGrid(g *whole, method, metric string, only []int) [][]float64 {
	out := make([][]float64, len(g.seeds))
	for i := range out {
		out[i] = make([]float64, g.questions)
		if only != nil {
			out[i] = out[i][:len(only)]
		}
	}
	for _, st := range g.settings {
		own, plain := r.answersOf(g, st, method, only), r.answersOf(g, st, r.baseline(), only)
		fp := r.answers[st.model+" "+harness.MethodFP].only(only)
		above, below := meanKL(own), meanKL(plain)
		right := eval.Mean(fp.correct)
		kept := meanCorrect(own) / right
		for i := range out {
			for q := range out[i] {
				var v float64
				switch metric {
				case harness.MetricKL:
					v = above/below + (own[i].kl[q]-plain[i].kl[q]*above/below)/below
				case harness.MetricNLL:
					v = own[i].nll[q] - fp.nll[q]
				default:
					v = kept + (own[i].correct[q]-fp.correct[q]*kept)/right
				}
				out[i][q] += v / float64(len(g.settings))
			}
		}
	}
	return out
}

// answersOf are a method's answers in a setting, by the grid's seeds.
func (r *run) answersOf(g *whole, st *setting, method string, only []int) []*answers {
	out := make([]*answers, len(g.seeds))
	for _, s := range st.scores {
		if s.method == method {
			for i, seed := range g.seeds {
				out[i] = r.answers[s.seed(seed).Cell()].only(only)
			}
		}
	}
	return out
}

// gridMeans fills in the methods, the least KL first.
func (r *run) gridMeans(g *whole, columns map[string]map[string][][]float64) error {
	var err error
	mean := func(values [][]float64, stream uint64) estimate {
		i, e := r.resample(values, g.clusters, stream)
		err = errors.Join(err, e)
		return fromInterval(i)
	}
	for _, m := range r.methods {
		c := columns[m]
		g.methods = append(g.methods, &wholeMethod{
			method: m, kl: mean(c[harness.MetricKL], klStream), nll: mean(c[harness.MetricNLL], nllStream), kept: mean(c[harness.MetricAccuracy], accuracyStream),
		})
	}
	for _, st := range g.settings {
		if ranked := st.ranked(); ranked[0].kl.mean < ranked[1].kl.mean {
			for _, m := range g.methods {
				if m.method == ranked[0].method {
					m.leads++
				}
			}
		}
	}
	slices.SortStableFunc(g.methods, func(a, b *wholeMethod) int { return cmp.Compare(a.kl.mean, b.kl.mean) })
	return err
}

// best is the method ahead by a metric and the next one.
func (g *whole) best(metric string) (first, second *wholeMethod) {
	order := slices.Clone(g.methods)
	slices.SortStableFunc(order, func(a, b *wholeMethod) int {
		c := cmp.Compare(a.of(metric).mean, b.of(metric).mean)
		if metric == harness.MetricAccuracy {
			return -c
		}
		return c
	})
	return order[0], order[1]
}

// gridPairs compares everything with the baseline, the focus, and whoever leads by a
// metric; Holm's correction runs over all of them, per metric.
func (r *run) gridPairs(g *whole, columns map[string]map[string][][]float64) error {
	central := []string{r.baseline(), r.focus()}
	for _, metric := range harness.ClaimMetrics() {
		first, _ := g.best(metric)
		central = append(central, first.method)
	}
	for i, y := range r.methods {
		for _, x := range r.methods[i+1:] {
			if !slices.Contains(central, x) && !slices.Contains(central, y) {
				continue
			}
			p := &wholePair{a: x, b: y, identical: g.identical(x, y)}
			if y == r.focus() {
				p.a, p.b = y, x
			}
			g.pairs = append(g.pairs, p)
		}
	}
	for _, metric := range harness.ClaimMetrics() {
		if err := r.decidePairs(g, columns, metric); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) decidePairs(g *whole, columns map[string]map[string][][]float64, metric string) error {
	var judged []*wholePair
	var claims []eval.Claim
	var differences []eval.Interval
	for _, p := range g.pairs {
		if p.identical {
			p.verdict(metric).Outcome = eval.Identical
			continue
		}
		values := make([][]float64, len(g.seeds))
		for i := range values {
			values[i] = difference(columns[p.a][metric][i], columns[p.b][metric][i])
		}
		d, err := r.resample(values, g.clusters, pairStream)
		if err != nil {
			return err
		}
		judged = append(judged, p)
		claims = append(claims, eval.Claim{Name: p.a + " better than " + p.b, LowerIsBetter: metric != harness.MetricAccuracy})
		differences = append(differences, tailed(d))
	}
	verdicts, err := eval.DecideFamily(claims, differences)
	if err != nil || len(claims) == 0 {
		return err
	}
	for i, p := range judged {
		*p.verdict(metric) = verdicts[i]
	}
	return nil
}

// identical reports whether two methods end with the same weights everywhere.
func (g *whole) identical(x, y string) bool {
	for _, st := range g.settings {
		var hashes [2][]string
		for _, s := range st.finished() {
			for k, m := range []string{x, y} {
				if s.method == m {
					for _, seed := range g.seeds {
						hashes[k] = append(hashes[k], s.seed(seed).WeightsSHA256)
					}
				}
			}
		}
		if slices.Contains(hashes[0], "") || !slices.Equal(hashes[0], hashes[1]) {
			return false
		}
	}
	return true
}

// pair finds the comparison of two methods and the sign that turns its difference into
// x − y; nil where they are not compared.
func (g *whole) pair(x, y string) (p *wholePair, sign float64) {
	for _, p := range g.pairs {
		switch {
		case p.a == x && p.b == y:
			return p, 1
		case p.a == y && p.b == x:
			return p, -1
		}
	}
	return nil, 0
}

// seen is a pair's verdict by a metric as x − y.
func (g *whole) seen(x, y, metric string) (eval.Outcome, estimate, *eval.Verdict) {
	p, sign := g.pair(x, y)
	if p == nil {
		return "", unknown, nil
	}
	v := p.verdict(metric)
	e := fromInterval(v.Difference)
	if sign < 0 {
		e = estimate{-e.mean, -e.high, -e.low, true}
	}
	return seenFrom(v.Outcome, sign > 0), e, v
}

// tailed is an interval whose p says more than "less than a resample in a thousand". Where
// (almost) no resampled mean lies beyond 0, a p of 2/(resamples + 1) is all that a bootstrap
// knows, too much to survive Holm's correction in a family of hundreds; there p is that of
// the normal tail at the bootstrap's standard error, never above the bootstrap's.
func tailed(i eval.Interval) eval.Interval {
	if (i.Low > 0 || i.High < 0) && i.StdErr > 0 && i.P <= coarsestP {
		i.P = min(i.P, math.Erfc(math.Abs(i.Mean)/i.StdErr/math.Sqrt2))
	}
	return i
}

// coarsestP is the p of the least resamples that a bootstrap may have, where none of
// them lies beyond 0.
const coarsestP = 2.0 / (eval.MinResamples + 1)
