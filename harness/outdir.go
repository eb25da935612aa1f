package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// CheckOutput refuses a path that can be no output folder, because it or one above it is
// a file: to be found out before any work, not after it.
func CheckOutput(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir() && at == filepath.Clean(dir):
			return fmt.Errorf("harness: output folder %s is a file: name a folder", dir)
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

// sweep removes what an earlier run left in a run's folder: samples and artifacts of no
// record, and files for other harnesses. It comes last, so that a run that is killed
// has taken nothing away.
func sweep(dir string, records []Record) error {
	ours := map[string]bool{}
	for i := range records {
		r := &records[i]
		for _, name := range []string{r.Samples, r.Trace, r.TokenMap} {
			ours[name] = true
		}
		if r.TokenMap != "" {
			ours[artifact("picture", r.place(), "png")] = true
		}
	}
	for _, sub := range []string{samplesDir, artifactsDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("harness: run folder: %w", err)
		}
		for _, e := range entries {
			if ours[sub+"/"+e.Name()] {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, sub, e.Name())); err != nil {
				return fmt.Errorf("harness: run folder: %w", err)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, ResultsDir)); err != nil {
		return fmt.Errorf("harness: run folder: %w", err)
	}
	return nil
}

// writeFolder fills a temporary folder beside dir and renames it, so that dir
// is complete or as it was. dir must be new or empty.
func writeFolder(dir string, fill func(tmp string) error) error {
	if err := CheckNewOutput(dir); err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	unfinished.Store(tmp, true)
	defer unfinished.Delete(tmp)
	err = os.Chmod(tmp, 0o755)
	if err == nil {
		err = fill(tmp)
	}
	if err == nil {
		_ = os.Remove(dir) // an empty folder makes place
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("harness: write %s: %w", dir, err), os.RemoveAll(tmp))
	}
	return syncDir(parent)
}

// unfinished are the folders that writeFolder is filling, by path.
var unfinished sync.Map

// RemoveUnfinished removes the folders that are being written at this moment, none of which
// has its final name yet. It is for a program that was interrupted and ends now, whatever
// its goroutines still do.
func RemoveUnfinished() {
	for dir := range unfinished.Range {
		for range 10 { // a file that was just made keeps the folder
			if os.RemoveAll(dir.(string)) == nil {
				break
			}
		}
	}
}
