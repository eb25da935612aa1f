package harness

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/internal/tiny"
)

// artifacts reads all of a store's artifacts by name.
func artifacts(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != artifactSuffix {
			return err
		}
		out[d.Name()], err = os.ReadFile(path)
		return err
	})
	if err != nil || len(out) == 0 {
		t.Fatalf("%d artifacts in %s (%v)", len(out), dir, err)
	}
	return out
}

// Processes with one and four workers, with streams in memory and in a file, with few and many
// threads, and one that is killed again and again until it gets through, leave the same
// artifacts, byte by byte; and nothing of a spill.
func TestProcessesLeaveTheSameBytes(t *testing.T) {
	model := filepath.Join(t.TempDir(), "tiny-nano")
	if err := tiny.Write(model, 1); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"tlq", "gptq"} {
		base := memoryRun{Model: model, Store: t.TempDir(), Method: method, Format: "w4a8", Samples: 5, Workers: 1}
		want := inProcess(t, base).Hash
		files := artifacts(t, base.Store)
		same := func(name string, run memoryRun) {
			t.Helper()
			if got := inProcess(t, run).Hash; got != want {
				t.Errorf("%s, %s: weights %s, want %s", method, name, got, want)
			}
			others := artifacts(t, run.Store)
			for file, data := range files {
				if !bytes.Equal(others[file], data) {
					t.Errorf("%s, %s: artifact %s differs", method, name, file)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(run.Store, "*", spillDir, "*")); len(left) > 0 || len(others) != len(files) {
				t.Errorf("%s, %s: %d artifacts, want %d; left over: %v", method, name, len(others), len(files), left)
			}
		}
		four := base
		four.Store, four.Workers, four.Spill = t.TempDir(), 4, true
		t.Setenv("GOMAXPROCS", "3")
		same("four workers", four)
		killed := base
		killed.Store, killed.Spill = t.TempDir(), true
		for k := range 6 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(60+70*k)*time.Millisecond)
			_ = child(ctx, t, killed).Run() // killed, or through
			cancel()
		}
		same("killed", killed)
	}
}
