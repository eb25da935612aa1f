package eval

import (
	"fmt"
	"image"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
)

// Prompter turns a question into a model's tokens; *models.Processor and
// *models.Model are ones.
type Prompter interface {
	Prompt(images []image.Image, question string, answers ...string) (*models.Sequence, error)
}

// Question is an example made ready to be scored by one family of models.
type Question struct {
	datasets.Example
	// Sequence is the shared prompt with a branch per choice, or with the first
	// accepted answer where there are no choices.
	Sequence *models.Sequence
	// Prompt ends where the model's own words begin; nil where a choice is all
	// that is wanted.
	Prompt *models.Sequence

	right int // branch of the right answer
}

// NewQuestion tokenizes an example. generate asks for the model's own words
// beside its choice; a question without choices is always answered so. An
// example without an answer, and one whose first answer isn't exactly once among
// its choices, are errors.
func NewQuestion(p Prompter, e datasets.Example, generate bool) (*Question, error) {
	q := &Question{Example: e}
	if len(e.Answers) == 0 {
		return nil, fmt.Errorf("eval: question %s/%s has no answer: it cannot be scored", e.Task, e.ID)
	}
	scored := e.Choices
	if len(scored) == 0 {
		scored, generate = e.Answers[:1], true
	}
	q.right = slices.Index(scored, e.Answers[0])
	if q.right < 0 || slices.Contains(scored[q.right+1:], e.Answers[0]) {
		return nil, fmt.Errorf("eval: question %s/%s: the answer %q must be exactly once among the choices %q", e.Task, e.ID, e.Answers[0], e.Choices)
	}
	var err error
	if q.Sequence, err = p.Prompt(e.Images, e.Question, scored...); err != nil {
		return nil, fmt.Errorf("eval: question %s/%s: %w", e.Task, e.ID, err)
	}
	if generate {
		if q.Prompt, err = p.Prompt(e.Images, e.Question); err != nil {
			return nil, fmt.Errorf("eval: question %s/%s: %w", e.Task, e.ID, err)
		}
	}
	return q, nil
}

// Score makes a question's sample of a model's logits, one row [vocab] per
// entry of Sequence.Scored. reference holds the unquantized model's rows at the
// tokens of the right answer; nil says that this is the unquantized model, whose
// KL is 0 and agreement 1. The second result are this model's rows there, views
// into logits: another model's reference.
func (q *Question) Score(logits, reference [][]float32) (Sample, [][]float32, error) {
	s := Sample{ID: q.ID, Task: q.Task, Source: q.Source, Question: q.Question, Answer: q.Answers[0], Choices: q.Choices}
	branches, right, err := q.logProbs(logits)
	if err != nil {
		return Sample{}, nil, fmt.Errorf("eval: question %s: %w", s.key(), err)
	}
	s.LogProbs = branches[q.right]
	s.Tokens, s.NLL = len(s.LogProbs), -Mean(s.LogProbs)
	if len(q.Choices) > 0 {
		s.LogLikelihoods = make([]float64, len(branches))
		for i, b := range branches {
			s.LogLikelihoods[i] = Mean(b)
		}
		best, tied, err := Choose(s.LogLikelihoods)
		if err != nil {
			return Sample{}, nil, fmt.Errorf("eval: question %s: %w", s.key(), err)
		}
		s.Prediction, s.Tied, s.Correct = q.Choices[best], tied, best == q.right
	}
	if reference == nil {
		reference = right
	}
	if err := s.compare(reference, right); err != nil {
		return Sample{}, nil, fmt.Errorf("eval: question %s: %w", s.key(), err)
	}
	return s, right, nil
}

// logProbs returns ln p of each scored token by branch, and the rows of the
// right answer. Scored lists branches one after the other, in the choices'
// order.
func (q *Question) logProbs(logits [][]float32) (branches [][]float64, right [][]float32, err error) {
	scored := q.Sequence.Scored
	if len(logits) != len(scored) {
		return nil, nil, fmt.Errorf("%d rows of logits, expected one for each of %d scored tokens", len(logits), len(scored))
	}
	for i, p := range scored {
		if i == 0 || p.Branch != scored[i-1].Branch {
			branches = append(branches, nil)
		}
		lp, err := LogProb(logits[i], p.Target)
		if err != nil {
			return nil, nil, err
		}
		last := len(branches) - 1
		branches[last] = append(branches[last], lp)
		if last == q.right {
			right = append(right, logits[i])
		}
	}
	if want := max(1, len(q.Choices)); len(branches) != want {
		return nil, nil, fmt.Errorf("%d scored answers, expected %d", len(branches), want)
	}
	return branches, right, nil
}

// compare fills in KL and agreement between the reference's rows and own.
func (s *Sample) compare(reference, own [][]float32) error {
	if len(reference) != len(own) {
		return fmt.Errorf("%d answer tokens, the reference model had %d: KL needs the same tokenizer for both", len(own), len(reference))
	}
	divergences, same := make([]float64, len(own)), make([]float64, len(own))
	for i := range own {
		var err error
		if divergences[i], err = KL(reference[i], own[i]); err != nil {
			return err
		}
		same[i] = indicator(Argmax(reference[i]) == Argmax(own[i]))
	}
	kl, agreement := Mean(divergences), Mean(same)
	s.KL, s.Agreement = &kl, &agreement
	return nil
}

// Grade enters a generated answer into the question's sample, scored by the
// example's rule. It decides whether a question without choices is answered
// rightly: by a score of 0.5 or more.
func (q *Question) Grade(s *Sample, text string) {
	text = strings.TrimSpace(text)
	score, parsed := ScoreText(&q.Example, text)
	match := score >= 0.5
	s.Generated, s.ExactMatch = &text, &match
	if len(q.Choices) > 0 {
		return
	}
	s.Prediction, s.Correct, s.Unparsed, s.Fraction = text, match, !parsed, nil
	if score != indicator(match) {
		s.Fraction = &score
	}
}
