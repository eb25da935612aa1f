package eval

import (
	"context"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
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

// asked is questions with their embedding.
type asked struct {
	questions []*Question
	batches   []*models.Batch
}

func prepare(t *testing.T, r *models.Runner, list []datasets.Example, generate bool) asked {
	t.Helper()
	var a asked
	var sequences []*models.Sequence
	for _, e := range list {
		q, err := NewQuestion(r.Model, e, generate)
		if err != nil {
			t.Fatal(err)
		}
		a.questions, sequences = append(a.questions, q), append(sequences, q.Sequence)
	}
	var err error
	if a.batches, err = r.Embed(sequences); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a asked) ask(t *testing.T, r *models.Runner, reference [][][]float32) ([]Sample, [][][]float32) {
	t.Helper()
	samples, logits, err := Ask(t.Context(), ModelScorer{Runner: r}, a.questions, a.batches, reference)
	if err != nil {
		t.Fatal(err)
	}
	return samples, logits
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
	set := prepare(t, fp, questions, false)
	base, reference := set.ask(t, fp, nil)
	got, _ := set.ask(t, quantized, reference)
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

// TestScoreIsIndependentOfCompany: a question's sample is the same bits alone
// and among others, and a model has a KL of exactly 0 to itself.
func TestScoreIsIndependentOfCompany(t *testing.T) {
	r := runnerOf(t, tinyModel(t, 2))
	questions := colourQuestions(11)
	all, logits := prepare(t, r, questions, false).ask(t, r, nil)
	few, _ := prepare(t, r, questions[8:], false).ask(t, r, logits[8:])
	if diff := cmp.Diff(all[8:], few); diff != "" {
		t.Error(diff)
	}
}

func TestScoreGenerates(t *testing.T) {
	r := runnerOf(t, tinyModel(t, 3))
	questions := colourQuestions(3)
	samples, _ := prepare(t, r, questions, true).ask(t, r, nil)
	for i, s := range samples {
		prompt, err := r.Model.Prompt(questions[i].Images, questions[i].Question)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := r.Generate(prompt, MaxAnswerTokens, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(r.Model.Tokenizer.Decode(ids, true))
		if s.Generated == nil || *s.Generated != want || s.ExactMatch == nil || *s.ExactMatch != ExactMatch(want, questions[i].Answers) {
			t.Errorf("question %s: generated %v, exact %v, want %q", s.ID, s.Generated, s.ExactMatch, want)
		}
		if open := len(questions[i].Choices) == 0; open && (s.Prediction != want || s.LogLikelihoods != nil) {
			t.Errorf("open question %s: prediction %q, want the generated %q", s.ID, s.Prediction, want)
		}
	}
	samples, _ = prepare(t, r, questions, false).ask(t, r, nil)
	if samples[0].Generated != nil || samples[2].Generated == nil {
		t.Errorf("generated %v and %v, want text for the open question only", samples[0].Generated, samples[2].Generated)
	}
}

func TestGrade(t *testing.T) {
	open := &Question{Example: datasets.Example{Answers: []string{"dog", "hound"}}}
	var s Sample
	open.Grade(&s, " The Hound.\n")
	if !s.Correct || s.Prediction != "The Hound." || !*s.ExactMatch || *s.Generated != "The Hound." {
		t.Errorf("open question: %+v", s)
	}
	choice := &Question{Example: datasets.Example{Answers: []string{"dog"}, Choices: []string{"cat", "dog"}}}
	s = Sample{Prediction: "cat"}
	choice.Grade(&s, "dog")
	if s.Correct || s.Prediction != "cat" || !*s.ExactMatch {
		t.Errorf("generated text changed a choice: %+v", s)
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
	set := prepare(t, r, colourQuestions(2), false)
	samples, _, err := Ask(t.Context(), flat, set.questions, set.batches, nil)
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

func TestAskRejected(t *testing.T) {
	r := runnerOf(t, tinyModel(t, 5))
	set := prepare(t, r, colourQuestions(2), false)
	_, reference := set.ask(t, r, nil)
	broken := func(change func(rows [][]float32) [][]float32) Scorer {
		return faultyScorer{ModelScorer{Runner: r}, change}
	}
	nan := broken(func(rows [][]float32) [][]float32 {
		rows[3][5] = float32(math.NaN())
		return rows
	})
	short := broken(func(rows [][]float32) [][]float32 { return rows[:len(rows)-1] })
	narrow := broken(func(rows [][]float32) [][]float32 {
		for i := range rows {
			rows[i] = rows[i][:len(rows[i])-1]
		}
		return rows
	})
	plain := ModelScorer{Runner: r}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	other := [][][]float32{reference[0][:1], reference[1]}
	for _, c := range []struct {
		name      string
		ctx       context.Context
		scorer    Scorer
		questions []*Question
		batches   []*models.Batch
		reference [][][]float32
		want      string
	}{
		{"NaN", t.Context(), nan, set.questions, set.batches, nil, "question colour/a: eval: logit 5 of"},
		{"short", t.Context(), short, set.questions, set.batches, nil, "expected one for each of"},
		{"other vocabulary", t.Context(), narrow, set.questions, set.batches, reference, "same vocabulary"},
		{"cancelled", cancelled, plain, set.questions, set.batches, nil, "canceled"},
		{"fewer references", t.Context(), plain, set.questions, set.batches, reference[:1], "reference logits of 1"},
		{"other tokens", t.Context(), plain, set.questions, set.batches, other, "the reference model had 1"},
		{"fewer questions", t.Context(), plain, set.questions[:1], set.batches, nil, "must belong together"},
		{"no batches", t.Context(), plain, set.questions, nil, nil, "0 of 2 questions are in the batches"},
	} {
		samples, _, err := Ask(c.ctx, c.scorer, c.questions, c.batches, c.reference)
		if err == nil || !strings.Contains(err.Error(), c.want) || samples != nil {
			t.Errorf("%s: %d samples and error %v, want none and one with %q", c.name, len(samples), err, c.want)
		}
	}
}

func TestNewQuestionRejected(t *testing.T) {
	m := tinyModel(t, 6)
	for _, c := range []struct {
		name   string
		change func(e *datasets.Example)
		want   string
	}{
		{"no answer", func(e *datasets.Example) { e.Answers = nil }, "question colour/a has no answer"},
		{"not a choice", func(e *datasets.Example) { e.Answers = []string{"pink"} }, `the answer "pink" must be exactly once`},
		{"two right", func(e *datasets.Example) { e.Choices = []string{"red", "red"} }, "exactly once"},
		{"too long", func(e *datasets.Example) { e.Question = strings.Repeat("colour ", 600) }, "question colour/a: "},
	} {
		e := colourQuestions(1)[0]
		c.change(&e)
		if _, err := NewQuestion(m, e, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
