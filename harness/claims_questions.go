package harness

import (
	"fmt"
	"sync"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
)

// questionExam asks questions with choices; a score is a question's.
type questionExam struct {
	m         *Model
	prompts   Prompts
	block     int // the first of them is question number block × their number
	data      Key
	set       *promptSet
	reference [][][]float32 // logits at the right answers, [question][token]; nil: not asked yet

	mu     sync.Mutex
	edited map[Key]*promptSet // the questions as edited forms of the model read them
}

func (m *Model) newQuestionExam(p Prompts, block int) (*questionExam, error) {
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	e := &questionExam{m: m, prompts: p, block: block, data: Key(hash)}
	e.set, err = m.questionSet(p, block, e.data)
	return e, err
}

func (e *questionExam) clusters() []string { return e.set.clusters }

func (e *questionExam) key(weights string, activations int, on Key) Key {
	return NewKey(scoresStage, struct {
		Weights     string  `json:"weights"`
		Activations int     `json:"activations"`
		Prompts     Prompts `json:"prompts"`
		Block       int     `json:"block,omitempty"`
	}{weights, activations, e.prompts, e.block}, on, e.data)
}

// questionSet makes and embeds the questions with their choices: those that
// [Model.Evaluate] asks, tasks taking turns. Those of a block follow those of the one before.
func (m *Model) questionSet(p Prompts, block int, data Key) (*promptSet, error) {
	per, rows := make([][]*eval.Question, len(p.Tasks)), make([][][]float32, len(p.Tasks))
	for k, task := range p.Tasks {
		n := p.ofTask(k)
		for _, part := range (Questions{Task: task, Split: p.Split, N: n}).chunks() {
			part.Start += block * n
			questions, err := m.questions(part)
			if err != nil {
				return nil, err
			}
			x, err := m.embed(fmt.Sprintf("embed %s %d to %d", part.Task, part.Start, part.Start+part.N-1), part.embedKey(m, data),
				func() ([]*models.Sequence, error) { return sequences(questions), nil })
			if err != nil {
				return nil, err
			}
			for _, q := range questions {
				q.Images = nil // embedded by now
			}
			per[k], rows[k] = append(per[k], questions...), append(rows[k], x...)
		}
	}
	return m.takingTurns(p, per, rows)
}

// asked are the questions as a model reads them: its embeddings may be rotated.
func (e *questionExam) asked(on *Model) (*promptSet, error) {
	if on.key == e.m.key {
		return e.set, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if set, ok := e.edited[on.key]; ok {
		return set, nil
	}
	set, err := on.questionSet(e.prompts, e.block, e.data)
	if err != nil {
		return nil, err
	}
	if e.edited == nil {
		e.edited = map[Key]*promptSet{}
	}
	e.edited[on.key] = set
	return set, nil
}

func (e *questionExam) ask(on *Model, runner *models.Runner, act *models.ActQuant) (*scores, error) {
	set, err := e.asked(on)
	if err != nil {
		return nil, err
	}
	n := len(set.seqs)
	out, answers := newScores(n), make([][][]float32, n)
	err = eachBatch(on.s.ctx, len(set.batches), func(i int) error {
		b := set.batches[i]
		x, err := runner.Forward(b, act)
		if err != nil {
			return err
		}
		rows, err := runner.Logits(b, x)
		if err != nil {
			return err
		}
		for k, at := range b.Index {
			scored := len(b.Seqs[k].Scored)
			var reference [][]float32
			if e.reference != nil {
				reference = e.reference[at]
			}
			sample, right, err := set.questions[at].Score(rows[:scored], reference)
			if err != nil {
				return err
			}
			rows = rows[scored:]
			out.kl[at], out.nll[at] = single(*sample.KL), single(sample.NLL)
			if sample.Correct {
				out.correct[at] = 1
			}
			if e.reference == nil {
				for _, row := range right {
					answers[at] = append(answers[at], append([]float32(nil), row...))
				}
			}
		}
		return nil
	})
	if e.reference == nil {
		e.reference = answers
	}
	return out, err
}
