package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/ptq"
)

// methods prints the table of methods.
type methods struct{ json bool }

func (m *methods) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&m.json, "json", false, "print all settings as JSON")
}

func (m *methods) Validate(args []string) error { return none(args) }

func (m *methods) Run(_ context.Context, c *console) error {
	if m.json {
		return c.json(ptq.Methods())
	}
	t := &display.Table{Columns: []string{"method", "title", "tokens", "path", "search", "rounding", "paper"}}
	for _, x := range ptq.Methods() {
		tokens, path, search := "–", "–", "–"
		if x.NeedsTokens() {
			tokens = fmt.Sprintf("%s, keep %g, weight %s", x.Tokens.Importance, x.Tokens.Keep, x.Tokens.Weight)
			path = fmt.Sprintf("expose %s, target %s", x.Path.Expose, x.Path.Target)
			search = fmt.Sprintf("%s %d, %s", x.Search.Kind, x.Search.Points, x.Search.Metric)
		}
		if x.Search.Kind == ptq.SearchSmooth {
			path, search = fmt.Sprintf("expose %s", x.Path.Expose), fmt.Sprintf("smooth, α %g", x.Search.Alpha)
		}
		t.Add(x.Name, x.Title, tokens, path, search, string(x.Rounding.Kind), x.Paper)
	}
	c.printf("%s", t.Text())
	return nil
}
