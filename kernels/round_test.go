package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveSymmetric is the formula of RoundSymmetric, one group.
func naiveSymmetric(w []float32, bits int) (dst []float32, s float32) {
	var top float32
	for _, v := range w {
		top = max(top, float32(math.Abs(float64(v))))
	}
	high := float32(math.Exp2(float64(bits-1)) - 1)
	s = max(top, 1e-5) / high
	for _, v := range w {
		q := float32(math.RoundToEven(float64(v / s)))
		dst = append(dst, min(max(q, -high-1), high)*s)
	}
	return dst, s
}

// naiveAsymmetric is the formula of RoundAsymmetric, one group.
func naiveAsymmetric(w []float32, bits int) (dst []float32, s, z float32) {
	high := float32(math.Exp2(float64(bits)) - 1)
	low := slices.Min(w)
	s = max(slices.Max(w)-low, 1e-5) / high
	z = min(max(float32(-math.RoundToEven(float64(low/s))), 0), high)
	for _, v := range w {
		q := min(max(float32(math.RoundToEven(float64(v/s)))+z, 0), high)
		dst = append(dst, (q-z)*s)
	}
	return dst, s, z
}

// hardRows are groups of 8 that trip quantizers.
func hardRows() [][]float32 {
	negativeZero := float32(math.Copysign(0, -1))
	return [][]float32{
		{0, 0, 0, 0, 0, 0, 0, 0},
		{negativeZero, negativeZero, 0, 0, 0, negativeZero, 0, 0},
		{0.37, 0.37, 0.37, 0.37, 0.37, 0.37, 0.37, 0.37},
		{-1e7, -1e7, -1e7, -1e7, -1e7, -1e7, -1e7, -1e7},
		{3e38, -3e38, 1, -1, 0, 2e38, 1e-38, -1e-40},
		{7, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -7},
		{15, 0.5, 1.5, 2.5, 3.5, 0, 7.5, 8.5},
		{127, 0.5, 1.5, -0.5, 63.5, 64.5, -126.5, 0.25},
		{1e-6, -1e-6, 2e-6, 0, 3e-6, -4e-6, 1e-7, 9e-6},
		{1e-44, -1e-44, 1e-45, 0, 0, 0, 0, 0},
		{0.5, 0.6, 0.7, 0.8, 0.9, 1, 0.55, 0.65},
		{-0.5, -0.6, -0.7, -0.8, -0.9, -1, -0.55, -0.65},
		{1, 1, 1, 1, 1, 1, 1, 1e6},
		{100.00001, 100, 100.00002, 100, 100, 100, 100, 100},
	}
}

func matrix(rng *rand.Rand, n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	return w
}

func equalBits(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d: got %v, want %v", name, i, got[i], want[i])
		}
	}
}

// The fast quantizers give the bits of the formulas, signs of zeros included.
func TestRoundEqualsFormula(t *testing.T) { eachPath(t, testRoundEqualsFormula) }

func testRoundEqualsFormula(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := slices.Concat(hardRows()...)
	w = append(w, matrix(rng, 8*2048-len(w))...)
	for _, bits := range []int{2, 3, 4, 6, 8, 16} {
		for _, group := range []int{1, 4, 8, 16, 32, 64} {
			name := fmt.Sprintf("b%d g%d", bits, group)
			var want, wantAsym, steps, stepsAsym, zeros []float32
			for at := 0; at < len(w); at += group {
				d, s := naiveSymmetric(w[at:at+group], bits)
				want, steps = append(want, d...), append(steps, s)
				d, s, z := naiveAsymmetric(w[at:at+group], bits)
				wantAsym, stepsAsym, zeros = append(wantAsym, d...), append(stepsAsym, s), append(zeros, z)
			}
			rows, cols := len(w)/64, 64
			dst, step, zero := make([]float32, len(w)), make([]float32, len(steps)), make([]float32, len(steps))
			RoundSymmetric(dst, step, w, rows, cols, group, bits)
			equalBits(t, name+" sym", dst, want)
			equalBits(t, name+" sym step", step, steps)
			RoundAsymmetric(dst, step, zero, w, rows, cols, group, bits)
			equalBits(t, name+" asym", dst, wantAsym)
			equalBits(t, name+" asym step", step, stepsAsym)
			for i := range zeros {
				if zero[i] != zeros[i] {
					t.Fatalf("%s: zero %d: got %v, want %v", name, i, zero[i], zeros[i])
				}
			}
		}
	}
}

// FuzzRound compares the assembly with plain Go, bit for bit, on any groups: what is
// around a destination stays.
func FuzzRound(f *testing.F) {
	f.Add(uint64(1), uint8(16), uint8(4), uint8(0))
	f.Add(uint64(2), uint8(9), uint8(3), uint8(200))
	f.Fuzz(func(t *testing.T, seed uint64, group, bits, strange uint8) {
		if !useAVX2 {
			t.Skip("there is no assembly here")
		}
		defer func() { useAVX2 = true }()
		rng := rand.New(rand.NewPCG(seed, 1))
		g, b, rows := 1+int(group), 2+int(bits)%15, 3
		w := matrix(rng, rows*g)
		for i := range w {
			if uint8(rng.IntN(256)) < strange {
				w[i] = []float32{0, float32(math.Copysign(0, -1)), 1e38, -1e38, 1e-44, 0.5, -0.5, w[0]}[rng.IntN(8)]
			}
		}
		var got, want [2][]float32
		for path, out := range [][]([]float32){got[:], want[:]} {
			useAVX2 = path == 0
			for k := range out {
				out[k] = slices.Repeat([]float32{guard}, len(w)+3*rows+2)
				d, step, zero := out[k][1:1+len(w)], out[k][2+len(w):][:rows], out[k][2+len(w)+rows:][:rows]
				if k == 0 {
					RoundSymmetric(d, step, w, rows, g, g, b)
				} else {
					RoundAsymmetric(d, step, zero, w, rows, g, g, b)
				}
			}
		}
		for k := range got {
			equalBits(t, fmt.Sprint(k), got[k], want[k])
			if got[k][0] != guard || got[k][1+len(w)] != guard {
				t.Fatal("wrote beside the destination")
			}
		}
	})
}

// In range, rounding moves a value by at most half a step, whatever the threads.
func TestRoundErrorBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	rows, cols, group := 512, 512, 128 // large enough for several threads
	w := matrix(rng, rows*cols)
	dst, step := make([]float32, len(w)), make([]float32, len(w)/group)
	check := func(name string, slack float64) {
		for i, v := range w {
			if e := math.Abs(float64(dst[i] - v)); e > slack*float64(step[i/group]) {
				t.Fatalf("%s: element %d: %v became %v, step %v", name, i, v, dst[i], step[i/group])
			}
		}
	}
	RoundSymmetric(dst, step, w, rows, cols, group, 4)
	check("symmetric", 0.5001)
	RoundAsymmetric(dst, step, nil, w, rows, cols, group, 4)
	check("asymmetric", 1.0001) // the rounded zero point shifts the grid by up to half a step
	inPlace := slices.Clone(w)
	RoundAsymmetric(inPlace, nil, nil, inPlace, rows, cols, group, 4)
	equalBits(t, "in place", inPlace, dst)
}

func TestRoundNaN(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		nan := float32(math.NaN())
		w := make([]float32, 48)
		for i := range w {
			w[i] = float32(i)
		}
		w[21] = nan
		dst := make([]float32, 48)
		RoundSymmetric(dst, nil, w, 1, 48, 16, 4)
		for i, v := range dst {
			if (i/16 == 1) != (v != v) {
				t.Errorf("element %d is %v: a NaN spoils its own group and no other", i, v)
			}
		}
	})
	w := []float32{1, float32(math.NaN()), 2, 3, 4, 5, 6, 7}
	dst := make([]float32, 8)
	RoundSymmetric(dst, nil, w, 1, 8, 4, 4)
	for i, v := range dst {
		if (i < 4) != (v != v) {
			t.Errorf("element %d is %v: a NaN spoils its own group and no other", i, v)
		}
	}
}

func TestCollapsedGroups(t *testing.T) {
	w := slices.Concat(hardRows()...)
	if n := CollapsedGroups(w, len(w)/8, 8, 8); n != 2 {
		t.Errorf("%d collapsed groups, want 2: the rows of 0.37 and −1e7", n)
	}
}

func TestRoundMisuse(t *testing.T) {
	w := make([]float32, 12)
	for name, f := range map[string]func(){
		"group":   func() { RoundSymmetric(w, nil, w, 1, 12, 5, 4) },
		"bits":    func() { RoundSymmetric(w, nil, w, 1, 12, 4, 1) },
		"length":  func() { RoundSymmetric(w, nil, w, 2, 12, 4, 4) },
		"steps":   func() { RoundSymmetric(w, w, w, 1, 12, 4, 4) },
		"zeros":   func() { RoundAsymmetric(w, nil, w, w, 1, 12, 4, 4) },
		"factors": func() { ScaleColumns(w, w, w, 2, 6) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// BenchmarkRound rounds a 1024×1024 weight: the work of one candidate of the
// scale search.
func BenchmarkRound(b *testing.B) {
	const n = 1024
	w, dst := matrix(rand.New(rand.NewPCG(5, 6)), n*n), make([]float32, n*n)
	bench := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * n * n)
			for b.Loop() {
				f()
			}
		})
	}
	bench("symmetric", func() { RoundSymmetric(dst, nil, w, n, n, n, 4) })
	plain := func(f func()) func() {
		return func() {
			defer func(fast bool) { useAVX2 = fast }(useAVX2)
			useAVX2 = false
			f()
		}
	}
	bench("symmetric-go", plain(func() { RoundSymmetric(dst, nil, w, n, n, n, 4) }))
	bench("asymmetric-g64-go", plain(func() { RoundAsymmetric(dst, nil, nil, w, n, n, 64, 4) }))
	bench("symmetric-naive", func() {
		for at := 0; at < len(w); at += n {
			naiveSymmetric(w[at:at+n], 4)
		}
	})
	bench("asymmetric-g64", func() { RoundAsymmetric(dst, nil, nil, w, n, n, 64, 4) })
	bench("asymmetric-g64-naive", func() {
		for at := 0; at < len(w); at += 64 {
			naiveAsymmetric(w[at:at+64], 4)
		}
	})
	bench("scale", func() { ScaleColumns(dst, w, w[:n], n, n) })
}
