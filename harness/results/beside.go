package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tlqlab/tlqlab/harness"
)

// WriteBeside writes a run's result files beside its records, into
// RUN/results/SCHEMA, and returns that folder. Earlier files there go; on an
// error they stay. The files carry the time at which the records were written,
// so that writing them again gives the same files.
func WriteBeside(run string, s Schema) (string, error) {
	info, err := os.Stat(filepath.Join(run, harness.RecordsFile))
	if err != nil {
		return "", fmt.Errorf("results: %s is not a run's folder: it has no %s", run, harness.RecordsFile)
	}
	c := Config{Schema: s, Date: info.ModTime()}
	if err := c.Validate(); err != nil {
		return "", err
	}
	folder := filepath.Join(run, harness.ResultsDir, string(s))
	fresh := folder + ".new"
	if err := os.RemoveAll(fresh); err != nil { // a killed process left it
		return "", fmt.Errorf("results: %w", err)
	}
	if _, err := Write(fresh, run, c); err != nil {
		return "", errors.Join(err, os.RemoveAll(fresh))
	}
	err = os.RemoveAll(folder)
	if err == nil {
		err = os.Rename(fresh, folder)
	}
	if err != nil {
		return "", fmt.Errorf("results: %w", err)
	}
	return folder, nil
}
