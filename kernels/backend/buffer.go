package backend

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// buffer is an array in memory; flat is a slice of its Go type.
type buffer struct {
	backend *Backend
	shape   shapes.Shape
	flat    any
}

var _ compute.Buffer = (*buffer)(nil)

// Backend returns the buffer's backend.
func (b *buffer) Backend() compute.Backend { return b.backend }

// Finalize lets go of the memory.
func (b *buffer) Finalize() error {
	b.flat = nil
	return nil
}

// Shape returns the buffer's shape.
func (b *buffer) Shape() (shapes.Shape, error) { return b.shape, b.check() }

// DeviceNum is 0.
func (b *buffer) DeviceNum() (compute.DeviceNum, error) { return 0, b.check() }

// Data returns the memory itself.
func (b *buffer) Data() (any, error) { return b.flat, b.check() }

// ToFlatData copies the values into flat, a slice of the same type and length.
func (b *buffer) ToFlatData(flat any) error {
	if err := b.check(); err != nil {
		return err
	}
	if reflect.TypeOf(flat) != reflect.TypeOf(b.flat) || reflect.ValueOf(flat).Len() != b.shape.Size() {
		return fmt.Errorf("backend: buffer of %s asked for as %T of length %d", b.shape, flat, reflect.ValueOf(flat).Len())
	}
	reflect.Copy(reflect.ValueOf(flat), reflect.ValueOf(b.flat))
	return nil
}

// CopyToDevice copies the buffer; there is one device.
func (b *buffer) CopyToDevice(compute.DeviceNum) (compute.Buffer, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	return b.backend.BufferFromFlatData(0, b.flat, b.shape)
}

func (b *buffer) check() error {
	if b.flat == nil {
		return fmt.Errorf("backend: buffer of %s was finalized", b.shape)
	}
	return nil
}

// BufferFromFlatData copies flat, a slice of shape's type, into a buffer.
func (b *Backend) BufferFromFlatData(_ compute.DeviceNum, flat any, shape shapes.Shape) (compute.Buffer, error) {
	out, err := b.newBuffer(shape)
	if err != nil {
		return nil, err
	}
	src := reflect.ValueOf(flat)
	if src.Kind() != reflect.Slice || src.Type() != reflect.TypeOf(out.flat) || src.Len() != shape.Size() {
		return nil, fmt.Errorf("backend: data of type %T do not fit shape %s", flat, shape)
	}
	reflect.Copy(reflect.ValueOf(out.flat), src)
	return out, nil
}

// HasSharedBuffers is true: buffers are plain memory.
func (b *Backend) HasSharedBuffers() bool { return true }

// NewSharedBuffer makes a zeroed buffer and returns its memory.
func (b *Backend) NewSharedBuffer(_ compute.DeviceNum, shape shapes.Shape) (compute.Buffer, any, error) {
	out, err := b.newBuffer(shape)
	if err != nil {
		return nil, nil, err
	}
	return out, out.flat, nil
}

func (b *Backend) newBuffer(shape shapes.Shape) (*buffer, error) {
	if !capabilities.DTypes[shape.DType] {
		return nil, fmt.Errorf("backend: type %s: %w", shape.DType, compute.ErrNotImplemented)
	}
	return &buffer{backend: b, shape: shape, flat: allocate(shape.DType, shape.Size())}, nil
}

// allocate makes a zeroed slice of n values of a type in [types].
func allocate(t dtypes.DType, n int) any {
	switch t {
	case dtypes.Float32:
		return make([]float32, n)
	case dtypes.Float64:
		return make([]float64, n)
	case dtypes.Int8:
		return make([]int8, n)
	case dtypes.Int16:
		return make([]int16, n)
	case dtypes.Int32:
		return make([]int32, n)
	case dtypes.Int64:
		return make([]int64, n)
	case dtypes.Uint8:
		return make([]uint8, n)
	case dtypes.Uint16:
		return make([]uint16, n)
	case dtypes.Uint32:
		return make([]uint32, n)
	case dtypes.Uint64:
		return make([]uint64, n)
	case dtypes.Bool:
		return make([]bool, n)
	}
	panic(fmt.Sprintf("backend: no memory layout for %s", t))
}

// words is how values of a size move: operations that only move data see them as
// unsigned integers of that size.
type words interface {
	uint8 | uint16 | uint32 | uint64
}

// asWords reinterprets a buffer's memory.
func asWords[W words](b *buffer) []W {
	n := b.shape.Size()
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*W)(reflect.ValueOf(b.flat).UnsafePointer()), n)
}

// move runs the instance of a data-moving operation that fits the value size.
func move(size int, f8 func(), f16 func(), f32 func(), f64 func()) {
	switch size {
	case 1:
		f8()
	case 2:
		f16()
	case 4:
		f32()
	default:
		f64()
	}
}
