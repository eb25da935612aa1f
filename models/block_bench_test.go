package models

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/tlqlab/tlqlab/kernels"
)

// benchTokens is the length of the benchmarks' one sequence.
const benchTokens = 512

// BenchmarkBlock measures a decoder block of both vision-language families on 512
// tokens, forward and forward with the gradients of its input and all its weights.
// GFLOP/s count the products of the linears and of attention (all places, masked or
// not), a backward pass as twice the forward one. product is the plain product
// kernel on the shape of gate_proj: what the block could reach if it were nothing
// else.
func BenchmarkBlock(b *testing.B) {
	for _, hidden := range []int{256, 1024} {
		b.Run(fmt.Sprintf("hidden=%d/product", hidden), func(b *testing.B) { benchProduct(b, hidden) })
		for _, family := range []Family{Qwen2VL, LlavaOV} {
			name := fmt.Sprintf("hidden=%d/%s/", hidden, family)
			b.Run(name+"forward", func(b *testing.B) { benchBlock(b, family, hidden, false) })
			b.Run(name+"forward+backward", func(b *testing.B) { benchBlock(b, family, hidden, true) })
		}
	}
}

// benchText is a language model with heads of 64 channels, a quarter as many of
// keys and values, and an MLP of four times the width.
func benchText(family Family, hidden int) TextConfig {
	t := TextConfig{
		Hidden: hidden, Layers: 1, Heads: hidden / 64, KVHeads: hidden / 256, HeadDim: 64, Intermediate: 4 * hidden, Vocab: 512,
		Eps: 1e-6, RopeTheta: 1e6, QKVBias: true, TiedHead: true,
	}
	if family == Qwen2VL {
		t.MRopeSection = [3]int{8, 12, 12}
	}
	return t
}

func benchBlock(b *testing.B, family Family, hidden int, backward bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	t := benchText(family, hidden)
	r, err := NewRunner(&Model{Processor: &Processor{Config: &Config{Family: family, Text: t}}})
	if err != nil {
		b.Fatal(err)
	}
	l := maker{}.layer(&t, 0)
	for _, p := range l.Params() {
		normal(p.Data, 0.03, rng)
	}
	batch := &Batch{B: 1, T: benchTokens, Seqs: []*Sequence{TextSequence(make([]int32, benchTokens))}}
	batch.setGeometry(&t)
	x := make([]float32, benchTokens*hidden)
	normal(x, 1, rng)
	run := func() error {
		_, err := r.Block(batch, x, l, BlockOptions{})
		return err
	}
	if backward {
		run = func() error { return allGradients(r, batch, x, l) }
	}
	if err := run(); err != nil { // compiles
		b.Fatal(err)
	}
	flops := blockFLOPs(l, &t)
	if backward {
		flops *= 3
	}
	for b.Loop() {
		if err := run(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

// allGradients is a block's part of a training step.
func allGradients(r *Runner, b *Batch, x []float32, l *Layer) error {
	t := &r.Model.Config.Text
	args := append(b.geometryArgs(array(x, b.B, b.T, t.Hidden)), paramArrays(l.Params())...)
	_, err := r.call("block-all-gradients", func(in []*node) []*node {
		g, q := takeGeometry(in)
		wrt := in[3:]
		x := q.next()
		y, _ := q.layer(t).block(t, g, x, nil, nil)
		return graph.Gradient(graph.ReduceAllSum(graph.Square(y)), wrt...)
	}, args...)
	return err
}

// blockFLOPs counts a forward pass's multiplications and additions in products.
func blockFLOPs(l *Layer, t *TextConfig) float64 {
	weights := 0
	for _, s := range Sites() {
		for _, lin := range l.Linears(s) {
			weights += lin.Out * lin.In
		}
	}
	attention := 2 * benchTokens * t.Heads * t.HeadDim // scores and mixing, per token
	return 2 * benchTokens * float64(weights+attention)
}

func benchProduct(b *testing.B, hidden int) {
	rng := rand.New(rand.NewPCG(1, 3))
	m, n, k := benchTokens, 4*hidden, hidden
	x, w, y := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
	normal(x, 1, rng)
	normal(w, 1, rng)
	for b.Loop() {
		kernels.Sgemm(false, true, m, n, k, x, k, w, k, y, n, false)
	}
	b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
