package notebook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRun(t *testing.T) {
	root := clone(t)
	emptyTemp(t)
	// Settings of the user's that must not reach the cells.
	t.Setenv("GOFLAGS", "-mod=vendor")
	t.Setenv("GOWORK", "/nowhere/go.work")
	file := filepath.Join(root, "notebooks", "01-ok.ipynb")
	writeNotebook(t, file,
		SetupCell,
		"  \n", // empty: not executed, not counted
		tagged{"import \"github.com/tlqlab/tlqlab/display\"\n%%\nt := &display.Table{Columns: []string{\"n\"}}\nt.Add(17)\ndisplay.Show(t, display.Markdown(`$x^2$`))", []string{"table"}},
		tagged{"%%\nimg := image.NewGray(image.Rect(0, 0, 4, 4))\ndisplay.Show(&display.Figure{Name: \"grey\", Caption: \"Grey.\", Drawing: display.Pixels(img)})", []string{"figure"}},
		tagged{"type wide struct{ display.Drawing }\nfunc (wide) CSSWidth() int { return 8 }\n%%\ndisplay.Show(&display.Figure{Name: \"wide\", Drawing: wide{display.Pixels(image.NewGray(image.Rect(0, 0, 16, 4)))}})", []string{"figure"}},
		tagged{"%%\np := display.NewProgress(\"steps\", 3)\nfor range 3 { p.Add(1); time.Sleep(220*time.Millisecond) }\np.Done()", []string{"display"}},
		"import \"github.com/tlqlab/tlqlab/internal/secret\"\n%%\nfmt.Println(secret.Word, os.Getenv(\"GOPROXY\"), filepath.Base(os.Getenv(\"TLQ_ROOT\")))",
	)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	out, err := runIn(t, t.Context(), Options{Root: root, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the notebook itself was changed (%v)", err)
	}
	if n := strings.Count(log.String(), "\n"); n != 6 {
		t.Errorf("%d lines in the log, want one per executed cell:\n%s", n, log.String())
	}
	if _, err := os.Stat(filepath.Join(out, "01-ok.kernel.log")); err == nil {
		t.Error("the kernel log of a good run was kept")
	}
	checkOutputs(t, root, out)
}

// checkOutputs checks what TestRun's notebook shows when it is executed.
func checkOutputs(t *testing.T, root, out string) {
	t.Helper()
	cells := codeCells(t, filepath.Join(out, "01-ok.ipynb"))
	if got := textOf(cells[0], "stdout"); !strings.HasPrefix(got, "cells use github.com/tlqlab/tlqlab from "+root) {
		t.Errorf("setup cell printed %q", got)
	}
	if c := cells[1]; len(c.Outputs()) != 0 || c.fields["execution_count"] != nil {
		t.Errorf("the empty cell keeps %v, %v", c.Outputs(), c.fields["execution_count"])
	}
	if got := textOf(cells[2], "text/html"); !strings.Contains(got, "<table>") || !strings.Contains(got, "17") {
		t.Errorf("table cell shows %q", got)
	}
	if got := textOf(cells[2], "text/markdown"); got != "$x^2$" {
		t.Errorf("Markdown %q", got)
	}
	if err := checkPNG(textOf(cells[3], "image/png")); err != nil {
		t.Errorf("figure: %v", err)
	}
	if outputs := cells[4].Outputs(); len(outputs) != 1 {
		t.Errorf("a figure without a caption has %d outputs", len(outputs))
	} else if diff := cmp.Diff(object{"image/png": object{"width": json.Number("8")}}, outputs[0]["metadata"]); diff != "" {
		t.Errorf("metadata of a figure with its own width (-want +got):\n%s", diff)
	}
	for _, name := range []string{"grey.png", "grey.svg"} {
		if _, err := os.Stat(filepath.Join(out, "figures", "01-ok", name)); err != nil {
			t.Errorf("figure file: %v", err)
		}
	}
	// One element that was updated, its last state kept.
	if got := textOf(cells[5], "text/html"); len(cells[5].Outputs()) != 1 || !strings.Contains(got, `value="3"`) || !strings.Contains(got, "3/3") {
		t.Errorf("progress: %d outputs, %q", len(cells[5].Outputs()), got)
	}
	if got := textOf(cells[6], "stdout"); got != "sesame off a clone\n" {
		t.Errorf("last cell printed %q", got)
	}
	if got := cells[6].fields["execution_count"]; got != json.Number("6") {
		t.Errorf("execution count %v, want 6", got)
	}
}

func TestFailures(t *testing.T) {
	root := clone(t)
	emptyTemp(t)
	const noGet = "%noautoget"
	for _, tc := range []struct {
		name       string
		cells      []any
		cell, line int
		want       string
	}{
		{"compile", []any{noGet, "func f() int {\n\treturn nope\n}\n%%\nfmt.Println(f(), also)"}, 2, 2, "does not compile: undefined: nope (and 1 more)"},
		{"syntax", []any{noGet, "%%\nfmt.Println(1"}, 2, 2, "does not compile: missing ','"},
		{"panic", []any{noGet, "%%\nvar m map[string]int\nm[\"a\"] = 1"}, 2, 3, "exit status 2: panic: assignment to entry in nil map"},
		{"panicEarlier", []any{"%noautoget\nfunc g() {\n\tpanic(\"boom\")\n}\n%%\nfmt.Print()", "%%\ng()"}, 2, 2, "exit status 2: panic: boom (in cell 1, line 3)"},
		{"exit", []any{noGet, "%%\nfmt.Fprintln(os.Stderr, \"tlq: no such model\")\nos.Exit(3)"}, 2, 0, "exit status 3: tlq: no such model"},
		{"shell", []any{noGet, "!echo fine\n!ls /no/such/folder"}, 2, 0, "a shell command failed: exit status 2: "},
		{"script", []any{"%%sh\nexit 4"}, 1, 0, "a shell command failed: exit status 4"},
		{"unknown", []any{"%nonsense"}, 1, 0, `unknown command: "%nonsense"`},
		{"input", []any{noGet, "%with_inputs\n!read x"}, 2, 0, "asks for input"},
		{"figure", []any{tagged{noGet, []string{"figure"}}}, 1, 0, `is tagged "figure" but did not show a PNG image`},
		{"setup", []any{"!true # notebooks/setup.sh"}, 1, 0, "the setup script did not report"},
		{"png", []any{SetupCell, "import \"github.com/janpfeifer/gonb/gonbui\"\n%%\ngonbui.DisplayPng([]byte(\"no picture\"))\ngonbui.Sync()"}, 2, 0, "output 1 is not a PNG image"},
		{"killed", []any{noGet, "!kill -9 $PPID"}, 2, 0, "the kernel died: signal: killed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(root, "notebooks", tc.name+".ipynb")
			writeNotebook(t, file, append(tc.cells, "%%\nfmt.Println(\"not reached\")")...)
			out, err := runIn(t, t.Context(), Options{Root: root, Files: []string{file}})
			var f *CellError
			if !errors.As(err, &f) {
				t.Fatalf("error %v, want a CellError", err)
			}
			if f.File != file || f.Cell != tc.cell || f.Line != tc.line || !strings.Contains(f.Reason, tc.want) {
				t.Errorf("got cell %d, line %d: %s\nwant cell %d, line %d: %s", f.Cell, f.Line, f.Reason, tc.cell, tc.line, tc.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines:\n%v", err)
			}
			checkFailedCopy(t, filepath.Join(out, tc.name+".ipynb"), tc.cell)
		})
	}
}

// checkFailedCopy checks that the executed copy shows the error in the failed
// cell, and nothing after it.
func checkFailedCopy(t *testing.T, file string, failed int) {
	t.Helper()
	for i, c := range codeCells(t, file) {
		hasError := false
		for _, o := range c.Outputs() {
			hasError = hasError || o["output_type"] == "error"
		}
		if hasError != (i+1 == failed) {
			t.Errorf("cell %d of the executed copy: error %v\n%v", i+1, hasError, c.Outputs())
		}
		if i+1 > failed && (len(c.Outputs()) > 0 || c.fields["execution_count"] != nil) {
			t.Errorf("cell %d after the failure has outputs %v", i+1, c.Outputs())
		}
	}
}

// TestTimeout gives a cell little time. How little is enough for its first line to be read
// depends on what else the machine does, so the limit grows until it is.
func TestTimeout(t *testing.T) {
	root := clone(t)
	emptyTemp(t)
	file := filepath.Join(root, "notebooks", "slow.ipynb")
	writeNotebook(t, file, "%noautoget", "!echo before; exec sleep 1000")
	for limit := 500 * time.Millisecond; ; limit *= 4 {
		out, err := runIn(t, t.Context(), Options{Root: root, CellTimeout: limit})
		cells := codeCells(t, filepath.Join(out, "slow.ipynb"))
		if textOf(cells[1], "stdout") != "before\n" && limit < patience {
			continue
		}
		var f *CellError
		if !errors.As(err, &f) || f.Cell != 2 || !strings.Contains(f.Reason, "did not end within "+limit.String()) {
			t.Errorf("error %v", err)
		}
		if got := textOf(cells[1], "stdout"); got != "before\n" {
			t.Errorf("output before the interrupt: %q", got)
		}
		checkFailedCopy(t, filepath.Join(out, "slow.ipynb"), 2)
		return
	}
}

// TestLateCommand interrupts a cell before its command has begun, as happens on a busy
// machine: the kernel drops that interrupt, so it must come again. Without it the kernel
// would be killed after the grace period and say nothing of an interrupt.
func TestLateCommand(t *testing.T) {
	root := clone(t)
	emptyTemp(t)
	file := filepath.Join(root, "notebooks", "late.ipynb")
	writeNotebook(t, file, "!exec sleep 1000")
	out, err := runIn(t, t.Context(), Options{Root: root, CellTimeout: time.Microsecond})
	var f *CellError
	if !errors.As(err, &f) || f.Cell != 1 || !strings.Contains(f.Reason, "did not end within 1µs") {
		t.Errorf("error %v", err)
	}
	if got := textOf(codeCells(t, filepath.Join(out, "late.ipynb"))[0], "stderr"); !strings.Contains(got, "signal: interrupt") {
		t.Errorf("the command was not interrupted: %q", got)
	}
}

// TestStartFails starts what is no kernel: the error names the phase and what it said.
func TestStartFails(t *testing.T) {
	emptyTemp(t)
	log := filepath.Join(t.TempDir(), "kernel.log")
	for _, c := range []struct {
		program string
		want    []string
	}{
		{"/bin/sh", []string{"connecting: ", "the kernel ended: exit status 3", log, "ends: no such thing"}},
		{filepath.Join(t.TempDir(), "gonb"), []string{"running the program: ", "no such file"}},
	} {
		_, err := startKernel(t.Context(), kernelConfig{argv: []string{c.program, "-c", "echo first; echo no such thing; exit 3"}, log: log})
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: error %v, want one line with %q", c.program, err, w)
			}
		}
	}
}

// TestCancel stops a run from outside; the kernel, its program and a background
// command must all be gone.
func TestCancel(t *testing.T) {
	root := clone(t)
	emptyTemp(t)
	file := filepath.Join(root, "notebooks", "endless.ipynb")
	mark := filepath.Join(t.TempDir(), "pids")
	writeNotebook(t, file, "!sleep 1000 >/dev/null 2>&1 & echo $! > '"+mark+"'; echo $$ >> '"+mark+"'; exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if b, _ := os.ReadFile(mark); bytes.Count(b, []byte("\n")) == 2 {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, err := runIn(t, ctx, Options{Root: root})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cell 1") {
		t.Errorf("error %v", err)
	}
	pids, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(pids)) {
		for begin := time.Now(); running(pid); time.Sleep(20 * time.Millisecond) {
			if time.Since(begin) > patience {
				t.Errorf("process %s lives on", pid)
				break
			}
		}
	}
}

// running reports whether a process runs; a zombie, which waits for its new
// parent to collect it, does not.
func running(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		n, err := strconv.Atoi(pid)
		_, noProc := os.Stat("/proc/self")
		return err == nil && noProc != nil && alive(n)
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(after, []byte("Z"))
}

func TestRunRefuses(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"go.mod", "tools/go.mod", "notebooks/setup.sh"} {
		put(t, filepath.Join(root, name), nil)
	}
	python := filepath.Join(root, "python.ipynb")
	put(t, python, []byte(`{"nbformat":4,"cells":[],"metadata":{"kernelspec":{"name":"python3","language":"python"}}}`))
	same := filepath.Join(root, "sub", "python.ipynb")
	put(t, same, []byte(`{"nbformat":4,"cells":[]}`))
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{Root: t.TempDir()}, "not a checkout"},
		{Options{Root: root}, "no *.ipynb"},
		{Options{Root: root, CellTimeout: -1}, "positive duration"},
		{Options{Root: root, Files: []string{"none.ipynb"}}, "none.ipynb"},
		{Options{Root: root, Files: []string{python, same}}, "same executed copy"},
		{Options{Root: root, Files: []string{python}, OutDir: root}, "replace"},
		{Options{Root: root, Files: []string{python}}, `"python3"`},
		{Options{Root: root, Files: []string{filepath.Join(root, "go.mod")}}, "not a notebook"}, // before the kernel is built
		{Options{Root: root, Files: []string{same}, SkipInstall: true}, "no gonb in"},
	} {
		if err := Run(t.Context(), tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: error %v, want one with %q", tc.o, err, tc.want)
		}
	}
}
