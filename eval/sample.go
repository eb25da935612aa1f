package eval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Sample is one question's score by one model. Records, tables and tests are
// made from samples; a run stores them as JSON lines.
type Sample struct {
	ID       string   `json:"id"`                // of the question, unique within its task
	Task     string   `json:"task"`              // task that asked it
	Source   string   `json:"source"`            // picture, table or concept that it shares with other questions
	Question string   `json:"question"`          // as asked
	Answer   string   `json:"answer"`            // the right answer: the one that NLL and KL are measured on
	Choices  []string `json:"choices,omitempty"` // as offered; empty: an open question

	// LogLikelihoods holds ln p per answer token, end token included, for
	// each choice, in nats.
	LogLikelihoods []float64 `json:"choice_log_likelihoods,omitempty"`
	Tied           bool      `json:"tied,omitempty"` // another choice had exactly the winner's value

	Prediction string  `json:"prediction"`            // the winning choice, or the generated text of an open question
	Correct    bool    `json:"correct"`               // what accuracy counts, where Fraction is nil
	Generated  *string `json:"generated,omitempty"`   // greedy text; nil: nothing was generated
	ExactMatch *bool   `json:"exact_match,omitempty"` // generated text is right by the task's rule, as a rule equal to an answer; nil: nothing was generated

	// Fraction is the score of an open question where the rule gives neither 0 nor 1
	// (VQA accuracy, ANLS); Correct is true from 0.5 on.
	Fraction *float64 `json:"fraction,omitempty"`
	Unparsed bool     `json:"unparsed,omitempty"` // no option's letter was found in the generated text: wrong

	Tokens    int       `json:"tokens"`              // scored tokens of the right answer, end token included
	LogProbs  []float64 `json:"answer_log_probs"`    // [Tokens] ln p of each of them, nats
	NLL       float64   `json:"nll"`                 // −mean of LogProbs, nats per token
	KL        *float64  `json:"kl,omitempty"`        // KL(reference ‖ this), nats per token; nil: no reference
	Agreement *float64  `json:"agreement,omitempty"` // share of positions with the reference's first token; nil: no reference
}

// Points is what the sample adds to accuracy, 0 to 1.
func (s *Sample) Points() float64 {
	if s.Fraction != nil {
		return *s.Fraction
	}
	return indicator(s.Correct)
}

// Cluster names the group of dependent samples that s belongs to: its source,
// or itself when it has none.
func (s *Sample) Cluster() string {
	if s.Source != "" {
		return s.Source
	}
	return s.key()
}

// key identifies a question across runs.
func (s *Sample) key() string { return s.Task + "/" + s.ID }

// WriteSamples writes samples as JSON lines in their order. An error names
// the sample that could not be written.
func WriteSamples(w io.Writer, samples []Sample) error {
	buf := bufio.NewWriter(w)
	for i := range samples {
		line, err := json.Marshal(&samples[i])
		if err != nil {
			return fmt.Errorf("eval: sample %s: %w", samples[i].key(), err)
		}
		if _, err := buf.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("eval: writing samples: %w", err)
		}
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("eval: writing samples: %w", err)
	}
	return nil
}

// ReadSamples reads what [WriteSamples] wrote. Unknown fields, a line that
// isn't one JSON object and a missing id or task are errors with the line
// number; empty lines are skipped.
func ReadSamples(r io.Reader) ([]Sample, error) {
	var samples []Sample
	reader := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("eval: samples, line %d: %w", number, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			s, parseErr := parseSample(line)
			if parseErr != nil {
				return nil, fmt.Errorf("eval: samples, line %d: %w", number, parseErr)
			}
			samples = append(samples, s)
		}
		if err == io.EOF {
			return samples, nil
		}
	}
}

// parseSample decodes one line strictly.
func parseSample(line []byte) (Sample, error) {
	var s Sample
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Sample{}, fmt.Errorf("not a sample: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Sample{}, fmt.Errorf("expected one JSON object, found more after it")
	}
	if s.ID == "" || s.Task == "" {
		return Sample{}, fmt.Errorf("a sample needs id and task, found id %q and task %q", s.ID, s.Task)
	}
	return s, nil
}
