package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/tlq"
)

// Quantization is a method at a format.
type Quantization struct {
	Method   tlq.Method
	Format   tlq.Format
	Fallback tlq.GroupFallback
}

// settings are what a Quantization's result depends on: not what it is called.
type settings struct {
	Tokens   tlq.Tokens        `json:"tokens"`
	Path     tlq.Path          `json:"path"`
	Search   tlq.Search        `json:"search"`
	Rotate   tlq.Rotate        `json:"rotate"`
	Rounding tlq.Rounding      `json:"rounding"`
	After    tlq.After         `json:"after"`
	Format   tlq.Format        `json:"format"`
	Fallback tlq.GroupFallback `json:"group_fallback"`
}

func (q Quantization) settings() settings {
	m := q.Method
	return settings{m.Tokens, m.Path, m.Search, m.Rotate, m.Rounding, m.After, q.Format, q.Fallback}
}

// String is "w4a8 tlq".
func (q Quantization) String() string { return fmt.Sprintf("%s %s", q.Format, q.Method.Name) }

// Quantized is a model's quantized decoder layers.
type Quantized struct {
	Quantization
	Layers        []*models.Layer // dequantized values, smoothing factors folded in
	AvgBits       float64         // bits per quantized weight, scales and zeros counted
	WeightsSHA256 string          // of all weights of the model, these in their places
	Events        []Event         // what the engine reported

	key Key
}

// quantizedRunner runs the unquantized model, or where q is not nil the
// quantized one, with its activation quantizer.
func (m *Model) quantizedRunner(q *Quantized) (*models.Runner, *models.ActQuant, error) {
	r, err := m.Runner()
	if err != nil || q == nil {
		return r, nil, err
	}
	return r.With(m.WithLayers(q.Layers)), q.Format.ActQuant(), nil
}
