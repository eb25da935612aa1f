package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
)

// QuestionSet is a set of questions that no generator makes: a folder of the user's
// own, a benchmark's file.
type QuestionSet struct {
	Name string // of the task in records and samples; no built-in task's
	Len  int    // questions
	// Example makes question i, with its pictures.
	Example func(i int) (datasets.Example, error)
	// Hash is the SHA-256 of questions and their pictures.
	Hash func(questions []int) (string, error)
}

// FolderSet is the question set of a folder or a file ([datasets.Files]).
func FolderSet(f *datasets.Files) QuestionSet {
	return QuestionSet{Name: f.Name, Len: f.Len(), Example: f.Example, Hash: f.Hash}
}

// ask makes the first n questions of the set (0: all) into Questions.
func (s QuestionSet) ask(n int, generate bool) (Questions, error) {
	if _, err := datasets.FindTask(s.Name); err == nil {
		return Questions{}, fmt.Errorf("harness: questions named %q: that is a built-in task; rename the folder or file", s.Name)
	}
	if n == 0 || n > s.Len {
		n = s.Len
	}
	if n == 0 {
		return Questions{}, fmt.Errorf("harness: task %s has no questions", s.Name)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	hash, err := s.Hash(all)
	if err != nil {
		return Questions{}, err
	}
	return Questions{Task: s.Name, N: n, Generate: generate, SHA256: hash, set: &s}, nil
}

// example makes question number i of a chunk's task, counted from the task's first.
func (c chunk) example(i int) (datasets.Example, error) {
	if c.set != nil {
		e, err := c.set.Example(i)
		e.Task = c.Task
		return e, err
	}
	task, err := datasets.FindTask(c.Task)
	if err != nil {
		return datasets.Example{}, err
	}
	return task.Example(datasets.Split(c.Split), c.Seed, i)
}

// chanceOf is the accuracy of blind guessing: the built-in task's, or the mean over
// the choices of the samples; an open question can't be guessed.
func chanceOf(task string, samples []eval.Sample) float64 {
	if t, err := datasets.FindTask(task); err == nil {
		return t.Chance
	}
	sum, n := 0.0, 0
	for i := range samples {
		if samples[i].Task != task {
			continue
		}
		n++
		if k := len(samples[i].Choices); k > 0 {
			sum += 1 / float64(k)
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}
