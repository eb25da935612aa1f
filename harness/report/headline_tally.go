package report

import (
	"fmt"

	"github.com/tlqlab/tlqlab/eval"
)

// tally counts a method's verdicts against each other method; those against
// which they are the same share a sentence.
func (r *run) tally(method string, comparisons []*comparison) []string {
	var tallies []string
	others := map[string][]string{} // by tally
	for _, other := range r.methods {
		counts, total, skipped := map[eval.Outcome]int{}, 0, 0
		right := map[eval.Outcome]int{}
		for _, c := range comparisons {
			s := c.of(method)
			if s == nil || c.of(other) == nil || other == method {
				continue
			}
			if !c.compared() {
				skipped++
				continue
			}
			total++
			counts[c.outcome(s)]++
			right[c.accuracyOutcome(s)]++
		}
		if total+skipped == 0 {
			continue
		}
		text := verdictCounts(counts, right, total, skipped)
		if others[text] == nil {
			tallies = append(tallies, text)
		}
		others[text] = append(others[text], r.label(other))
	}
	out := make([]string, len(tallies))
	for i, text := range tallies {
		each := ""
		if len(others[text]) > 1 {
			each = " each"
		}
		out[i] = fmt.Sprintf("%s against %s%s.", r.label(method), list(others[text]), fmt.Sprintf(text, each))
	}
	return out
}

// of is the comparison's score of a method, or nil.
func (c *comparison) of(method string) *score {
	switch method {
	case c.a.method:
		return c.a
	case c.b.method:
		return c.b
	}
	return nil
}

// verdictCounts says what became of the comparisons between two methods, with a
// place for " each" after their number.
func verdictCounts(kl, accuracy map[eval.Outcome]int, total, skipped int) string {
	if total == 0 {
		return "%s: whether the difference is noise cannot be said, since per-question answers are missing"
	}
	words := func(counts map[eval.Outcome]int, better, worse string) string {
		var parts []string
		for _, o := range []struct {
			outcome eval.Outcome
			text    string
		}{{eval.Shown, better}, {eval.Refuted, worse}, {eval.Undecidable, "undecided (within noise)"}, {eval.Identical, "identical"}} {
			if counts[o.outcome] > 0 {
				parts = append(parts, fmt.Sprintf("%s in %d", o.text, counts[o.outcome]))
			}
		}
		return list(parts)
	}
	text := fmt.Sprintf(", %s%%s: KL %s; accuracy %s", count(total, "paired comparison"),
		words(kl, "lower beyond noise", "higher beyond noise"), words(accuracy, "higher beyond noise", "lower beyond noise"))
	if skipped > 0 {
		text += fmt.Sprintf(" (%d more could not be compared)", skipped)
	}
	return text
}
