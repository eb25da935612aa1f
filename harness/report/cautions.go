package report

import (
	"fmt"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// Bounds of the baseline's KL within which methods can differ visibly, in
// nats per answer token: below, there is hardly any damage to repair; above,
// little of the model is left.
const (
	littleDamage = 0.05
	muchDamage   = 0.6
)

// cautions lists what a reader must know before believing the headline.
func (r *run) cautions() []string {
	var out []string
	for _, model := range r.atChance() {
		fp := r.fp[model]
		i := fp.Intervals["accuracy"]
		out = append(out, fmt.Sprintf("%s itself is not above guessing: %s right [%s, %s] where chance is %s. Accuracy says nothing about methods here.",
			r.modelName(model), percent(fp.Metrics.Accuracy), percent(i.Low), percent(i.High), percent(chanceOf(fp))))
	}
	var little, much []string
	for _, st := range r.settings {
		for _, s := range st.finished() {
			switch {
			case s.method != baselineMethod:
			case s.kl.mean < littleDamage:
				little = append(little, fmt.Sprintf("%s (%s)", r.settingName(st), number(s.kl.mean)))
			case s.kl.mean > muchDamage:
				much = append(much, fmt.Sprintf("%s (%s)", r.settingName(st), number(s.kl.mean)))
			}
		}
	}
	if len(little) > 0 {
		out = append(out, fmt.Sprintf("%s does little damage at %s, in nats per token: below %s methods have hardly anything to repair.",
			r.label(baselineMethod), list(little), digits(littleDamage)))
	}
	if len(much) > 0 {
		out = append(out, fmt.Sprintf("%s leaves little of the model at %s, in nats per token: above %s a lower KL need not mean a usable model.",
			r.label(baselineMethod), list(much), digits(muchDamage)))
	}
	if failed := r.failures(); len(failed) > 0 {
		out = append(out, fmt.Sprintf("%d of %s failed and are missing from every number; they are listed below.", len(failed), count(len(r.records), "cell")))
	}
	return append(out, r.seedCaution()...)
}

// seedCaution says what the intervals cover.
func (r *run) seedCaution() []string {
	seeds := 0
	for _, st := range r.settings {
		for _, s := range st.scores {
			seeds = max(seeds, len(s.records))
		}
	}
	switch {
	case seeds == 1:
		return []string{"One calibration seed: intervals speak of other questions, not of other calibration samples."}
	case seeds > 1 && seeds < eval.MinClusters:
		return []string{fmt.Sprintf("Intervals that resample %d calibration seeds are somewhat too narrow: eight or more would be needed.", seeds)}
	}
	return nil
}

// failures lists the failed records.
func (r *run) failures() []*harness.Record {
	var out []*harness.Record
	for i := range r.records {
		if r.records[i].Status == harness.StatusFailed {
			out = append(out, &r.records[i])
		}
	}
	return out
}

// atChance lists the models whose unquantized accuracy isn't above guessing.
func (r *run) atChance() []string {
	var out []string
	for _, model := range r.models {
		fp := r.fp[model]
		if fp == nil {
			continue
		}
		interval, ok := fp.Intervals["accuracy"]
		if chance := chanceOf(fp); ok && chance > 0 && interval.Low <= chance {
			out = append(out, model)
		}
	}
	return out
}

// chanceOf is the accuracy of guessing over a record's tasks.
func chanceOf(rec *harness.Record) float64 {
	var sum float64
	n := 0
	for _, name := range taskNames(rec) {
		t := rec.Tasks[name]
		sum += t.Chance * float64(t.N)
		n += t.N
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}
