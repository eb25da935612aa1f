package eval

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
)

// DefaultMaxTokens bounds generated answers when Options don't.
const DefaultMaxTokens = 16

// chunk is the number of questions that are embedded, or packed into
// micro-batches, at a time: attention masks and patches of more never exist
// together.
const chunk = 32

// Options say what else to measure. The zero value means likelihood only.
type Options struct {
	// Generate also answers multiple-choice questions by greedy text and
	// records its exact match. Questions without choices are always answered
	// so.
	Generate bool `json:"generate"`
	// MaxTokens bounds a generated answer; 0: DefaultMaxTokens.
	MaxTokens int `json:"max_tokens"`
	// Progress is told how many questions are scored; nil: nobody is.
	Progress func(done, total int) `json:"-"`
}

// Validate reports settings that cannot be followed.
func (o Options) Validate() error {
	if o.MaxTokens < 0 {
		return fmt.Errorf("eval: answers of at most %d tokens, expected a positive number (0: %d)", o.MaxTokens, DefaultMaxTokens)
	}
	return nil
}

// question is an example without its pictures, ready to be scored.
type question struct {
	sample  Sample   // with everything that no model changes
	answers []string // accepted as exact matches
	right   int      // choice that is the right answer
}

// Set is questions made ready for one model: tokenized, and their pictures run
// through the vision tower once. The model and its quantized versions are then
// scored on the same rows. A question holds one row of the language model's
// width per token (about 50 kB at 200 tokens of 64 channels); pictures are
// kept only where text is to be generated.
type Set struct {
	options   Options
	model     *models.Model
	questions []question
	sequences []*models.Sequence // without pictures
	rows      [][]float32        // input of the first block, [len, C] each
	prompts   []*models.Sequence // without answers; nil where nothing is generated
}

// NewSet tokenizes and embeds examples for r's model. Each becomes one
// sequence: a shared prompt and one branch per choice, or the first accepted
// answer where there are no choices. An example without an answer, one whose
// answer isn't exactly once among its choices, and a task and id met twice are
// errors.
func NewSet(ctx context.Context, r *models.Runner, examples iter.Seq2[datasets.Example, error], o Options) (*Set, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.MaxTokens == 0 {
		o.MaxTokens = DefaultMaxTokens
	}
	s := &Set{options: o, model: r.Model}
	seen := make(map[string]bool)
	for e, err := range examples {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if err := s.add(r.Model, &e); err != nil {
			return nil, err
		}
		key := s.questions[len(s.questions)-1].sample.key()
		if seen[key] {
			return nil, fmt.Errorf("eval: question %s came twice, expected ids to be unique within a task", key)
		}
		seen[key] = true
		if len(s.sequences)-len(s.rows) == chunk {
			if err := s.embed(r); err != nil {
				return nil, err
			}
		}
	}
	if len(s.questions) == 0 {
		return nil, fmt.Errorf("eval: no questions to ask: expected at least one example")
	}
	return s, s.embed(r)
}

// Len is the number of questions.
func (s *Set) Len() int { return len(s.questions) }

// add tokenizes one example.
func (s *Set) add(m *models.Model, e *datasets.Example) error {
	q, err := newQuestion(e)
	if err != nil {
		return err
	}
	scored := e.Choices
	if len(scored) == 0 {
		scored = e.Answers[:1]
	}
	sequence, err := m.Prompt(e.Images, e.Question, scored...)
	if err != nil {
		return fmt.Errorf("eval: question %s: %w", q.sample.key(), err)
	}
	var prompt *models.Sequence
	if s.options.Generate || len(e.Choices) == 0 {
		if prompt, err = m.Prompt(e.Images, e.Question); err != nil {
			return fmt.Errorf("eval: question %s: %w", q.sample.key(), err)
		}
	}
	s.questions = append(s.questions, *q)
	s.sequences = append(s.sequences, sequence)
	s.prompts = append(s.prompts, prompt)
	return nil
}

// newQuestion checks an example and takes over what a sample keeps of it.
func newQuestion(e *datasets.Example) (*question, error) {
	q := &question{answers: slices.Clone(e.Answers)}
	q.sample = Sample{ID: e.ID, Task: e.Task, Source: e.Source, Question: e.Question, Choices: slices.Clone(e.Choices)}
	key := q.sample.key()
	if len(e.Answers) == 0 {
		return nil, fmt.Errorf("eval: question %s has no answer: it cannot be scored", key)
	}
	q.sample.Answer = e.Answers[0]
	if len(e.Choices) == 0 {
		return q, nil
	}
	q.right = slices.Index(e.Choices, e.Answers[0])
	if q.right < 0 || slices.Contains(e.Choices[q.right+1:], e.Answers[0]) {
		return nil, fmt.Errorf("eval: question %s: the answer %q must be exactly once among the choices %q", key, e.Answers[0], e.Choices)
	}
	return q, nil
}

// embed computes the rows of the sequences that have none yet and lets go of
// their pictures.
func (s *Set) embed(r *models.Runner) error {
	fresh := s.sequences[len(s.rows):]
	rows, err := r.Embeddings(fresh)
	if err != nil {
		return err
	}
	s.rows = append(s.rows, rows...)
	for _, sequence := range fresh {
		sequence.Images = nil
	}
	return nil
}

// Score asks every question and returns one sample each, in order. KL and
// agreement are measured against reference; nil: they are not measured. record,
// where given, receives this model's own logits at the right answers' tokens,
// and KL is 0 and agreement 1 by definition: that is how the unquantized model
// is scored.
//
// A sample depends on its own question only, not on its micro-batch.
func (s *Set) Score(ctx context.Context, scorer Scorer, reference, record *Reference) ([]Sample, error) {
	if reference != nil && record != nil {
		return nil, fmt.Errorf("eval: a model is either measured against a reference or recorded as one, not both")
	}
	samples := make([]Sample, len(s.questions))
	for start := 0; start < len(s.questions); start += chunk {
		end := min(start+chunk, len(s.questions))
		batches, err := s.model.NewBatches(s.sequences[start:end], s.rows[start:end])
		if err != nil {
			return nil, err
		}
		answers := make([][][]float32, end-start) // of the right answer, by question
		for _, b := range batches {
			if err := s.scoreBatch(ctx, scorer, b, start, samples, answers); err != nil {
				return nil, err
			}
		}
		for i := start; i < end; i++ {
			if err := compareTo(reference, record, &samples[i], answers[i-start]); err != nil {
				return nil, err
			}
			if err := s.generate(ctx, scorer, i, &samples[i]); err != nil {
				return nil, err
			}
		}
		if s.options.Progress != nil {
			s.options.Progress(end, len(s.questions))
		}
	}
	return samples, nil
}

// scoreBatch fills in the samples of one micro-batch, whose Index counts from
// start, and their right answers' logits.
func (s *Set) scoreBatch(ctx context.Context, scorer Scorer, b *models.Batch, start int, samples []Sample, answers [][][]float32) error {
	logits, err := scorer.Logits(ctx, b)
	if err != nil {
		return err
	}
	for i, sequence := range b.Seqs {
		q := &s.questions[start+b.Index[i]]
		n := len(sequence.Scored)
		if len(logits) < n {
			return fmt.Errorf("eval: question %s has %d scored tokens, only %d rows of logits are left", q.sample.key(), n, len(logits))
		}
		sample, rows, err := q.score(sequence.Scored, logits[:n])
		if err != nil {
			return fmt.Errorf("question %s: %w", q.sample.key(), err)
		}
		samples[start+b.Index[i]], answers[b.Index[i]] = sample, rows
		logits = logits[n:]
	}
	return nil
}

// score turns the logits at a question's scored tokens into its sample and
// returns the rows of the right answer. Branches of scored correspond to the
// choices in order.
func (q *question) score(scored []models.Scored, logits [][]float32) (Sample, [][]float32, error) {
	var branches [][]float64 // ln p of each token, by branch
	var right [][]float32
	for i, p := range scored {
		if i == 0 || p.Branch != scored[i-1].Branch {
			branches = append(branches, nil)
		}
		lp, err := LogProb(logits[i], p.Target)
		if err != nil {
			return Sample{}, nil, err
		}
		last := len(branches) - 1
		branches[last] = append(branches[last], lp)
		if last == q.right {
			right = append(right, logits[i])
		}
	}
	if want := max(1, len(q.sample.Choices)); len(branches) != want {
		return Sample{}, nil, fmt.Errorf("eval: %d scored answers, expected %d", len(branches), want)
	}
	s := q.sample
	s.LogProbs = branches[q.right]
	s.Tokens = len(s.LogProbs)
	s.NLL = -Mean(s.LogProbs)
	if len(s.Choices) == 0 {
		return s, right, nil
	}
	s.LogLikelihoods = make([]float64, len(branches))
	for i, b := range branches {
		s.LogLikelihoods[i] = Mean(b)
	}
	best, tied, err := Choose(s.LogLikelihoods)
	if err != nil {
		return Sample{}, nil, err
	}
	s.Prediction, s.Tied, s.Correct = s.Choices[best], tied, best == q.right
	return s, right, nil
}

// compareTo fills in KL and agreement of a sample whose right answer has the
// given logits.
func compareTo(reference, record *Reference, s *Sample, logits [][]float32) error {
	base := logits
	switch {
	case record != nil:
		if err := record.add(s.key(), logits); err != nil {
			return err
		}
	case reference != nil:
		var err error
		if base, err = reference.rows(s.key(), len(logits)); err != nil {
			return err
		}
	default:
		return nil
	}
	divergences, same := make([]float64, len(logits)), make([]float64, len(logits))
	for i := range logits {
		var err error
		if divergences[i], err = KL(base[i], logits[i]); err != nil {
			return fmt.Errorf("question %s: %w", s.key(), err)
		}
		same[i] = indicator(Argmax(base[i]) == Argmax(logits[i]))
	}
	kl, agreement := Mean(divergences), Mean(same)
	s.KL, s.Agreement = &kl, &agreement
	return nil
}

// generate answers question i by greedy text where that was asked for.
func (s *Set) generate(ctx context.Context, scorer Scorer, i int, sample *Sample) error {
	if s.prompts[i] == nil {
		return nil
	}
	ids, err := scorer.Generate(ctx, s.prompts[i], s.options.MaxTokens)
	if err != nil {
		return fmt.Errorf("question %s: %w", sample.key(), err)
	}
	text := strings.TrimSpace(s.model.Tokenizer.Decode(ids, true))
	match := ExactMatch(text, s.questions[i].answers)
	sample.Generated, sample.ExactMatch = &text, &match
	if len(sample.Choices) == 0 {
		sample.Prediction, sample.Correct = text, match
	}
	return nil
}
