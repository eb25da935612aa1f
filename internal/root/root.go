// Package root finds the folder that holds the project's files: the packs, the
// zoo and the notebooks, none of which is embedded in a binary.
package root

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Variable is the environment variable that names the folder outright.
const Variable = "TLQ_ROOT"

// module is the go.mod line that marks the folder.
const module = "module github.com/tlqlab/tlqlab"

// ErrNotFound is wrapped by the error of [Dir] when no rule finds the folder.
var ErrNotFound = errors.New("project folder not found")

// Dir returns the absolute path of the project's folder. The rules, in order:
//
//  1. $TLQ_ROOT, which must then be a folder;
//  2. the working folder or the nearest folder above it with this module's go.mod;
//  3. the binary's own folder or the nearest one above it with this module's
//     go.mod or with the packs (datasets/pack).
//
// The error wraps [ErrNotFound] and says where the search went.
func Dir() (string, error) {
	if dir := os.Getenv(Variable); dir != "" {
		return named(dir)
	}
	working, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("root: working folder: %w", err)
	}
	if dir, ok := upwards(working, hasModule); ok {
		return dir, nil
	}
	binary, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("root: path of the binary: %w", err)
	}
	if real, err := filepath.EvalSymlinks(binary); err == nil {
		binary = real
	}
	beside := func(dir string) bool { return hasModule(dir) || isDir(filepath.Join(dir, "datasets", "pack")) }
	if dir, ok := upwards(filepath.Dir(binary), beside); ok {
		return dir, nil
	}
	return "", fmt.Errorf("root: %w: neither %s nor a folder above it has this module's go.mod, and nothing lies beside %s; set %s to the checkout",
		ErrNotFound, working, binary, Variable)
}

// Path joins elements to the project's folder: Path("models", "zoo").
func Path(elements ...string) (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	return filepath.Join(append([]string{dir}, elements...)...), nil
}

// named checks the folder that the environment names.
func named(dir string) (string, error) {
	if !isDir(dir) {
		return "", fmt.Errorf("root: %w: %s is %q, which is not a folder; set it to the checkout or unset it", ErrNotFound, Variable, dir)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("root: %s: %w", Variable, err)
	}
	return abs, nil
}

// upwards returns dir or the nearest folder above it that is accepted.
func upwards(dir string, accept func(string) bool) (string, bool) {
	for {
		if accept(dir) {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// hasModule reports whether dir holds this module's go.mod.
func hasModule(dir string) bool {
	file, err := os.Open(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == module {
			return true
		}
	}
	return false
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
