package ptq

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What a Spill keeps it gives back, in memory and in its file; freed parts are used
// again, and nothing has a name in the folder.
func TestSpill(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, spillPrefix+"of-a-crash")
	if err := os.WriteFile(left, []byte{1}, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := NewSpill(dir, 4000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what a crash left is still there")
	}
	var group sync.WaitGroup
	kept := make([][]float32, 40)
	for i := range kept {
		group.Go(func() {
			v := make([]float32, 500+i)
			for k := range v {
				v[k] = float32(1000*i + k)
			}
			if kept[i], err = s.Keep(v); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, v := range kept {
		for k := range v {
			if v[k] != float32(1000*i+k) {
				t.Fatalf("array %d: element %d is %v", i, k, v[k])
			}
		}
	}
	memory, file := s.Size()
	if canMap && (memory > 4000 || file < 39*500*4 || len(kept[7]) != 507) {
		t.Errorf("%d bytes in memory, %d in the file", memory, file)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the folder has %d entries (%v)", len(entries), err)
	}
	s.Free(kept...)
	s.Free(kept[3], []float32{1}, nil)
	for range 40 {
		v, err := s.Floats(600)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			if x != 0 {
				t.Fatal("memory used again is not zero")
			}
		}
	}
	if _, again := s.Size(); again != file {
		t.Errorf("the file grew from %d to %d bytes", file, again)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if memory, file := s.Size(); memory != 0 || file != 0 {
		t.Errorf("closed with %d and %d bytes", memory, file)
	}
}

// A folder that cannot be written is one clear error, and a nil Spill is memory.
func TestSpillErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSpill(file, 0); err == nil || !strings.Contains(err.Error(), "spill folder") {
		t.Errorf("got %v", err)
	}
	if canMap {
		s, err := NewSpill(filepath.Join(file, "below"), 0)
		if err == nil {
			_, err = s.Floats(1)
		}
		if err == nil || !strings.Contains(err.Error(), "spill folder") {
			t.Errorf("got %v", err)
		}
	}
	var none *Spill
	v, err := none.Keep([]float32{1})
	none.Rest(v)
	none.Free(v)
	if err != nil || v[0] != 1 || none.Close() != nil {
		t.Errorf("got %v, %v", v, err)
	}
}
