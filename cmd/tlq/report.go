package main

import (
	"context"
	"flag"

	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/report"
)

// rebuild makes a run's tables and figures anew.
type rebuild struct {
	dir  string
	json bool
}

func (r *rebuild) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&r.json, "json", false, "print the records as JSON")
}

func (r *rebuild) Validate(args []string) error { return exactly(args, &r.dir) }

func (r *rebuild) Run(_ context.Context, c *console) error {
	records, err := harness.ReadRun(r.dir)
	if err != nil {
		return err
	}
	if err := report.Build(r.dir); err != nil {
		return err
	}
	if r.json {
		return c.json(runResult{r.dir, records})
	}
	c.printf("%s\n%s\n", recordTable(records).Text(), r.dir)
	return nil
}
