package report

import (
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// scope is what the grid's numbers rest on: "n = 750 questions, 8 calibration seeds, 12
// settings".
func (g *whole) scope() string {
	return fmt.Sprintf("n = %s, %s, %s", count(g.questions, "question"), count(len(g.seeds), "calibration seed"), count(len(g.settings), "setting"))
}

// metricWords are how a metric's leader and differences are told.
type metricWords struct {
	metric, leads, unit string
	value, difference   func(float64) string
}

var gridWords = []metricWords{
	{harness.MetricKL, "its KL to the unquantized model is on average %s of %s's", "points of that", percent, points},
	{harness.MetricNLL, "%s nats per answer token above the unquantized model", "nats", signed, signed},
	{harness.MetricAccuracy, "%s of the unquantized accuracy is kept", "points", percent, points},
}

// sentences answer for the whole grid: which method keeps most, by how much, and is it
// noise? By KL first, then by NLL and accuracy.
func (g *whole) sentences(r *run) []string {
	out := []string{g.first(r)}
	for _, w := range gridWords[1:] {
		first, second := g.best(w.metric)
		outcome, d, v := g.seen(first.method, second.method, w.metric)
		text := fmt.Sprintf("By %s %s comes first: on average "+w.leads, map[string]string{harness.MetricNLL: "NLL", harness.MetricAccuracy: "accuracy"}[w.metric],
			r.label(first.method), withInterval(first.of(w.metric), w.value))
		out = append(out, text+"; "+r.againstNext(second.method, w, outcome, d, v)+".")
	}
	return out
}

// first is the answer by the primary metric.
func (g *whole) first(r *run) string {
	w := gridWords[0]
	first, second := g.best(w.metric)
	outcome, d, v := g.seen(first.method, second.method, w.metric)
	mean := fmt.Sprintf(w.leads, withInterval(first.kl, w.value), r.label(r.baseline()))
	scope := fmt.Sprintf("least KL in %d of %s; n = %s, %s", first.leads, count(len(g.settings), "setting"), count(g.questions, "question"), count(len(g.seeds), "calibration seed"))
	if first.method == r.baseline() {
		mean = "on average no method's KL to the unquantized model is below its own"
	}
	if outcome == eval.Shown {
		return fmt.Sprintf("%s keeps most of the unquantized model over the whole grid: %s; %s (%s).",
			r.label(first.method), mean, r.againstNext(second.method, w, outcome, d, v), scope)
	}
	return fmt.Sprintf("Over the whole grid no method is shown to keep most of the unquantized model: %s comes first, %s, but %s (%s).",
		r.label(first.method), mean, r.againstNext(second.method, w, outcome, d, v), scope)
}

// againstNext compares a leader with the next method.
func (r *run) againstNext(second string, w metricWords, outcome eval.Outcome, d estimate, v *eval.Verdict) string {
	next := r.label(second)
	switch {
	case v == nil:
		return "it was not compared with " + next + ", the next"
	case outcome == eval.Identical:
		return next + " has the same weights"
	}
	text := fmt.Sprintf("the difference to %s, the next, is %s %s", next, withInterval(d, w.difference), w.unit)
	switch outcome {
	case eval.Shown:
		return text + ", more than noise"
	case eval.Refuted:
		return text + ", beyond noise the other way round"
	}
	return text + ", within noise: undecided" + needed(*v)
}

// gridSheet is the scoreboard: a row per method over the whole grid.
func (g *whole) gridSheet(r *run) *sheet {
	baseline, focus := r.baseline(), r.focus()
	s := &sheet{name: "grid", show: &display.Table{
		Columns: []string{"method", "KL, % of " + r.short(baseline) + "'s", "NLL above unquantized", "accuracy kept", "least KL in", "KL against " + r.short(baseline), "KL against " + r.short(focus)},
		Caption: fmt.Sprintf("Means over %s, each counting once, with 95%% intervals over questions and seeds (%s). KL is taken relative to %s's in the same setting, NLL in nats per answer token. "+
			"Against: difference in points of %s's KL; better, worse: beyond noise after Holm's correction over %s; ?: undecided, with the questions that would decide.",
			count(len(g.settings), "setting"), g.scope(), r.label(baseline), r.label(baseline), count(len(g.pairs), "comparison")),
	}, csv: [][]string{{"method", "kl_relative", "kl_relative_low", "kl_relative_high", "nll_above", "nll_above_low", "nll_above_high", "kept", "kept_low", "kept_high", "leads", "n", "seeds", "settings"}}}
	for _, m := range g.methods {
		s.show.Add(r.short(m.method), withInterval(m.kl, percent), withInterval(m.nll, signed), withInterval(m.kept, percent), fmt.Sprintf("%d of %d", m.leads, len(g.settings)),
			g.againstCell(m.method, baseline), g.againstCell(m.method, focus))
		row := append([]string{m.method}, cells(m.kl)...)
		row = append(append(append(row, cells(m.nll)...), cells(m.kept)...), fmt.Sprint(m.leads), fmt.Sprint(g.questions), fmt.Sprint(len(g.seeds)), fmt.Sprint(len(g.settings)))
		s.csv = append(s.csv, row)
	}
	return s
}

// againstCell is a method against another by KL.
func (g *whole) againstCell(method, other string) string {
	if method == other {
		return none
	}
	outcome, d, v := g.seen(method, other, harness.MetricKL)
	switch {
	case v == nil:
		return none
	case outcome == eval.Identical:
		return "identical"
	}
	return withInterval(d, points) + " " + outcomeMark(outcome, v)
}

// outcomeMark is a verdict in a word.
func outcomeMark(o eval.Outcome, v *eval.Verdict) string {
	switch o {
	case eval.Shown:
		return "better"
	case eval.Refuted:
		return "worse"
	case eval.Identical:
		return "identical"
	}
	switch {
	case v.NeededN == 0:
		return "?"
	case v.NeededN > mostNeeded:
		return "? (n\u00a0>\u00a01,000,000)"
	}
	return "? (n\u00a0≈\u00a0" + grouped(v.NeededN) + ")"
}

// mostNeeded is the greatest number of questions that is named: beyond, it means never.
const mostNeeded = 1_000_000

// leaderSheet answers per setting: who keeps most, by how much, is it noise?
func (r *run) leaderSheet(comparisons []*comparison) *sheet {
	s := &sheet{name: "leaders", show: &display.Table{
		Columns: []string{"model", "format", "least KL", "KL", "below the next", "is it noise?", "least NLL", "most accuracy", "kept", "n", "seeds"},
		Caption: "The first method by KL in each setting, in nats per answer token, and its paired difference to the next, in % of the next's KL, Holm-corrected over all comparisons of the run. " +
			"Least NLL and most accuracy name the first by those measures, which need not be ahead beyond noise.",
	}, csv: [][]string{{"model", "format", "method", "kl", "kl_low", "kl_high", "next", "difference", "difference_low", "difference_high", "outcome", "least_nll", "most_accuracy", "n", "seeds"}}}
	for _, st := range r.contests() {
		ranked := st.ranked()
		first, next := ranked[0], ranked[1]
		below, noise, outcome := unknown, "not compared", ""
		if c := between2(comparisons, first, next); c != nil && c.compared() {
			low, high := c.kl.Difference.Low, c.kl.Difference.High
			if first == c.b {
				low, high = -high, -low
			}
			below = estimate{first.kl.mean - next.kl.mean, low, high, c.kl.Outcome != eval.Identical}
			outcome = string(c.outcome(first))
			noise = noiseWord(c.outcome(first), c.kl)
		}
		relative := unknown
		if below.known() && next.kl.mean > 0 {
			relative = below.scaled(0, 1/next.kl.mean)
		}
		least, most := leastNLL(ranked), mostKept(ranked)
		s.show.Add(r.modelName(st.model), st.format, r.short(first.method), withInterval(first.kl, number), withInterval(relative, signedPercent)+" "+r.short(next.method), noise,
			r.short(least.method), r.short(most.method), percent(most.kept.mean), first.records[0].N, len(first.records))
		s.csv = append(s.csv, append(append(append([]string{st.model, st.format, first.method}, cells(first.kl)...), next.method), append(cells(below),
			outcome, least.method, most.method, fmt.Sprint(first.records[0].N), fmt.Sprint(len(first.records)))...))
	}
	r.oneModel(s.show)
	return s
}

// noiseWord answers "is it noise?".
func noiseWord(o eval.Outcome, v eval.Verdict) string {
	switch o {
	case eval.Shown, eval.Refuted:
		return "no"
	case eval.Identical:
		return "identical weights"
	}
	return strings.Replace(outcomeMark(o, &v), "?", "undecided", 1)
}

func leastNLL(scores []*score) *score {
	return firstBy(scores, func(a, b *score) bool { return a.nll.mean < b.nll.mean })
}

func mostKept(scores []*score) *score {
	return firstBy(scores, func(a, b *score) bool { return a.kept.mean > b.kept.mean })
}

func firstBy(scores []*score, better func(a, b *score) bool) *score {
	best := scores[0]
	for _, s := range scores[1:] {
		if better(s, best) {
			best = s
		}
	}
	return best
}
