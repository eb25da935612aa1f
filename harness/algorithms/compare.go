package algorithms

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Kinds of comparison.
const (
	exact     = "exact"
	relative  = "relative"
	largest   = "largest"
	euclidean = "euclidean"
)

// tolerance is a kind of comparison and its bound.
type tolerance struct {
	kind  string
	bound float64
}

// number is any element of a tensor.
type number interface {
	~float32 | ~float64 | ~int | ~int32
}

func wide[T number](v []T) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

// tensor reads a tensor in full precision and notes that it was.
func (f *folder) tensor(name string) ([]float64, error) {
	f.seen[name] = true
	t, err := f.file.Tensor(name)
	if err != nil {
		return nil, err
	}
	switch t.DType {
	case safetensors.F64: // Float32s would round
		out := make([]float64, len(t.Data)/8)
		for i := range out {
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
		}
		return out, nil
	case safetensors.F32, safetensors.F16, safetensors.BF16:
		v, err := t.Float32s()
		return wide(v), err
	}
	v, err := t.Int64s()
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out, err
}

// floats reads an input as float32.
func (f *folder) floats(name string) ([]float32, error) {
	v, err := f.tensor(name)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out, err
}

// ints reads whole numbers.
func (f *folder) ints(name string) ([]int, error) {
	v, err := f.tensor(name)
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out, err
}

// shape of a tensor; empty where it is not there.
func (f *folder) shape(name string) []int {
	t, err := f.file.Tensor(name)
	if err != nil {
		return nil
	}
	return t.Shape
}

// compare compares values with an expected tensor.
func compare[T number](f *folder, name string, got []T, tol tolerance) {
	compareWhere(f, name, got, tol, nil)
}

// compareWhere compares only the places where the predicate holds; nil: all.
func compareWhere[T number](f *folder, name string, got []T, tol tolerance, where func(i int) bool) {
	want, err := f.tensor(name)
	if err != nil {
		f.fail(name, err)
		return
	}
	f.values(name, wide(got), want, tol, where)
}

// number compares one number with an expected one of cases.json.
func (f *folder) number(name string, got, want float64, tol tolerance) {
	f.values(name, []float64{got}, []float64{want}, tol, nil)
}

// values compares two lists.
func (f *folder) values(name string, got, want []float64, tol tolerance, where func(i int) bool) {
	c := Check{Fixture: f.dir, Case: f.of, Name: name, Kind: tol.kind, Tolerance: tol.bound}
	if len(got) != len(want) {
		c.Kind, c.Note = "error", fmt.Sprintf("%d values, expected %d", len(got), len(want))
		f.report(c)
		return
	}
	var worst, most, square, total float64
	differ := 0
	for i, w := range want {
		if where != nil && !where(i) {
			continue
		}
		c.Values++
		d := math.Abs(got[i] - w)
		if math.IsNaN(d) || math.IsInf(d, 0) {
			c.Kind, c.Note = "error", fmt.Sprintf("got %g at %d, expected %g", got[i], i, w)
			f.report(c)
			return
		}
		if d != 0 {
			differ++
			if tol.kind == relative {
				d /= max(math.Abs(w), 1e-12)
			}
		}
		worst, most = max(worst, d), max(most, math.Abs(w))
		square, total = square+d*d, total+w*w
	}
	switch tol.kind {
	case exact:
		c.Error = float64(differ)
	case largest:
		c.Error = quotient(worst, most)
	case euclidean:
		c.Error = quotient(math.Sqrt(square), math.Sqrt(total))
	default:
		c.Error = worst
	}
	c.Pass = c.Error <= tol.bound
	f.report(c)
}

// quotient is 0 for 0/0.
func quotient(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return a / max(b, 1e-300)
}
