package notebook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// repoRoot is the checkout that this package lies in.
var repoRoot = filepath.Join("..", "..")

// clone makes a checkout at a path with a space that has what small notebooks
// need: the real requirements, display, the setup script, and the real kernel.
// The test is skipped where the kernel cannot be had without the network.
func clone(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a kernel; skipped by -short")
	}
	root := filepath.Join(t.TempDir(), "a clone")
	for _, name := range []string{"go.mod", "go.sum", "tools/go.mod", "tools/go.sum", "notebooks/setup.sh"} {
		data, err := os.ReadFile(filepath.Join(repoRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, name), data)
	}
	sources, err := filepath.Glob(filepath.Join(repoRoot, "display", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, "display", filepath.Base(name)), data)
	}
	put(t, filepath.Join(root, "internal", "secret", "secret.go"), []byte("package secret\n\n// Word is what a cell can read.\nconst Word = \"sesame\"\n"))
	linkTools(t, root)
	return root
}

// linkTools gives root the kernel of this checkout, built first if need be.
func linkTools(t *testing.T, root string) {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(repoRoot, ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	if checkTools(filepath.Dir(bin)) != nil {
		if bin, err = ownTools(); err != nil {
			t.Skipf("no gonb in .bin and it can't be built without the network; run: GOBIN=\"$PWD/.bin\" go -C tools install tool\n%v", err)
		}
	}
	if err := os.Symlink(bin, filepath.Join(root, ".bin")); err != nil {
		t.Fatal(err)
	}
}

// ownTools builds the kernel once for all tests, into a folder that TestMain removes. The
// checkout's .bin stays as it is: who tests a fresh clone may be building it at this moment.
var ownTools = sync.OnceValues(func() (bin string, err error) {
	if toolsDir, err = os.MkdirTemp("", "notebook-test-tools-"); err != nil {
		return "", err
	}
	env := append(plainEnviron(), "GOBIN="+toolsDir, "GOPROXY=off")
	return toolsDir, goCommand(context.Background(), repoRoot, env, "-C", "tools", "install", "tool")
})

var toolsDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if toolsDir != "" {
		_ = os.RemoveAll(toolsDir)
	}
	os.Exit(code)
}

// patience is how long a test waits for what takes moments on an idle machine: a limit that
// tells a hang from a machine on which everything else is compiled and tested at the same time.
const patience = 2 * time.Minute

// runIn runs notebooks in a folder of the test's own, which it returns. If the test fails,
// it prints how far the run came and what the kernels said.
func runIn(t *testing.T, ctx context.Context, o Options) (out string, err error) {
	t.Helper()
	if o.OutDir == "" {
		o.OutDir = filepath.Join(t.TempDir(), "executed here")
	}
	var log bytes.Buffer
	if o.Log == nil {
		o.Log = &log
	} else {
		o.Log = io.MultiWriter(o.Log, &log)
	}
	o.SkipInstall = true
	begin := time.Now()
	err = Run(ctx, o)
	took := time.Since(begin)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		t.Logf("the run took %v and ended with: %v\nits cells:\n%s", took, err, log.String())
		logs, _ := filepath.Glob(filepath.Join(escapeGlob(o.OutDir), "*.kernel.log"))
		for _, file := range logs {
			said, _ := os.ReadFile(file)
			t.Logf("%s:\n%s", filepath.Base(file), said)
		}
	})
	return o.OutDir, err
}

func put(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// tagged is a code cell with tags, for writeNotebook.
type tagged struct {
	source string
	tags   []string
}

// writeNotebook writes a notebook of code cells (strings or tagged) into file.
func writeNotebook(t *testing.T, file string, cells ...any) {
	t.Helper()
	list := []any{object{"cell_type": "markdown", "metadata": object{}, "source": "text"}}
	for _, c := range cells {
		cell, ok := c.(tagged)
		if !ok {
			cell.source = c.(string)
		}
		list = append(list, object{
			"cell_type": "code", "metadata": object{"tags": cell.tags}, "source": cell.source,
			"execution_count": 99, "outputs": []any{object{"output_type": "stream", "name": "stdout", "text": "old"}},
		})
	}
	data, err := json.Marshal(object{
		"nbformat": 4, "nbformat_minor": 5, "cells": list,
		"metadata": object{"kernelspec": object{"name": "gonb", "language": "go", "display_name": "Go"}, "kept": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, data)
}

// codeCells returns the code cells of an executed notebook.
func codeCells(t *testing.T, file string) []*Cell {
	t.Helper()
	n, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	var code []*Cell
	for _, c := range n.Cells() {
		if c.Kind() == Code {
			code = append(code, c)
		}
	}
	return code
}

// textOf joins a cell's stream outputs of one name, and its rich outputs of one
// MIME type.
func textOf(c *Cell, nameOrMime string) string {
	var b strings.Builder
	for _, o := range c.Outputs() {
		data, _ := o["data"].(map[string]any)
		v := data[nameOrMime]
		if o["name"] == nameOrMime {
			v = o["text"]
		}
		s, _ := joined(v)
		b.WriteString(s)
	}
	return b.String()
}

// emptyTemp makes the test's own temporary folder and checks in the end that
// nothing was left in it.
func emptyTemp(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the temporary folder: %v, %v", left, err)
		}
	})
}
