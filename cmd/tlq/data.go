package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// dataList lists tasks, packs and calibration sets.
type dataList struct{ json bool }

func (d *dataList) Flags(fs *flag.FlagSet) { fs.BoolVar(&d.json, "json", false, "print JSON") }

func (d *dataList) Validate(args []string) error { return none(args) }

func (d *dataList) Run(_ context.Context, c *console) error {
	index, err := datasets.ReadIndex()
	if err != nil {
		return err
	}
	hash, err := datasets.Hash()
	if err != nil {
		return err
	}
	tables, err := datasets.ReadTables()
	if err != nil {
		return err
	}
	if d.json {
		return c.json(struct {
			Tasks        []datasets.Task   `json:"tasks"`
			Splits       []datasets.Split  `json:"splits"`
			Calibrations []string          `json:"calibration_sets"`
			Vendors      []datasets.Vendor `json:"vendors"`
			Concepts     int               `json:"concepts"`
			Tables       []datasets.Table  `json:"tables"`
			SHA256       string            `json:"sha256"`
		}{datasets.Tasks(), datasets.Splits(), datasets.Calibrations(), index.Vendors, len(index.Concepts), tables, hash})
	}
	tasks := &display.Table{Columns: []string{"task", "title", "chance", "measures"}}
	for _, t := range datasets.Tasks() {
		tasks.Add(t.Name, t.Title, fmt.Sprintf("%.2f", t.Chance), t.Measures)
	}
	pack := &display.Table{Columns: []string{"pictures", "package", "licence"}}
	for _, v := range index.Vendors {
		pack.Add(v.Title, v.Package, v.Licence)
	}
	numbers := &display.Table{Columns: []string{"table", "file", "split", "rows", "series", "licence"}}
	for _, t := range tables {
		numbers.Add(t.Name, t.File, string(t.Split), len(t.Labels), len(t.Series), t.Licence)
	}
	c.printf("%s\n%s\n%s\n%d concepts; splits %v; calibration sets %s\nsha256 %s\n",
		tasks.Text(), pack.Text(), numbers.Text(), len(index.Concepts), datasets.Splits(), strings.Join(datasets.Calibrations(), ", "), hash)
	return nil
}

// dataShow draws a contact sheet of examples.
type dataShow struct {
	tasks []string
	split string
	seed  uint64
	n     int
	out   string
	json  bool
}

func (d *dataShow) Flags(fs *flag.FlagSet) {
	fs.StringVar(&d.split, "split", string(datasets.Test), "`split`: train, tuning or test")
	fs.Uint64Var(&d.seed, "seed", 0, "`seed` of the questions")
	fs.IntVar(&d.n, "n", 8, "examples of each task, `N`")
	fs.StringVar(&d.out, "o", "", "PNG `file` (default runs/data/TASKS-SPLIT.png)")
	fs.BoolVar(&d.json, "json", false, "print the examples' texts as JSON")
}

func (d *dataShow) Validate(args []string) error {
	d.tasks = args
	if d.n < 1 || d.n > maxShown {
		return fmt.Errorf("-n %d: expected 1 to %d of each task, which are drawn on one sheet", d.n, maxShown)
	}
	return nil
}

// maxShown is the most examples of a task on a contact sheet.
const maxShown = 1000

// shownExample is what --json prints of an example.
type shownExample struct {
	ID       string   `json:"id"`
	Task     string   `json:"task"`
	Question string   `json:"question"`
	Answers  []string `json:"answers"`
	Choices  []string `json:"choices"`
	Source   string   `json:"source"`
	Licence  string   `json:"licence"`
}

// file is where the sheet goes: not where a folder is.
func (d *dataShow) file() (string, error) {
	out := d.out
	if out == "" {
		name := "all"
		if len(d.tasks) > 0 {
			name = strings.Join(d.tasks, "-")
		}
		out = filepath.Join("runs", "data", name+"-"+d.split+".png")
	}
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return "", fmt.Errorf("output file %s is a folder: name a file", out)
	}
	return out, harness.CheckOutput(filepath.Dir(out))
}

func (d *dataShow) Run(_ context.Context, c *console) error {
	out, err := d.file()
	if err != nil {
		return err
	}
	examples, err := d.examples()
	if err != nil {
		return err
	}
	sheet, err := datasets.ContactSheet(examples, 0)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := datasets.WritePNG(out, sheet); err != nil {
		return err
	}
	if d.json {
		var shown []shownExample
		for _, e := range examples {
			shown = append(shown, shownExample{e.ID, e.Task, e.Question, e.Answers, e.Choices, e.Source, e.Licence})
		}
		return c.json(struct {
			File     string         `json:"file"`
			Examples []shownExample `json:"examples"`
		}{out, shown})
	}
	for _, e := range examples {
		c.printf("%s: %s  [%s]  %s\n", e.Task, e.Question, strings.Join(e.Choices, " | "), e.Answers[0])
	}
	c.printf("%s\n", out)
	return nil
}

func (d *dataShow) examples() ([]datasets.Example, error) {
	split, err := datasets.ParseSplit(d.split)
	if err != nil {
		return nil, err
	}
	tasks := datasets.Tasks()
	if len(d.tasks) > 0 {
		tasks = nil
		for _, name := range d.tasks {
			t, err := datasets.FindTask(name)
			if err != nil {
				return nil, err
			}
			tasks = append(tasks, t)
		}
	}
	var out []datasets.Example
	for _, t := range tasks {
		for e, err := range t.Examples(split, d.seed, d.n) {
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// dataBuild makes the packs again from their sources.
type dataBuild struct {
	tarballs []string
	out      string
	json     bool
}

func (d *dataBuild) Flags(fs *flag.FlagSet) {
	fs.StringVar(&d.out, "o", "", "`folder` of the packs, with catalogue.txt in it (default the committed one)")
	fs.BoolVar(&d.json, "json", false, "print the index as JSON")
}

func (d *dataBuild) Validate(args []string) error {
	d.tarballs = args
	return datasets.BuildConfig{Tarballs: args}.Validate()
}

func (d *dataBuild) Run(ctx context.Context, c *console) error {
	index, err := datasets.Build(ctx, datasets.BuildConfig{Tarballs: d.tarballs, Dir: d.out})
	if err != nil {
		return err
	}
	if d.json {
		return c.json(index)
	}
	c.printf("%d concepts of %d vendors\n", len(index.Concepts), len(index.Vendors))
	for _, v := range index.Vendors {
		c.printf("%s %s\n", v.File, v.Package)
	}
	return nil
}
