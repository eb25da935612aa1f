package backend

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/notimplemented"
)

// Name is the name under which the backend is registered with GoMLX.
const Name = "tlq"

// GoMLX finds backends by importing them for their registration.
func init() { compute.Register(Name, New) }

// Backend implements compute.Backend.
type Backend struct {
	finalized atomic.Bool
	limit     limit
	chunks    chunks
}

var _ compute.Backend = (*Backend)(nil)

// New makes a backend. The only setting is the memory that a graph may take with its
// inputs and results, and all running ones for their intermediate values:
// "memory=8GiB". Without it that is the machine's memory or, where that is
// less, what its control group allows.
func New(config string) (compute.Backend, error) {
	b := &Backend{limit: systemLimit()}
	if config == "" {
		return b, nil
	}
	size, ok := strings.CutPrefix(config, "memory=")
	if !ok {
		return nil, fmt.Errorf("backend: configuration %q; expected nothing or memory=SIZE (the number of threads is GOMAXPROCS)", config)
	}
	var err error
	if b.limit, err = parseLimit(size); err != nil {
		return nil, err
	}
	return b, nil
}

// Name is "tlq".
func (b *Backend) Name() string { return Name }

// String is "tlq".
func (b *Backend) String() string { return Name }

// Description says what the backend runs on.
func (b *Backend) Description() string {
	return fmt.Sprintf("tlq: pure Go and assembly, %d threads", runtime.GOMAXPROCS(0))
}

// NumDevices is 1: the processor.
func (b *Backend) NumDevices() int { return 1 }

// DeviceDescription describes the processor.
func (b *Backend) DeviceDescription(compute.DeviceNum) string { return runtime.GOARCH + " processor" }

// Capabilities lists the operations and types that compute.
func (b *Backend) Capabilities() compute.Capabilities { return capabilities.Clone() }

// Finalize makes the backend invalid: nothing is built, transferred or run on it
// any more. Calls that run stop before their next step.
func (b *Backend) Finalize() {
	b.finalized.Store(true)
	b.chunks.drop()
}

// IsFinalized tells whether Finalize was called.
func (b *Backend) IsFinalized() bool { return b.finalized.Load() }

// alive is an error once the backend is finalized.
func (b *Backend) alive() error {
	if b.finalized.Load() {
		return fmt.Errorf("backend: %w", ErrFinalized)
	}
	return nil
}

// Builder starts a computation.
func (b *Backend) Builder(name string) compute.Builder {
	f := &function{Function: notimplemented.Function{ErrFn: notImplemented}, known: map[string]*node{}}
	f.builder = &builder{Builder: notimplemented.Builder{ErrFn: notImplemented}, name: name, backend: b, main: f}
	return f.builder
}

func notImplemented(op compute.OpType) error {
	return fmt.Errorf("backend %s: operation %s: %w", Name, strings.ToLower(op.String()), compute.ErrNotImplemented)
}
