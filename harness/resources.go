package harness

import (
	"errors"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// What a calibration may hold beside one layer, in bytes. None of it changes a bit of
// any result.
const (
	// microBatchBytes bounds a block's values for one micro-batch: fewer samples run
	// together where they are wide; one always runs.
	microBatchBytes = 1 << 28
	// callBytes bounds the values of all calls that run side by side, unless a number
	// of workers is asked for.
	callBytes = 1 << 29
	// streamBytes of the streams stay in memory; the rest lies in a file beside the store.
	streamBytes = 1 << 28
	// smallLayer is the size up to which the garbage collector is left as it is.
	smallLayer = 1 << 25
	// largeGarbage is the garbage that may gather for large layers, in percent of what is
	// alive: collecting costs little there, since tensors hold no pointers.
	largeGarbage = 10
)

// spillDir is the folder in the store for streams that don't fit into memory. Its
// files have no names: nothing is left after a crash.
const spillDir = "spill"

// WithWorkers returns a session whose calibrations make n calls of the model side by
// side; 0: as many as there are processors and memory for. No number changes a bit
// of any result.
func (s *Session) WithWorkers(n int) *Session {
	c := *s
	c.workers = n
	return &c
}

// WithWorkers returns the model in a session with n workers.
func (m *Model) WithWorkers(n int) *Model { return m.in(m.s.WithWorkers(n)) }

// rowFloats is the number of values that a block makes per token of a sequence of t
// tokens, at most: residuals and norms, q, k, v and their rotations, gate, up and their
// product, scores and their softmax.
func rowFloats(c *models.TextConfig, t int) int64 {
	return int64(8*c.Hidden + 4*(c.Heads+2*c.KVHeads)*c.HeadDim + 3*c.Intermediate + 2*c.Heads*t)
}

// packing cuts calibration samples into micro-batches that fit.
func (m *Model) packing(seqs []*models.Sequence) models.Packing {
	longest := 1
	var geometry int64
	t := &m.Config.Text
	for _, s := range seqs {
		n := models.Bucket(s.Len())
		longest = max(longest, n)
		geometry += 4 * int64(n) * int64(n+2*t.HeadDim)
	}
	size := 8
	for size > 1 && int64(size)*int64(longest)*4*rowFloats(t, longest) > microBatchBytes {
		size /= 2
	}
	return models.Packing{Size: size, Window: 8 * size, Lean: geometry > streamBytes/4}
}

// engine sets the calibration engine up on embedded samples. The caller closes it.
func (m *Model) engine(c *Samples, q Quantization) (*ptq.Calibration, error) {
	r, err := m.Runner()
	if err != nil {
		return nil, err
	}
	spill, err := ptq.NewSpill(filepath.Join(m.s.Store.Dir(), spillDir), m.s.streams)
	if err != nil {
		return nil, err
	}
	seqs, err := c.Sequences()
	if err != nil {
		return nil, errors.Join(err, spill.Close())
	}
	p := m.packing(seqs)
	p.Floats = spill.Floats
	batches, err := c.packed(m, p)
	if err != nil {
		return nil, errors.Join(err, spill.Close())
	}
	for _, b := range batches {
		spill.Rest(b.X)
	}
	return &ptq.Calibration{
		Model: m.Model, Runner: r, Batches: batches, Method: q.Method, Format: q.Format, Fallback: q.Fallback,
		Workers: m.calls(batches), Spill: spill,
	}, nil
}

// closeEngine gives the engine's streams back.
func closeEngine(e *ptq.Calibration) {
	// Nothing is lost with a file that is not given back: it has no name.
	_ = e.Spill.Close()
}

// calls is how many calls of the model run side by side.
func (m *Model) calls(batches []*models.Batch) int {
	if m.s.workers > 0 {
		return m.s.workers
	}
	var largest int64 = 1
	for _, b := range batches {
		largest = max(largest, int64(b.B)*int64(b.T)*4*rowFloats(&m.Config.Text, b.T))
	}
	return max(1, min(runtime.GOMAXPROCS(0), int(callBytes/largest)))
}

// layerBytes is a decoder layer as float32.
func (m *Model) layerBytes() int64 {
	var n int64
	for _, s := range m.Config.SiteSizes() {
		n += s.Parameters
	}
	return 4 * n / int64(max(1, m.NumLayers()))
}

// settle collects garbage between two layers where these are large.
func (m *Model) settle() {
	if m.layerBytes() > smallLayer {
		runtime.GC()
	}
}

// garbage counts the users of the lowered garbage limit: it is the process's.
var garbage struct {
	sync.Mutex
	users, before int
}

// boundGarbage lets little garbage gather while large layers are worked on; the function
// that it returns ends that.
func (m *Model) boundGarbage() (end func()) {
	if m.layerBytes() <= smallLayer {
		return func() {}
	}
	garbage.Lock()
	defer garbage.Unlock()
	if garbage.users == 0 {
		garbage.before = debug.SetGCPercent(largeGarbage)
	}
	garbage.users++
	return func() {
		garbage.Lock()
		defer garbage.Unlock()
		if garbage.users--; garbage.users == 0 {
			debug.SetGCPercent(garbage.before)
		}
	}
}
