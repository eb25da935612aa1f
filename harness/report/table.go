package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// Summary is the table of methods and formats: one row per model, format and
// method, averaged over seeds, with 95% intervals. KL and NLL are in nats per
// answer token, bits are average bits per weight with scales and zeros counted.
// records is what a run wrote; an error names a cell that comes twice.
func Summary(records []harness.Record) (*display.Table, error) {
	r, err := newRun(records, "")
	if err != nil {
		return nil, err
	}
	return r.summarySheet().show, nil
}

// sheet is a table for people beside the same table for programs.
type sheet struct {
	name string // of the CSV file
	show *display.Table
	csv  [][]string // with a heading row; every digit
}

// oneModel takes the first column, the model's name, out of a table of a run
// with one model.
func (r *run) oneModel(t *display.Table) {
	if len(r.models) != 1 {
		return
	}
	t.Columns = t.Columns[1:]
	for i := range t.Rows {
		t.Rows[i] = t.Rows[i][1:]
	}
}

func (r *run) summarySheet() *sheet {
	s := &sheet{name: "summary", show: &display.Table{
		Columns: []string{"model", "format", "method", "bits", "KL", "NLL", "accuracy", "kept", "Δ accuracy, points", "McNemar p", "n", "seeds"},
		Caption: "KL and NLL in nats per answer token, bits per weight with scales and zeros counted, 95% intervals in brackets. " +
			"Kept: share of the unquantized accuracy. Δ accuracy: difference to the unquantized model on the same questions.",
	}}
	s.csv = [][]string{{
		"model", "format", "method", "bits", "kl", "kl_low", "kl_high", "nll", "nll_low", "nll_high", "accuracy", "accuracy_low", "accuracy_high",
		"kept", "kept_low", "kept_high", "delta", "delta_low", "delta_high", "p", "n", "seeds", "failed_seeds",
	}}
	for _, model := range r.models {
		if fp := r.fp[model]; fp != nil {
			r.addUnquantized(s, fp)
		}
		for _, st := range r.settings {
			if st.model != model {
				continue
			}
			for _, x := range st.scores {
				r.addScore(s, x)
			}
		}
	}
	if len(r.models) == 1 {
		s.show.Caption = fmt.Sprintf("Model: %s. %s", r.models[0], s.show.Caption)
	}
	r.oneModel(s.show)
	return s
}

func (r *run) addUnquantized(s *sheet, fp *harness.Record) {
	one := score{records: []*harness.Record{fp}}
	one.recorded()
	s.show.Add(r.modelName(fp.Model), none, r.short(fp.Method), fixed(fp.AvgBits, 2), number(0), withInterval(one.nll, number),
		withInterval(one.accuracy, percent), percent(1), none, none, fp.N, none)
	exact := estimate{mean: 1}
	row := slices.Concat([]string{fp.Model, "", fp.Method, digits(fp.AvgBits)}, cells(estimate{}), cells(one.nll), cells(one.accuracy), cells(exact), cells(estimate{}))
	s.csv = append(s.csv, append(row, "1", strconv.Itoa(fp.N), "1", "0"))
}

func (r *run) addScore(s *sheet, x *score) {
	st := x.setting
	head := []any{r.modelName(st.model), st.format, r.short(x.method)}
	if !x.finished() {
		head[2] = r.short(x.method) + ": failed"
		s.show.Add(append(head, none, none, none, none, none, none, none, none, fmt.Sprintf("0 of %d", x.failed))...)
		row := []string{st.model, st.format, x.method}
		s.csv = append(s.csv, append(row, append(make([]string, 17), "0", "0", strconv.Itoa(x.failed))...))
		return
	}
	rec := x.records[0]
	seeds := strconv.Itoa(len(x.records))
	if x.failed > 0 {
		seeds = fmt.Sprintf("%d of %d", len(x.records), len(x.records)+x.failed)
	}
	s.show.Add(append(head, fixed(rec.AvgBits, 2), withInterval(x.kl, number), withInterval(x.nll, number), withInterval(x.accuracy, percent),
		percent(x.kept.mean), withInterval(x.delta, points), r.mcNemar(x), rec.N, seeds)...)
	row := slices.Concat([]string{st.model, st.format, x.method, digits(rec.AvgBits)}, cells(x.kl), cells(x.nll), cells(x.accuracy), cells(x.kept), cells(x.delta))
	p := ""
	if len(x.records) == 1 {
		p = digits(rec.Delta.P)
	}
	s.csv = append(s.csv, append(row, p, strconv.Itoa(rec.N), strconv.Itoa(len(x.records)), strconv.Itoa(x.failed)))
}

// mcNemar writes a single seed's exact p, or the range over seeds.
func (r *run) mcNemar(x *score) string {
	var p []float64
	for _, rec := range x.records {
		p = append(p, rec.Delta.P)
	}
	return between(p, pValue)
}

// digits writes a number for a program to read.
func digits(x float64) string {
	if x != x {
		return ""
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

func cells(e estimate) []string {
	if !e.interval {
		return []string{digits(e.mean), "", ""}
	}
	return []string{digits(e.mean), digits(e.low), digits(e.high)}
}

// Comparisons is the table of methods against each other: paired differences in KL and
// accuracy with Holm-corrected verdicts, from the records and answers in a run's folder.
func Comparisons(dir string) (*display.Table, error) {
	records, err := harness.ReadRun(dir)
	if err != nil {
		return nil, err
	}
	r, err := newRun(records, dir)
	if err != nil {
		return nil, err
	}
	comparisons, err := r.compare()
	if err != nil {
		return nil, err
	}
	return r.comparisonSheet(comparisons).show, nil
}

// comparisonSheet is methods against each other.
func (r *run) comparisonSheet(comparisons []*comparison) *sheet {
	s := &sheet{name: "comparisons", show: &display.Table{
		Columns: []string{"model", "format", "method", "against", "ΔKL", "p", "KL lower?", "Δ accuracy, points", "McNemar p", "accuracy higher?", "n", "seeds"},
		Caption: "Paired on the same questions; ΔKL in nats per answer token, p of its bootstrap, Holm-corrected over all comparisons of the run. " +
			"Undecided: the interval holds 0, or the corrected p is above 0.05.",
	}}
	s.csv = [][]string{{
		"model", "format", "method", "against", "kl_difference", "kl_low", "kl_high", "kl_p_holm", "kl_outcome", "kl_needed_n",
		"accuracy_difference", "accuracy_low", "accuracy_high", "accuracy_p_holm", "accuracy_outcome", "accuracy_needed_n", "mcnemar_p", "n", "seeds",
	}}
	for _, c := range comparisons {
		head := []any{r.modelName(c.setting.model), c.setting.format, r.short(c.a.method), r.short(c.b.method)}
		row := []string{c.setting.model, c.setting.format, c.a.method, c.b.method}
		tail := []string{strconv.Itoa(c.n), strconv.Itoa(c.seeds)}
		switch {
		case !c.compared():
			s.show.Add(append(head, none, none, c.problem, none, none, c.problem, c.n, c.seeds)...)
			s.csv = append(s.csv, append(append(row, make([]string, 13)...), tail...))
			continue
		case c.kl.Outcome == eval.Identical:
			s.show.Add(append(head, number(0), "1", "identical weights", fixed(0, 1), "1", "identical weights", c.n, c.seeds)...)
			same := []string{"0", "0", "0", "1", string(eval.Identical), "0"}
			s.csv = append(s.csv, slices.Concat(row, same, same, []string{"1"}, tail))
			continue
		}
		s.show.Add(append(head, withInterval(fromInterval(c.kl.Difference), signed), pValue(c.kl.AdjustedP), outcomeCell(c.kl),
			withInterval(fromInterval(c.accuracy.Difference), points), pValue(c.p), outcomeCell(c.accuracy), c.n, c.seeds)...)
		s.csv = append(s.csv, slices.Concat(row, verdictCells(c.kl), verdictCells(c.accuracy), []string{digits(c.p)}, tail))
	}
	r.oneModel(s.show)
	return s
}

// outcomeCell answers "is it better?".
func outcomeCell(v eval.Verdict) string {
	switch v.Outcome {
	case eval.Shown:
		return "yes"
	case eval.Refuted:
		return "no, the reverse"
	}
	switch {
	case v.NeededN == 0:
		return "undecided"
	case v.NeededN > 1_000_000:
		return "undecided (n\u00a0>\u00a01,000,000)"
	}
	return fmt.Sprintf("undecided (n\u00a0≈\u00a0%s)", grouped(v.NeededN))
}

func verdictCells(v eval.Verdict) []string {
	return slices.Concat(cells(fromInterval(v.Difference)), []string{digits(v.AdjustedP), string(v.Outcome), strconv.Itoa(v.NeededN)})
}

// taskNames lists a record's tasks in the order of its Spec, else by name.
func taskNames(rec *harness.Record) []string {
	names := slices.Sorted(maps.Keys(rec.Tasks))
	if rec.Spec != nil {
		slices.SortStableFunc(names, func(a, b string) int { return slices.Index(rec.Spec.Tasks, a) - slices.Index(rec.Spec.Tasks, b) })
	}
	return names
}

// scoreSheet is the accuracy on every task side by side, averaged over seeds.
func (r *run) scoreSheet() *sheet {
	var tasks []string
	for i := range r.records {
		for _, name := range taskNames(&r.records[i]) {
			if !slices.Contains(tasks, name) {
				tasks = append(tasks, name)
			}
		}
	}
	s := &sheet{name: "accuracy", show: &display.Table{
		Columns: append(append([]string{"model", "format", "method"}, tasks...), "all questions", "kept"),
		Caption: "Accuracy ± standard error over questions, clustered by picture or concept; all questions: with its 95% interval. Kept: share of the unquantized accuracy.",
	}}
	s.csv = [][]string{append([]string{"model", "format", "method"}, tasks...)}
	for _, name := range tasks {
		s.csv[0] = append(s.csv[0], name+"_stderr")
	}
	add := func(x *score, format string) {
		first := x.records[0]
		row := []any{r.modelName(first.Model), format, r.short(first.Method)}
		accuracies, errors := make([]string, len(tasks)), make([]string, len(tasks))
		for i, name := range tasks {
			t, n := meanTask(x.records, name)
			if n == 0 {
				row = append(row, none)
				continue
			}
			row = append(row, percent(t.Accuracy)+" ±\u00a0"+fixed(100*t.StdErr, 1))
			accuracies[i], errors[i] = digits(t.Accuracy), digits(t.StdErr)
		}
		s.show.Add(append(row, withInterval(x.accuracy, percent), percent(x.kept.mean))...)
		s.csv = append(s.csv, slices.Concat([]string{first.Model, first.Setting(), first.Method}, accuracies, errors))
	}
	r.eachScore(add)
	r.oneModel(s.show)
	return s
}

// eachScore visits every model's unquantized row, then its finished methods.
func (r *run) eachScore(visit func(x *score, format string)) {
	for _, model := range r.models {
		if fp := r.fp[model]; fp != nil {
			x := &score{records: []*harness.Record{fp}, kept: estimate{mean: 1}}
			x.recorded()
			visit(x, none)
		}
		for _, st := range r.settings {
			if st.model != model {
				continue
			}
			for _, x := range st.finished() {
				visit(x, st.format)
			}
		}
	}
}

// meanTask averages a task's scores over the records that have them, n of them.
func meanTask(records []*harness.Record, name string) (t harness.TaskScore, n int) {
	for _, rec := range records {
		if x, ok := rec.Tasks[name]; ok {
			t.Accuracy, t.StdErr, t.NLL, t.KL = t.Accuracy+x.Accuracy, t.StdErr+x.StdErr, t.NLL+x.NLL, t.KL+x.KL
			t.N, t.Chance = x.N, x.Chance
			n++
		}
	}
	if seeds := float64(n); n > 0 {
		t.Accuracy, t.StdErr, t.NLL, t.KL = t.Accuracy/seeds, t.StdErr/seeds, t.NLL/seeds, t.KL/seeds
	}
	return t, n
}

// taskSheet is every method on every task, averaged over seeds.
func (r *run) taskSheet() *sheet {
	s := &sheet{name: "tasks", show: &display.Table{
		Columns: []string{"model", "format", "method", "task", "accuracy", "± s.e., points", "chance", "kept", "KL", "NLL", "n", "seeds"},
		Caption: "s.e.: standard error over questions, clustered by picture or concept. KL and NLL in nats per answer token.",
	}}
	s.csv = [][]string{{"model", "format", "method", "task", "accuracy", "stderr", "chance", "kl", "nll", "n", "seeds"}}
	r.eachScore(func(x *score, _ string) { r.addTasks(s, x.records) })
	r.oneModel(s.show)
	return s
}

func (r *run) addTasks(s *sheet, records []*harness.Record) {
	first := records[0]
	for _, name := range taskNames(first) {
		t, n := meanTask(records, name)
		kept, format, chance := none, first.Setting(), none
		if fp := r.fp[first.Model]; fp != nil && fp.Tasks[name].Accuracy > 0 {
			kept = percent(t.Accuracy / fp.Tasks[name].Accuracy)
		}
		if t.Chance > 0 {
			chance = percent(t.Chance)
		}
		if format == "" {
			format = none
		}
		s.show.Add(r.modelName(first.Model), format, r.short(first.Method), name, percent(t.Accuracy), fixed(100*t.StdErr, 1), chance, kept, number(t.KL), number(t.NLL), t.N, n)
		s.csv = append(s.csv, []string{
			first.Model, first.Setting(), first.Method, name, digits(t.Accuracy), digits(t.StdErr), digits(t.Chance), digits(t.KL), digits(t.NLL),
			strconv.Itoa(t.N), strconv.Itoa(n),
		})
	}
}

// cellSheet is every record.
func (r *run) cellSheet() *sheet {
	s := &sheet{name: "cells", show: &display.Table{
		Columns: []string{"model", "format", "method", "seed", "bits", "KL", "NLL", "accuracy", "Δ accuracy, points", "McNemar p", "n", "weights", "status"},
		Caption: "Weights: the first 8 digits of the SHA-256; equal ones are the identical model, not a tie.",
	}}
	s.csv = [][]string{{
		"model", "format", "method", "seed", "bits", "kl", "nll", "accuracy", "delta", "delta_low", "delta_high", "p", "n", "weights_sha256", "status", "samples", "command",
	}}
	for i := range r.records {
		rec := &r.records[i]
		format := rec.Setting()
		if format == "" {
			format = none
		}
		seed := strconv.FormatUint(rec.Seed, 10)
		if rec.Status != harness.StatusOK {
			s.show.Add(r.modelName(rec.Model), format, r.short(rec.Method), seed, none, none, none, none, none, none, none, none, string(rec.Status))
			s.csv = append(s.csv, append(append([]string{rec.Model, rec.Setting(), rec.Method, seed}, make([]string, 10)...), string(rec.Status), "", r.cellCommand(rec)))
			continue
		}
		delta := estimate{rec.Delta.Accuracy, rec.Delta.Low, rec.Delta.High, true}
		s.show.Add(r.modelName(rec.Model), format, r.short(rec.Method), seed, fixed(rec.AvgBits, 2), number(rec.Metrics.KL), number(rec.Metrics.NLL),
			percent(rec.Metrics.Accuracy), withInterval(delta, points), pValue(rec.Delta.P), rec.N, rec.WeightsSHA256[:min(8, len(rec.WeightsSHA256))], string(rec.Status))
		s.csv = append(s.csv, slices.Concat(
			[]string{rec.Model, rec.Setting(), rec.Method, seed, digits(rec.AvgBits), digits(rec.Metrics.KL), digits(rec.Metrics.NLL), digits(rec.Metrics.Accuracy)},
			cells(delta), []string{digits(rec.Delta.P), strconv.Itoa(rec.N), rec.WeightsSHA256, string(rec.Status), rec.Samples, r.cellCommand(rec)}))
	}
	r.oneModel(s.show)
	return s
}

// eventSheet lists what did not go as planned; nil where there was nothing.
func (r *run) eventSheet() *sheet {
	s := &sheet{name: "events", show: &display.Table{Columns: []string{"cell", "kind", "what happened"}}, csv: [][]string{{"model", "format", "method", "seed", "kind", "text"}}}
	for i := range r.records {
		rec := &r.records[i]
		for _, e := range rec.Events {
			s.csv = append(s.csv, []string{rec.Model, rec.Setting(), rec.Method, strconv.FormatUint(rec.Seed, 10), e.Kind, e.Text})
			if e.Kind != harness.EventError { // failed cells have their own section
				s.show.Add(rec.Cell(), e.Kind, e.Text)
			}
		}
	}
	return s
}

// failedTable lists the cells without a result.
func (r *run) failedTable() *display.Table {
	t := &display.Table{Columns: []string{"cell", "error"}}
	for _, rec := range r.failures() {
		t.Add(rec.Cell(), rec.Error())
	}
	return t
}
