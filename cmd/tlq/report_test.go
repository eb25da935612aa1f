package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness"
)

// smallGrid runs a grid of a random model into a folder and returns that and its records.
func smallGrid(t *testing.T) (string, []harness.Record) {
	t.Helper()
	model := workplace(t)
	spec := `{"models": ["` + model + `"], "tasks": ["emoji", "scene"], "formats": ["w4a8", "w3a16g16"], "limit": 3, "calibration": {"name": "default", "samples": 2}, "seeds": [0, 1],
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

// shellWords splits a line as a shell does that knows single quotes alone.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// TestCommandsOfCells runs the commands that the report gives for a cell and for the
// unquantized model, and finds the same weights and scores.
func TestCommandsOfCells(t *testing.T) {
	dir, records := smallGrid(t)
	page, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(page), "\n")
	for _, c := range []struct {
		want harness.Record
		mark string // of the command's line
	}{{records[len(records)-1], "--cell '" + records[len(records)-1].Cell() + "'"}, {records[0], "./tlq eval --model "}} {
		i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, c.mark) })
		if i < 0 {
			t.Fatalf("report.md has no command for %s", c.want.Cell())
		}
		args := shellWords(strings.ReplaceAll(lines[i], "FOLDER", dir))[1:]
		got := tlqRun(args...)
		if got.code != exitOK {
			t.Fatalf("%s: exit %d: %s", lines[i], got.code, got.err)
		}
		again, err := harness.ReadRun(got.lastLine())
		if err != nil {
			t.Fatal(err)
		}
		last := again[len(again)-1]
		// What may differ: the experiment that the cell belongs to, the token map, which is
		// written for an experiment's first seed, and the number of resamples, which eval sets.
		last.SpecSHA256, last.Spec, last.TokenMap, last.Samples = c.want.SpecSHA256, c.want.Spec, c.want.TokenMap, c.want.Samples
		if c.want.Method == harness.MethodFP {
			last.Intervals = c.want.Intervals
		}
		if err := harness.SameRun([]harness.Record{c.want}, []harness.Record{last}); err != nil {
			t.Error(err)
		}
	}
	want := records[len(records)-1].Cell()
	if got := tlqRun("ablate", "mine.json", "--cell", strings.Replace(want, "tlq", "tql", 1)); got.code != exitFailed || !strings.Contains(got.err, want) {
		t.Errorf("a mistyped cell: exit %d: %s", got.code, got.err)
	}
}
