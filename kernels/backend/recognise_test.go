package backend_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/tlqlab/tlqlab/kernels/backend"
)

// SiLU and GELU are found in their parts, except where something else needs one, and
// have the bits of the parts either way.
func TestRecognise(t *testing.T) {
	on := open(t, "tlq")
	shape := shapes.Make(dtypes.Float32, 40, 30)
	scalar := func(b builder2, v float32) compute.Value { return b.must(b.f.Constant([]float32{v})) }
	sigmoid := func(b builder2, x compute.Value) []compute.Value { return []compute.Value{b.must(b.f.Logistic(x))} }
	phi := func(first float32) func(b builder2, x compute.Value) []compute.Value {
		return func(b builder2, x compute.Value) []compute.Value {
			e := b.must(b.f.Erf(b.must(b.f.Mul(x, scalar(b, first)))))
			sum := b.must(b.f.Add(scalar(b, 1), e))
			return []compute.Value{b.must(b.f.Mul(sum, scalar(b, 0.5))), sum, e}
		}
	}
	for _, c := range []struct {
		name  string
		build func(b builder2, x compute.Value) []compute.Value // the first is what x is multiplied with
		parts int
		found bool
		count int // of operations, one by one
	}{
		{"silu", sigmoid, 1, true, 2},
		{"gelu", phi(1 / math.Sqrt2), 3, true, 5},
		{"another factor", phi(0.7), 3, false, 5},
	} {
		for needed := -1; needed < c.parts; needed++ {
			build := func(b builder2) []compute.Value {
				x := b.must(b.f.Parameter("x", shape, nil))
				parts := c.build(b, x)
				out := []compute.Value{b.must(b.f.Mul(parts[0], x))}
				if needed >= 0 {
					out = append(out, parts[needed])
				}
				return out
			}
			values := make([]float32, shape.Size())
			for i := range values {
				values[i] = float32(i-600) / 77
			}
			values[7], values[8], values[9] = float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))
			in, err := on.BufferFromFlatData(0, values, shape)
			if err != nil {
				t.Fatal(err)
			}
			result := func() (int, []uint32) {
				e := compiled(t, on, build)
				out, err := e.Execute([]compute.Buffer{in}, nil, 0)
				if err != nil {
					t.Fatal(err)
				}
				flat, err := out[0].Data()
				if err != nil {
					t.Fatal(err)
				}
				var list []uint32
				for _, v := range flat.([]float32) {
					if v != v {
						v = 0 // there are many NaNs
					}
					list = append(list, math.Float32bits(v))
				}
				return backend.Operations(e), list
			}
			n, got := result()
			wantCount := c.count
			if c.found && needed < 0 {
				wantCount = 1
			}
			if n != wantCount {
				t.Errorf("%s, part %d needed: %d operations; want %d", c.name, needed, n, wantCount)
			}
			backend.WithoutRecognising(func() {
				if n, want := result(); n != c.count || !slices.Equal(got, want) {
					t.Errorf("%s, part %d needed: %d operations one by one, other bits: %t", c.name, needed, n, !slices.Equal(got, want))
				}
			})
		}
	}
}
