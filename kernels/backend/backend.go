// Package backend is a GoMLX backend in pure Go, registered as "tlq": an
// interpreter of compiled graphs over the assembly kernels of package kernels. It
// needs no cgo, no build flag and no download:
//
//	import _ "github.com/tlqlab/tlqlab/kernels/backend"
//	b, err := compute.NewWithConfig("tlq")
//
// # Execution
//
// Nodes run one after the other in the order of their creation; each spreads its
// own work over a bounded set of goroutines in fixed pieces, none of which waits
// for another. So results are the same bytes for any GOMAXPROCS, and there is
// nothing to deadlock on. Sums run in float64. Buffers of intermediate values are
// assigned when a graph is compiled and reused between calls; reshapes copy
// nothing; broadcasts are read in place by arithmetic; transposes are folded into
// products.
//
// # Caveats
//
// Float32, float64, the integer types and booleans compute. Half precision,
// complex numbers, control flow, convolutions and fused operations answer with
// GoMLX's typed not-implemented error, on which GoMLX falls back.
package backend

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
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

// Finalize makes the backend invalid.
func (b *Backend) Finalize() { b.finalized.Store(true) }

// IsFinalized tells whether Finalize was called.
func (b *Backend) IsFinalized() bool { return b.finalized.Load() }

// Builder starts a computation.
func (b *Backend) Builder(name string) compute.Builder {
	f := &function{Function: notimplemented.Function{ErrFn: notImplemented}}
	f.builder = &builder{name: name, backend: b, main: f}
	return f.builder
}

func notImplemented(op compute.OpType) error {
	return fmt.Errorf("backend %s: operation %s: %w", Name, strings.ToLower(op.String()), compute.ErrNotImplemented)
}

// types that buffers may hold and arithmetic is defined on.
var types = []dtypes.DType{
	dtypes.Float32, dtypes.Float64, dtypes.Int8, dtypes.Int16, dtypes.Int32, dtypes.Int64,
	dtypes.Uint8, dtypes.Uint16, dtypes.Uint32, dtypes.Uint64, dtypes.Bool,
}

var capabilities = func() compute.Capabilities {
	c := compute.Capabilities{Operations: map[compute.OpType]bool{}, DTypes: map[dtypes.DType]bool{}}
	for _, t := range types {
		c.DTypes[t] = true
	}
	for _, op := range []compute.OpType{
		compute.OpTypeParameter, compute.OpTypeConstant, compute.OpTypeIdentity,
		compute.OpTypeReshape, compute.OpTypeTranspose, compute.OpTypeBroadcastInDim, compute.OpTypeIota,
		compute.OpTypeConvertDType, compute.OpTypeWhere, compute.OpTypeConcatenate, compute.OpTypeSlice, compute.OpTypePad,
		compute.OpTypeGather, compute.OpTypeScatterSum, compute.OpTypeArgMinMax, compute.OpTypeDotGeneral,
		compute.OpTypeReduceSum, compute.OpTypeReduceMax, compute.OpTypeReduceMin, compute.OpTypeReduceProduct,
		compute.OpTypeReduceLogicalAnd, compute.OpTypeReduceLogicalOr,
	} {
		c.Operations[op] = true
	}
	for _, list := range [][]compute.OpType{binaryOps, comparisonOps, logicalOps, unaryOps, predicateOps} {
		for _, op := range list {
			c.Operations[op] = true
		}
	}
	return c
}()
