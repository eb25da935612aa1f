package report

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// errNothingToDraw is what a figure of methods says without any.
var errNothingToDraw = errors.New("report: no quantized model has a result: there is nothing to draw")

// AccuracyKept draws the accuracy of every method and format in per cent of
// the unquantized model's, with 95% intervals of the paired difference: see
// the package's comment. records is what a run wrote. Models without an
// unquantized row, or one without a right answer, are left out; an error says
// that nothing remains.
func AccuracyKept(records []harness.Record) (*display.Figure, error) {
	r, err := newRun(records, "")
	if err != nil {
		return nil, err
	}
	return r.accuracyKept(nil)
}

// Divergence draws the KL divergence of every method and format to the
// unquantized model, in nats per answer token over the whole vocabulary, with
// 95% intervals; on a logarithmic axis where the values differ by more than a
// factor of ten. records is what a run wrote.
func Divergence(records []harness.Record) (*display.Figure, error) {
	r, err := newRun(records, "")
	if err != nil {
		return nil, err
	}
	return r.divergence(nil)
}

func (r *run) accuracyKept(comparisons []*comparison) (*display.Figure, error) {
	kept := func(s *score) estimate { return s.kept.scaled(0, 100) }
	if len(r.models) > 1 {
		m := r.multiplesOf(kept, r.unquantizedBelow)
		if len(m.panels) == 0 {
			return nil, errNothingToDraw
		}
		m.axis, m.unit, m.line = "accuracy kept, % of the unquantized model (95% interval)", "%", 100
		return &display.Figure{Name: "accuracy-kept", Caption: r.keptCaption(comparisons), Drawing: m.drawing()}, nil
	}
	f := &forest{
		axis: "accuracy kept, % of the unquantized model (95% interval)", ticks: steps{most: 7},
		rows: r.forestRows(kept, func(s *score) string { return withInterval(s.kept, percent) }),
	}
	if len(f.rows) == 0 {
		return nil, errNothingToDraw
	}
	f.marks = append(f.marks, forestMark{100, "unquantized", ink})
	if g := r.guessing(); g > 0 {
		if low, _ := f.limits(); 100*g > low-(100-low)/2 { // only where it costs little room
			f.marks = append(f.marks, forestMark{100 * g, "guessing", faint})
		}
	}
	return &display.Figure{Name: "accuracy-kept", Caption: r.keptCaption(comparisons), Drawing: f.drawing()}, nil
}

// unquantizedBelow is the accuracy that a model's methods start from.
func (r *run) unquantizedBelow(model string) string {
	if fp := r.fp[model]; fp != nil {
		return "of " + percent(fp.Metrics.Accuracy)
	}
	return ""
}

func (r *run) divergence(comparisons []*comparison) (*display.Figure, error) {
	if len(r.models) > 1 {
		return r.divergences(comparisons)
	}
	f := &forest{
		axis: "KL to the unquantized model, nats per answer token (95% interval)", ticks: steps{most: 6},
		rows: r.forestRows(func(s *score) estimate { return s.kl }, func(s *score) string { return withInterval(s.kl, number) }),
	}
	if len(f.rows) == 0 {
		return nil, errNothingToDraw
	}
	if low, high := positiveRange(f.rows); low > 0 && high > 10*low {
		f.log, f.ticks, f.axis = true, decades{}, f.axis+", logarithmic"
	} else {
		f.marks = append(f.marks, forestMark{0, "unquantized", ink})
	}
	return &display.Figure{Name: "kl", Caption: r.klCaption(comparisons), Drawing: f.drawing()}, nil
}

// divergences is the figure of several models.
func (r *run) divergences(comparisons []*comparison) (*display.Figure, error) {
	m := r.multiplesOf(func(s *score) estimate { return s.kl }, nil)
	if len(m.panels) == 0 {
		return nil, errNothingToDraw
	}
	var all []forestRow
	for _, p := range m.panels {
		for _, g := range p.groups {
			for _, e := range g.dots {
				all = append(all, forestRow{at: e})
			}
		}
	}
	m.axis = "KL to the unquantized model, nats per answer token (95% interval)"
	if low, high := positiveRange(all); low > 0 && high > 4*low {
		m.log, m.axis = true, m.axis+", logarithmic"
	}
	return &display.Figure{Name: "kl", Caption: r.klCaption(comparisons), Drawing: m.drawing()}, nil
}

// relativeKL draws every method's KL over the whole grid in per cent of the baseline's:
// the mean with its interval, and each setting's as a faint dot.
func (r *run) relativeKL() *display.Figure {
	g := r.whole
	f := &forest{
		axis:  fmt.Sprintf("KL, %% of %s's in the same setting (95%% interval)", r.short(r.baseline())),
		ticks: steps{most: 7, unit: "%"}, marks: []forestMark{{100, r.short(r.baseline()), faint}},
	}
	for _, m := range g.methods {
		row := forestRow{label: r.short(m.method), at: m.kl.scaled(0, 100), look: r.look(m.method), value: withInterval(m.kl, percent)}
		for _, st := range g.settings {
			for _, s := range st.finished() {
				if s.method == m.method && m.method != r.baseline() {
					row.around = append(row.around, 100*s.kl.mean/r.plain(st))
				}
			}
		}
		f.rows = append(f.rows, row)
	}
	return &display.Figure{Name: "kl-relative", Caption: fmt.Sprintf("%s Large: means over the settings with 95%% intervals; faint: the settings.", g.first(r)), Drawing: f.drawing()}
}

// positiveRange is the range of the rows' values above 0; a value of exactly 0
// gives 0, 0, since no logarithm can show it.
func positiveRange(rows []forestRow) (low, high float64) {
	for _, row := range rows {
		if row.heading || !row.at.known() {
			continue
		}
		if row.at.mean <= 0 {
			return 0, 0
		}
		if low == 0 || row.at.mean < low {
			low = row.at.mean
		}
		high = max(high, row.at.mean)
	}
	return low, high
}

// forestRows lists models and formats as headings, methods as rows.
func (r *run) forestRows(of func(*score) estimate, value func(*score) string) []forestRow {
	var rows []forestRow
	for _, model := range r.models {
		headed := false
		for _, st := range r.settings {
			if st.model != model {
				continue
			}
			var own []forestRow
			for _, s := range st.finished() {
				if at := of(s); at.known() {
					own = append(own, forestRow{label: r.short(s.method), at: at, look: r.look(s.method), value: value(s)})
				}
			}
			if len(own) == 0 {
				continue
			}
			if !headed {
				rows = append(rows, forestRow{heading: true, strong: true, label: r.modelName(model), at: unknown})
				headed = true
			}
			heading := forestRow{heading: true, label: fmt.Sprintf("%s (%s bits)", st.format, fixed(st.finished()[0].records[0].AvgBits, 2)), at: unknown}
			rows = append(append(rows, heading), own...)
		}
	}
	return rows
}

// look is a method's colour and shape throughout the report.
func (r *run) look(method string) look {
	for i, m := range r.methods {
		if m == method {
			return lookOf(i)
		}
	}
	return lookOf(len(r.methods))
}

// guessing is the share of the unquantized accuracy that guessing reaches, 0
// where models differ in it or it isn't known.
func (r *run) guessing() float64 {
	if len(r.models) != 1 {
		return 0
	}
	fp := r.fp[r.models[0]]
	if fp == nil || fp.Metrics.Accuracy == 0 {
		return 0
	}
	return chanceOf(fp) / fp.Metrics.Accuracy
}

// mostClauses is how many settings a caption speaks of one by one.
const mostClauses = 2

// keptCaption states what the figure of accuracies shows.
func (r *run) keptCaption(comparisons []*comparison) string {
	return r.caption("keeps %s of the unquantized accuracy", func(s *score) estimate { return s.kept }, percent,
		func(c *comparison) eval.Outcome { return c.accuracy.Outcome }, comparisons)
}

// klCaption states what the figure of divergences shows.
func (r *run) klCaption(comparisons []*comparison) string {
	return r.caption("has a KL of %s nats per answer token", func(s *score) estimate { return s.kl }, number,
		func(c *comparison) eval.Outcome { return c.kl.Outcome }, comparisons)
}

// caption puts the methods' numbers and what may be concluded into words: per
// setting where there are few, as ranges where there are many. what is what
// methods do, with a place for the number.
func (r *run) caption(what string, of func(*score) estimate, format func(float64) string, outcome func(*comparison) eval.Outcome, comparisons []*comparison) string {
	var shown []*setting
	for _, st := range r.settings {
		for _, s := range st.finished() {
			if of(s).known() {
				shown = append(shown, st)
				break
			}
		}
	}
	var text []string
	if len(shown) > mostClauses || len(r.methods) > 4 {
		text = append(text, r.captionRanges(shown, what, of, format))
		if tally := tallyWords(comparisons, outcome); tally != "" {
			text = append(text, tally)
		}
		return paragraph(append(text, r.basis()))
	}
	for _, st := range shown {
		text = append(text, r.captionClause(st, what, of, format, outcome, comparisons))
	}
	return paragraph(append(text, r.basis()))
}

// basis says what the numbers of a figure rest on.
func (r *run) basis() string {
	var questions, seeds []float64
	for _, st := range r.settings {
		for _, s := range st.finished() {
			questions, seeds = append(questions, float64(s.records[0].N)), append(seeds, float64(len(s.records)))
		}
	}
	whole := func(v float64) string { return grouped(int(v)) }
	text := fmt.Sprintf("n = %s questions, calibration seeds: %s; bars are 95%% intervals.", between(questions, whole), between(seeds, whole))
	if names := r.abbreviated(); names != "" {
		text += " " + names
	}
	return text
}

// abbreviated spells out what short labels of this run leave out.
func (r *run) abbreviated() string {
	var controls, recon bool
	for _, m := range r.methods {
		controls = controls || strings.HasPrefix(r.short(m), "control: ")
		recon = recon || strings.Contains(r.short(m), "(recon.)")
	}
	var parts []string
	if recon {
		parts = append(parts, "recon.: our reconstruction of a method whose code or text is not public")
	}
	if controls {
		parts = append(parts, "control: TLQ (reconstruction) with something of its importance taken away")
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.ToUpper(parts[0][:1]) + strings.Join(parts, "; ")[1:] + "."
}

// captionClause speaks of one setting.
func (r *run) captionClause(st *setting, what string, of func(*score) estimate, format func(float64) string, outcome func(*comparison) eval.Outcome, comparisons []*comparison) string {
	var parts, verdicts []string
	done := st.finished()
	for i, s := range done {
		part := r.label(s.method) + " " + format(of(s).mean)
		if i == 0 {
			part = r.label(s.method) + " " + fmt.Sprintf(what, format(of(s).mean))
		}
		parts = append(parts, part)
	}
	for _, c := range comparisons {
		if c.setting == st && c.compared() {
			verdicts = append(verdicts, pairWords(outcome(c), len(done) > 2, r.label(c.a.method), r.label(c.b.method)))
		}
	}
	if len(verdicts) == 0 && len(done) == 2 && of(done[0]).interval && of(done[1]).interval {
		verdicts = append(verdicts, map[bool]string{true: "the intervals overlap", false: "the intervals don't overlap"}[of(done[0]).overlaps(of(done[1]))])
	}
	text := fmt.Sprintf("At %s on %s, %s", st.format, r.modelName(st.model), strings.Join(parts, ", "))
	if len(verdicts) > 0 {
		text += "; " + list(verdicts)
	}
	return text + "."
}

// pairWords says what became of a comparison; a and b are named where several
// methods are spoken of.
func pairWords(o eval.Outcome, named bool, a, b string) string {
	subject := "the paired difference is "
	if named {
		subject = fmt.Sprintf("%s against %s is ", a, b)
	}
	switch o {
	case eval.Shown, eval.Refuted:
		return subject + "beyond noise"
	case eval.Identical:
		return "the weights are identical"
	}
	return subject + "within noise (undecided)"
}

// captionRanges speaks of all settings at once.
func (r *run) captionRanges(shown []*setting, what string, of func(*score) estimate, format func(float64) string) string {
	var parts []string
	for _, m := range r.inOrder() {
		var values []float64
		for _, st := range shown {
			for _, s := range st.finished() {
				if s.method == m {
					values = append(values, of(s).mean)
				}
			}
		}
		if rng := between(values, format); rng != none {
			part := r.label(m) + " " + rng
			if len(parts) == 0 {
				part = r.label(m) + " " + fmt.Sprintf(what, rng)
			}
			parts = append(parts, part)
		}
	}
	if len(parts) > mostInCaption {
		parts = append(parts[:mostInCaption:mostInCaption], fmt.Sprintf("and %s in the table", count(len(parts)-mostInCaption, "more method")))
	}
	return fmt.Sprintf("Over %s, %s.", count(len(shown), "setting"), strings.Join(parts, ", "))
}

// mostInCaption is how many methods a caption gives the numbers of.
const mostInCaption = 8

// inOrder lists the methods, over a whole grid the least KL first.
func (r *run) inOrder() []string {
	if r.whole == nil {
		return r.methods
	}
	var out []string
	for _, m := range r.whole.methods {
		out = append(out, m.method)
	}
	return out
}

// tallyWords counts what the comparisons decide.
func tallyWords(comparisons []*comparison, outcome func(*comparison) eval.Outcome) string {
	total, decided, identical := 0, 0, 0
	for _, c := range comparisons {
		if !c.compared() {
			continue
		}
		total++
		switch outcome(c) {
		case eval.Shown, eval.Refuted:
			decided++
		case eval.Identical:
			identical++
		}
	}
	if total == 0 {
		return ""
	}
	text := fmt.Sprintf("Of %s between methods, %d are beyond noise and %d undecided", count(total, "paired difference"), decided, total-decided-identical)
	if identical > 0 {
		text += fmt.Sprintf("; %d are between identical weights", identical)
	}
	return text + "."
}
