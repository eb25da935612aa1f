package notebook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tlqlab/tlqlab/display"
)

// Options says which notebooks [Run] runs and how.
type Options struct {
	// Root is the checkout: the folder of go.mod, notebooks/ and tools/.
	Root string
	// Files are the notebooks. Empty: notebooks/*.ipynb of Root, in order.
	Files []string
	// OutDir receives the executed copies under the notebooks' own names, their
	// figures in figures/NAME/, and a failed notebook's kernel log. Empty:
	// runs/notebooks of Root.
	OutDir string
	// CellTimeout is the longest that one cell may take. 0: ten minutes.
	CellTimeout time.Duration
	// Log receives one line per cell. Nil: none.
	Log io.Writer
	// SkipInstall leaves [Install] out: the caller has done it.
	SkipInstall bool
}

// defaultCellTimeout allows a cell to calibrate a small model from scratch.
const defaultCellTimeout = 10 * time.Minute

// Run executes notebooks without Jupyter and writes the executed copies. It
// runs all of them, also after a failure; the error joins one *[CellError] per
// failed notebook. One that can't be read fails before any runs. See the package
// documentation for what counts as a failure.
func Run(ctx context.Context, o Options) error {
	r, err := newRunner(o)
	if err != nil {
		return err
	}
	books, err := r.read()
	if err != nil {
		return err
	}
	if !o.SkipInstall {
		if err := Install(ctx, r.root); err != nil {
			return err
		}
	}
	if err := checkTools(r.root); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o777); err != nil {
		return fmt.Errorf("notebook: output folder: %w", err)
	}
	var failed []error
	for i, file := range r.files {
		if err := r.runFile(ctx, file, books[i]); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// runner is a validated Options.
type runner struct {
	root, out string // absolute
	files     []string
	limit     time.Duration
	log       io.Writer
}

func newRunner(o Options) (*runner, error) {
	r := &runner{files: o.Files, limit: o.CellTimeout, log: o.Log}
	var err error
	if r.root, err = checkRoot(o.Root); err != nil {
		return nil, err
	}
	if r.limit == 0 {
		r.limit = defaultCellTimeout
	}
	if r.limit < 0 {
		return nil, fmt.Errorf("notebook: time limit %v for a cell: want a positive duration", r.limit)
	}
	if r.log == nil {
		r.log = io.Discard
	}
	if len(r.files) == 0 {
		pattern := filepath.Join(escapeGlob(r.root), "notebooks", "*.ipynb")
		if r.files, err = filepath.Glob(pattern); err != nil {
			return nil, fmt.Errorf("notebook: %w", err)
		}
		if len(r.files) == 0 {
			return nil, fmt.Errorf("notebook: no *.ipynb in %s", filepath.Join(r.root, "notebooks"))
		}
	}
	if o.OutDir == "" {
		o.OutDir = filepath.Join(r.root, "runs", "notebooks")
	}
	if r.out, err = filepath.Abs(o.OutDir); err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	return r, r.checkNames()
}

// checkNames refuses notebooks whose executed copies would overwrite each other
// or a notebook itself.
func (r *runner) checkNames() error {
	seen := map[string]string{}
	for _, file := range r.files {
		abs, err := filepath.Abs(file)
		if err != nil {
			return fmt.Errorf("notebook: %w", err)
		}
		name := filepath.Base(file)
		if other, ok := seen[name]; ok && other != abs {
			return fmt.Errorf("notebook: %s and %s would have the same executed copy; run them one by one", other, file)
		}
		seen[name] = abs
		in, err := os.Stat(abs)
		if err != nil {
			return fmt.Errorf("notebook: %w", err)
		}
		if out, err := os.Stat(filepath.Join(r.out, name)); err == nil && os.SameFile(in, out) {
			return fmt.Errorf("notebook: the executed copy would replace %s itself; choose another output folder", file)
		}
	}
	return nil
}

// escapeGlob quotes the characters that filepath.Glob interprets.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// read reads all notebooks, so that none runs when one can't.
func (r *runner) read() ([]*Notebook, error) {
	books := make([]*Notebook, len(r.files))
	for i, file := range r.files {
		var err error
		if books[i], err = Read(file); err != nil {
			return nil, err
		}
		if language, name := books[i].Language(); language != "" && language != "go" || language == "" && name != "" && name != kernelName {
			return nil, fmt.Errorf("notebook: %s wants the kernel %q (%s), want %q (go)", file, name, language, kernelName)
		}
	}
	return books, nil
}

// runFile executes one notebook and writes its copy, also when a cell fails.
func (r *runner) runFile(ctx context.Context, file string, n *Notebook) error {
	abs, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("notebook: %w", err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".ipynb")
	kernelLog := filepath.Join(r.out, name+".kernel.log")
	k, err := startKernel(ctx, kernelConfig{
		argv: []string{gonbPath(r.root), "--kernel", "{connection_file}", "-raw_error"},
		env:  append(kernelEnviron(r.root), display.FiguresEnv+"="+filepath.Join(r.out, "figures", name)),
		dir:  filepath.Dir(abs),
		log:  kernelLog,
	})
	if err != nil {
		return err
	}
	err = r.runCells(ctx, k, n, file)
	var f *CellError
	switch {
	case err == nil:
		k.shutdown()
		_ = os.Remove(kernelLog) // kept only for failures
	case errors.As(err, &f):
		k.shutdown()
	default: // stopped from outside, or the conversation broke down
		k.kill()
	}
	return errors.Join(err, n.WriteFile(filepath.Join(r.out, filepath.Base(file))))
}

// runCells executes the code cells in order up to the first failure.
func (r *runner) runCells(ctx context.Context, k *kernel, n *Notebook, file string) error {
	var code []*Cell
	for _, c := range n.Cells() {
		if c.Kind() == Code {
			c.setOutputs(nil, 0) // cells after a failure show nothing old
			if strings.TrimSpace(c.Source()) != "" {
				code = append(code, c)
			}
		}
	}
	shown := displays{}
	for i, c := range code {
		begin := time.Now()
		outputs, count, err := k.execute(ctx, c, i+1, shown, r.limit)
		c.setOutputs(outputs, count)
		fmt.Fprintf(r.log, "%s: cell %d/%d (%.1f s)\n", filepath.Base(file), i+1, len(code), time.Since(begin).Seconds())
		if err == nil {
			continue
		}
		var f *CellError
		if errors.As(err, &f) {
			f.File = file
			if f.Detail != "" {
				fmt.Fprintf(r.log, "%s\n%s\n", f, strings.TrimRight(f.Detail, "\n"))
			}
		}
		return err
	}
	return nil
}
