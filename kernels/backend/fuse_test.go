package backend_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/tlqlab/tlqlab/kernels/backend"
)

// Operations that run together give the same bytes as each by itself.
func TestFusingChangesNothing(t *testing.T) {
	b := open(t, "tlq")
	for seed := range uint64(200) {
		got, _, trail := run(t, b, seed, dtypes.Float32)
		var want [][]float64
		backend.WithoutFusing(func() { want, _, _ = run(t, b, seed, dtypes.Float32) })
		if g, w := fmt.Sprintf("%x", got), fmt.Sprintf("%x", want); g != w {
			t.Fatalf("seed %d: other bytes when fused\n%v", seed, trail)
		}
	}
	for _, s := range []modelSize{small, {pictures: 16, patches: 36, tokens: 33, scored: 2, visionLayers: 2, layers: 1, width: 32, heads: 4, groups: 2, hidden: 48, vocab: 64}} {
		fused, err := s.exec(t, b).Call(s.arguments(1)...)
		if err != nil {
			t.Fatal(err)
		}
		backend.WithoutFusing(func() {
			alone, err := s.exec(t, b).Call(s.arguments(1)...)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(bits(t, fused), bits(t, alone)) {
				t.Error("the model's gradients are other bytes when fused")
			}
		})
	}
}

// builder2 builds with the interface that GoMLX builds on.
type builder2 struct {
	t *testing.T
	f compute.Function
}

func (b builder2) must(v compute.Value, err error) compute.Value {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// compiled compiles a graph of the given outputs.
func compiled(t *testing.T, on compute.Backend, build func(b builder2) []compute.Value) compute.Executable {
	t.Helper()
	builder := on.Builder("graph")
	b := builder2{t, builder.Main()}
	if err := b.f.Return(build(b), nil); err != nil {
		t.Fatal(err)
	}
	e, err := builder.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Attention runs as one strip, forward, and keeps no scores.
func TestAttentionIsOneStrip(t *testing.T) {
	const batch, heads, tokens, width = 4, 4, 64, 16
	none := compute.DotGeneralConfig{}
	e := compiled(t, open(t, "tlq"), func(b builder2) []compute.Value {
		f := b.f
		shape := shapes.Make(dtypes.Float32, batch, tokens, heads, width)
		q, k, v := b.must(f.Parameter("q", shape, nil)), b.must(f.Parameter("k", shape, nil)), b.must(f.Parameter("v", shape, nil))
		scores := b.must(f.DotGeneral(q, []int{3}, []int{0, 2}, k, []int{3}, []int{0, 2}, none))
		full := shapes.Make(dtypes.Float32, batch, heads, tokens, tokens)
		keep := func(x compute.Value) compute.Value { return b.must(f.BroadcastInDim(x, full, []int{0, 1, 2})) }
		e := b.must(f.Exp(b.must(f.Sub(scores, keep(b.must(f.ReduceMax(scores, 3)))))))
		p := b.must(f.Div(e, keep(b.must(f.ReduceSum(e, 3)))))
		return []compute.Value{b.must(f.DotGeneral(p, []int{3}, []int{0, 1}, v, []int{1}, []int{0, 2}, none))}
	})
	if got := backend.Strips(e); !slices.Equal(got, []int{7}) {
		t.Errorf("strips of %v operations; want one of 7", got)
	}
	if m := backend.Memory(e); m != 0 {
		t.Errorf("%d bytes are kept between steps; want none", m)
	}
}

// A value that something else needs in between keeps operations apart.
func TestFusingKeepsOrder(t *testing.T) {
	e := compiled(t, open(t, "tlq"), func(b builder2) []compute.Value {
		f := b.f
		x := b.must(f.Parameter("x", shapes.Make(dtypes.Float32, 64, 64), nil))
		y := b.must(f.Exp(x))
		columns := b.must(f.ReduceSum(y, 0)) // needs all rows of y
		z := b.must(f.Sub(y, b.must(f.BroadcastInDim(columns, shapes.Make(dtypes.Float32, 64, 64), []int{1}))))
		return []compute.Value{b.must(f.Neg(b.must(f.Abs(z))))}
	})
	if got := backend.Strips(e); !slices.Equal(got, []int{3}) {
		t.Errorf("strips of %v operations; want one of 3", got)
	}
}

// Two strips that need each other's first halves stay apart, also where the way
// from one to the other begins with a view.
func TestFusingAvoidsCycles(t *testing.T) {
	shape := shapes.Make(dtypes.Float32, 64, 4)
	build := func(b builder2) []compute.Value {
		f := b.f
		row := func(v compute.Value) compute.Value { return b.must(f.BroadcastInDim(v, shape, []int{1})) }
		x, y := b.must(f.Parameter("x", shape, nil)), b.must(f.Parameter("y", shape, nil))
		p := b.must(f.Exp(x))
		view := b.must(f.Reshape(p, 32, 8))
		q := b.must(f.Exp(y))
		w := b.must(f.Mul(p, row(b.must(f.ReduceSum(q, 0)))))
		sums := b.must(f.Slice(b.must(f.ReduceSum(view, 0)), []int{0}, []int{4}, nil))
		return []compute.Value{w, b.must(f.Add(q, row(sums)))}
	}
	values := make([]float32, 64*4)
	for i := range values {
		values[i] = float32(i%7) / 8
	}
	result := func() (list [][]float32) {
		on := open(t, "tlq")
		e := compiled(t, on, build)
		in, err := on.BufferFromFlatData(0, values, shape)
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.Execute([]compute.Buffer{in, in}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range out {
			flat := make([]float32, len(values))
			if err := o.ToFlatData(flat); err != nil {
				t.Fatal(err)
			}
			list = append(list, flat)
		}
		return list
	}
	fused := result()
	backend.WithoutFusing(func() {
		for i, want := range result() {
			if !slices.Equal(fused[i], want) {
				t.Errorf("output %d differs when fused", i)
			}
		}
	})
}

// Results are the caller's, each its own, whatever they are: values, values
// returned twice, views of them, inputs and constants.
func TestEachOutputHasItsMemory(t *testing.T) {
	on, shape := open(t, "tlq"), shapes.Make(dtypes.Float32, 6)
	e := compiled(t, on, func(b builder2) []compute.Value {
		f := b.f
		x := b.must(f.Parameter("x", shape, nil))
		y := b.must(f.Exp(b.must(f.Neg(x))))
		c := b.must(f.Constant([]float32{1, 2, 3, 4, 5, 6}, 6))
		view := b.must(f.Reshape(y, 2, 3))
		return []compute.Value{y, view, y, x, x, c, b.must(f.Reshape(c, 3, 2)), b.must(f.Identity(view)), b.must(f.Add(y, x))}
	})
	in, err := on.BufferFromFlatData(0, []float32{1, 2, 3, 4, 5, 6}, shape)
	if err != nil {
		t.Fatal(err)
	}
	call := func() [][]float32 {
		out, err := e.Execute([]compute.Buffer{in}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		var list [][]float32
		for _, o := range out {
			data, err := o.Data()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, data.([]float32))
		}
		return list
	}
	first := call()
	want := make([][]float32, len(first))
	for i, o := range first {
		want[i] = slices.Clone(o)
	}
	for i, o := range first {
		for k := range o {
			o[k] = float32(100 + i)
		}
	}
	for i, o := range first {
		if o[0] != float32(100+i) {
			t.Errorf("output %d shares its memory", i)
		}
	}
	for i, o := range call() {
		if !slices.Equal(o, want[i]) {
			t.Errorf("output %d is %v the second time, %v the first", i, o, want[i])
		}
	}
}
