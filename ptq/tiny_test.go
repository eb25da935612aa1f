package ptq

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// tinyConfig is a decoder of three layers; kv heads below heads make it
// grouped-query.
func tinyConfig(kvHeads int) *models.Config {
	return &models.Config{
		Family: models.Qwen2VL,
		Text: models.TextConfig{
			Hidden: 32, Layers: 3, Heads: 4, KVHeads: kvHeads, HeadDim: 8, Intermediate: 64, Vocab: 40, Eps: 1e-6, RopeTheta: 1e4,
			MRopeSection: [3]int{1, 1, 2}, QKVBias: true, MaxPositions: 256,
		},
		Vision: models.VisionConfig{Depth: 1, Hidden: 16, Heads: 2, Intermediate: 32, Channels: 3, PatchSize: 4, TemporalPatch: 2, Merge: 2, Eps: 1e-6},
	}
}

// tinyModel has random weights with a few strong channels, so that scaling
// matters.
func tinyModel(kvHeads int, seed uint64) *models.Model {
	c := tinyConfig(kvHeads)
	w := models.NewWeights(c)
	rng := rand.New(rand.NewPCG(seed, 17))
	w.Randomize(c, rng)
	for _, l := range w.Layers {
		for i := range l.InputNorm {
			l.InputNorm[i] = float32(math.Exp(0.8 * rng.NormFloat64()))
			l.PostNorm[i] = float32(math.Exp(0.8 * rng.NormFloat64()))
		}
		for _, lin := range l.Linears(models.QKV) {
			for i := range lin.B {
				lin.B[i] = float32(0.3 * rng.NormFloat64())
			}
		}
	}
	return models.New(&models.Processor{Config: c}, w)
}

// tinySequence makes a sequence of a pattern as samplesOf does; every answer
// position scores a random token.
func tinySequence(pattern string, vocab int, rng *rand.Rand) *models.Sequence {
	s := samplesOf(pattern)[0]
	s.Branch = make([]int32, s.Len())
	for t, m := range s.Modality {
		s.IDs[t] = rng.Int32N(int32(vocab))
		for k := range s.Positions {
			s.Positions[k] = append(s.Positions[k], int32(t))
		}
		if m == models.Answer {
			s.Scored = append(s.Scored, models.Scored{Pos: int32(t), Target: rng.Int32N(int32(vocab))})
		}
	}
	return s
}

// tiny is a model with its runner and embedded samples.
type tiny struct {
	model   *models.Model
	runner  *models.Runner
	batches []*models.Batch
}

// tinyPatterns have two bucket lengths, so that batches reorder samples.
var tinyPatterns = []string{"tvvvvvvvvttaa", "tvvvvvvvvvvvvvvvvvvtta", "vvvvta", "tttaaa", "ttvvvvvvvvvvvvttttaaa", "vvvvvvvvttaat"}

var tinyModels = map[int]func() (*tiny, error){
	2: sync.OnceValues(func() (*tiny, error) { return newTiny(2) }),
	4: sync.OnceValues(func() (*tiny, error) { return newTiny(4) }),
}

func newTiny(kvHeads int) (*tiny, error) {
	m := tinyModel(kvHeads, 5)
	r, err := models.NewRunner(m)
	if err != nil {
		return nil, err
	}
	batches, err := m.NewBatches(tinyEmbeddings(m, tinyPatterns, 9))
	return &tiny{m, r, batches}, err
}

func tinyEmbeddings(m *models.Model, patterns []string, seed uint64) ([]*models.Sequence, [][]float32) {
	rng := rand.New(rand.NewPCG(seed, 3))
	var seqs []*models.Sequence
	var xs [][]float32
	for _, p := range patterns {
		s := tinySequence(p, m.Config.Text.Vocab, rng)
		x := make([]float32, s.Len()*m.Config.Text.Hidden)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		seqs, xs = append(seqs, s), append(xs, x)
	}
	return seqs, xs
}

func getTiny(t testing.TB, kvHeads int) *tiny {
	t.Helper()
	tm, err := tinyModels[kvHeads]()
	if err != nil {
		t.Fatal(err)
	}
	return tm
}

// calibration of the tiny model.
func (tm *tiny) calibration(t testing.TB, m Method, format string) *Calibration {
	t.Helper()
	m.Rotate = RotateNone // an edit of the model, before the engine
	f, err := ParseFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	c := &Calibration{Model: tm.model, Runner: tm.runner, Batches: tm.batches, Method: m, Format: f}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

// tokens runs the token stages of a calibration.
func (c *Calibration) tokens(t testing.TB) *TokenSet {
	t.Helper()
	ctx := context.Background()
	samples, err := c.samples()
	if err != nil {
		t.Fatal(err)
	}
	in := Selection{Samples: samples}
	rng := func() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }
	if in.Gradients, err = c.Gradients(ctx); err != nil {
		t.Fatal(err)
	}
	tokens := c.Method.Tokens
	if !tokens.MeasuredLate(tokens.Importance) {
		if in.Importance, err = c.Importance(ctx, tokens.Importance, in.Gradients, rng()); err != nil {
			t.Fatal(err)
		}
	}
	if by := tokens.weighsBy(); by != "" && !tokens.MeasuredLate(by) {
		if in.Weights, err = c.Importance(ctx, tokens.Weight, in.Gradients, rng()); err != nil {
			t.Fatal(err)
		}
	}
	in.Rand = rng()
	set, _, err := SelectTokens(tokens, in)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// calibrate runs all layers.
func (c *Calibration) calibrate(t testing.TB, set *TokenSet) ([]*LayerResult, []*State) {
	t.Helper()
	states := []*State{c.Start()}
	var results []*LayerResult
	for i := range c.Model.NumLayers() {
		res, next, err := c.CalibrateLayer(context.Background(), states[i], set)
		if err != nil {
			t.Fatal(err)
		}
		results, states = append(results, res), append(states, next)
	}
	return results, states
}
