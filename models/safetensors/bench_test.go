package safetensors

import (
	"fmt"
	"path/filepath"
	"testing"
)

// A checkpoint of 1,000 tensors of 64 KiB. Opening reads the header only.
func benchmarkFile(b *testing.B) string {
	b.Helper()
	var tensors []Tensor
	for i := range 1000 {
		tensors = append(tensors, FromFloat32(fmt.Sprintf("model.layers.%d.weight", i), []int{128, 128}, make([]float32, 128*128)))
	}
	path := filepath.Join(b.TempDir(), SingleName)
	if err := WriteFile(path, nil, tensors...); err != nil {
		b.Fatal(err)
	}
	return path
}

func BenchmarkOpen(b *testing.B) {
	path := benchmarkFile(b)
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFloat32s(b *testing.B) {
	v := make([]float32, 1<<20)
	for _, dtype := range []string{F32, BF16, F16} {
		x, err := FromFloat32As("x", dtype, []int{len(v)}, v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(dtype, func(b *testing.B) {
			b.SetBytes(int64(len(x.Data)))
			for b.Loop() {
				if _, err := x.Float32s(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
