package report

import (
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// tasks lists the tasks of the grid's questions, with the questions of each.
func (r *run) gridTasks(g *whole) (names []string, questions map[string][]int) {
	questions = map[string][]int{}
	for i, key := range r.answers[g.settings[0].model+" "+harness.MethodFP].keys {
		task, _, _ := strings.Cut(key, "/")
		if questions[task] == nil {
			names = append(names, task)
		}
		questions[task] = append(questions[task], i)
	}
	return names, questions
}

// gridTaskSheet is each method on each task over the whole grid, by KL and by the accuracy
// kept. A task on which an unquantized model or the baseline leaves nothing to divide by is
// left blank.
func (g *whole) gridTaskSheet(r *run) (*sheet, error) {
	names, questions := r.gridTasks(g)
	s := &sheet{name: "grid-tasks", show: &display.Table{
		Columns: []string{"method"},
		Caption: fmt.Sprintf("Left of the bar: KL in %% of %s's; right of it: accuracy in %% of the unquantized model's; means over %s with 95%% intervals over the task's questions and %s.",
			r.label(r.baseline()), count(len(g.settings), "setting"), count(len(g.seeds), "calibration seed")),
	}, csv: [][]string{{"method", "task", "kl_relative", "kl_relative_low", "kl_relative_high", "kept", "kept_low", "kept_high", "n", "seeds", "settings"}}}
	for _, name := range names {
		s.show.Columns = append(s.show.Columns, fmt.Sprintf("%s (n = %d)", name, len(questions[name])))
	}
	for _, m := range g.methods {
		row := []any{r.short(m.method)}
		for _, name := range names {
			only := questions[name]
			var e [2]estimate
			for k, metric := range []string{harness.MetricKL, harness.MetricAccuracy} {
				e[k] = unknown
				if !r.divisible(g, metric, only) {
					continue
				}
				i, err := r.resample(r.overGrid(g, m.method, metric, only), clustersOf(g, only), taskStream)
				if err != nil {
					return nil, err
				}
				e[k] = fromInterval(i)
			}
			row = append(row, withInterval(e[0], percent)+" | "+withInterval(e[1], percent))
			s.csv = append(s.csv, append(append(append([]string{m.method, name}, cells(e[0])...), cells(e[1])...), fmt.Sprint(len(only)), fmt.Sprint(len(g.seeds)), fmt.Sprint(len(g.settings))))
		}
		s.show.Add(row...)
	}
	return s, nil
}

// divisible reports whether every setting has something to divide by, and whether the
// questions are of more than one cluster, without which there is no interval.
func (r *run) divisible(g *whole, metric string, only []int) bool {
	seen := map[string]bool{}
	for _, q := range only {
		seen[g.clusters[q]] = true
	}
	if len(seen) < 2 {
		return false
	}
	for _, st := range g.settings {
		if metric == harness.MetricKL && meanKL(r.answersOf(g, st, r.baseline(), only)) <= 0 ||
			metric == harness.MetricAccuracy && meanCorrect([]*answers{r.answers[st.model+" "+harness.MethodFP].only(only)}) <= 0 {
			return false
		}
	}
	return true
}

// clustersOf are the clusters of some questions.
func clustersOf(g *whole, only []int) []string {
	out := make([]string, len(only))
	for i, q := range only {
		out[i] = g.clusters[q]
	}
	return out
}

// only are the scores of some questions; nil: all.
func (a *answers) only(questions []int) *answers {
	if questions == nil {
		return a
	}
	out := &answers{}
	for _, q := range questions {
		out.correct, out.nll, out.kl = append(out.correct, a.correct[q]), append(out.nll, a.nll[q]), append(out.kl, a.kl[q])
	}
	return out
}

func meanKL(all []*answers) float64 {
	var sum float64
	for _, a := range all {
		sum += eval.Mean(a.kl) / float64(len(all))
	}
	return sum
}

func meanCorrect(all []*answers) float64 {
	var sum float64
	for _, a := range all {
		sum += eval.Mean(a.correct) / float64(len(all))
	}
	return sum
}
