package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/datasets/benchmarks"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// evaluate scores one model, or compares a second with it.
type evaluate struct {
	models   []string
	tasks    []string
	split    string
	limit    int
	generate bool
	out      string
	json     bool
}

func (e *evaluate) Flags(fs *flag.FlagSet) {
	fs.Var(list{values: &e.models}, "model", "`model`; a second one is compared with the first, question by question")
	fs.Var(list{values: &e.tasks, split: true}, "tasks", "`tasks`, separated by commas: built-in ones, folders with qa.jsonl, BENCHMARK:PATH (default those that the model was trained on)")
	fs.StringVar(&e.split, "split", string(datasets.Test), "`split`: test or tuning")
	fs.IntVar(&e.limit, "limit", harness.DefaultSpec().Limit, fmt.Sprintf("questions per task, `N`; 0: all (%d of a generated task)", harness.AllQuestions))
	fs.BoolVar(&e.generate, "generate", false, "also let the model answer in its own words and count exact matches")
	fs.StringVar(&e.out, "o", "", "`folder` for records and samples (default runs/eval-KEY8)")
	fs.BoolVar(&e.json, "json", false, "print the records as JSON")
}

func (e *evaluate) Validate(args []string) error {
	switch {
	case len(e.models) == 0:
		return errors.New("no --model given")
	case len(e.models) > 2:
		return fmt.Errorf("%d models given, expected one or two", len(e.models))
	case e.limit < 0:
		return fmt.Errorf("--limit %d: expected 0 or more", e.limit)
	}
	return none(args)
}

func (e *evaluate) Run(ctx context.Context, c *console) error {
	s, err := harness.Open()
	if err != nil {
		return err
	}
	tasks, sets, err := questionSets(e.tasks)
	if err != nil {
		return err
	}
	p, err := harness.NewEvaluation(s, harness.EvaluationSpec{
		Models: e.models, Tasks: tasks, Sets: sets, Split: e.split, Limit: e.limit, Generate: e.generate,
	})
	if err != nil {
		return err
	}
	dir := e.out
	if dir == "" {
		dir = p.DefaultDir()
	}
	progress := display.NewProgress("eval", p.Steps())
	defer progress.Stop()
	records, err := p.Run(ctx, harness.RunOptions{Dir: dir, Code: revision, Progress: progress})
	if err != nil {
		return err
	}
	progress.Done()
	if e.json {
		return c.json(runResult{dir, records})
	}
	c.printf("%s\n%s\n", evaluationTable(records).Text(), dir)
	return nil
}

// questionSets divides what --tasks names into built-in tasks and questions in files:
// folders with qa.jsonl, and BENCHMARK:PATH for a public benchmark's files.
func questionSets(names []string) (tasks []string, sets []harness.QuestionSet, err error) {
	for _, name := range names {
		if _, err := datasets.FindTask(name); err == nil {
			tasks = append(tasks, name)
			continue
		}
		set, found, err := questionSet(name)
		if err != nil {
			return nil, nil, err
		}
		if !found { // an unknown name: the harness lists the valid ones
			tasks = append(tasks, name)
			continue
		}
		sets = append(sets, set)
	}
	return tasks, sets, nil
}

// questionSet opens questions in files; found is false for a name that isn't a path.
func questionSet(name string) (set harness.QuestionSet, found bool, err error) {
	_, statErr := os.Stat(name)
	if benchmark, path, ok := strings.Cut(name, ":"); ok && statErr != nil {
		b, err := benchmarks.Open(benchmark, path)
		if err != nil {
			return set, false, err
		}
		return harness.QuestionSet{Name: benchmark, Len: b.Len(), Example: b.Example, Hash: b.Hash}, true, nil
	}
	if statErr != nil && !strings.ContainsAny(name, `/\`) {
		return set, false, nil
	}
	f, err := datasets.OpenFolder(name)
	if err != nil {
		return set, false, err
	}
	return harness.FolderSet(f), true, nil
}

// taskOrder lists a record's tasks: the built-in ones first.
func taskOrder(r *harness.Record) []string {
	var names []string
	for _, task := range datasets.Tasks() {
		if _, ok := r.Tasks[task.Name]; ok {
			names = append(names, task.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Tasks)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// evaluationTable shows every task of every model. The first is what the KL is taken
// to, so it has none.
func evaluationTable(records []harness.Record) *display.Table {
	t := &display.Table{Columns: []string{"model", "task", "n", "accuracy", "± stderr", "chance", "NLL", "KL"}}
	for i := range records {
		r := &records[i]
		for _, task := range taskOrder(r) {
			x := r.Tasks[task]
			kl := "–"
			if i > 0 {
				kl = fmt.Sprintf("%.4f", x.KL)
			}
			t.Add(r.Model, task, x.N, fmt.Sprintf("%.3f", x.Accuracy), fmt.Sprintf("%.3f", x.StdErr), fmt.Sprintf("%.2f", x.Chance),
				fmt.Sprintf("%.4f", x.NLL), kl)
		}
	}
	if len(records) == 2 {
		d := records[1].Delta
		t.Add("difference", "all", records[1].N, fmt.Sprintf("%+.3f", d.Accuracy), fmt.Sprintf("%+.3f to %+.3f", d.Low, d.High),
			"", fmt.Sprintf("p = %.3g", d.P), "")
	}
	return t
}
