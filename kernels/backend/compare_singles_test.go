package backend

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"
)

// comparedLayouts are steps of the operands along two axes: equal layouts, rows and
// columns spread, scalars on either side, and one that no fast loop takes.
var comparedLayouts = [][2][]int{
	{{7, 1}, {7, 1}},
	{{7, 1}, {0, 1}},
	{{0, 1}, {7, 1}},
	{{7, 1}, {0, 0}},
	{{0, 0}, {7, 1}},
	{{7, 1}, {1, 0}},
	{{1, 0}, {0, 1}},
	{{1, 5}, {7, 1}},
}

// Comparisons of float32 are those of single values, for all layouts, parts of the
// output and special values.
func TestCompareSingles(t *testing.T) {
	const rows, cols = 5, 7
	rng := rand.New(rand.NewPCG(1, 1))
	nan := float32(math.NaN())
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -1, nan, float32(math.Inf(1)), float32(math.Inf(-1))}
	draw := func() *buffer {
		flat := make([]float32, rows*cols)
		for i := range flat {
			flat[i] = values[rng.IntN(len(values))]
		}
		return &buffer{flat: flat}
	}
	for _, op := range comparisonOps {
		for _, steps := range comparedLayouts {
			l := newLoop([]int{rows, cols}, steps[0], steps[1])
			a, b := draw(), draw()
			for _, part := range [][2]int{{0, rows * cols}, {3, 17}, {7, 14}, {34, 35}} {
				got, want := &buffer{flat: make([]bool, rows*cols)}, &buffer{flat: make([]bool, rows*cols)}
				singles{}.compare(op, l, a, b, got, part[0], part[1])
				floats[float32]{}.compare(op, l, a, b, want, part[0], part[1])
				if !slices.Equal(got.flat.([]bool), want.flat.([]bool)) {
					t.Errorf("%s of steps %v, places %v: %v; want %v", op, steps, part, got.flat, want.flat)
				}
			}
		}
	}
}

// Choices are those of single values, for all layouts.
func TestChoose(t *testing.T) {
	const rows, cols = 5, 7
	rng := rand.New(rand.NewPCG(2, 2))
	x, y, test := make([]uint32, 40), make([]uint32, 40), make([]bool, 40)
	for i := range x {
		x[i], y[i], test[i] = rng.Uint32(), rng.Uint32(), rng.IntN(2) == 0
	}
	as := func(w []uint32) *buffer { return &buffer{flat: floatsOfWords(w)} }
	for _, tests := range [][]int{{7, 1}, {0, 1}, {1, 0}, {0, 0}} {
		for _, steps := range comparedLayouts {
			l := newLoop([]int{rows, cols}, tests, steps[0], steps[1])
			got := as(make([]uint32, rows*cols))
			moving[uint32]{}.choose(l, &buffer{flat: test}, as(x), as(y), got, 2, rows*cols)
			for i, v := range got.flat.([]float32)[2:] {
				r, c := (i+2)/cols, (i+2)%cols
				want := y[r*steps[1][0]+c*steps[1][1]]
				if test[r*tests[0]+c*tests[1]] {
					want = x[r*steps[0][0]+c*steps[0][1]]
				}
				if math.Float32bits(v) != want {
					t.Errorf("place %d, test steps %v, others %v: %x; want %x", i+2, tests, steps, math.Float32bits(v), want)
				}
			}
		}
	}
}

func floatsOfWords(w []uint32) []float32 {
	list := make([]float32, len(w))
	for i, v := range w {
		list[i] = math.Float32frombits(v)
	}
	return list
}

// BenchmarkCompare makes a mask of a million values, in its own loop and with a call
// per value.
func BenchmarkCompare(b *testing.B) {
	const n = 1 << 20
	l := newLoop([]int{n}, []int{1}, []int{0})
	x, s, out := &buffer{flat: make([]float32, n)}, &buffer{flat: []float32{-1}}, &buffer{flat: make([]bool, n)}
	for name, c := range map[string]arithmetic{"loop": singles{}, "calls": floats[float32]{}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * n)
			for b.Loop() {
				c.compare(compute.OpTypeGreaterThan, l, x, s, out, 0, n)
			}
		})
	}
	words := &buffer{flat: make([]float32, n)}
	l = newLoop([]int{n}, []int{1}, []int{1}, []int{0})
	b.Run("where", func(b *testing.B) {
		b.SetBytes(4 * n)
		for b.Loop() {
			moving[uint32]{}.choose(l, out, x, s, words, 0, n)
		}
	})
}
