package models

import (
	"bufio"
	"fmt"
	"os"
	"sync"
)

// unknownMemory is what is taken for available where the system doesn't tell, in bytes.
const unknownMemory = 1 << 30

// holding returns a runner whose decoder blocks, once read, stay in memory as long as
// it does: where all of them as float32 take at most limit bytes. Otherwise, and where they
// are in memory already, it is r itself, and every pass reads every block anew.
func (r *Runner) holding(limit int64) *Runner {
	m := r.Model
	if m.layers != nil || m.weights != nil && m.source == nil {
		return r
	}
	var size int64
	for _, s := range m.Config.SiteSizes() {
		size += 4 * s.Parameters
	}
	if size > limit {
		return r
	}
	held := make([]func() (*Layer, error), m.NumLayers())
	for i := range held {
		held[i] = sync.OnceValues(func() (*Layer, error) { return m.Layer(i) })
	}
	return r.With(m.WithSource(func(i int) (*Layer, error) {
		if i < 0 || i >= len(held) {
			return nil, fmt.Errorf("models: no layer %d; the model has %d", i, len(held))
		}
		return held[i]()
	}))
}

// availableMemory is what the system says can be had without swapping, in bytes.
func availableMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return unknownMemory
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var kilobytes int64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	return unknownMemory
}
