package backend

import (
	"errors"
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
}

var _ compute.Backend = (*Backend)(nil)

// New makes a backend. It takes no configuration: config must be empty.
func New(config string) (compute.Backend, error) {
	if config != "" {
		return nil, fmt.Errorf("backend: configuration %q; expected none (the number of threads is GOMAXPROCS)", config)
	}
	return &Backend{}, nil
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
// any more.
func (b *Backend) Finalize() { b.finalized.Store(true) }

// IsFinalized tells whether Finalize was called.
func (b *Backend) IsFinalized() bool { return b.finalized.Load() }

// alive is an error once the backend is finalized.
func (b *Backend) alive() error {
	if b.finalized.Load() {
		return errors.New("backend: used after Finalize")
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
