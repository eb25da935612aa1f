package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/report"
)

// settings are those of --premise, with what the options change.
func (i *inspect) settings() harness.PremiseSettings {
	s := harness.DefaultPremise()
	if i.limit.set {
		s.Prompts.N = i.limit.value
	}
	if len(i.formats) > 0 {
		s.Formats = i.formats
	}
	if len(i.tasks) > 0 {
		s.Prompts.Tasks = i.tasks
	}
	s.Prompts.Split = i.split
	return s
}

// runPremise measures the premise, writes its report and prints the verdict.
func (i *inspect) runPremise(c *console, m *harness.Model) error {
	s := i.settings()
	if err := harness.CheckOutput(i.out); err != nil {
		return err
	}
	progress := display.NewProgress("premise", s.PremiseSteps(m))
	defer progress.Stop()
	p, err := m.WithProgress(progress).Premise(s)
	if errors.Is(err, harness.ErrNoVision) { // an answer, not a failure
		return i.noPremise(c, m, err)
	}
	if err != nil {
		return err
	}
	progress.Done()
	dir := i.out
	if dir == "" {
		dir = filepath.Join("runs", "premise-"+strings.NewReplacer("/", "-", ":", "-").Replace(strings.TrimPrefix(m.Name, "zoo:")))
	}
	if err := report.BuildPremise(dir, p); err != nil {
		return err
	}
	verdict := report.PremiseVerdict(p)
	if i.json {
		return c.json(struct {
			*harness.Premise
			Verdict []string `json:"verdict"`
			Dir     string   `json:"dir"`
		}{p, verdict, dir})
	}
	c.printf("%s\n", report.PremiseTable(p).Text())
	for _, sentence := range verdict {
		c.printf("%s\n", sentence)
	}
	c.printf("%s\n", dir)
	return nil
}

// noPremise says that a model of text alone has no premise to test.
func (i *inspect) noPremise(c *console, m *harness.Model, why error) error {
	text := firstLine(oneLine(why))
	if i.json {
		return c.json(struct {
			Model   string   `json:"model"`
			Verdict []string `json:"verdict"`
		}{m.Name, []string{text}})
	}
	c.printf("%s\n", fmt.Sprint(text))
	return nil
}
