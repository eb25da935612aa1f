package safetensors

import (
	"bytes"
	"testing"
)

// Whatever Parse accepts is written and read back with the same contents.
func FuzzParse(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, map[string]string{"format": "pt"}, FromFloat32("a", []int{2}, []float32{1, 2}), FromBytes("b", []int{1}, []byte{3})); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(raw(`{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}`, 2))
	f.Add(raw(`{"__metadata__":{"a":"\ud800"},"é":{"dtype":"C64","shape":[1,0],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		var tensors []Tensor
		for _, name := range file.Names() {
			x, err := file.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, x)
		}
		var b bytes.Buffer
		if err := Write(&b, file.Metadata(), tensors...); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tensors {
			got, err := back.Tensor(want.Name)
			if err != nil || got.DType != want.DType || !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%q: %v, %v, want %v", want.Name, got, err, want)
			}
		}
	})
}
