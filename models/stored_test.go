package models

import (
	"path/filepath"
	"testing"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// A model hashes and saves alike whether its blocks are in the checkpoint, in
// memory or come one by one, in one file or in shards.
func TestStoredFormsAgree(t *testing.T) {
	c := &Config{Family: Llama, ImageToken: -1, EOSToken: -1, Text: TextConfig{
		Hidden: 128, Layers: 11, Heads: 4, KVHeads: 4, HeadDim: 32, Intermediate: 512, Vocab: 64, Eps: 1e-6, RopeTheta: 1e4, TiedHead: true,
	}}
	m, err := Load(writeRepeated(t, c))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want, err := m.Hash()
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Weights()
	if err != nil {
		t.Fatal(err)
	}
	inMemory := New(m.Processor, w)
	for name, other := range map[string]*Model{
		"in memory": inMemory, "layers": m.WithLayers(w.Layers), "source": m.WithSource(m.Layer), "source in memory": inMemory.WithSource(m.Layer),
	} {
		if got, err := other.Hash(); err != nil || got != want {
			t.Errorf("%s: hash %s (%v), want %s", name, got, err, want)
		}
	}
	edited := m.WithSource(func(i int) (*Layer, error) {
		l, err := m.Layer(i)
		if err == nil && i == 7 {
			l.Down.W[5]++
		}
		return l, err
	})
	changed, err := edited.Hash()
	if err != nil || changed == want {
		t.Errorf("a changed block has the hash %s (%v)", changed, err)
	}
	for _, limit := range []int64{safetensors.ShardBytes, 1 << 20} {
		dir := filepath.Join(t.TempDir(), "saved")
		if err := edited.saveShards(dir, safetensors.F32, limit); err != nil {
			t.Fatal(err)
		}
		back, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := back.Hash()
		if err != nil || got != changed {
			t.Errorf("saved with shards of %d bytes: hash %s (%v), want %s", limit, got, err, changed)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "*.safetensors")); (len(files) > 1) != (limit < 1<<25) {
			t.Errorf("limit %d gave %d files", limit, len(files))
		}
		back.Close()
	}
}
