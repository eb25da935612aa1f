package backend

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// chunk is memory for the intermediate values of one call.
type chunk struct {
	bytes   []byte
	release func()
	idle    time.Time // since when nobody uses it
}

// chunks is the memory of a backend's calls, shared by all its executables: as many
// chunks as there were calls at a time, each as large as the largest that used it.
// It lies outside of Go's heap where the system allows that, so that it neither
// makes the garbage collector wait for twice as much nor is walked by it.
type chunks struct {
	mu    sync.Mutex
	free  []*chunk
	used  int // bytes of chunks in use
	timer *time.Timer
}

// keepIdle is how long memory is kept for another call.
const keepIdle = 20 * time.Second

// take hands out at least so many bytes, within the limit.
func (p *chunks) take(bytes int, l limit) (*chunk, error) {
	if bytes == 0 {
		return &chunk{}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	best := -1
	for i, b := range p.free {
		if len(b.bytes) >= bytes && (best < 0 || len(b.bytes) < len(p.free[best].bytes)) {
			best = i
		}
	}
	var b *chunk
	if best >= 0 {
		b = p.free[best]
		p.free = slices.Delete(p.free, best, best+1)
	} else {
		p.dropLargest()
		if err := l.allows(bytes, p.used); err != nil {
			return nil, err
		}
		memory, release, err := reserve(bytes)
		if err != nil {
			return nil, fmt.Errorf("no memory of %s: %w", inBytes(bytes), err)
		}
		b = &chunk{bytes: memory, release: release}
	}
	p.used += len(b.bytes)
	return b, nil
}

// dropLargest frees the largest idle chunk: a larger one takes its place.
func (p *chunks) dropLargest() {
	most := -1
	for i, b := range p.free {
		if most < 0 || len(b.bytes) > len(p.free[most].bytes) {
			most = i
		}
	}
	if most >= 0 {
		p.free[most].release()
		p.free = slices.Delete(p.free, most, most+1)
	}
}

// give keeps a chunk for another call for some time.
func (p *chunks) give(b *chunk) {
	if len(b.bytes) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= len(b.bytes)
	b.idle = time.Now()
	p.free = append(p.free, b)
	if len(p.free) > max(2, runtime.GOMAXPROCS(0)) {
		p.dropLargest()
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(keepIdle, p.expire)
	}
}

// expire frees what was idle for long.
func (p *chunks) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	p.free = slices.DeleteFunc(p.free, func(b *chunk) bool {
		old := time.Since(b.idle) >= keepIdle
		if old {
			b.release()
		}
		return old
	})
	if len(p.free) > 0 {
		p.timer = time.AfterFunc(keepIdle/4, p.expire)
	}
}

// drop frees all that is idle.
func (p *chunks) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.free) > 0 {
		p.dropLargest()
	}
}
