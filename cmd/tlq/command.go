package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tlqlab/tlqlab/harness"
)

// command is one sub-command: a struct of options that knows its flags.
type command interface {
	Flags(fs *flag.FlagSet)
	Validate(args []string) error // takes the positional arguments; an error is wrong usage
	Run(ctx context.Context, c *console) error
}

// entry is a row of the table of commands.
type entry struct {
	name, args, summary string
	new                 func() command // nil, without sub: known but not built yet
	sub                 []entry
}

// console is where a command writes: results to Out, everything else to Err.
type console struct{ Out, Err io.Writer }

// printf writes results.
func (c *console) printf(format string, args ...any) { fmt.Fprintf(c.Out, format, args...) }

// json writes v as the command's one JSON value.
func (c *console) json(v any) error {
	enc := json.NewEncoder(c.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// errNotBuilt marks what a later version will do.
var errNotBuilt = errors.New("known but not built yet")

// parse reads flags that may stand before, between and behind the positional
// arguments, which it returns. Everything after "--" is positional.
func parse(fs *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return positional, nil
		}
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			return append(positional, rest...), nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

// plainly says of a flag's value that package flag calls a "parse error" what was expected.
func plainly(fs *flag.FlagSet, err error) error {
	text, ok := strings.CutSuffix(err.Error(), ": parse error")
	if !ok {
		return err
	}
	_, name, _ := strings.Cut(text, " for flag -")
	f := fs.Lookup(name)
	if f == nil {
		return err
	}
	value, ok := f.Value.(flag.Getter)
	if !ok {
		return err
	}
	want := "a whole number"
	switch value.Get().(type) {
	case uint64:
		want = "a whole number, 0 or more"
	case time.Duration:
		want = "a time such as 90s or 10m"
	}
	return fmt.Errorf("%s: expected %s", text, want)
}

// exactly takes a fixed number of positional arguments.
func exactly(args []string, targets ...*string) error {
	if len(args) != len(targets) {
		return fmt.Errorf("got %d arguments, expected %d", len(args), len(targets))
	}
	for i, t := range targets {
		if args[i] == "" {
			return fmt.Errorf("argument %d is empty", i+1)
		}
		*t = args[i]
	}
	return nil
}

// none takes no positional argument.
func none(args []string) error { return exactly(args) }

// openModel opens a model in a session that ends when ctx does.
func openModel(ctx context.Context, name string) (*harness.Model, error) {
	s, err := harness.Open()
	if err != nil {
		return nil, err
	}
	return s.WithContext(ctx).Model(name)
}

// list is a flag that may be repeated, or hold several values between commas.
type list struct {
	values *[]string
	split  bool
}

// String is the flag's value as text.
func (l list) String() string {
	if l.values == nil {
		return ""
	}
	return strings.Join(*l.values, ",")
}

// Set adds a value, or several where commas separate them.
func (l list) Set(text string) error {
	parts := []string{text}
	if l.split {
		parts = strings.Split(text, ",")
	}
	for _, p := range parts {
		if p = strings.TrimSpace(p); p == "" {
			return errors.New("empty value")
		}
		*l.values = append(*l.values, p)
	}
	return nil
}

func find(name string) (*entry, bool) {
	for i := range commands {
		if commands[i].name == name {
			return &commands[i], true
		}
	}
	return nil, false
}

func names(entries []entry) []string {
	out := make([]string, len(entries))
	for i := range entries {
		out[i] = entries[i].name
	}
	return out
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: tlq COMMAND [OPTIONS]\n\nTLQ Lab: post-training quantization of vision-language models, stage by stage.\n\n")
	for _, e := range commands {
		note := ""
		if e.new == nil && len(e.sub) == 0 {
			note = " (not built yet)"
		}
		fmt.Fprintf(w, "  %-10s %s%s\n", e.name, e.summary, note)
	}
	fmt.Fprint(w, "\ntlq COMMAND --help describes one. A model is zoo:NAME or a folder in the Hugging Face layout.\n")
}

func (e *entry) usage(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "usage: tlq %s\n%s\n", strings.TrimSpace(e.name+" "+e.args), e.summary)
	fs.VisitAll(func(f *flag.Flag) {
		dash := "--"
		if len(f.Name) == 1 {
			dash = "-"
		}
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %s\t%s", strings.TrimSpace(dash+f.Name+" "+kind), text)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
}

func (e *entry) subUsage(w io.Writer) {
	fmt.Fprintf(w, "usage: tlq %s COMMAND\n", e.name)
	for _, s := range e.sub {
		fmt.Fprintf(w, "  %-24s %s\n", strings.TrimPrefix(s.name, e.name+" ")+" "+s.args, s.summary)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// oneLine is an error's text without line breaks and without the names of the
// packages that it begins with, which say nothing to a user.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for {
		word, rest, ok := strings.Cut(text, ": ")
		if !ok || !slices.Contains(packages, word) {
			return text
		}
		text = rest
	}
}

var packages = []string{"harness", "ptq", "models", "datasets", "eval", "notebook", "train", "report", "safetensors", "devices", "root", "display"}
