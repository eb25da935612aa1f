package eval

import (
	"context"
	"fmt"
	"sync"

	"github.com/tlqlab/tlqlab/models"
)

// Scorer is a model as scoring needs it: teacher-forced logits and greedy
// text. [ModelScorer] is the one for models and their quantized versions.
type Scorer interface {
	// Logits returns one row [vocab] per entry of each sequence's Scored, the
	// batch's sequences in order.
	Logits(ctx context.Context, b *models.Batch) ([][]float32, error)
	// Generate continues a prompt without answers greedily by at most limit
	// tokens, the end token left out.
	Generate(ctx context.Context, prompt *models.Sequence, limit int) ([]int32, error)
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
func (s ModelScorer) Generate(ctx context.Context, prompt *models.Sequence, limit int) ([]int32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.Runner.Generate(prompt, limit, s.ActQuant)
}

// Reference holds one model's logits at the tokens of the right answers: what
// KL is measured against. Its JSON and Logits together are the whole of it, so
// a store can keep it as an artifact; [Reference.Validate] checks what came
// back. Several goroutines may measure against one reference.
type Reference struct {
	Keys   []string  `json:"keys"`   // "task/id" of each question
	Tokens []int     `json:"tokens"` // rows of each question
	Vocab  int       `json:"vocab"`  // length of a row
	Logits []float32 `json:"-"`      // [Σ Tokens, Vocab]

	mu    sync.Mutex
	first map[string]int // index of a key's first row; built when needed
	count map[string]int
}

// add appends a question's rows.
func (r *Reference) add(key string, rows [][]float32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, found := r.lookup(key); found {
		return fmt.Errorf("eval: reference logits of question %s are recorded twice", key)
	}
	for _, row := range rows {
		if r.Vocab == 0 {
			r.Vocab = len(row)
		}
		if len(row) != r.Vocab {
			return fmt.Errorf("eval: question %s has logits over %d tokens, expected %d as before", key, len(row), r.Vocab)
		}
	}
	r.first[key], r.count[key] = len(r.Logits)/max(r.Vocab, 1), len(rows)
	for _, row := range rows {
		r.Logits = append(r.Logits, row...)
	}
	r.Keys, r.Tokens = append(r.Keys, key), append(r.Tokens, len(rows))
	return nil
}

// lookup finds a question's first row. The caller holds r.mu.
func (r *Reference) lookup(key string) (int, bool) {
	if r.first == nil {
		r.first, r.count = make(map[string]int, len(r.Keys)), make(map[string]int, len(r.Keys))
		at := 0
		for i, k := range r.Keys {
			r.first[k], r.count[k] = at, r.Tokens[i]
			at += r.Tokens[i]
		}
	}
	at, ok := r.first[key]
	return at, ok
}

// rows returns views of a question's logits. n is the number that the
// question has now.
func (r *Reference) rows(key string, n int) ([][]float32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.lookup(key)
	if !ok {
		return nil, fmt.Errorf("eval: the reference model was not asked question %s: KL needs the same questions for both", key)
	}
	if r.count[key] != n {
		return nil, fmt.Errorf("eval: question %s has %d answer tokens, the reference model's had %d: KL needs the same tokenizer for both", key, n, r.count[key])
	}
	rows := make([][]float32, n)
	for i := range rows {
		rows[i] = r.Logits[(at+i)*r.Vocab : (at+i+1)*r.Vocab]
	}
	return rows, nil
}

// Validate reports a reference whose parts don't belong together.
func (r *Reference) Validate() error {
	if len(r.Keys) != len(r.Tokens) {
		return fmt.Errorf("eval: reference with %d questions but %d token counts", len(r.Keys), len(r.Tokens))
	}
	seen := make(map[string]bool, len(r.Keys))
	total := 0
	for i, n := range r.Tokens {
		if n < 1 || n > len(r.Logits) || seen[r.Keys[i]] {
			return fmt.Errorf("eval: reference entry %d: question %q with %d tokens, expected one entry of at least 1 token per question", i, r.Keys[i], n)
		}
		seen[r.Keys[i]] = true
		total += n
	}
	if r.Vocab < 0 || len(r.Logits) != total*r.Vocab {
		return fmt.Errorf("eval: reference with %d logits, expected %d tokens × %d vocabulary entries", len(r.Logits), total, r.Vocab)
	}
	return nil
}
