package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// CheckOutput refuses a path that can be no output folder, because it or one above it is
// a file: to be found out before any work, not after it.
func CheckOutput(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("harness: output folder %s: %s is a file: name a folder", dir, at)
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("harness: output folder: %w", err)
		case at == filepath.Dir(at):
			return nil
		}
	}
}

// CheckNewOutput is CheckOutput for what is written as a whole: the folder must be new or
// empty, too, and not the working folder, which can't be replaced.
func CheckNewOutput(dir string) error {
	if err := CheckOutput(dir); err != nil {
		return err
	}
	if filepath.Clean(dir) == "." {
		return fmt.Errorf("harness: output folder %s is the working folder: name a new one in it", dir)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("harness: output folder: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("harness: output folder %s is not empty: name a new or empty one", dir)
	}
	return nil
}

// checkRunDir refuses a folder that holds other things than an earlier run.
func checkRunDir(dir string) error {
	if err := CheckOutput(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("harness: run folder: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, SpecFile)); err != nil {
		return fmt.Errorf("harness: run folder %s is not empty and holds no earlier run (%s): name a new or empty folder", dir, SpecFile)
	}
	return nil
}
