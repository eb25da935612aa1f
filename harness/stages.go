package harness

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
	"github.com/tlqlab/tlqlab/ptq"
)

// The stages of the engine and the versions of their code.
var (
	gradientsStage  = StageID{"gradients", 2}
	importanceStage = StageID{"importance", 2}
	tokensStage     = StageID{"tokens", 1}
)

// rng derives a generator from the samples' seed, one stream per stage.
func (c *Samples) rng(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, stream)) }

// Streams of rng.
const (
	importanceStream = 1
	tokensStream     = 2
)

func gradientsKey(c *Samples) Key { return NewKey(gradientsStage, nil, c.key) }

// Gradients measures the mean gradient magnitude of the answer loss at every
// token of the samples, at the outputs of o_proj and down_proj of every layer.
// It depends on neither method nor format. Stage gradients.
func (m *Model) Gradients(c *Samples) (*ptq.TokenStats, error) {
	return once(m, fmt.Sprintf("gradients of %s on %d samples", m.Name, c.N), gradientsKey(c), m.statsCodec(),
		func(m *Model) (*ptq.TokenStats, error) {
			e, err := m.engine(c, Quantization{})
			if err != nil {
				return nil, err
			}
			defer closeEngine(e)
			defer m.boundGarbage()()
			return e.Gradients(m.s.ctx)
		})
}

// importanceKey names the values of an importance. What it doesn't look at is
// left out, so that formats and methods share it.
func importanceKey(c *Samples, name string, q Quantization) Key {
	var params struct {
		Name     string            `json:"name"`
		Path     ptq.Path          `json:"path"`
		Format   string            `json:"format"`
		Fallback ptq.GroupFallback `json:"group_fallback"`
		Parts    ptq.Parts         `json:"parts,omitzero"`
	}
	params.Name = name
	if name == "parts" {
		params.Parts = q.Method.Tokens.Parts
	}
	inputs := []Key{c.key}
	needs := q.Method.Tokens.Needs(name)
	if needs.Error || needs.Product {
		params.Path, params.Format, params.Fallback = q.Method.Path, q.Format.String(), q.Fallback
	}
	if needs.Gradient {
		inputs = append(inputs, gradientsKey(c))
	}
	return NewKey(importanceStage, params, inputs...)
}

// Importance computes what the method's token selection ranks by, for every
// token of the samples at the output sites of every layer. Stage importance. Importances
// that are measured while layers are calibrated have no such stage: the error says so.
func (m *Model) Importance(c *Samples, q Quantization) (*ptq.TokenStats, error) {
	m, c, err := m.prepared(c, q)
	if err != nil {
		return nil, err
	}
	return m.importance(c, q.Method.Tokens.Importance, q)
}

func (m *Model) importance(c *Samples, name string, q Quantization) (*ptq.TokenStats, error) {
	return once(m, fmt.Sprintf("importance %s of %s at %s", name, m.Name, q.Format), importanceKey(c, name, q), m.statsCodec(),
		func(m *Model) (*ptq.TokenStats, error) {
			var gradients *ptq.TokenStats
			needs := q.Method.Tokens.Needs(name)
			if needs.Gradient {
				var err error
				if gradients, err = m.Gradients(c); err != nil {
					return nil, err
				}
			}
			e, err := m.engine(c, q)
			if err != nil {
				return nil, err
			}
			defer closeEngine(e)
			defer m.boundGarbage()()
			if !needs.Product || needs.Gradient || m.s.Store.Has(gradientsKey(c)) {
				return e.Importance(m.s.ctx, name, gradients, c.rng(importanceStream))
			}
			out, gradients, err := e.ImportanceAndGradients(m.s.ctx, name, c.rng(importanceStream))
			if err != nil {
				return nil, err
			}
			return out, m.keepGradients(c, gradients)
		})
}

// keepGradients stores gradients that another stage's backward pass gave.
func (m *Model) keepGradients(c *Samples, gradients *ptq.TokenStats) error {
	a, err := m.statsCodec().encode(gradients)
	if err != nil {
		return err
	}
	return m.s.Store.Put(m.s.ctx, gradientsKey(c), a)
}

// weightImportance is the importance that weighs the selected tokens, "" where
// it is the one that selects them, or none.
func weightImportance(t ptq.Tokens) string {
	if t.Weight == ptq.WeightHard || t.Weight == ptq.WeightImportance {
		return ""
	}
	return t.Weight
}

func tokensKey(c *Samples, q Quantization) Key {
	inputs := []Key{importanceKey(c, q.Method.Tokens.Importance, q)}
	if q.Method.NeedsGradients() {
		inputs = append([]Key{gradientsKey(c)}, inputs...)
	}
	if name := weightImportance(q.Method.Tokens); name != "" {
		inputs = append(inputs, importanceKey(c, name, q))
	}
	return NewKey(tokensStage, q.Method.Tokens, inputs...)
}

// Tokens makes the token-level calibration set: which tokens enter the search
// and how much they weigh. Stage tokens. Where the method's importance is measured while
// layers are calibrated, the set is only prepared ([ptq.LateTokens]).
func (m *Model) Tokens(c *Samples, q Quantization) (*ptq.TokenSet, error) {
	m, c, err := m.prepared(c, q)
	if err != nil {
		return nil, err
	}
	return once(m, fmt.Sprintf("token-level calibration set of %s, %s", m.Name, q), tokensKey(c, q), m.tokensCodec(),
		func(m *Model) (*ptq.TokenSet, error) {
			in, err := m.selection(c, q)
			if err != nil {
				return nil, err
			}
			set, events, err := ptq.SelectTokens(q.Method.Tokens, in)
			if err != nil {
				return nil, err
			}
			reportEngine(m.s.ctx, events)
			return set, nil
		})
}

func (m *Model) selection(c *Samples, q Quantization) (in ptq.Selection, err error) {
	if in.Samples, err = c.Sequences(); err != nil {
		return in, err
	}
	// First: its backward pass may give the gradients too.
	if !q.Method.Tokens.MeasuredLate(q.Method.Tokens.Importance) {
		if in.Importance, err = m.Importance(c, q); err != nil {
			return in, err
		}
	}
	if q.Method.NeedsGradients() {
		if in.Gradients, err = m.Gradients(c); err != nil {
			return in, err
		}
	}
	if name := weightImportance(q.Method.Tokens); name != "" && !q.Method.Tokens.MeasuredLate(name) {
		if in.Weights, err = m.importance(c, name, q); err != nil {
			return in, err
		}
	}
	in.Rand = c.rng(tokensStream)
	return in, nil
}

// reportEngine passes the engine's events on.
func reportEngine(ctx context.Context, events []ptq.Event) {
	for _, e := range events {
		Report(ctx, e.Kind, "%s", e.Text)
	}
}

func (m *Model) statsCodec() codec[*ptq.TokenStats] {
	return codec[*ptq.TokenStats]{
		encode: func(t *ptq.TokenStats) (*Artifact, error) { return &Artifact{Tensors: t.Tensors()}, nil },
		decode: func(a *Artifact) (*ptq.TokenStats, error) { return readFile(a, m.Model, ptq.ReadTokenStats) },
	}
}

func (m *Model) tokensCodec() codec[*ptq.TokenSet] {
	return codec[*ptq.TokenSet]{
		encode: func(t *ptq.TokenSet) (*Artifact, error) { return &Artifact{Tensors: t.Tensors()}, nil },
		decode: func(a *Artifact) (*ptq.TokenSet, error) { return readFile(a, m.Model, ptq.ReadTokenSet) },
	}
}

func readFile[T any](a *Artifact, m *models.Model, read func(*safetensors.File, int) (T, error)) (v T, err error) {
	f, err := a.File()
	if err != nil {
		return v, err
	}
	return read(f, m.NumLayers())
}
