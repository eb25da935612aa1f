package harness

import (
	"path/filepath"
	"testing"
)

// TestRecordReproducesItsRun takes the Spec out of a Record of a run, as a file, and runs it
// from nothing: the same hashes and the same run.
func TestRecordReproducesItsRun(t *testing.T) {
	u := mustUndisturbed(t)
	read, err := ReadRun(u.dir)
	if err != nil {
		t.Fatal(err)
	}
	record := read[len(read)-1]
	file := filepath.Join(t.TempDir(), "from-a-record.json")
	if err := writeJSON(file, record.Spec); err != nil {
		t.Fatal(err)
	}
	spec, err := LoadSpec(u.root, file)
	if err != nil {
		t.Fatal(err)
	}
	if spec.Hash() != record.SpecSHA256 {
		t.Errorf("the Spec of a record has hash %s, the record says %s", spec.Hash(), record.SpecSHA256)
	}
	if err := SameRun(read, mustRun(t, u.session(t, false), spec, RunOptions{Dir: t.TempDir()})); err != nil {
		t.Error(err)
	}
}
