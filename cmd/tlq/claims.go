package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/report"
	"github.com/tlqlab/tlqlab/ptq"
)

// claims decides which method is better than which other.
type claims struct {
	spec     string
	models   []string
	methods  []string
	formats  []string
	outliers []string
	calib    string
	tokens   string
	fallback string
	split    string
	limit    optionalInt
	seeds    optionalInt
	samples  optionalInt
	workers  int
	plan     bool
	out      string
	json     bool
}

func (a *claims) Flags(fs *flag.FlagSet) {
	fs.Var(list{values: &a.models, split: true}, "models", "`models` instead of the experiment's, separated by commas")
	fs.Var(list{values: &a.methods, split: true}, "methods", "`methods` of the experiment to keep, separated by commas")
	fs.Var(list{values: &a.formats, split: true}, "formats", "`formats` instead of the experiment's settings, separated by commas")
	fs.Var(list{values: &a.outliers, split: true}, "outliers", "with --formats: `kinds` of outliers, separated by commas; none: without")
	fs.StringVar(&a.calib, "calib", "", "calibration samples from `SET`: a set's name, a folder, FILE.json, or FILE.safetensors[:TENSOR] of token streams, drawn anew by each seed")
	fs.StringVar(&a.tokens, "tokens", "", "ask no questions: predict the token streams of `FILE`.safetensors[:TENSOR] (experiment text by default)")
	fs.StringVar(&a.fallback, "group-fallback", "", "`halve`: halve a group size that does not divide an input width, instead of refusing (experiment text does)")
	fs.StringVar(&a.split, "split", string(datasets.Test), "`split`: test for reported numbers, tuning for choosing settings")
	fs.Var(&a.limit, "limit", "questions over all tasks, `N` (default 1200; decisive: 1250 of each seed's own), or the first N token streams (default all)")
	fs.Var(&a.seeds, "seeds", "calibration seeds 0 to `N`-1 (default 8)")
	fs.Var(&a.samples, "samples", "calibration samples, `N` (default 64; experiment text: 16)")
	fs.IntVar(&a.workers, "workers", 2, "cells worked on at once, `N`")
	fs.BoolVar(&a.plan, "plan", false, "say what would be compared and how long it takes, and run nothing")
	fs.StringVar(&a.out, "o", "", "`folder` to write (default runs/NAME)")
	fs.BoolVar(&a.json, "json", false, "print the verdicts, or the plan, as JSON")
}

func (a *claims) Validate(args []string) error {
	a.spec = "decisive"
	if a.tokens != "" {
		a.spec = harness.ClaimsText
	}
	if len(args) > 1 {
		return fmt.Errorf("got %d arguments, expected at most one of %s", len(args), strings.Join(harness.ClaimSpecs(), ", "))
	}
	if len(args) == 1 {
		a.spec = args[0]
	}
	for _, n := range []struct {
		name string
		v    optionalInt
		min  int
	}{{"limit", a.limit, 2}, {"seeds", a.seeds, 2}, {"samples", a.samples, 1}} {
		if n.v.set && n.v.value < n.min {
			return fmt.Errorf("--%s %d: expected at least %d", n.name, n.v.value, n.min)
		}
	}
	return checkWorkers(a.workers)
}

// shrink makes the experiment one of seconds, of the same shape.
func (a *claims) shrink() {
	for _, x := range []struct {
		to    *optionalInt
		value int
	}{{&a.limit, 24}, {&a.seeds, 2}, {&a.samples, 8}} {
		if !x.to.set {
			*x.to = optionalInt{value: x.value, set: true}
		}
	}
	a.formats = []string{"w4a8"}
}

// load makes the experiment that the options ask for.
func (a *claims) load() (harness.ClaimsSpec, error) {
	spec, err := harness.LoadClaims(a.spec)
	if err != nil {
		return spec, err
	}
	if len(a.models) > 0 {
		spec.Models = a.models
	}
	if len(a.formats) > 0 {
		kinds := a.outliers
		if len(kinds) == 0 {
			kinds = []string{"none"}
		}
		spec.Settings = nil
		for _, kind := range kinds {
			for _, f := range a.formats {
				spec.Settings = append(spec.Settings, harness.ClaimSetting{Format: f, Outliers: strings.TrimPrefix(kind, "none")})
			}
		}
	}
	a.ask(&spec)
	if a.calib != "" {
		spec.Calibration.Name = a.calib
	}
	if a.fallback != "" {
		spec.GroupFallback = ptq.GroupFallback(a.fallback)
	}
	if a.samples.set {
		spec.Calibration.Samples = a.samples.value
	}
	if a.seeds.set {
		spec.Seeds = nil
		for i := range a.seeds.value {
			spec.Seeds = append(spec.Seeds, uint64(i))
		}
	}
	if len(a.methods) > 0 {
		err = spec.Only(a.methods)
	}
	return spec, err
}

// ask says what the cells are asked.
func (a *claims) ask(spec *harness.ClaimsSpec) {
	if a.tokens != "" {
		spec.Streams = harness.Streams{From: a.tokens, N: a.limit.value}
		spec.Prompts = harness.Prompts{}
		return
	}
	if spec.Prompts.N == 0 {
		return // an experiment on streams, which are not named
	}
	spec.Prompts.Split = a.split
	if a.limit.set {
		spec.Prompts.N = a.limit.value
	}
}

func (a *claims) Run(ctx context.Context, c *console) error {
	spec, err := a.load()
	if err != nil {
		return err
	}
	if err := harness.CheckOutput(a.out); err != nil {
		return err
	}
	s, err := harness.Open()
	if err != nil {
		return err
	}
	plan, err := s.PlanClaims(spec, a.workers)
	if err != nil {
		return err
	}
	switch {
	case a.plan && a.json:
		return c.json(plan)
	case a.plan:
		c.printf("%s", plan)
		return nil
	}
	fmt.Fprintln(c.Err, firstLine(plan.String()))
	progress := display.NewProgress(spec.Name, plan.Cells)
	defer progress.Stop()
	run, err := s.WithContext(harness.WithEvents(ctx, &harness.EventLog{})).RunClaims(spec, harness.ClaimsOptions{Workers: a.workers, Progress: progress})
	if err != nil {
		return err
	}
	progress.Done()
	dir := a.out
	if dir == "" {
		dir = spec.ClaimsDir()
	}
	if err := report.BuildClaims(dir, run); err != nil {
		return err
	}
	if failed := run.Failed(); len(failed) > 0 {
		err = fmt.Errorf("%d of %d cells failed, the first (%s %s seed %d): %s", len(failed), len(run.Cells), failed[0].Format, failed[0].Method, failed[0].Seed, failed[0].Error)
	}
	if a.json {
		if e := c.json(run.Claims); e != nil {
			return e
		}
		return err
	}
	for _, sentence := range report.ClaimsFinding(run) {
		c.printf("%s\n", sentence)
	}
	c.printf("%s\n", dir)
	return err
}
