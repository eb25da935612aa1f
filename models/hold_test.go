package models

import (
	"slices"
	"testing"
)

// A held model gives the tokens of one that is read again and again, and reads each
// block once; one that is too large is not held.
func TestHoldingReadsBlocksOnce(t *testing.T) {
	m, seqs, _ := packingModel(t)
	reads := 0
	counting := m.WithSource(func(i int) (*Layer, error) {
		reads++
		return m.weights.Layers[i], nil
	})
	r, err := NewRunner(counting)
	if err != nil {
		t.Fatal(err)
	}
	prompt := &Sequence{IDs: seqs[0].IDs, Modality: make([]Modality, seqs[0].Len()), Branch: seqs[0].Branch, Positions: seqs[0].Positions}
	held, err := r.Generate(prompt, 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	if reads != m.NumLayers() || len(held) != 5 {
		t.Errorf("%d tokens cost %d reads of %d blocks", len(held), reads, m.NumLayers())
	}
	if r.holding(1) != r {
		t.Error("a model is held in one byte")
	}
	plain, err := NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := plain.Generate(prompt, 5, nil); err != nil || !slices.Equal(got, held) {
		t.Errorf("got %v (%v), held %v", got, err, held)
	}
}
