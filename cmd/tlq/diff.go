package main

import (
	"context"
	"flag"

	"github.com/tlqlab/tlqlab/harness/diff"
)

// difference compares two runs' folders.
type difference struct {
	a, b string
	json bool
}

func (d *difference) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&d.json, "json", false, "print JSON")
}

func (d *difference) Validate(args []string) error { return exactly(args, &d.a, &d.b) }

func (d *difference) Run(_ context.Context, c *console) error {
	found, err := diff.Runs(d.a, d.b)
	if err != nil {
		return err
	}
	if d.json {
		return c.json(found)
	}
	if len(found.Settings) > 0 {
		c.printf("%s\n", found.SettingsTable().Text())
	}
	for _, only := range []struct {
		run   string
		cells []string
	}{{"A", found.OnlyA}, {"B", found.OnlyB}} {
		for _, cell := range only.cells {
			c.printf("only in %s: %s\n", only.run, cell)
		}
	}
	c.printf("%s\n", found.CellsTable().Text())
	return nil
}
