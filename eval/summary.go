package eval

import (
	"fmt"
	"math/rand/v2"
)

// TaskScore is one task's, or all tasks', means over samples. Every sample
// weighs the same, however long its answer.
type TaskScore struct {
	N          int      `json:"n"`                     // samples
	Clusters   int      `json:"clusters"`              // independent pictures, tables or concepts among them
	Accuracy   float64  `json:"accuracy"`              // 0..1
	StdErr     float64  `json:"stderr"`                // clustered standard error of Accuracy
	NLL        float64  `json:"nll"`                   // nats per answer token
	KL         *float64 `json:"kl,omitempty"`          // nats per answer token; nil: not every sample has one
	Agreement  *float64 `json:"agreement,omitempty"`   // 0..1; nil: not every sample has one
	ExactMatch *float64 `json:"exact_match,omitempty"` // 0..1 over generated answers; nil: not every sample has one
	Tied       int      `json:"tied,omitempty"`        // samples decided by the order of their choices
}

// Summary is what a model scored.
type Summary struct {
	TaskScore
	Tasks map[string]TaskScore `json:"tasks"` // by task name
}

// Summarize averages samples over all tasks and task by task. Samples of a
// task with more questions weigh more in the overall score only by their
// number. Two samples of the same task and id are an error.
func Summarize(samples []Sample) (Summary, error) {
	if err := checkUnique(samples); err != nil {
		return Summary{}, err
	}
	all, err := scoreOf(samples)
	if err != nil {
		return Summary{}, err
	}
	byTask := make(map[string][]Sample)
	for _, s := range samples {
		byTask[s.Task] = append(byTask[s.Task], s)
	}
	out := Summary{TaskScore: all, Tasks: make(map[string]TaskScore, len(byTask))}
	for name, group := range byTask {
		score, err := scoreOf(group)
		if err != nil {
			return Summary{}, fmt.Errorf("task %s: %w", name, err)
		}
		out.Tasks[name] = score
	}
	return out, nil
}

// checkUnique rejects a question that was scored twice.
func checkUnique(samples []Sample) error {
	seen := make(map[string]bool, len(samples))
	for i := range samples {
		k := samples[i].key()
		if seen[k] {
			return fmt.Errorf("eval: question %s was scored twice, expected each once per model", k)
		}
		seen[k] = true
	}
	return nil
}

// scoreOf averages one group of samples.
func scoreOf(samples []Sample) (TaskScore, error) {
	c, err := cluster(column(samples, points), clusterNames(samples))
	if err != nil {
		return TaskScore{}, err
	}
	score := TaskScore{N: len(samples), Clusters: len(c.sums), NLL: Mean(column(samples, nll))}
	hits := column(samples, points)
	score.Accuracy = Mean(hits)
	score.StdErr = c.stdErr(hits, score.Accuracy)
	score.KL = meanOrNil(samples, func(s *Sample) *float64 { return s.KL })
	score.Agreement = meanOrNil(samples, func(s *Sample) *float64 { return s.Agreement })
	score.ExactMatch = meanOrNil(samples, func(s *Sample) *float64 {
		if s.ExactMatch == nil {
			return nil
		}
		v := indicator(*s.ExactMatch)
		return &v
	})
	for _, s := range samples {
		if s.Tied {
			score.Tied++
		}
	}
	return score, nil
}

// meanOrNil is the mean of an optional field, nil unless all samples have it:
// a mean over some of them would be compared with a mean over all.
func meanOrNil(samples []Sample, field func(*Sample) *float64) *float64 {
	values := make([]float64, len(samples))
	for i := range samples {
		v := field(&samples[i])
		if v == nil {
			return nil
		}
		values[i] = *v
	}
	mean := Mean(values)
	return &mean
}

// column lists one number of each sample, in order.
func column(samples []Sample, field func(*Sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i := range samples {
		values[i] = field(&samples[i])
	}
	return values
}

func points(s *Sample) float64 { return s.Points() }

func nll(s *Sample) float64 { return s.NLL }

// indicator is 1 for true, 0 for false.
func indicator(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// clusterNames lists the cluster of each sample, in order.
func clusterNames(samples []Sample) []string {
	names := make([]string, len(samples))
	for i := range samples {
		names[i] = samples[i].Cluster()
	}
	return names
}

// Comparison is the second model − the first on the same questions.
type Comparison struct {
	N          int       `json:"n"`
	Accuracy   Interval  `json:"accuracy"`     // difference in accuracy, −1..1
	NLL        Interval  `json:"nll"`          // difference in nats per answer token
	KL         *Interval `json:"kl,omitempty"` // difference in KL to the unquantized model, nats per token; nil where a side has none
	OnlyFirst  int       `json:"only_first"`   // questions that only the first answered rightly
	OnlySecond int       `json:"only_second"`  // questions that only the second answered rightly
	P          float64   `json:"p"`            // McNemar's exact p of the last two
}

// Compare pairs two models' samples by task and id and compares them. Both
// must have scored exactly the same questions; the order of the first counts.
// All intervals use the same resamples' source rng, one after the other.
func Compare(first, second []Sample, config BootstrapConfig, rng *rand.Rand) (*Comparison, error) {
	second, err := pair(first, second)
	if err != nil {
		return nil, err
	}
	names := clusterNames(first)
	c := &Comparison{N: len(first)}
	for i := range first {
		switch {
		case first[i].Correct && !second[i].Correct:
			c.OnlyFirst++
		case second[i].Correct && !first[i].Correct:
			c.OnlySecond++
		}
	}
	if c.P, err = McNemar(c.OnlyFirst, c.OnlySecond); err != nil {
		return nil, err
	}
	if c.Accuracy, err = Bootstrap(subtract(column(second, points), column(first, points)), names, config, rng); err != nil {
		return nil, err
	}
	if c.NLL, err = Bootstrap(subtract(column(second, nll), column(first, nll)), names, config, rng); err != nil {
		return nil, err
	}
	hasKL := func(s *Sample) *float64 { return s.KL }
	if meanOrNil(first, hasKL) == nil || meanOrNil(second, hasKL) == nil {
		return c, nil
	}
	kl := func(s *Sample) float64 { return *s.KL }
	interval, err := Bootstrap(subtract(column(second, kl), column(first, kl)), names, config, rng)
	if err != nil {
		return nil, err
	}
	c.KL = &interval
	return c, nil
}

// pair returns second in the order of first.
func pair(first, second []Sample) ([]Sample, error) {
	if err := checkUnique(first); err != nil {
		return nil, err
	}
	if err := checkUnique(second); err != nil {
		return nil, err
	}
	if len(first) != len(second) {
		return nil, fmt.Errorf("eval: comparing %d questions with %d: paired statistics need the same questions from both models", len(first), len(second))
	}
	at := make(map[string]int, len(second))
	for i := range second {
		at[second[i].key()] = i
	}
	paired := make([]Sample, len(first))
	for i := range first {
		j, ok := at[first[i].key()]
		if !ok {
			return nil, fmt.Errorf("eval: question %s was answered by the first model only: paired statistics need the same questions from both", first[i].key())
		}
		paired[i] = second[j]
	}
	return paired, nil
}

// subtract returns a − b elementwise.
func subtract(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return d
}
