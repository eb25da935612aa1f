package eval

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/tokenizer"
)

// tinyModel is a qwen2vl model of random weights, large enough that answers
// take one to a few tokens and pictures four.
func tinyModel(t *testing.T, seed uint64) *models.Model {
	t.Helper()
	words := strings.Repeat("red green blue grey light dark What colour is this? user assistant ", 20)
	tok, err := tokenizer.Train([]string{words}, 300, []string{"<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"})
	if err != nil {
		t.Fatal(err)
	}
	id := func(token string) int32 {
		i, ok := tok.ID(token)
		if !ok {
			t.Fatalf("the tokenizer has no %s", token)
		}
		return i
	}
	c := &models.Config{
		Family: models.Qwen2VL,
		Text: models.TextConfig{
			Hidden: 32, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 64, Vocab: tok.Size(),
			Eps: 1e-6, RopeTheta: 1e4, MRopeSection: [3]int{2, 1, 1}, QKVBias: true, TiedHead: true, MaxPositions: 512,
		},
		Vision:     models.VisionConfig{Depth: 1, Hidden: 16, Heads: 2, Intermediate: 32, Channels: 3, PatchSize: 4, TemporalPatch: 2, Merge: 2, Eps: 1e-6},
		ImageToken: id("<|image_pad|>"), EOSToken: id("<|im_end|>"),
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	px := pixels.DefaultConfig()
	px.PatchSize, px.MinPixels, px.MaxPixels = 4, 16*16, 16*16
	w := models.NewWeights(c)
	w.Randomize(c, rand.New(rand.NewPCG(seed, 0)))
	for i := range w.Embed {
		w.Embed[i] *= 10 // logits of about 1, so that answers differ
	}
	return models.New(&models.Processor{Config: c, Tokenizer: tok, Pixels: px}, w)
}

// perturbed is m with noise on the weights of every block.
func perturbed(t *testing.T, m *models.Model, size float64) *models.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 11))
	layers := make([]*models.Layer, m.NumLayers())
	for i := range layers {
		l, err := m.Layer(i)
		if err != nil {
			t.Fatal(err)
		}
		layers[i] = l.Clone()
		for _, s := range models.Sites() {
			for _, lin := range layers[i].Linears(s) {
				for j := range lin.W {
					lin.W[j] += float32(size * rng.NormFloat64())
				}
			}
		}
	}
	return m.WithLayers(layers)
}

func runnerOf(t *testing.T, m *models.Model) *models.Runner {
	t.Helper()
	r, err := models.NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// colourQuestions are n questions about one-coloured pictures, of which every
// third is open.
func colourQuestions(n int) []datasets.Example {
	names := []string{"red", "light green", "blue", "dark grey"}
	list := make([]datasets.Example, n)
	for i := range list {
		img := image.NewRGBA(image.Rect(0, 0, 16, 16))
		for p := range img.Pix {
			img.Pix[p] = uint8(40 * i)
		}
		img.Set(i, i, color.White)
		list[i] = datasets.Example{
			ID: string(rune('a' + i)), Task: "colour", Source: names[i%4], Images: []image.Image{img},
			Question: "What colour is this?", Answers: []string{names[i%4]}, Choices: names,
		}
		if i%3 == 2 {
			list[i].Choices = nil
		}
	}
	return list
}

func sequence(list []datasets.Example, err error) iter.Seq2[datasets.Example, error] {
	return func(yield func(datasets.Example, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(datasets.Example{}, err)
		}
	}
}

func newSet(t *testing.T, r *models.Runner, list []datasets.Example, o Options) *Set {
	t.Helper()
	s, err := NewSet(t.Context(), r, sequence(list, nil), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func score(t *testing.T, s *Set, r *models.Runner, reference, record *Reference) []Sample {
	t.Helper()
	samples, err := s.Score(t.Context(), ModelScorer{Runner: r}, reference, record)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// tolGraph is for logits of the same prompt computed in another batch shape:
// float32 sums of 64 products of about 1, in another order.
const tolGraph = 2e-5

// separately scores one answer as a prompt of its own, without branches.
func separately(t *testing.T, r *models.Runner, e datasets.Example, answer string) (logProbs []float64, logits [][]float32) {
	t.Helper()
	s, err := r.Model.Prompt(e.Images, e.Question, answer)
	if err != nil {
		t.Fatal(err)
	}
	batches, err := r.Embed([]*models.Sequence{s})
	if err != nil {
		t.Fatal(err)
	}
	x, err := r.Forward(batches[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if logits, err = r.Logits(batches[0], x); err != nil {
		t.Fatal(err)
	}
	for i, p := range s.Scored {
		logProbs = append(logProbs, math.Log(plainSoftmax(logits[i])[p.Target]))
	}
	return logProbs, logits
}

func TestScoreEqualsSeparatePrompts(t *testing.T) {
	m := tinyModel(t, 1)
	fp := runnerOf(t, m)
	quantized := fp.With(perturbed(t, m, 0.3))
	questions := colourQuestions(7)
	set := newSet(t, fp, questions, Options{})
	reference := &Reference{}
	base := score(t, set, fp, nil, reference)
	if err := reference.Validate(); err != nil {
		t.Fatal(err)
	}
	got := score(t, set, quantized, reference, nil)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > tolGraph {
			t.Errorf("%s: %v, a prompt of its own gives %v", what, got, want)
		}
	}
	for i, e := range questions {
		s := got[i]
		logProbs, logits := separately(t, quantized, e, e.Answers[0])
		_, before := separately(t, fp, e, e.Answers[0])
		if s.ID != e.ID || s.Tokens != len(logProbs) || s.Tokens < 2 {
			t.Fatalf("sample %d: id %s with %d tokens, want %s with %d", i, s.ID, s.Tokens, e.ID, len(logProbs))
		}
		var kl, same float64
		for j := range logits {
			near("log-probability", s.LogProbs[j], logProbs[j])
			kl += plainKL(before[j], logits[j]) / float64(len(logits))
			same += indicator(Argmax(before[j]) == Argmax(logits[j])) / float64(len(logits))
		}
		near("NLL", s.NLL, -Mean(logProbs))
		near("KL", *s.KL, kl)
		near("agreement", *s.Agreement, same)
		if *s.KL < 1e-4 {
			t.Errorf("question %s: KL %v of perturbed weights: nothing was perturbed", s.ID, *s.KL)
		}
		best := 0
		for c, choice := range e.Choices {
			lp, _ := separately(t, quantized, e, choice)
			near("choice", s.LogLikelihoods[c], Mean(lp))
			if s.LogLikelihoods[c] > s.LogLikelihoods[best] {
				best = c
			}
		}
		if len(e.Choices) > 0 && (s.Prediction != e.Choices[best] || s.Correct != (e.Choices[best] == e.Answers[0])) {
			t.Errorf("question %s: prediction %q, correct %v; best choice %q", s.ID, s.Prediction, s.Correct, e.Choices[best])
		}
		if *base[i].KL != 0 || *base[i].Agreement != 1 {
			t.Errorf("question %s of the reference itself: KL %v, agreement %v, want 0 and 1", s.ID, *base[i].KL, *base[i].Agreement)
		}
	}
}

// TestScoreIsIndependentOfCompany: a question's sample is the same bits alone,
// among others, and again; and an identical model has a KL of exactly 0.
func TestScoreIsIndependentOfCompany(t *testing.T) {
	m := tinyModel(t, 2)
	r := runnerOf(t, m)
	questions := colourQuestions(chunk + 3)
	reference := &Reference{}
	all := score(t, newSet(t, r, questions, Options{}), r, nil, reference)
	few := score(t, newSet(t, r, questions[chunk-1:], Options{}), r, reference, nil)
	if diff := cmp.Diff(all[chunk-1:], few); diff != "" {
		t.Error(diff)
	}
	// The same from a reference that went through a store.
	data, err := json.Marshal(reference)
	if err != nil {
		t.Fatal(err)
	}
	stored := &Reference{}
	if err := json.Unmarshal(data, stored); err != nil {
		t.Fatal(err)
	}
	stored.Logits = slices.Clone(reference.Logits)
	if err := stored.Validate(); err != nil {
		t.Fatal(err)
	}
	again := score(t, newSet(t, r, questions[chunk-1:], Options{}), r, stored, nil)
	if diff := cmp.Diff(few, again); diff != "" {
		t.Error(diff)
	}
}

func TestScoreGenerates(t *testing.T) {
	m := tinyModel(t, 3)
	r := runnerOf(t, m)
	questions := colourQuestions(3)
	calls := 0
	set := newSet(t, r, questions, Options{Generate: true, MaxTokens: 5, Progress: func(done, total int) {
		calls++
		if done != 3 || total != 3 {
			t.Errorf("progress %d of %d", done, total)
		}
	}})
	for i, s := range score(t, set, r, nil, nil) {
		prompt, err := m.Prompt(questions[i].Images, questions[i].Question)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := r.Generate(prompt, 5, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(m.Tokenizer.Decode(ids, true))
		if s.Generated == nil || *s.Generated != want || s.ExactMatch == nil || *s.ExactMatch != ExactMatch(want, questions[i].Answers) {
			t.Errorf("question %s: generated %v, exact %v, want %q", s.ID, s.Generated, s.ExactMatch, want)
		}
		if open := len(questions[i].Choices) == 0; open && (s.Prediction != want || s.LogLikelihoods != nil) {
			t.Errorf("open question %s: prediction %q, want the generated %q", s.ID, s.Prediction, want)
		}
		if s.KL != nil {
			t.Errorf("question %s has a KL without a reference", s.ID)
		}
	}
	if calls != 1 {
		t.Errorf("progress was told %d times, want once per %d questions", calls, chunk)
	}
	plain := newSet(t, r, questions[:1], Options{})
	if s := score(t, plain, r, nil, nil)[0]; s.Generated != nil {
		t.Error("a multiple-choice question generated without being asked to")
	}
}

// faultyScorer breaks what a real scorer returns.
type faultyScorer struct {
	ModelScorer
	change func([][]float32) [][]float32
}

func (f faultyScorer) Logits(ctx context.Context, b *models.Batch) ([][]float32, error) {
	rows, err := f.ModelScorer.Logits(ctx, b)
	if err != nil {
		return nil, err
	}
	return f.change(rows), nil
}

// TestScoreTies: a model that finds every token equally likely scores all
// choices of equal length alike; the first wins and the tie is recorded.
func TestScoreTies(t *testing.T) {
	r := runnerOf(t, tinyModel(t, 4))
	flat := faultyScorer{ModelScorer{Runner: r}, func(rows [][]float32) [][]float32 {
		for _, row := range rows {
			clear(row)
		}
		return rows
	}}
	samples, err := newSet(t, r, colourQuestions(2), Options{}).Score(t.Context(), flat, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	vocab := float64(r.Model.Config.Text.Vocab)
	for _, s := range samples {
		if !s.Tied || s.Prediction != "red" || math.Abs(s.NLL-math.Log(vocab)) > 1e-12 {
			t.Errorf("question %s: tied %v, prediction %q, NLL %v, want true, red, ln %v", s.ID, s.Tied, s.Prediction, s.NLL, vocab)
		}
	}
	if !samples[0].Correct || samples[1].Correct {
		t.Errorf("correct %v and %v, want red to be right for the first question only", samples[0].Correct, samples[1].Correct)
	}
}

func TestScoreRejected(t *testing.T) {
	r := runnerOf(t, tinyModel(t, 5))
	questions := colourQuestions(2)
	set := newSet(t, r, questions, Options{})
	reference := &Reference{}
	score(t, set, r, nil, reference)
	nan := faultyScorer{ModelScorer{Runner: r}, func(rows [][]float32) [][]float32 {
		rows[3][5] = float32(math.NaN())
		return rows
	}}
	short := faultyScorer{ModelScorer{Runner: r}, func(rows [][]float32) [][]float32 { return rows[:len(rows)-1] }}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	fails := func(name, want string, scorer Scorer, ctx context.Context, reference, record *Reference) {
		t.Helper()
		samples, err := set.Score(ctx, scorer, reference, record)
		if err == nil || !strings.Contains(err.Error(), want) || samples != nil {
			t.Errorf("%s: %d samples and error %v, want none and one with %q", name, len(samples), err, want)
		}
	}
	plain := ModelScorer{Runner: r}
	fails("NaN", "question colour/a: eval: logit 5 of", nan, t.Context(), nil, nil)
	fails("short", "rows of logits are left", short, t.Context(), nil, nil)
	fails("cancelled", "canceled", plain, cancelled, nil, nil)
	fails("both", "not both", plain, t.Context(), reference, &Reference{})
	fails("recorded twice", "recorded twice", plain, t.Context(), nil, reference)
	fails("other questions", "was not asked question colour/a", plain, t.Context(), &Reference{}, nil)
	other := &Reference{Keys: []string{"colour/a"}, Tokens: []int{99}, Vocab: 1, Logits: make([]float32, 99)}
	fails("other tokens", "the reference model's had 99", plain, t.Context(), other, nil)
}

func TestNewSetRejected(t *testing.T) {
	r := runnerOf(t, tinyModel(t, 6))
	boom := errors.New("the pack is damaged")
	change := func(f func(e *datasets.Example)) []datasets.Example {
		list := colourQuestions(2)
		f(&list[1])
		return list
	}
	for _, c := range []struct {
		name     string
		examples iter.Seq2[datasets.Example, error]
		o        Options
		want     string
	}{
		{"none", sequence(nil, nil), Options{}, "no questions"},
		{"broken data", sequence(colourQuestions(1), boom), Options{}, "damaged"},
		{"twice", sequence(change(func(e *datasets.Example) { e.ID = "a" }), nil), Options{}, "question colour/a came twice"},
		{"no answer", sequence(change(func(e *datasets.Example) { e.Answers = nil }), nil), Options{}, "question colour/b has no answer"},
		{"not a choice", sequence(change(func(e *datasets.Example) { e.Answers = []string{"pink"} }), nil), Options{}, `the answer "pink" must be exactly once`},
		{"two right", sequence(change(func(e *datasets.Example) { e.Choices = []string{"light green", "light green"} }), nil), Options{}, "exactly once"},
		{"length", sequence(colourQuestions(1), nil), Options{MaxTokens: -1}, "at most -1 tokens"},
		{"too long", sequence(change(func(e *datasets.Example) { e.Question = strings.Repeat("colour ", 600) }), nil), Options{}, "question colour/b"},
	} {
		if _, err := NewSet(t.Context(), r, c.examples, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestReferenceValidate(t *testing.T) {
	for name, r := range map[string]*Reference{
		"counts":   {Keys: []string{"a"}, Vocab: 1},
		"negative": {Keys: []string{"a"}, Tokens: []int{-1}, Vocab: 1},
		"huge":     {Keys: []string{"a"}, Tokens: []int{math.MaxInt}, Vocab: 1, Logits: []float32{1}},
		"twice":    {Keys: []string{"a", "a"}, Tokens: []int{1, 1}, Vocab: 1, Logits: []float32{1, 1}},
		"short":    {Keys: []string{"a"}, Tokens: []int{2}, Vocab: 2, Logits: []float32{1, 1, 1}},
	} {
		if r.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := (&Reference{}).Validate(); err != nil {
		t.Errorf("empty: %v", err)
	}
}
