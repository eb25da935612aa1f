package eval

import (
	"context"
	"fmt"

	"github.com/tlqlab/tlqlab/models"
)

// MaxAnswerTokens ends a generated answer that does not end itself.
const MaxAnswerTokens = 16

// Ask puts questions to a model and returns one sample each, in order, with
// the model's logits at the tokens of the right answers, [questions][tokens]
// [vocab]. batches are the questions' sequences, embedded; their Index counts
// from the first question. They stay as they are, so one embedding serves a
// model and all its quantized versions.
//
// reference is what Ask returned for the unquantized model on the same
// questions: KL and agreement are measured against it. nil says that this is
// the unquantized model.
//
// A sample depends on its own question only, not on its micro-batch. One
// micro-batch is in memory at a time, beside the logits returned.
func Ask(ctx context.Context, scorer Scorer, questions []*Question, batches []*models.Batch, reference [][][]float32) ([]Sample, [][][]float32, error) {
	if reference != nil && len(reference) != len(questions) {
		return nil, nil, fmt.Errorf("eval: %d questions with reference logits of %d: KL needs the same questions for both models", len(questions), len(reference))
	}
	samples, answers := make([]Sample, len(questions)), make([][][]float32, len(questions))
	asked := 0
	for _, b := range batches {
		logits, err := scorer.Logits(ctx, b)
		if err != nil {
			return nil, nil, err
		}
		for _, i := range b.Index {
			if i >= len(questions) {
				return nil, nil, fmt.Errorf("eval: a batch holds sequence %d of %d questions: batches and questions must belong together", i, len(questions))
			}
			n := min(len(questions[i].Sequence.Scored), len(logits))
			var base [][]float32
			if reference != nil {
				base = reference[i]
			}
			if samples[i], answers[i], err = questions[i].Score(logits[:n], base); err != nil {
				return nil, nil, err
			}
			answers[i] = cloneRows(answers[i])
			logits = logits[n:]
			asked++
		}
	}
	if asked != len(questions) {
		return nil, nil, fmt.Errorf("eval: %d of %d questions are in the batches: batches and questions must belong together", asked, len(questions))
	}
	for i, q := range questions {
		if q.Prompt == nil {
			continue
		}
		text, err := scorer.Generate(ctx, q.Prompt, MaxAnswerTokens)
		if err != nil {
			return nil, nil, fmt.Errorf("eval: question %s: %w", samples[i].key(), err)
		}
		q.Grade(&samples[i], text)
	}
	return samples, answers, nil
}

// cloneRows copies rows out of their batch, so that the rest of it can be
// freed.
func cloneRows(rows [][]float32) [][]float32 {
	out := make([][]float32, len(rows))
	for i, r := range rows {
		out[i] = append([]float32(nil), r...)
	}
	return out
}
