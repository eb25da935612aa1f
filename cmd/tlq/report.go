package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/report"
	"github.com/tlqlab/tlqlab/harness/results"
)

// rebuild makes a run's tables and figures anew, and its scores in the files of other
// harnesses.
type rebuild struct {
	dir     string
	results []string // schemas
	json    bool
}

func (r *rebuild) Flags(fs *flag.FlagSet) {
	fs.Var(list{values: &r.results, split: true}, "results", "write DIR/results/`SCHEMA` too: scores and answers as lmms-eval or lm-eval write them; several separated by commas")
	fs.BoolVar(&r.json, "json", false, "print the records as JSON")
}

func (r *rebuild) Validate(args []string) error {
	for _, name := range r.results {
		if err := (results.Config{Schema: results.Schema(name)}).Validate(); err != nil {
			return fmt.Errorf("--results: %w", err)
		}
	}
	return exactly(args, &r.dir)
}

func (r *rebuild) Run(_ context.Context, c *console) error {
	records, err := harness.ReadRun(r.dir)
	if err != nil {
		return err
	}
	if err := report.Build(r.dir); err != nil {
		return err
	}
	for _, name := range r.results {
		if _, err := results.WriteBeside(r.dir, results.Schema(name)); err != nil {
			return err
		}
	}
	if r.json {
		return c.json(runResult{r.dir, records})
	}
	table := recordTable(records)
	if len(records) > mostPrinted {
		if table, err = report.Summary(records); err != nil {
			return err
		}
	}
	c.printf("%s\n%s\n", table.Text(), r.dir)
	return nil
}

// mostPrinted is how many cells are printed one by one; of more, the means over seeds.
const mostPrinted = 100
