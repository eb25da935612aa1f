package notebook

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/png"
	"regexp"
	"strconv"
	"strings"
)

// CellError says which cell of which notebook failed, and why.
type CellError struct {
	// File is the notebook's path as it was given.
	File string
	// Cell is the number of the code cell, as in Jupyter's In [n]: counted from
	// 1, without empty cells.
	Cell int
	// Line is the line within the cell, counted from 1; 0 if unknown.
	Line int
	// Reason is one line: what happened, and where it helps, how to mend it.
	Reason string
	// Detail is the compiler's or the program's whole message. May be empty.
	Detail string
}

// Error returns file, cell, line and reason on one line.
func (f *CellError) Error() string {
	at := fmt.Sprintf("cell %d", f.Cell)
	if f.Line > 0 {
		at += fmt.Sprintf(", line %d", f.Line)
	}
	return fmt.Sprintf("notebook: %s: %s: %s", f.File, at, f.Reason)
}

// output is the error as an output of the cell.
func (f *CellError) output() Output {
	return kernelError{Name: "ERROR", Value: f.Reason, Traceback: []string{f.Reason}}.output()
}

var (
	// ansiCodes are the terminal colours in which gonb marks lines.
	ansiCodes = regexp.MustCompile("\x1b\\[[0-9;]*m")
	// exitText is what the kernel reports about a program or shell command that
	// failed. It comes as a stream message of its own.
	exitText = regexp.MustCompile(`^(?:\^C\n)?(exit status \d+|signal: [a-z ]+(?: \(core dumped\))?)\n?$`)
	// unknownCommand is the kernel's complaint about a line like "%foo".
	unknownCommand = regexp.MustCompile(`^"%[^"]*" unknown or not implemented yet\.$`)
	// compilePlace is where gonb says which cell line a compiler message means,
	// tracePlace the same in a stack trace.
	compilePlace = regexp.MustCompile(`Cell\[(\d+)\]: Line (\d+)`)
	tracePlace   = regexp.MustCompile(`\[\[ Cell \[(\d+)\] Line (\d+) \]\]`)
	// compileLine is a compiler message about the program made of the cells.
	compileLine = regexp.MustCompile(`(?m)main(?:_test)?\.go:\d+:\d+: (.+)$`)
	// shellLine is a line or cell that runs a shell command.
	shellLine = regexp.MustCompile(`(?m)^(?://gonb:)?(?:!|%%(?:script|bash|sh)\b)`)
)

// kernelRemark sorts out what the kernel itself writes to a cell's standard
// error without failing the cell.
func (c *collector) kernelRemark(text string) {
	if m := exitText.FindStringSubmatch(text); m != nil {
		c.shellFailures = append(c.shellFailures, m[1])
	}
	if unknownCommand.MatchString(text) {
		c.unknown = append(c.unknown, text)
	}
}

// explain says why the kernel reported e for cell number.
func (c *collector) explain(number int, e kernelError) *CellError {
	stderr := ansiCodes.ReplaceAllString(c.stderr.String(), "")
	if m := exitText.FindStringSubmatch(e.Value); m != nil {
		f := &CellError{Cell: number, Detail: stderr}
		f.place(number, tracePlace.FindAllStringSubmatch(stderr, -1))
		f.Reason = join(m[1]+lastWords(stderr), f.Reason)
		return f
	}
	value := ansiCodes.ReplaceAllString(e.Value, "")
	f := &CellError{Cell: number, Detail: value}
	f.place(number, compilePlace.FindAllStringSubmatch(strings.Join(e.Traceback, "\n"), 1))
	reason := strings.TrimSpace(value)
	if all := compileLine.FindAllStringSubmatch(value, -1); len(all) > 0 {
		reason = "does not compile: " + all[0][1]
		if len(all) > 1 { // the compiler's own count, if any, is in its message
			reason += fmt.Sprintf(" (and %d more)", len(all)-1)
		}
	}
	first, _, _ := strings.Cut(reason, "\n")
	f.Reason = join(first, f.Reason)
	return f
}

// place takes the places that gonb names, innermost first. Declarations live on,
// so the innermost may be in an earlier cell; then Reason says so.
func (f *CellError) place(number int, matches [][]string) {
	for i, m := range matches {
		cell, _ := strconv.Atoi(m[1]) // digits by the pattern
		line, _ := strconv.Atoi(m[2])
		if cell == number {
			f.Line = line
			return
		}
		if i == 0 {
			f.Reason = fmt.Sprintf("(in cell %d, line %d)", cell, line)
		}
	}
}

func join(a, b string) string { return strings.TrimSpace(a + " " + b) }

// lastWords returns ": " and the line of a failed program's standard error that
// says most: the panic, else the last line.
func lastWords(stderr string) string {
	last := ""
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return ": " + line
		}
		if line != "" && !exitText.MatchString(line) {
			last = ": " + line
		}
	}
	return last
}

// check judges a cell that the kernel calls fine.
func (c *collector) check(cell *Cell, number int) *CellError {
	fail := func(format string, args ...any) *CellError {
		return &CellError{Cell: number, Reason: fmt.Sprintf(format, args...), Detail: c.stderr.String()}
	}
	source := cell.Source()
	switch {
	case len(c.shellFailures) > 0 && shellLine.MatchString(source):
		return fail("a shell command failed: %s%s", c.shellFailures[0], lastWords(c.stderr.String()))
	case len(c.unknown) > 0:
		return fail("unknown command: %s", c.unknown[0])
	case strings.Contains(source, setupScript) && !strings.HasPrefix(c.stdout.String(), setupReport) &&
		!strings.Contains(c.stdout.String(), "\n"+setupReport):
		return fail("the setup script did not report %q%s", setupReport+"…", lastWords(c.stderr.String()))
	}
	shown := map[string]bool{} // by the tag that asks for it
	for i, o := range c.outputs {
		data, _ := o["data"].(map[string]any)
		for mime, v := range data {
			if mime == "image/png" {
				if err := checkPNG(v); err != nil {
					return fail("output %d is not a PNG image: %v", i+1, err)
				}
			}
			text, _ := joined(v)
			shown["figure"] = shown["figure"] || mime == "image/png"
			shown["table"] = shown["table"] || mime == "text/html" && strings.Contains(text, "<table")
			shown["display"] = true
		}
	}
	for _, want := range []struct{ tag, what string }{
		{"figure", "a PNG image"}, {"table", "an HTML table"}, {"display", "anything"},
	} {
		if cell.HasTag(want.tag) && !shown[want.tag] {
			return fail("is tagged %q but did not show %s", want.tag, want.what)
		}
	}
	return nil
}

// checkPNG decodes the content of an image/png output.
func checkPNG(v any) error {
	s, ok := joined(v)
	if !ok {
		return fmt.Errorf("it is a %T, want base64 text", v)
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return err
	}
	_, err = png.Decode(bytes.NewReader(b))
	return err
}
