package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/eval"
)

// headline answers in a few sentences: which method keeps most of the
// unquantized model, by how much, and is it noise?
func (r *run) headline(comparisons []*comparison) []string {
	contests := r.contests()
	switch {
	case len(r.methods) == 0:
		return []string{"Only the unquantized model was scored: there is no method to judge."}
	case len(contests) == 0:
		return r.withoutContest()
	case len(contests) == 1:
		return r.oneContest(contests[0], comparisons)
	}
	return r.manyContests(contests, comparisons)
}

// contests lists the settings in which several methods finished.
func (r *run) contests() []*setting {
	var out []*setting
	for _, st := range r.settings {
		if len(st.finished()) > 1 {
			out = append(out, st)
		}
	}
	return out
}

// withoutContest speaks where no two methods can be compared.
func (r *run) withoutContest() []string {
	var done []*score
	for _, st := range r.settings {
		done = append(done, st.finished()...)
	}
	if len(done) == 0 {
		return []string{"No quantized model was scored: every cell failed. The failures are listed below."}
	}
	methods := map[string]bool{}
	for _, s := range done {
		methods[s.method] = true
	}
	if len(methods) > 1 {
		return []string{"No two methods finished in the same format on the same model: there is nothing to compare. The failures are listed below."}
	}
	text := fmt.Sprintf("Only one method was scored: %s is %s nats per answer token (KL) away from the unquantized model",
		r.label(done[0].method), between(column(done, func(s *score) float64 { return s.kl.mean }), number))
	if kept := between(column(done, func(s *score) float64 { return s.kept.mean }), percent); kept != none {
		text += " and keeps " + kept + " of its accuracy"
	}
	if len(done) > 1 {
		text += fmt.Sprintf(", over %s", count(len(done), "setting"))
	}
	return []string{text + ". With nothing to compare it with, nothing is claimed."}
}

func column(scores []*score, of func(*score) float64) []float64 {
	out := make([]float64, len(scores))
	for i, s := range scores {
		out[i] = of(s)
	}
	return out
}

// ranked sorts a setting's finished scores by KL, the lowest first.
func (s *setting) ranked() []*score {
	out := s.finished()
	slices.SortStableFunc(out, func(a, b *score) int {
		switch {
		case a.kl.mean < b.kl.mean:
			return -1
		case a.kl.mean > b.kl.mean:
			return 1
		}
		return 0
	})
	return out
}

// oneContest names the method ahead in the only setting.
func (r *run) oneContest(st *setting, comparisons []*comparison) []string {
	ranked := st.ranked()
	first, second := ranked[0], ranked[1]
	where := fmt.Sprintf("at %s on %s", st.format, r.modelName(st.model))
	if first.kl.mean == second.kl.mean {
		return []string{fmt.Sprintf("No method is ahead %s: %s and %s both are %s nats per answer token (KL) away from the unquantized model.",
			where, r.label(first.method), r.label(second.method), number(first.kl.mean))}
	}
	text := []string{r.aheadSentence(first, second, where, between2(comparisons, first, second))}
	for _, c := range comparisons {
		if c.other(first) != nil {
			text = append(text, r.noise(c, first))
		}
	}
	return append(text, r.leastNLLSentence(first, ranked, comparisons), r.keptSentence(first, ranked[1:], comparisons))
}

// aheadSentence names the method with the least KL. That it keeps most is said only where
// the difference to the next one is more than noise.
func (r *run) aheadSentence(first, second *score, where string, c *comparison) string {
	numbers := fmt.Sprintf("its answers are %s nats per token away from it (KL), %s below %s (%s)",
		number(first.kl.mean), percent(1-first.kl.mean/second.kl.mean), r.label(second.method), number(second.kl.mean))
	if c != nil && c.compared() && c.outcome(first) == eval.Shown {
		return fmt.Sprintf("%s keeps most of the unquantized model %s: %s.", r.label(first.method), where, numbers)
	}
	return fmt.Sprintf("No method is shown to keep most of the unquantized model %s: %s comes first, %s, but that is not beyond noise.", where, r.label(first.method), numbers)
}

// leastNLLSentence says who has the least NLL in one setting.
func (r *run) leastNLLSentence(first *score, ranked []*score, comparisons []*comparison) string {
	least := leastNLL(ranked)
	text := fmt.Sprintf("The least NLL is %s's, %s nats per answer token", r.label(least.method), withInterval(least.nll, number))
	if least == first {
		return text + "."
	}
	text += fmt.Sprintf(" (%s: %s", r.label(first.method), number(first.nll.mean))
	if c := between2(comparisons, first, least); c != nil && c.compared() {
		text += ", " + verdictWord(seenFrom(c.nll.Outcome, least == c.a))
	}
	return text + ")."
}

// noise says whether a difference in KL is more than noise.
func (r *run) noise(c *comparison, ahead *score) string {
	other := r.label(c.other(ahead).method)
	if !c.compared() {
		return fmt.Sprintf("Whether the difference to %s is noise cannot be said: %s.", other, c.problem)
	}
	d := fmt.Sprintf("95%% interval of the difference %s, n = %s", r.intervalOf(c, ahead), grouped(c.n))
	if c.seeds > 1 {
		d += fmt.Sprintf(", %d seeds", c.seeds)
	}
	switch c.outcome(ahead) {
	case eval.Shown:
		return fmt.Sprintf("The difference to %s is more than noise (%s).", other, d)
	case eval.Refuted:
		return fmt.Sprintf("%s is ahead of it beyond noise (%s).", other, d)
	case eval.Identical:
		return fmt.Sprintf("It has the same weights as %s.", other)
	}
	return fmt.Sprintf("The difference to %s is within noise: undecided (%s)%s.", other, d, needed(c.kl))
}

// intervalOf writes the interval of ahead − other.
func (r *run) intervalOf(c *comparison, ahead *score) string {
	low, high := c.kl.Difference.Low, c.kl.Difference.High
	if ahead == c.b {
		low, high = -high, -low
	}
	return signed(low) + " to " + signed(high)
}

// needed says how many questions would decide.
func needed(v eval.Verdict) string {
	switch {
	case v.NeededN == 0:
		return ""
	case v.NeededN > mostNeeded:
		return "; more than a million questions would be needed"
	}
	return fmt.Sprintf("; about %s questions would decide", grouped(v.NeededN))
}

// keptSentence compares the shares of the accuracy in one setting.
func (r *run) keptSentence(first *score, others []*score, comparisons []*comparison) string {
	if !first.kept.known() {
		return "How much accuracy is kept cannot be said: the unquantized model has no right answers in this run, or no result."
	}
	var parts []string
	for _, o := range others {
		if len(others) >= mostNamed && o.method != r.baseline() && o.method != r.focus() {
			continue
		}
		part := fmt.Sprintf("%s %s", r.label(o.method), percent(o.kept.mean))
		if c := between2(comparisons, first, o); c != nil && c.compared() {
			part += " (" + verdictWord(c.accuracyOutcome(first)) + ")"
		}
		parts = append(parts, part)
	}
	return fmt.Sprintf("%s keeps %s of the unquantized accuracy, %s.", r.label(first.method), percent(first.kept.mean), list(parts))
}

// between2 finds the comparison of two scores.
func between2(comparisons []*comparison, x, y *score) *comparison {
	for _, c := range comparisons {
		if c.other(x) == y {
			return c
		}
	}
	return nil
}

// verdictWord is an outcome for a reader, of "the first is better".
func verdictWord(o eval.Outcome) string {
	switch o {
	case eval.Shown:
		return "a difference beyond noise"
	case eval.Refuted:
		return "beyond noise the other way round"
	case eval.Identical:
		return "identical weights"
	}
	return "the difference is undecided"
}

// manyContests names the method that is ahead most often.
func (r *run) manyContests(contests []*setting, comparisons []*comparison) []string {
	if r.whole == nil {
		return r.bySetting(contests, comparisons)
	}
	return append(r.whole.sentences(r), r.bySetting(contests, comparisons)...)
}

// bySetting names the method that is ahead in most settings.
func (r *run) bySetting(contests []*setting, comparisons []*comparison) []string {
	wins, gains := map[string]int{}, map[string][]float64{}
	for _, st := range contests {
		ranked := st.ranked()
		if ranked[0].kl.mean == ranked[1].kl.mean {
			continue // nobody is ahead
		}
		m := ranked[0].method
		wins[m]++
		gains[m] = append(gains[m], 1-ranked[0].kl.mean/ranked[1].kl.mean)
	}
	order := slices.Clone(r.methods)
	slices.SortStableFunc(order, func(a, b string) int { return wins[b] - wins[a] })
	ahead := order[0]
	if wins[ahead] == 0 {
		return []string{fmt.Sprintf("No method is ahead: in all %s the KL to the unquantized model is equal.", count(len(contests), "setting"))}
	}
	if len(order) > 1 && wins[order[1]] == wins[ahead] {
		text := []string{fmt.Sprintf("No method is ahead in most settings: by KL, %s lead in %d of %d (model × format) each%s.",
			r.labelsWithWins(order, wins), wins[ahead], len(contests), r.leaders(contests))}
		if len(r.methods) > mostNamed {
			return text
		}
		return append(text, r.tally(r.focus(), comparisons)...)
	}
	where := fmt.Sprintf("in %d of %d settings (model × format)", wins[ahead], len(contests))
	if wins[ahead] == len(contests) {
		where = fmt.Sprintf("in %s (model × format)", allOf(len(contests)))
	}
	text := []string{fmt.Sprintf("Setting by setting, %s has the least KL %s, %s below the next method's%s; %s.",
		r.label(ahead), where, between(gains[ahead], percent), r.leaders(contests), beyondNoise(ahead, contests, comparisons))}
	if len(r.methods) <= mostNamed {
		text = append(text, r.tally(ahead, comparisons)...)
	}
	return append(text, r.keptRanges(ahead, contests))
}

// allOf is "both settings" or "all 12 settings".
func allOf(settings int) string {
	if settings == 2 {
		return "both settings"
	}
	return fmt.Sprintf("all %d settings", settings)
}

// beyondNoise counts the settings in which a method leads and the difference to the next
// is more than noise.
func beyondNoise(method string, contests []*setting, comparisons []*comparison) string {
	leads, shown := 0, 0
	for _, st := range contests {
		ranked := st.ranked()
		if ranked[0].method != method || ranked[0].kl.mean == ranked[1].kl.mean {
			continue
		}
		leads++
		if c := between2(comparisons, ranked[0], ranked[1]); c != nil && c.compared() && c.outcome(ranked[0]) == eval.Shown {
			shown++
		}
	}
	switch shown {
	case leads:
		return "each of these differences is more than noise"
	case 0:
		return "none of these differences is beyond noise"
	}
	return fmt.Sprintf("in %d of them that is more than noise", shown)
}

// mostNamed is how many settings or methods the headline names.
const mostNamed = 4

// leaders names who is ahead where, in brackets; "" where it is one method
// everywhere or there are too many settings to name.
func (r *run) leaders(contests []*setting) string {
	if len(contests) > mostNamed {
		return ""
	}
	var parts, ahead []string
	for _, st := range contests {
		ranked, label := st.ranked(), "a tie"
		if ranked[0].kl.mean != ranked[1].kl.mean {
			label = r.label(ranked[0].method)
		}
		parts = append(parts, r.settingName(st)+": "+label)
		if !slices.Contains(ahead, label) {
			ahead = append(ahead, label)
		}
	}
	if len(ahead) == 1 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// labelsWithWins names the methods that lead equally often.
func (r *run) labelsWithWins(order []string, wins map[string]int) string {
	var names []string
	for _, m := range order {
		if wins[m] == wins[order[0]] {
			names = append(names, r.label(m))
		}
	}
	return list(names)
}

// keptRanges gives the range of accuracy kept over all contests.
func (r *run) keptRanges(ahead string, contests []*setting) string {
	ranges := func(method string) string {
		var kept []float64
		for _, st := range contests {
			for _, s := range st.finished() {
				if s.method == method {
					kept = append(kept, s.kept.mean)
				}
			}
		}
		return between(kept, percent)
	}
	own := ranges(ahead)
	if own == none {
		return "How much accuracy is kept cannot be said: the unquantized models have no right answers in this run, or no result."
	}
	var parts []string
	for _, m := range r.methods {
		named := len(r.methods) <= mostNamed || m == r.baseline() || m == r.focus()
		if rest := ranges(m); named && m != ahead && rest != none {
			parts = append(parts, r.label(m)+" "+rest)
		}
	}
	return fmt.Sprintf("%s keeps %s of the unquantized accuracy, %s.", r.label(ahead), own, list(parts))
}

// paragraph joins sentences.
func paragraph(sentences []string) string { return strings.Join(sentences, " ") }
