package harness

import (
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
)

// maxAnswerTokens ends a generated answer.
const maxAnswerTokens = 16

// question is one example made ready for a model: its choices, or its one
// right answer, are branches behind the shared prompt.
type question struct {
	datasets.Example
	seq   *models.Sequence
	right int // index of the right answer among the scored texts
}

// texts are what a question scores: its choices, or its right answer.
func texts(e datasets.Example) []string {
	if len(e.Choices) > 0 {
		return e.Choices
	}
	return e.Answers[:1]
}

func newQuestion(m *Model, e datasets.Example) (question, error) {
	if len(e.Answers) == 0 {
		return question{}, fmt.Errorf("harness: question %s has no answer", e.ID)
	}
	scored := texts(e)
	right := slices.Index(scored, e.Answers[0])
	if right < 0 {
		return question{}, fmt.Errorf("harness: question %s: its answer %q is not among its choices", e.ID, e.Answers[0])
	}
	seq, err := m.Prompt(e.Images, e.Question, scored...)
	if err != nil {
		return question{}, fmt.Errorf("harness: question %s: %w", e.ID, err)
	}
	return question{e, seq, right}, nil
}

// branch returns the places in seq.Scored of the i-th of n scored texts.
func (q *question) branch(i, n int) []int {
	id := int32(0)
	if n > 1 {
		id = int32(i + 1)
	}
	var rows []int
	for k, s := range q.seq.Scored {
		if s.Branch == id {
			rows = append(rows, k)
		}
	}
	return rows
}

// score makes a question's sample from its logits, one row [vocab] per entry
// of seq.Scored. reference holds the unquantized model's rows at the right
// answer; nil: this is the unquantized model. The second result are this
// model's rows there.
func (q *question) score(logits, reference [][]float32) (eval.Sample, [][]float32, error) {
	s := eval.Sample{
		ID: q.ID, Task: q.Task, Source: q.Source, Question: q.Question, Answer: q.Answers[0], Choices: q.Choices,
	}
	scored := texts(q.Example)
	means := make([]float64, len(scored))
	for i := range scored {
		rows := q.branch(i, len(scored))
		logProbs := make([]float64, len(rows))
		for k, row := range rows {
			var err error
			if logProbs[k], err = eval.LogProb(logits[row], q.seq.Scored[row].Target); err != nil {
				return s, nil, fmt.Errorf("question %s: %w", q.ID, err)
			}
		}
		means[i] = eval.Mean(logProbs)
		if i == q.right {
			s.LogProbs, s.Tokens, s.NLL = logProbs, len(rows), -means[i]
		}
	}
	var own [][]float32
	for _, row := range q.branch(q.right, len(scored)) {
		own = append(own, logits[row])
	}
	if len(q.Choices) > 0 {
		best, tied, err := eval.Choose(means)
		if err != nil {
			return s, nil, fmt.Errorf("question %s: %w", q.ID, err)
		}
		s.LogLikelihoods, s.Prediction, s.Tied, s.Correct = means, q.Choices[best], tied, best == q.right
	}
	return s, own, compare(&s, own, reference)
}

// compare fills in KL and agreement with the unquantized model.
func compare(s *eval.Sample, own, reference [][]float32) error {
	kl, agreement := 0.0, 1.0
	if reference != nil {
		if len(reference) != len(own) {
			return fmt.Errorf("question %s: %d answer tokens, the unquantized model had %d", s.ID, len(own), len(reference))
		}
		values, same := make([]float64, len(own)), make([]float64, len(own))
		for k := range own {
			var err error
			if values[k], err = eval.KL(reference[k], own[k]); err != nil {
				return fmt.Errorf("question %s: %w", s.ID, err)
			}
			if eval.Argmax(reference[k]) == eval.Argmax(own[k]) {
				same[k] = 1
			}
		}
		kl, agreement = eval.Mean(values), eval.Mean(same)
	}
	s.KL, s.Agreement = &kl, &agreement
	return nil
}

// generate answers an open question in the model's own words.
func (q *question) generate(m *Model, r *models.Runner, act *models.ActQuant, s *eval.Sample) error {
	prompt, err := m.Prompt(q.Images, q.Question)
	if err != nil {
		return fmt.Errorf("question %s: %w", q.ID, err)
	}
	ids, err := r.Generate(prompt, maxAnswerTokens, act)
	if err != nil {
		return fmt.Errorf("question %s: %w", q.ID, err)
	}
	text := m.Tokenizer.Decode(ids, true)
	match := eval.ExactMatch(text, q.Answers)
	s.Generated, s.ExactMatch = &text, &match
	if len(q.Choices) == 0 {
		s.Prediction, s.Correct = text, match
	}
	return nil
}
