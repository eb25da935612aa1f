package backend

import (
	"fmt"
	"reflect"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

// buffer is an array in memory; flat is a slice of its Go type. Inside a strip,
// flat may hold the part of the array that begins at origin.
type buffer struct {
	backend *Backend
	shape   shapes.Shape
	flat    any
	origin  int
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
	to := reflect.ValueOf(flat)
	if to.Kind() != reflect.Slice || to.Type() != reflect.TypeOf(b.flat) || to.Len() != b.shape.Size() {
		return fmt.Errorf("backend: buffer of %s asked for as %s; expected %T of length %d", b.shape, describe(flat), b.flat, b.shape.Size())
	}
	reflect.Copy(to, reflect.ValueOf(b.flat))
	return nil
}

// CopyToDevice copies the buffer; there is one device.
func (b *buffer) CopyToDevice(device compute.DeviceNum) (compute.Buffer, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	return b.backend.BufferFromFlatData(device, b.flat, b.shape)
}

func (b *buffer) check() error {
	if b.flat == nil {
		return fmt.Errorf("backend: buffer of %s was finalized or donated", b.shape)
	}
	return nil
}

// describe names a value's type, and its length where it has one.
func describe(flat any) string {
	if v := reflect.ValueOf(flat); v.Kind() == reflect.Slice {
		return fmt.Sprintf("%T of length %d", flat, v.Len())
	}
	return fmt.Sprintf("%T", flat)
}

// BufferFromFlatData copies flat, a slice of shape's type, into a buffer.
func (b *Backend) BufferFromFlatData(device compute.DeviceNum, flat any, shape shapes.Shape) (compute.Buffer, error) {
	out, err := b.newBuffer(device, shape)
	if err != nil {
		return nil, err
	}
	src := reflect.ValueOf(flat)
	if src.Kind() != reflect.Slice || src.Type() != reflect.TypeOf(out.flat) || src.Len() != shape.Size() {
		return nil, fmt.Errorf("backend: %s does not fit shape %s; expected %T of length %d", describe(flat), shape, out.flat, shape.Size())
	}
	reflect.Copy(reflect.ValueOf(out.flat), src)
	return out, nil
}

// AliasFlatData makes a buffer of the slice flat itself, which must have shape's
// type and length: nothing is copied, and computations read whatever it holds while they
// run. It is an addition to GoMLX's interface for inputs that are large and live
// elsewhere, such as weights.
func (b *Backend) AliasFlatData(flat any, shape shapes.Shape) (compute.Buffer, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	if err := checkShape(shape); err != nil {
		return nil, fmt.Errorf("backend: buffer: %w", err)
	}
	src, want := reflect.ValueOf(flat), reflect.TypeOf(allocate(shape.DType, 0))
	if src.Kind() != reflect.Slice || src.Type() != want || src.Len() != shape.Size() {
		return nil, fmt.Errorf("backend: %s does not fit shape %s; expected %s of length %d", describe(flat), shape, want, shape.Size())
	}
	return &buffer{backend: b, shape: shape.Clone(), flat: flat}, nil
}

// HasSharedBuffers is true: buffers are plain memory.
func (b *Backend) HasSharedBuffers() bool { return true }

// NewSharedBuffer makes a zeroed buffer and returns its memory.
func (b *Backend) NewSharedBuffer(device compute.DeviceNum, shape shapes.Shape) (compute.Buffer, any, error) {
	out, err := b.newBuffer(device, shape)
	if err != nil {
		return nil, nil, err
	}
	return out, out.flat, nil
}

func (b *Backend) newBuffer(device compute.DeviceNum, shape shapes.Shape) (*buffer, error) {
	if err := b.alive(); err != nil {
		return nil, err
	}
	if device != 0 {
		return nil, fmt.Errorf("backend: device %d; there is only device 0", device)
	}
	if err := checkShape(shape); err != nil {
		return nil, fmt.Errorf("backend: buffer: %w", err)
	}
	return &buffer{backend: b, shape: shape.Clone(), flat: allocate(shape.DType, shape.Size())}, nil
}
