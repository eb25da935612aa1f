package harness

import (
	"errors"
	"fmt"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// evaluateStage answers questions and scores the answers.
var evaluateStage = StageID{"evaluate", 2}

// questionSeed makes the questions of every experiment the same ones.
const questionSeed = 0

// chunkQuestions is how many questions are one durable step: an interrupted
// evaluation loses at most these, and a longer one reuses a shorter one's.
const chunkQuestions = 50

// Questions are what a model is asked: the first N of a task's split.
type Questions struct {
	Task     string `json:"task"`
	Split    string `json:"split"`
	N        int    `json:"n"`
	Generate bool   `json:"generate"` // answer in the model's own words too; always done where there are no choices
	// SHA256 names the questions of a QuestionSet; empty: a built-in task.
	SHA256 string `json:"sha256,omitempty"`

	set *QuestionSet // nil: a built-in task
}

// chunk is a part of Questions, and the parameters of its stage's key.
type chunk struct {
	Task     string `json:"task"`
	Split    string `json:"split"`
	Seed     uint64 `json:"seed"`
	Start    int    `json:"start"`
	N        int    `json:"n"`
	Generate bool   `json:"generate"`
	SHA256   string `json:"sha256,omitempty"` // of a set's questions

	set *QuestionSet
}

func (q Questions) chunks() []chunk {
	var out []chunk
	for at := 0; at < q.N; at += chunkQuestions {
		out = append(out, chunk{q.Task, q.Split, questionSeed, at, min(chunkQuestions, q.N-at), q.Generate, q.SHA256, q.set})
	}
	return out
}

// embedKey names a chunk's embeddings: the way of answering doesn't matter.
func (c chunk) embedKey(m *Model, data Key) Key {
	c.Generate = false
	return NewKey(embedStage, c, m.key, data)
}

// evaluateKey names a chunk's answers. weights is the quantized model's key, or
// "" for the model itself; reference is the model that KL is taken against, nil
// for the model itself, unquantized.
func (c chunk) evaluateKey(m *Model, data, weights Key, reference *Model) Key {
	inputs := []Key{c.embedKey(m, data)}
	if weights != "" {
		inputs = append(inputs, weights)
	}
	if reference != nil && reference.key != m.key {
		inputs = append(inputs, c.evaluateKey(reference, data, "", nil))
	}
	return NewKey(evaluateStage, c, inputs...)
}

// answers is a chunk's result.
type answers struct {
	samples []eval.Sample
	// logits holds the unquantized model's rows at the right answer's positions,
	// one list per sample; nil for a quantized model.
	logits [][][]float32
}

// Evaluate asks the unquantized model, or where q is not nil the quantized
// one, and returns one sample per question, in order. KL and agreement are
// against the unquantized model, which is asked first where the store doesn't
// have its answers. Stage evaluate.
func (m *Model) Evaluate(q *Quantized, questions ...Questions) ([]eval.Sample, error) {
	if q == nil {
		return m.evaluate(nil, nil, questions)
	}
	return q.on.in(m.s).evaluate(q, m, questions)
}

// EvaluateAgainst asks the model; KL and agreement are against another model
// with the same tokenizer.
func (m *Model) EvaluateAgainst(reference *Model, questions ...Questions) ([]eval.Sample, error) {
	return m.evaluate(nil, reference, questions)
}

func (m *Model) evaluate(q *Quantized, reference *Model, questions []Questions) ([]eval.Sample, error) {
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	var out []eval.Sample
	for _, asked := range questions {
		if _, err := datasets.ParseSplit(asked.Split); err != nil && asked.set == nil {
			return nil, err
		}
		for _, c := range asked.chunks() {
			a, err := m.answer(q, c, Key(hash), reference)
			if err != nil {
				return nil, err
			}
			out = append(out, a.samples...)
			m.s.step(c.N)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("harness: evaluation without questions: expected at least one")
	}
	return out, nil
}

func (m *Model) answer(q *Quantized, c chunk, data Key, reference *Model) (*answers, error) {
	var weights Key
	what := "as it is"
	if q != nil {
		weights, what = q.key, q.String()
	}
	name := fmt.Sprintf("evaluate %s, %s, %s %d to %d", m.Name, what, c.Task, c.Start, c.Start+c.N-1)
	return once(m, name, c.evaluateKey(m, data, weights, reference), answersCodec, func(m *Model) (*answers, error) {
		if reference == nil {
			return m.ask(q, c, data, nil)
		}
		base, err := reference.in(m.s).answer(nil, c, data, nil)
		if err != nil {
			return nil, err
		}
		return m.ask(q, c, data, base)
	})
}

// ask runs one chunk. reference is the unquantized model's result; nil: this
// is it.
func (m *Model) ask(q *Quantized, c chunk, data Key, reference *answers) (*answers, error) {
	questions, err := m.questions(c)
	if err != nil {
		return nil, err
	}
	x, err := m.embed(fmt.Sprintf("embed %s %d to %d", c.Task, c.Start, c.Start+c.N-1), c.embedKey(m, data),
		func() ([]*models.Sequence, error) { return sequences(questions), nil })
	if err != nil {
		return nil, err
	}
	return m.score(q, questions, x, reference)
}

func sequences(questions []*eval.Question) []*models.Sequence {
	seqs := make([]*models.Sequence, len(questions))
	for i, q := range questions {
		seqs[i] = q.Sequence
	}
	return seqs
}

// score asks embedded questions; x is [tokens, C] of each.
func (m *Model) score(q *Quantized, questions []*eval.Question, x [][]float32, reference *answers) (*answers, error) {
	r, act, err := m.quantizedRunner(q)
	if err != nil {
		return nil, err
	}
	batches, err := m.NewBatches(sequences(questions), x)
	if err != nil {
		return nil, err
	}
	out := &answers{}
	scorer := eval.ModelScorer{Runner: r, ActQuant: act}
	if reference != nil {
		out.samples, _, err = eval.Ask(m.s.ctx, scorer, questions, batches, reference.logits)
		return out, err
	}
	out.samples, out.logits, err = eval.Ask(m.s.ctx, scorer, questions, batches, nil)
	return out, err
}

// questions makes a chunk's questions.
func (m *Model) questions(c chunk) ([]*eval.Question, error) {
	out := make([]*eval.Question, c.N)
	for i := range out {
		e, err := c.example(c.Start + i)
		if err != nil {
			return nil, err
		}
		if out[i], err = eval.NewQuestion(m, e, c.Generate); err != nil {
			return nil, err
		}
	}
	return out, nil
}

var answersCodec = codec[*answers]{encode: encodeAnswers, decode: decodeAnswers}

type storedAnswers struct {
	Samples []eval.Sample `json:"samples"`
	Rows    []int         `json:"rows"` // rows of "logits" per sample; null without logits
}

func encodeAnswers(a *answers) (*Artifact, error) {
	stored := storedAnswers{Samples: a.samples}
	if a.logits == nil {
		return NewArtifact(stored)
	}
	var flat []float32
	rows, width := 0, 0
	for _, list := range a.logits {
		stored.Rows = append(stored.Rows, len(list))
		for _, row := range list {
			flat = append(flat, row...)
			rows, width = rows+1, len(row)
		}
	}
	return NewArtifact(stored, safetensors.FromFloat32("logits", []int{rows, width}, flat))
}

func decodeAnswers(a *Artifact) (*answers, error) {
	var stored storedAnswers
	if err := a.Decode(&stored); err != nil {
		return nil, err
	}
	out := &answers{samples: stored.Samples}
	if stored.Rows == nil {
		return out, nil
	}
	flat, err := a.Float32s("logits")
	if err != nil {
		return nil, err
	}
	rows := 0
	for _, n := range stored.Rows {
		rows += n
	}
	if len(stored.Rows) != len(stored.Samples) || rows == 0 || len(flat)%rows != 0 {
		return nil, errors.New("its logits don't fit its samples")
	}
	width := len(flat) / rows
	for _, n := range stored.Rows {
		var list [][]float32
		for range n {
			list = append(list, flat[:width:width])
			flat = flat[width:]
		}
		out.logits = append(out.logits, list)
	}
	return out, nil
}
