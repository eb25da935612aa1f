package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/ptq"
)

// methods prints the table of methods, or the settings of one.
type methods struct {
	name string
	json bool
}

func (m *methods) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&m.json, "json", false, "print all settings as JSON")
}

func (m *methods) Validate(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return exactly(args, &m.name)
}

func (m *methods) Run(_ context.Context, c *console) error {
	if m.name != "" {
		return m.one(c)
	}
	if m.json {
		return c.json(ptq.Methods())
	}
	t := &display.Table{Columns: []string{"method", "title", "tokens", "path", "search", "rounding", "paper"}}
	for _, x := range ptq.Methods() {
		t.Add(x.Name, x.Title, tokensCell(x), pathCell(x), searchCell(x), roundingCell(x), x.Paper)
	}
	c.printf("%s", t.Text())
	return nil
}

// one prints a method's settings in the form that --set takes.
func (m *methods) one(c *console) error {
	x, err := ptq.FindMethod(m.name)
	if err != nil {
		return err
	}
	if m.json {
		return c.json(x)
	}
	for _, s := range x.Settings() {
		c.printf("%s=%s\n", s.Key, s.Value)
	}
	return nil
}

// nothing stands where a method does not read a group of settings.
const nothing = "–"

func tokensCell(x ptq.Method) string {
	if !x.NeedsTokens() {
		return nothing
	}
	t := x.Tokens
	text := fmt.Sprintf("%s, keep %g, weight %s, mass %s", t.Importance, t.Keep, t.Weight, t.Mass)
	if t.Control != ptq.ControlNone {
		text += fmt.Sprintf(", %s", t.Control)
	}
	return text
}

func pathCell(x ptq.Method) string {
	if x.Search.Kind == ptq.SearchGrid {
		return fmt.Sprintf("expose %s, target %s", x.Path.Expose, x.Path.Target)
	}
	if x.NeedsSamples() {
		return fmt.Sprintf("expose %s", x.Path.Expose)
	}
	return nothing
}

func searchCell(x ptq.Method) string {
	switch x.Search.Kind {
	case ptq.SearchGrid:
		return fmt.Sprintf("%s %d, %s", x.Search.Kind, x.Search.Points, x.Search.Metric)
	case ptq.SearchSmooth:
		return fmt.Sprintf("smooth, α %g", x.Search.Alpha)
	}
	return nothing
}

func roundingCell(x ptq.Method) string {
	text := string(x.Rounding.Kind)
	if x.Rounding.Clip != ptq.ClipOff {
		text += ", clipped"
	}
	if x.Rotate != ptq.RotateNone {
		text = "rotated, " + text
	}
	return text
}
