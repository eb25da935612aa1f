package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/tlqlab/tlqlab/harness/conform"
)

// compareFixtures compares this program with fixture folders.
type compareFixtures struct {
	kind string
	dirs []string
	json bool
}

// fixtureKinds are what can be compared.
var fixtureKinds = map[string]bool{"models": true, "algorithms": true}

func (f *compareFixtures) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&f.json, "json", false, "print JSON")
}

func (f *compareFixtures) Validate(args []string) error {
	if len(args) == 0 {
		return errors.New("expected a kind, models or algorithms, and folders")
	}
	if _, ok := fixtureKinds[args[0]]; !ok {
		return fmt.Errorf("unknown kind %q: expected models or algorithms%s", args[0], nearestHint(args[0], []string{"models", "algorithms"}))
	}
	if len(args) < 2 {
		return errors.New("expected at least one folder")
	}
	f.kind, f.dirs = args[0], args[1:]
	return nil
}

func (f *compareFixtures) Run(ctx context.Context, c *console) error {
	if f.kind == "algorithms" {
		return f.algorithms(ctx, c)
	}
	list := comparisons[conform.Check]{console: c, keep: f.json, kept: []conform.Check{}, print: printCheck}
	checks, failed, err := conform.Models(f.dirs, func(check conform.Check) { list.add(check.Fixture, check) })
	if err != nil {
		return err
	}
	if f.json {
		if err := c.json(struct {
			Checks int             `json:"checks"`
			Failed int             `json:"failed"`
			List   []conform.Check `json:"list"`
		}{checks, failed, list.kept}); err != nil {
			return err
		}
	} else {
		c.printf("%d compared, %d beyond tolerance\n", checks, failed)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d comparisons are beyond their tolerance: expected none", failed, checks)
	}
	return nil
}

// comparisons prints comparisons as they come, below the name of their fixture, or keeps
// them for --json.
type comparisons[T any] struct {
	console *console
	keep    bool
	print   func(*console, T)
	kept    []T
	last    string // fixture
}

func (l *comparisons[T]) add(fixture string, check T) {
	if l.keep {
		l.kept = append(l.kept, check)
		return
	}
	if fixture != l.last {
		l.last = fixture
		l.console.printf("%s\n", fixture)
	}
	l.print(l.console, check)
}

// printCheck writes one comparison as a line.
func printCheck(c *console, check conform.Check) {
	verdict := "ok"
	if !check.Pass {
		verdict = "FAIL"
	}
	c.printf("  %-4s  %-28s  %-40s  abs %8.2g  rel %8.2g  tolerance %-8s %7.2g  n %d", verdict, check.Case, check.Name, check.MaxAbs, check.MaxRel, check.Kind, check.Tolerance, check.Values)
	if check.Note != "" {
		c.printf("  %s", check.Note)
	}
	c.printf("\n")
}
