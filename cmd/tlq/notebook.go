package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/harness/notebook"
	"github.com/tlqlab/tlqlab/internal/root"
)

// notebookRun executes notebooks without Jupyter.
type notebookRun struct {
	files   []string
	out     string
	timeout time.Duration
}

func (n *notebookRun) Flags(fs *flag.FlagSet) {
	fs.StringVar(&n.out, "o", "", "`folder` for the executed copies (default runs/notebooks)")
	fs.DurationVar(&n.timeout, "timeout", 0, "longest `time` of one cell (default 10m)")
}

func (n *notebookRun) Validate(args []string) error {
	n.files = args
	if n.timeout < 0 {
		return fmt.Errorf("--timeout %s: expected a time above 0", n.timeout)
	}
	return nil
}

func (n *notebookRun) Run(ctx context.Context, c *console) error {
	dir, err := root.Dir()
	if err != nil {
		return err
	}
	out := n.out
	if out == "" {
		out = filepath.Join("runs", "notebooks")
	}
	if err := harness.CheckOutput(out); err != nil {
		return err
	}
	err = notebook.Run(ctx, notebook.Options{Root: dir, Files: n.files, OutDir: out, CellTimeout: n.timeout, Log: c.Err})
	if err != nil {
		return err
	}
	c.printf("%s\n", out)
	return nil
}

// notebookOpen starts Jupyter with the checkout's kernel.
type notebookOpen struct{ file string }

func (n *notebookOpen) Flags(*flag.FlagSet) {}

func (n *notebookOpen) Validate(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return exactly(args, &n.file)
}

func (n *notebookOpen) Run(ctx context.Context, _ *console) error {
	dir, err := root.Dir()
	if err != nil {
		return err
	}
	return notebook.Open(ctx, dir, n.file)
}

// notebookInstall builds the kernel.
type notebookInstall struct{ user bool }

func (n *notebookInstall) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&n.user, "user", false, "also make it known to all of the user's Jupyter front ends and editors")
}

func (n *notebookInstall) Validate(args []string) error { return none(args) }

func (n *notebookInstall) Run(ctx context.Context, c *console) error {
	dir, err := root.Dir()
	if err != nil {
		return err
	}
	if err := notebook.Install(ctx, dir); err != nil {
		return err
	}
	c.printf("the kernel is ready for tlq notebook run and open\n")
	if !n.user {
		return nil
	}
	spec, err := notebook.InstallSpec(dir)
	if err != nil {
		return err
	}
	c.printf("%s\n", spec)
	return nil
}
