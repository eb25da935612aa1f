package models

import "fmt"

// Embeddings computes the language model's input rows of each sequence,
// [len, C]: token embeddings with the vision tower's rows in the places of the
// image tokens.
func (r *Runner) Embeddings(seqs []*Sequence) ([][]float32, error) {
	features, err := r.Features(seqs)
	if err != nil {
		return nil, err
	}
	c := r.Model.Config.Text.Hidden
	x := make([][]float32, len(seqs))
	for i, s := range seqs {
		rows := features[i]
		x[i] = make([]float32, s.Len()*c)
		if err := r.Model.embedRows(s.IDs, x[i]); err != nil {
			return nil, fmt.Errorf("models: sequence %d: %w", i, err)
		}
		for t, m := range s.Modality {
			if m == Vision {
				copy(x[i][t*c:(t+1)*c], rows[:c])
				rows = rows[c:]
			}
		}
	}
	return x, nil
}

// Embed computes embeddings and packs them into micro-batches.
func (r *Runner) Embed(seqs []*Sequence) ([]*Batch, error) {
	x, err := r.Embeddings(seqs)
	if err != nil {
		return nil, err
	}
	return r.Model.NewBatches(seqs, x)
}
