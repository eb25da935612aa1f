package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/report"
)

// ablate runs the grid of a Spec and reports on it.
type ablate struct {
	spec    string
	out     string
	smoke   bool
	plan    bool
	json    bool
	workers int
	seeds   int
	limit   optionalInt
	cell    string
}

func (a *ablate) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.out, "o", "", "the run's `folder` (default runs/NAME-KEY8)")
	fs.BoolVar(&a.smoke, "smoke", false, "shrink the experiment to seconds")
	fs.BoolVar(&a.plan, "plan", false, "say what is stored, what is to do and how long it takes, and run nothing")
	fs.BoolVar(&a.json, "json", false, "print the records as JSON")
	fs.IntVar(&a.workers, "workers", 1, "cells worked on at once, `N`")
	fs.IntVar(&a.seeds, "seeds", 0, "calibration seeds 0 to `N`-1 instead of the experiment's")
	fs.StringVar(&a.cell, "cell", "", "run one `cell` of the grid, beside its unquantized model, as records and reports name it: \"zoo:qwen2vl-nano w4a8 tlq seed 0\"")
	fs.Var(&a.limit, "limit", fmt.Sprintf("questions per task, `N`; 0: all (%d of a generated task)", harness.AllQuestions))
}

func (a *ablate) Validate(args []string) error {
	a.spec = "paper"
	if len(args) > 1 {
		return fmt.Errorf("got %d arguments, expected at most one: a file or a built-in experiment", len(args))
	}
	if len(args) == 1 {
		a.spec = args[0]
	}
	switch {
	case checkWorkers(a.workers) != nil:
		return checkWorkers(a.workers)
	case a.seeds < 0:
		return fmt.Errorf("--seeds %d: expected at least 1", a.seeds)
	case a.limit.set && a.limit.value < 0:
		return fmt.Errorf("--limit %d: expected 0 or more", a.limit.value)
	}
	return nil
}

// load makes the Spec that the options ask for.
func (a *ablate) load(s *harness.Session) (harness.Spec, error) {
	spec, err := harness.LoadSpec(s.Root, a.spec)
	if err != nil {
		return spec, err
	}
	if err := spec.Validate(s.Root); err != nil { // before it is shrunk: a bad name is bad in any size
		return spec, err
	}
	if a.smoke {
		spec = spec.Smoke()
	}
	if a.seeds > 0 {
		spec.Seeds = nil
		for i := range a.seeds {
			spec.Seeds = append(spec.Seeds, uint64(i))
		}
	}
	if a.limit.set {
		spec.Limit = a.limit.value
	}
	if a.cell != "" {
		return spec.Only(a.cell)
	}
	return spec, nil
}

func (a *ablate) Run(ctx context.Context, c *console) error {
	switch {
	case slices.Contains(harness.ClaimSpecs(), a.spec):
		return a.claims(ctx, c)
	case a.spec == fidelitySpec:
		return a.fidelity(ctx, c)
	}
	s, err := harness.Open()
	if err != nil {
		return err
	}
	spec, err := a.load(s)
	if err != nil {
		return err
	}
	p, err := harness.NewPlan(s, spec)
	if err != nil {
		return err
	}
	if a.plan {
		if a.json {
			return c.json(p)
		}
		c.printf("%s", p)
		return nil
	}
	fmt.Fprintln(c.Err, p.Summary(a.workers))
	dir := a.out
	if dir == "" {
		dir = p.DefaultDir()
	}
	records, err := p.Run(ctx, harness.RunOptions{Dir: dir, Workers: a.workers, Code: revision, Watch: newLiveTable(c.Err, spec.Name).watch})
	if records == nil {
		return err
	}
	return errors.Join(err, a.report(c, dir, records))
}

// claims runs an experiment that decides claims, as the command of that name does.
func (a *ablate) claims(ctx context.Context, c *console) error {
	if a.cell != "" {
		return fmt.Errorf("--cell: experiment %s decides claims between cells; tlq claims --help shows what can be set", a.spec)
	}
	run := &claims{spec: a.spec, split: string(datasets.Test), limit: a.limit, workers: a.workers, plan: a.plan, out: a.out, json: a.json}
	if a.limit.set && a.limit.value == 0 {
		run.limit.value = harness.AllQuestions
	}
	if a.seeds > 0 {
		run.seeds = optionalInt{value: a.seeds, set: true}
	}
	if a.smoke {
		run.shrink()
	}
	return run.Run(ctx, c)
}

// fidelitySpec is the built-in experiment that compares search objectives with the true
// loss: the command of that name, on the model that settings are tuned on.
const fidelitySpec = "fidelity"

// fidelity runs it.
func (a *ablate) fidelity(ctx context.Context, c *console) error {
	if a.plan || a.cell != "" || a.seeds > 0 {
		return fmt.Errorf("--plan, --cell, --seeds: experiment %s has one model, one format and one calibration seed; tlq fidelity --help shows what can be set", a.spec)
	}
	d := harness.DefaultFidelity()
	run := &fidelity{
		model: "zoo:qwen2vl-nano", format: d.Format, split: d.Prompts.Split, limit: d.Prompts.N, samples: d.Calibration.Samples, out: a.out, json: a.json,
	}
	if a.smoke {
		run.limit, run.samples = 24, 8
	}
	if a.limit.set {
		run.limit = a.limit.value
	}
	return run.Run(ctx, c)
}

// report writes tables and figures and prints the summary.
func (a *ablate) report(c *console, dir string, records []harness.Record) error {
	if err := report.Build(dir); err != nil {
		return err
	}
	if a.json {
		return c.json(runResult{dir, records})
	}
	c.printf("%s\n%s\n", recordTable(records).Text(), dir)
	return nil
}

// runResult is what --json prints of commands that write records.
type runResult struct {
	Dir     string           `json:"dir"`
	Records []harness.Record `json:"records"`
}

// recordTable shows the records' main numbers.
func recordTable(records []harness.Record) *display.Table {
	t := &display.Table{Columns: []string{"model", "format", "method", "seed", "bits", "n", "accuracy", "Δ accuracy", "95% interval", "KL", "NLL", "status"}}
	for _, r := range records {
		if r.Status == harness.StatusFailed {
			t.Add(r.Model, r.Setting(), r.Method, r.Seed, "", "", "", "", "", "", "", "failed: "+shorten(r.Error(), 60))
			continue
		}
		delta, interval := "", ""
		if r.Method != harness.MethodFP {
			delta = fmt.Sprintf("%+.3f", r.Delta.Accuracy)
			interval = fmt.Sprintf("%+.3f to %+.3f", r.Delta.Low, r.Delta.High)
		}
		t.Add(r.Model, r.Setting(), r.Method, r.Seed, fmt.Sprintf("%.2f", r.AvgBits), r.N, fmt.Sprintf("%.3f", r.Metrics.Accuracy),
			delta, interval, fmt.Sprintf("%.4f", r.Metrics.KL), fmt.Sprintf("%.4f", r.Metrics.NLL), string(r.Status))
	}
	return t
}

// shorten cuts a text to at most n runes.
func shorten(text string, n int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= n {
		return string(runes)
	}
	return string(runes[:n-1]) + "…"
}
