package models

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
)

// TestMixedBlock runs a block in which some tokens pass through other weights.
func TestMixedBlock(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	text := TextConfig{
		Hidden: 16, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 8, Intermediate: 24, Vocab: 32,
		Eps: 1e-6, RopeTheta: 1e4, QKVBias: true, TiedHead: true,
	}
	r, err := NewRunner(&Model{Processor: &Processor{Config: &Config{Family: LlavaOV, Text: text}}})
	if err != nil {
		t.Fatal(err)
	}
	random := func() *Layer {
		l := maker{}.layer(&text, 0)
		for _, p := range l.Params() {
			normal(p.Data, 0.3, rng)
		}
		return l
	}
	exact := random()
	other := exact.Clone()
	for _, s := range Sites() {
		for _, lin := range other.Linears(s) {
			lin.W = slices.Clone(lin.W)
			for i := range lin.W {
				lin.W[i] *= 1.25
			}
		}
	}
	halve := &ActQuant{Key: "halve", Apply: func(x *graph.Node) *graph.Node { return graph.MulScalar(x, 0.5) }}
	const tokens = 12
	b := &Batch{B: 1, T: 16, Seqs: []*Sequence{TextSequence(make([]int32, tokens))}, Index: []int{0}}
	b.setGeometry(&text)
	x := make([]float32, b.T*text.Hidden)
	normal(x, 1, rng)
	block := func(l *Layer, aq *ActQuant) []float32 {
		res, err := r.Block(b, x, l, BlockOptions{ActQuant: aq})
		if err != nil {
			t.Fatal(err)
		}
		return res.Y
	}
	mixed := func(marked []bool) []float32 {
		y, err := r.MixedBlock(b, x, exact, other, marked, halve)
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	none, all := make([]bool, b.T), slices.Repeat([]bool{true}, b.T)
	if !slices.Equal(mixed(none), block(exact, nil)) {
		t.Error("with no token marked the block differs from the plain one")
	}
	if !slices.Equal(mixed(all), block(other, halve)) {
		t.Error("with all tokens marked the block differs from the other one")
	}
	// A token sees itself and what stands before it: marks behind it change nothing,
	// its own do.
	late := make([]bool, b.T)
	late[7] = true
	y, plain := mixed(late), block(exact, nil)
	if cut := 7 * text.Hidden; !slices.Equal(y[:cut], plain[:cut]) || slices.Equal(y[cut:cut+text.Hidden], plain[cut:cut+text.Hidden]) {
		t.Error("a mark at token 7 must change token 7 and nothing before it")
	}
	if slices.Equal(y[8*text.Hidden:9*text.Hidden], plain[8*text.Hidden:9*text.Hidden]) {
		t.Error("a mark at token 7 must reach token 8 through attention")
	}
	if _, err := r.MixedBlock(b, x, exact, other, all[1:], halve); err == nil {
		t.Error("too few marks were taken")
	}
}

// TestActQuantOnly quantizes the input of one site.
func TestActQuantOnly(t *testing.T) {
	q := &ActQuant{Key: "a8", Only: Down}
	for _, s := range Sites() {
		if got := q.on(s) != nil; got != (s == Down) {
			t.Errorf("quantizes %s: %t", s, got)
		}
	}
	if q.key() != "a8@down" || (&ActQuant{Key: "a8"}).on(QKV) == nil || (*ActQuant)(nil).on(QKV) != nil {
		t.Error("a quantizer for all sites, or none, was changed")
	}
}
