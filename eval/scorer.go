package eval

import (
	"context"

	"github.com/tlqlab/tlqlab/models"
)

// Scorer is a model as scoring needs it: teacher-forced logits and greedy
// text. [ModelScorer] is the one for models and their quantized versions.
type Scorer interface {
	// Logits returns one row [vocab] per entry of each sequence's Scored, the
	// batch's sequences in order.
	Logits(ctx context.Context, b *models.Batch) ([][]float32, error)
	// Generate continues a prompt without answers greedily by at most limit
	// tokens and returns the text without the end token.
	Generate(ctx context.Context, prompt *models.Sequence, limit int) (string, error)
}

// ModelScorer scores with a model's own weights. A quantized model is a runner
// over dequantized layers and, where activations are quantized, ActQuant.
type ModelScorer struct {
	Runner   *models.Runner
	ActQuant *models.ActQuant // nil: activations stay float32
}

// Logits runs all blocks and the output layer.
func (s ModelScorer) Logits(ctx context.Context, b *models.Batch) ([][]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	x, err := s.Runner.Forward(b, s.ActQuant)
	if err != nil {
		return nil, err
	}
	return s.Runner.Logits(b, x)
}

// Generate decodes with cached keys and values.
func (s ModelScorer) Generate(ctx context.Context, prompt *models.Sequence, limit int) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	ids, err := s.Runner.Generate(prompt, limit, s.ActQuant)
	if err != nil {
		return "", err
	}
	return s.Runner.Model.Tokenizer.Decode(ids, true), nil
}
