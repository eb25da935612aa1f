package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
)

// Prompts are questions of a split with their right answers alone: what a
// diagnostic measures losses on. The tasks take turns, so that any number of them is
// balanced and a longer list begins with a shorter one.
type Prompts struct {
	Tasks []string `json:"tasks"` // empty: those that the model was trained on
	Split string   `json:"split"` // "test" or "tuning"
	N     int      `json:"n"`     // over all tasks
}

// of names the tasks that a model was trained on, where none is named.
func (p Prompts) of(m *Model) Prompts {
	if len(p.Tasks) > 0 {
		return p
	}
	if p.Tasks = trainedOn(m.Dir); len(p.Tasks) == 0 {
		p.Tasks = taskNames()
	}
	return p
}

// validate checks names and numbers.
func (p Prompts) validate() error {
	if p.N < 2 || p.N > MaxPrompts {
		return fmt.Errorf("harness: %d prompts over all tasks: expected at least 2, for an interval, and at most %d, which are held in memory together and decide a 1%% difference", p.N, MaxPrompts)
	}
	if err := checkList("tasks", p.Tasks, func(name string) error { _, err := datasets.FindTask(name); return err }); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	_, err := datasets.ParseSplit(p.Split)
	return err
}

// promptSet is Prompts made ready for a model.
type promptSet struct {
	questions []*eval.Question // without choices: the answer is all that is scored
	seqs      []*models.Sequence
	clusters  []string
	tasks     []string
	batches   []*models.Batch
}

// promptChunk is a part of a task's prompts, and the parameters of its stage's key.
type promptChunk struct {
	Task    string `json:"task"`
	Split   string `json:"split"`
	Seed    uint64 `json:"seed"`
	Start   int    `json:"start"`
	N       int    `json:"n"`
	Answers bool   `json:"answers"` // the right answer alone
}

// prompts tokenizes and embeds prompts.
func (m *Model) prompts(p Prompts) (*promptSet, error) {
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	per := make([][]*eval.Question, len(p.Tasks))
	rows := make([][][]float32, len(p.Tasks))
	for k, task := range p.Tasks {
		if per[k], rows[k], err = m.taskPrompts(task, p.Split, p.ofTask(k), Key(hash)); err != nil {
			return nil, err
		}
	}
	return m.takingTurns(p, per, rows)
}

// ofTask is how many of the prompts are task k's: the first tasks have one more.
func (p Prompts) ofTask(k int) int { return (p.N + len(p.Tasks) - 1 - k) / len(p.Tasks) }

// takingTurns makes a set of the tasks' questions and their embedded rows, one of each
// task after another.
func (m *Model) takingTurns(p Prompts, per [][]*eval.Question, rows [][][]float32) (*promptSet, error) {
	set := &promptSet{}
	var x [][]float32
	for i := range p.N {
		k, at := i%len(p.Tasks), i/len(p.Tasks)
		q := per[k][at]
		set.questions, set.seqs = append(set.questions, q), append(set.seqs, q.Sequence)
		set.clusters, set.tasks = append(set.clusters, q.Task+"/"+q.Source), append(set.tasks, q.Task)
		x = append(x, rows[k][at])
	}
	var err error
	set.batches, err = m.NewBatches(set.seqs, x)
	return set, err
}

// taskPrompts makes the first n prompts of one task, in durable pieces.
func (m *Model) taskPrompts(task, split string, n int, data Key) (out []*eval.Question, x [][]float32, err error) {
	for start := 0; start < n; start += chunkQuestions {
		c := promptChunk{task, split, questionSeed, start, min(chunkQuestions, n-start), true}
		questions, err := m.answerQuestions(c)
		if err != nil {
			return nil, nil, err
		}
		key := NewKey(embedStage, c, m.key, data)
		rows, err := m.embed(fmt.Sprintf("embed %s prompts %d to %d", task, start, start+c.N-1), key,
			func() ([]*models.Sequence, error) { return sequences(questions), nil })
		if err != nil {
			return nil, nil, err
		}
		out, x = append(out, questions...), append(x, rows...)
	}
	return out, x, nil
}

// answerQuestions makes questions whose right answer alone is scored.
func (m *Model) answerQuestions(c promptChunk) ([]*eval.Question, error) {
	task, err := datasets.FindTask(c.Task)
	if err != nil {
		return nil, err
	}
	out := make([]*eval.Question, c.N)
	for i := range out {
		e, err := task.Example(datasets.Split(c.Split), c.Seed, c.Start+i)
		if err != nil {
			return nil, err
		}
		seq, err := m.Prompt(e.Images, e.Question, e.Answers[0])
		if err != nil {
			return nil, fmt.Errorf("harness: prompt %s: %w", e.ID, err)
		}
		e.Images, e.Choices = nil, nil // pictures are in the sequence, as the tower reads them
		out[i] = &eval.Question{Example: e, Sequence: seq}
	}
	return out, nil
}
