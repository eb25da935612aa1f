package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/report"
	"github.com/tlqlab/tlqlab/models"
)

// fidelity compares search objectives with the true loss.
type fidelity struct {
	model   string
	sites   []string
	methods []string
	tasks   []string
	format  string
	split   string
	limit   int
	samples int
	seed    uint64
	out     string
	json    bool
}

func (f *fidelity) Flags(fs *flag.FlagSet) {
	d := harness.DefaultFidelity()
	var names []string
	for _, m := range d.Methods {
		names = append(names, m.ID())
	}
	fs.Var(list{values: &f.sites, split: true}, "sites", "`sites`, separated by commas (default all that can be scaled)")
	fs.Var(list{values: &f.methods, split: true}, "methods", "`methods` with a grid search, separated by commas (default "+strings.Join(names, ",")+")")
	fs.Var(list{values: &f.tasks, split: true}, "tasks", "`tasks` of the prompts, separated by commas (default all)")
	fs.StringVar(&f.format, "format", d.Format, "`format`")
	fs.StringVar(&f.split, "split", string(datasets.Test), "`split` of the prompts: test or tuning")
	fs.IntVar(&f.limit, "limit", d.Prompts.N, "prompts over all tasks, `N`")
	fs.IntVar(&f.samples, "samples", d.Calibration.Samples, "calibration samples, `N`")
	fs.Uint64Var(&f.seed, "seed", 0, "`seed` of the calibration samples")
	fs.StringVar(&f.out, "o", "", "`folder` to write (default runs/fidelity-NAME-FORMAT)")
	fs.BoolVar(&f.json, "json", false, "print JSON")
}

func (f *fidelity) Validate(args []string) error {
	switch {
	case f.limit < 2:
		return fmt.Errorf("--limit %d: expected at least 2 prompts", f.limit)
	case f.samples < 1:
		return fmt.Errorf("--samples %d: expected at least 1", f.samples)
	}
	return exactly(args, &f.model)
}

// settings are the defaults with what the options change.
func (f *fidelity) settings() harness.FidelitySettings {
	s := harness.DefaultFidelity()
	s.Format, s.Seed, s.Calibration.Samples = f.format, f.seed, f.samples
	s.Prompts.N, s.Prompts.Split = f.limit, f.split
	if len(f.tasks) > 0 {
		s.Prompts.Tasks = f.tasks
	}
	for _, site := range f.sites {
		s.Sites = append(s.Sites, models.Site(site))
	}
	if len(f.methods) > 0 {
		known := s.Methods
		s.Methods = nil
		for _, name := range f.methods {
			ref := harness.MethodRef{Name: name}
			for _, k := range known { // the defaults' own values
				if k.ID() == name {
					ref = k
				}
			}
			s.Methods = append(s.Methods, ref)
		}
	}
	return s
}

func (f *fidelity) Run(ctx context.Context, c *console) error {
	if err := harness.CheckOutput(f.out); err != nil {
		return err
	}
	m, err := openModel(ctx, f.model)
	if err != nil {
		return err
	}
	settings := f.settings()
	progress := display.NewProgress("fidelity", settings.FidelitySteps(m))
	defer progress.Stop()
	result, err := m.WithProgress(progress).Fidelity(settings)
	if err != nil {
		return err
	}
	progress.Done()
	dir := f.out
	if dir == "" {
		name := strings.NewReplacer("/", "-", ":", "-").Replace(strings.TrimPrefix(m.Name, "zoo:"))
		dir = filepath.Join("runs", "fidelity-"+name+"-"+f.format)
	}
	if err := report.BuildFidelity(dir, result); err != nil {
		return err
	}
	if f.json {
		return c.json(struct {
			*harness.Fidelity
			Dir string `json:"dir"`
		}{result, dir})
	}
	c.printf("%s\n", report.FidelityTable(result).Text())
	for _, sentence := range report.FidelityFinding(result) {
		c.printf("%s\n", sentence)
	}
	c.printf("%s\n", dir)
	return nil
}
