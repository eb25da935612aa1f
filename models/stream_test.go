package models

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// A pass over all layers holds one layer of weights at a time, whatever the depth:
// what is alive stays below a few layers where the checkpoint has many.
func TestPassHoldsOneLayer(t *testing.T) {
	c := &Config{Family: Llama, ImageToken: -1, EOSToken: -1, Text: TextConfig{
		Hidden: 128, Layers: 48, Heads: 4, KVHeads: 4, HeadDim: 32, Intermediate: 512, Vocab: 64, Eps: 1e-6, RopeTheta: 1e4, TiedHead: true,
	}}
	dir := writeRepeated(t, c)
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int32, 16)
	batches, err := r.Embed([]*Sequence{TextSequence(ids)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Forward(batches[0], nil); err != nil { // compiles
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	runtime.GC()
	base := heap()
	peak := watchHeap(func() {
		if _, err := r.Forward(batches[0], nil); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Hash(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.WithSource(m.Layer).Hash(); err != nil {
			t.Fatal(err)
		}
		if err := m.WithSource(m.Layer).Save(t.TempDir(), "F32"); err != nil {
			t.Fatal(err)
		}
	})
	layer := 0
	for _, p := range (maker{}).layer(&c.Text, 0).Params() {
		layer += 4 * len(p.Data)
	}
	// A layer as float32, its copies on the way to the backend, one tensor's
	// conversion, activations.
	const limit = 12
	grown := float64(int(peak)-int(base)) / float64(layer)
	t.Logf("the heap grew by %.1f of %d layers", grown, c.Text.Layers)
	if grown > limit {
		t.Errorf("the heap grew by %.1f layers; expected at most %d of %d", grown, limit, c.Text.Layers)
	}
}

// writeRepeated saves a model whose layers all hold the same weights.
func writeRepeated(t *testing.T, c *Config) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(5, 5))
	byLength := map[int][]float32{}
	var list []safetensors.Tensor
	for p := range paramShapes(c) {
		n := product(p.Shape)
		if byLength[n] == nil {
			byLength[n] = make([]float32, n)
			normal(byLength[n], 0.02, rng)
		}
		x, err := safetensors.FromFloat32As(p.Name, safetensors.BF16, slices.Clone(p.Shape), byLength[n])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	if err := safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), nil, list...); err != nil {
		t.Fatal(err)
	}
	text, err := c.HubJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// heap is what the last run of the collector found alive.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// watchHeap returns the largest heap seen while f runs.
func watchHeap(f func()) (peak uint64) {
	var stop atomic.Bool
	done := make(chan uint64)
	go func() {
		top := uint64(0)
		for !stop.Load() {
			top = max(top, heap())
			time.Sleep(time.Millisecond)
		}
		done <- top
	}()
	f()
	stop.Store(true)
	return <-done
}
