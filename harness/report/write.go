package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// writeFile writes a file so that a reader sees the old one or the new one.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	return nil
}

// removeStale deletes figures and tables that an earlier report left.
func removeStale(dir string, files []file) error {
	for _, folder := range []struct {
		name string
		exts []string
	}{{figuresDir, []string{".png", ".svg"}}, {tablesDir, []string{".csv", ".md", ".tex"}}} {
		entries, err := os.ReadDir(filepath.Join(dir, folder.name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("report: %w", err)
		}
		for _, e := range entries {
			name := filepath.Join(folder.name, e.Name())
			ours := slices.Contains(folder.exts, filepath.Ext(name))
			if !ours || slices.ContainsFunc(files, func(f file) bool { return f.name == name }) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
	}
	return nil
}
