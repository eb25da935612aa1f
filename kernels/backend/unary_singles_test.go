package backend

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
)

// TestUnarySingles compares the loops with the operations on single values, bit for
// bit, at every kind of float32.
func TestUnarySingles(t *testing.T) {
	values := []float32{
		0, float32(math.Copysign(0, -1)), 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999997, -0.49999997, 0.50000006, 1<<22 - 0.5, 1 << 22, 1<<22 + 1, -(1<<22 - 0.5),
		1<<23 - 0.5, 1 << 23, 1 << 24, -(1 << 24), 1e-45, -1e-45, math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		values = append(values, math.Float32frombits(rng.Uint32()), float32(rng.NormFloat64()*100), float32(rng.IntN(2000)-1000)/2)
	}
	got := make([]float32, len(values))
	for op, run := range map[compute.OpType]func(dst, src []float32){compute.OpTypeAbs: absSingles, compute.OpTypeRound: roundSingles} {
		run(got, values)
		want := floatUnary[float32](op)
		for i, v := range values {
			if w := want(v); math.Float32bits(got[i]) != math.Float32bits(w) && !(got[i] != got[i] && w != w) {
				t.Fatalf("%s(%v) = %v, want %v", op, v, got[i], w)
			}
		}
	}
}

func BenchmarkRoundSingles(b *testing.B) {
	src, dst := make([]float32, 4096), make([]float32, 4096)
	for i := range src {
		src[i] = float32(i%255) - 127.3
	}
	b.Run("loop", func(b *testing.B) {
		b.SetBytes(4 * int64(len(src)))
		for b.Loop() {
			roundSingles(dst, src)
		}
	})
	b.Run("value by value", func(b *testing.B) {
		f := floatUnary[float32](compute.OpTypeRound)
		b.SetBytes(4 * int64(len(src)))
		for b.Loop() {
			for i, v := range src {
				dst[i] = f(v)
			}
		}
	})
}
