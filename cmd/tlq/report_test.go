package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness"
)

// smallGrid runs a grid of a random model into a folder and returns that and its records.
func smallGrid(t *testing.T) (string, []harness.Record) {
	t.Helper()
	model := workplace(t)
	spec := `{"models": ["` + model + `"], "formats": ["w4a8", "w3a16g16"], "limit": 3, "calibration": {"name": "default", "samples": 2}, "seeds": [0, 1],
		"stats": {"bootstrap": {"resamples": 2000, "level": 0.95}, "seed": 0}}`
	if err := os.WriteFile("mine.json", []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := tlqRun("ablate", "mine.json", "-o", "grid"); got.code != exitOK {
		t.Fatalf("exit %d: %s", got.code, got.err)
	}
	records, err := harness.ReadRun("grid")
	if err != nil {
		t.Fatal(err)
	}
	return "grid", records
}

// TestReportResults writes other harnesses' files, one set per finished cell.
func TestReportResults(t *testing.T) {
	dir, records := smallGrid(t)
	if got := tlqRun("report", dir, "--results", "lmms-eval,lm-eval"); got.code != exitOK || got.lastLine() != dir {
		t.Fatalf("exit %d: %s%s", got.code, got.out, got.err)
	}
	for schema, pattern := range map[string]string{"lmms-eval": "*_results.json", "lm-eval": "results_*.json"} {
		files, err := filepath.Glob(filepath.Join(dir, "results", schema, "*", pattern))
		if err != nil || len(files) != len(records) {
			t.Errorf("%s: %d files of results for %d records, %v", schema, len(files), len(records), err)
		}
	}
	if got := tlqRun("report", dir, "--results", "lmeval"); got.code != exitUsage || !strings.Contains(got.err, "lm-eval") {
		t.Errorf("an unknown schema: exit %d: %s", got.code, got.err)
	}
	if got := tlqRun("ablate", "mine.json", "-o", dir); got.code != exitOK {
		t.Fatalf("exit %d: %s", got.code, got.err)
	}
	if _, err := os.Stat(filepath.Join(dir, "results")); err == nil {
		t.Error("another run left the results of the one before")
	}
}
