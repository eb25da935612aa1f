package harness

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRunTellsItsWatcher watches a run with a premise from nothing and again from the store:
// shares grow to 1, every cell is told to have finished once, the premise's file holds
// what [Model.Premise] says, and records don't depend on it.
func TestRunTellsItsWatcher(t *testing.T) {
	u := mustUndisturbed(t)
	s := u.session(t, false)
	spec := tinySpec()
	spec.Premise = 4
	p, err := NewPlan(s, spec)
	if err != nil {
		t.Fatal(err)
	}
	if cold := p.Estimate(1); cold <= 0 || p.Steps() <= 0 || !strings.Contains(p.Summary(1), "5 cells") {
		t.Errorf("estimate %v, %s", cold, p.Summary(1))
	}
	dir := filepath.Join(t.TempDir(), "run")
	var mu sync.Mutex
	var last RunState
	finished, notes := map[int]int{}, 0
	watch := func(x RunState) {
		mu.Lock()
		defer mu.Unlock()
		for i, c := range x.Cells {
			if last.Cells != nil && c.Share < last.Cells[i].Share || c.Share > 1 {
				t.Errorf("%s: share %v after %v", c.Cell, c.Share, last.Cells[i].Share)
			}
		}
		if x.Changed >= 0 && x.Cells[x.Changed].Record != nil {
			finished[x.Changed]++
		}
		if strings.Contains(x.Note, "premise") {
			notes++
		}
		last = x
	}
	records, err := p.Run(t.Context(), RunOptions{Dir: dir, Workers: 2, Watch: watch})
	if err != nil {
		t.Fatal(err)
	}
	if last.Finished() != 5 || len(finished) != 5 || notes == 0 || last.Done < 0.5 || last.Done > 1 {
		t.Errorf("at the end: %d finished, %v told, %d notes, done %v", last.Finished(), finished, notes, last.Done)
	}
	for i, r := range records { // of the same cells but for the Spec that they belong to
		if r.WeightsSHA256 != u.records[i].WeightsSHA256 || r.Metrics != u.records[i].Metrics {
			t.Errorf("%s: other results with a premise", r.Cell())
		}
	}
	got, err := ReadPremises(dir)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d premises, %v", len(got), err)
	}
	m, err := s.Model("zoo:tiny-nano")
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Premise(p.Spec.premiseOf())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*want, got[0]); diff != "" || got[0].Prompts != 4 || len(got[0].Rounded) != len(spec.Formats) {
		t.Error(diff)
	}
	again, err := NewPlan(s, spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range again.Stages {
		if !st.Stored {
			t.Errorf("the plan's %s (%s) is not what the run stored", st.Stage, st.What)
		}
	}
	if warm, cold := again.Steps(), p.Steps(); warm >= cold {
		t.Errorf("a stored plan is worth %d steps, a fresh one %d", warm, cold)
	}
	spec.Premise = 0
	mustRun(t, s, spec, RunOptions{Dir: dir})
	if _, err := os.Stat(filepath.Join(dir, PremiseFile)); err == nil {
		t.Error("an earlier run's premise is still there")
	}
}

// TestReadPremises tells a run's list from another file of that name.
func TestReadPremises(t *testing.T) {
	dir := t.TempDir()
	if got, err := ReadPremises(dir); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, PremiseFile), []byte(`{"model": "x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPremises(dir); err == nil || !strings.Contains(err.Error(), "expected a list") {
		t.Errorf("one premise: %v", err)
	}
}
