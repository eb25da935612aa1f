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
	for seed := range uint64(400) {
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
func compiled(t *testing.T, build func(b builder2) []compute.Value) compute.Executable {
	t.Helper()
	builder := open(t, "tlq").Builder("graph")
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
	e := compiled(t, func(b builder2) []compute.Value {
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
	e := compiled(t, func(b builder2) []compute.Value {
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
