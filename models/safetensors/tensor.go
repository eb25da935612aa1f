package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// Tensor is one named array. Its data is row-major and little-endian.
type Tensor struct {
	Name  string // unique within a file
	DType string // element type, such as [F32] or [BF16]
	Shape []int  // sides, outermost first; empty for a scalar
	Data  []byte // raw bytes; of an opened file a read-only view that is gone after [File.Close]
}

// Len returns the number of elements: the product of the shape, 1 for a scalar.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// check reports whether type, shape and data agree.
func (t Tensor) check() error {
	want, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
	}
	if uint64(len(t.Data)) != want {
		return fmt.Errorf("safetensors: tensor %q: %d bytes of data, but %s %v takes %d", t.Name, len(t.Data), t.DType, t.Shape, want)
	}
	return nil
}

// Float32s returns a copy of the elements as float32. F16 and BF16 widen exactly;
// F64 rounds half to even. Other types are refused, because integers in place of
// weights are a mistake that a silent conversion would hide.
func (t Tensor) Float32s() ([]float32, error) {
	if err := t.checkFloats(); err != nil {
		return nil, err
	}
	out := make([]float32, t.Len())
	t.widen(out, 0)
	return out, nil
}

// ReadFloat32s fills dst with the elements from, from+1, …, as [Tensor.Float32s] converts
// them, so that a part of a large tensor costs no more than that part.
func (t Tensor) ReadFloat32s(dst []float32, from int) error {
	if err := t.checkFloats(); err != nil {
		return err
	}
	if from < 0 || from+len(dst) > t.Len() {
		return fmt.Errorf("safetensors: tensor %q: elements %d to %d of %d were asked for", t.Name, from, from+len(dst), t.Len())
	}
	t.widen(dst, from)
	return nil
}

// checkFloats refuses what holds no floats.
func (t Tensor) checkFloats() error {
	if err := t.check(); err != nil {
		return err
	}
	switch t.DType {
	case F32, F16, BF16, F64:
		return nil
	}
	return fmt.Errorf("safetensors: tensor %q is %s, expected a float type (F32, F16, BF16, F64); read integers with Int64s", t.Name, t.DType)
}

// widen converts the elements from, from+1, … to out.
func (t Tensor) widen(out []float32, from int) {
	le := binary.LittleEndian
	data := t.Data[from*int(dtypeBits[t.DType])/8:]
	switch t.DType {
	case F32:
		data = data[:4*len(out)]
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(data[4*i:]))
		}
	case F16:
		for i := range out {
			out[i] = fromF16(le.Uint16(data[2*i:]))
		}
	case BF16:
		data = data[:2*len(out)]
		for i := range out {
			out[i] = fromBF16(le.Uint16(data[2*i:]))
		}
	case F64:
		for i := range out {
			out[i] = float32(math.Float64frombits(le.Uint64(data[8*i:])))
		}
	}
}

// Int64s returns a copy of the elements of an integer or BOOL tensor. Float types
// are refused, and so is a U64 value above the int64 range.
func (t Tensor) Int64s() ([]int64, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	read, width := intReader(t.DType)
	if read == nil {
		return nil, fmt.Errorf("safetensors: tensor %q is %s, expected an integer type (I64, I32, I16, I8, U64, U32, U16, U8, BOOL); read floats with Float32s", t.Name, t.DType)
	}
	out := make([]int64, t.Len())
	for i := range out {
		out[i] = read(t.Data[width*i:])
		if out[i] < 0 && t.DType == U64 {
			return nil, fmt.Errorf("safetensors: tensor %q: element %d is %d, above the int64 range", t.Name, i, uint64(out[i]))
		}
	}
	return out, nil
}

// intReader returns the function that reads one element of an integer type and
// the element's width in bytes; nil for other types.
func intReader(dtype string) (func([]byte) int64, int) {
	le := binary.LittleEndian
	switch dtype {
	case I64, U64:
		return func(b []byte) int64 { return int64(le.Uint64(b)) }, 8
	case I32:
		return func(b []byte) int64 { return int64(int32(le.Uint32(b))) }, 4
	case U32:
		return func(b []byte) int64 { return int64(le.Uint32(b)) }, 4
	case I16:
		return func(b []byte) int64 { return int64(int16(le.Uint16(b))) }, 2
	case U16:
		return func(b []byte) int64 { return int64(le.Uint16(b)) }, 2
	case I8:
		return func(b []byte) int64 { return int64(int8(b[0])) }, 1
	case U8, Bool:
		return func(b []byte) int64 { return int64(b[0]) }, 1
	}
	return nil, 0
}

// FromFloat32 makes an F32 tensor. The values are copied. A shape that does not
// hold len(v) elements is reported when the tensor is written or read.
func FromFloat32(name string, shape []int, v []float32) Tensor {
	data := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x))
	}
	return Tensor{Name: name, DType: F32, Shape: append([]int{}, shape...), Data: data}
}

// ViewFloat32 makes an F32 tensor of v itself where the machine is little-endian, so
// that v must not change while the tensor is used; else of a copy.
func ViewFloat32(name string, shape []int, v []float32) Tensor {
	if len(v) == 0 || binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return FromFloat32(name, shape, v)
	}
	data := unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
	return Tensor{Name: name, DType: F32, Shape: append([]int{}, shape...), Data: data}
}

// FromFloat32As makes an F32, BF16, F16 or F64 tensor, rounding half to even. A
// finite value that the type can only hold as an infinity is refused: no weight
// turns into one unnoticed. NaN and infinities pass.
func FromFloat32As(name, dtype string, shape []int, v []float32) (Tensor, error) {
	t := Tensor{Name: name, DType: dtype, Shape: append([]int{}, shape...)}
	le := binary.LittleEndian
	switch dtype {
	case F32:
		t = FromFloat32(name, shape, v)
	case F64:
		t.Data = make([]byte, 8*len(v))
		for i, x := range v {
			le.PutUint64(t.Data[8*i:], math.Float64bits(float64(x)))
		}
	case BF16, F16:
		convert, infinity := toBF16, uint16(0x7f80)
		if dtype == F16 {
			convert, infinity = toF16, 0x7c00
		}
		t.Data = make([]byte, 2*len(v))
		for i, x := range v {
			h := convert(x)
			if h&0x7fff == infinity && !math.IsInf(float64(x), 0) {
				return Tensor{}, fmt.Errorf("safetensors: tensor %q: element %d is %g, beyond the range of %s; store it as F32", name, i, x, dtype)
			}
			le.PutUint16(t.Data[2*i:], h)
		}
	default:
		return Tensor{}, fmt.Errorf("safetensors: tensor %q: cannot store float32 values as %q; expected F32, BF16, F16 or F64", name, dtype)
	}
	if err := t.check(); err != nil {
		return Tensor{}, err
	}
	return t, nil
}

// FromInts makes an I64 tensor. The values are copied. A shape that does not hold
// len(v) elements is reported when the tensor is written or read.
func FromInts(name string, shape []int, v []int64) Tensor {
	data := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(data[8*i:], uint64(x))
	}
	return Tensor{Name: name, DType: I64, Shape: append([]int{}, shape...), Data: data}
}

// FromBytes makes a U8 tensor. The values are copied. A shape that does not hold
// len(v) elements is reported when the tensor is written or read.
func FromBytes(name string, shape []int, v []byte) Tensor {
	return Tensor{Name: name, DType: U8, Shape: append([]int{}, shape...), Data: append([]byte{}, v...)}
}
