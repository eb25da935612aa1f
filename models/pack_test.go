package models

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A block gives a site's input whether it is run whole or up to there, and a
// sequence's numbers follow from neither the packing nor where batches keep what.
func TestInputsAndPackings(t *testing.T) {
	m, seqs, x := packingModel(t)
	r, err := NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Layer(0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]map[Site][]float32{}
	for _, p := range []Packing{{}, {Size: 1, Window: 1}, {Size: 2, Window: 3, Lean: true, Floats: func(n int) ([]float32, error) { return make([]float32, n), nil }}} {
		batches, err := m.Pack(seqs, x, p)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, b := range batches {
			if p.Size > 0 && b.B > p.Size {
				t.Errorf("%+v: a batch of %d", p, b.B)
			}
			res, err := r.Block(b, b.X, l, BlockOptions{Taps: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range Sites() {
				alone, err := r.Input(b, s, b.X, l, nil)
				if err != nil || !slices.Equal(alone, res.Inputs[s]) {
					t.Errorf("%+v, %s: the input alone differs (%v)", p, s, err)
				}
				width := siteWidth(l, s)
				for row, i := range b.Index {
					got := alone[row*b.T*width : (row*b.T+seqs[i].Len())*width]
					if want[i] == nil {
						want[i] = map[Site][]float32{}
					}
					if want[i][s] == nil {
						want[i][s] = got
					} else if !slices.Equal(got, want[i][s]) {
						t.Errorf("%+v: sequence %d at %s differs", p, i, s)
					}
				}
			}
			seen += len(b.Seqs)
			if p.Window == 1 && b.Index[0] != seen-1 {
				t.Errorf("%+v: sequence %d comes as the %d-th", p, b.Index[0], seen)
			}
		}
		if seen != len(seqs) {
			t.Errorf("%+v: %d of %d sequences", p, seen, len(seqs))
		}
	}
}

// packingModel is a small decoder with sequences of two lengths.
func packingModel(t *testing.T) (*Model, []*Sequence, [][]float32) {
	t.Helper()
	c := &Config{Family: Llama, ImageToken: -1, EOSToken: -1, Text: TextConfig{
		Hidden: 32, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 64, Vocab: 64, Eps: 1e-6, RopeTheta: 1e4, TiedHead: true,
	}}
	w := NewWeights(c)
	rng := rand.New(rand.NewPCG(3, 3))
	w.Randomize(c, rng)
	var seqs []*Sequence
	var x [][]float32
	for i := range 7 {
		n := 9 + 11*(i%2)
		seqs = append(seqs, TextSequence(make([]int32, n)))
		x = append(x, make([]float32, n*c.Text.Hidden))
		normal(x[i], 1, rng)
	}
	return New(&Processor{Config: c}, w), seqs, x
}
