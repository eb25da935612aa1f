package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// special are arguments at which vector routines differ when they are wrong.
var special = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, 0.625, 0.62499994, -0.625, 3.9999998, 4, -4, 5,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 1e-38, -1e-39,
	88.72, 88.722839, 88.73, 89, 100, -87.3, -87.4, -88, -100, -103.27, -103.98, -104, -105, 20, -20, 1e-8, -1e-8,
}

func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || (a != a && b != b)
}

// arguments mixes special values with random ones of many magnitudes.
func arguments(rng *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		switch rng.IntN(4) {
		case 0:
			s[i] = special[rng.IntN(len(special))]
		case 1:
			s[i] = math.Float32frombits(rng.Uint32())
		default:
			s[i] = float32(rng.NormFloat64() * 5)
		}
	}
	return s
}

func TestElementwise(t *testing.T) {
	s := float32(-1.7)
	binary := map[string]struct {
		fast  func(dst, a, b []float32)
		naive func(a, b float32) float32
	}{
		"Add":       {Add, func(a, b float32) float32 { return a + b }},
		"Sub":       {Sub, func(a, b float32) float32 { return a - b }},
		"Mul":       {Mul, func(a, b float32) float32 { return a * b }},
		"Div":       {Div, func(a, b float32) float32 { return a / b }},
		"Max":       {Max, func(a, b float32) float32 { return max(a, b) }},
		"Min":       {Min, func(a, b float32) float32 { return min(a, b) }},
		"AddScalar": {func(dst, a, _ []float32) { AddScalar(dst, a, s) }, func(a, _ float32) float32 { return a + s }},
		"MulScalar": {func(dst, a, _ []float32) { MulScalar(dst, a, s) }, func(a, _ float32) float32 { return a * s }},
		"DivScalar": {func(dst, a, _ []float32) { DivScalar(dst, a, s) }, func(a, _ float32) float32 { return a / s }},
		"Sqrt":      {func(dst, a, _ []float32) { Sqrt(dst, a) }, func(a, _ float32) float32 { return float32(math.Sqrt(float64(a))) }},
	}
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for name, f := range binary {
			for _, n := range awkward {
				for range 20 {
					a, b, dst := arguments(rng, n), arguments(rng, n), guarded(n)
					f.fast(dst[1:n+1], a, b)
					inPlace := append([]float32(nil), b...)
					f.fast(inPlace, a, inPlace)
					for i := range n {
						if want := f.naive(a[i], b[i]); !same(dst[i+1], want) || !same(inPlace[i], want) {
							t.Fatalf("%s(%g, %g) = %g, in place %g, want %g (element %d of %d)", name, a[i], b[i], dst[i+1], inPlace[i], want, i, n)
						}
					}
					checkGuards(t, name, dst)
				}
			}
		}
	})
}

// guarded has one guard on each side of n elements.
func guarded(n int) []float32 {
	s := make([]float32, n+2)
	s[0], s[n+1] = guard, guard
	return s
}

func checkGuards(t *testing.T, name string, s []float32) {
	t.Helper()
	if s[0] != guard || s[len(s)-1] != guard {
		t.Fatalf("%s: wrote outside of its %d elements", name, len(s)-2)
	}
}

// mathCases give each function with its formula in float64 and the greatest
// relative error of single precision that its doc promises.
var mathCases = []struct {
	name      string
	fast      func(dst, x []float32)
	formula   func(float64) float64
	tolerance float64
}{
	{"Exp", Exp, math.Exp, 1.5e-7},
	{"Sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 3e-7},
	{"Tanh", Tanh, math.Tanh, 2e-7},
	{"Erf", Erf, math.Erf, 2e-7},
	{"Log", Log, math.Log, 6e-8},
}

func TestMath(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		x := append(make([]float32, 0, 1<<19), special...)
		x = append(x, arguments(rng, 1<<16)...)
		for v := float32(-105); v < 105; v += 0.00093 {
			x = append(x, v)
		}
		for range 1 << 16 {
			x = append(x, float32(math.Exp(rng.NormFloat64()*4-2)))
		}
		dst := make([]float32, len(x))
		for _, f := range mathCases {
			f.fast(dst, x)
			worst := 0.0
			for i, v := range dst {
				want := f.formula(float64(x[i]))
				if rounded := float32(want); want != want || math.IsInf(float64(rounded), 0) {
					// The formula may round to infinity a step earlier or later.
					if !same(v, rounded) && !(f.name == "Exp" && x[i] > 88.722 && x[i] < 88.723) {
						t.Fatalf("%s(%g) = %g, want %g", f.name, x[i], v, rounded)
					}
					continue
				}
				d := math.Abs(float64(v) - want)
				if !(d <= f.tolerance*math.Abs(want)+math.SmallestNonzeroFloat32) {
					t.Fatalf("%s(%g) = %g, want %g: relative error %g, tolerance %g", f.name, x[i], v, want, d/math.Abs(want), f.tolerance)
				}
				if math.Abs(want) > 1.2e-38 {
					worst = max(worst, d/math.Abs(want))
				}
			}
			t.Logf("%s: greatest relative error %.3g", f.name, worst)
		}
		for _, f := range mathCases[2:4] { // odd functions keep the sign of zero
			zero := []float32{float32(math.Copysign(0, -1))}
			if f.fast(zero, zero); math.Float32bits(zero[0]) != signBit {
				t.Errorf("%s(−0) = %g", f.name, zero[0])
			}
		}
	})
}

// An element has the same bits wherever it stands, in place too.
func TestMathPosition(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		x := arguments(rng, 400)
		for _, f := range mathCases {
			whole := make([]float32, len(x))
			f.fast(whole, x)
			for _, n := range awkward {
				for range 10 {
					from := rng.IntN(len(x) - n)
					dst := guarded(n)
					copy(dst[1:], x[from:from+n])
					f.fast(dst[1:n+1], dst[1:n+1])
					for i := range n {
						if !same(dst[i+1], whole[from+i]) {
							t.Fatalf("%s(%g) = %g as element %d of %d, %g elsewhere", f.name, x[from+i], dst[i+1], i, n, whole[from+i])
						}
					}
					checkGuards(t, f.name, dst)
				}
			}
		}
	})
}

func TestDotAndAxpy(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		for _, n := range append([]int{8, 32, 40, 1000}, awkward...) {
			x, y := randomSlice(rng, n), randomSlice(rng, n)
			var want, size float64
			for i, v := range x {
				want += float64(v) * float64(y[i])
				size += math.Abs(float64(v) * float64(y[i]))
			}
			if got := float64(Sdot(x, y)); math.Abs(got-want) > float64(n+4)*0x1p-24*size {
				t.Errorf("Sdot of %d elements = %g, want %g", n, got, want)
			}
			z := guarded(n)
			copy(z[1:], y)
			Saxpy(0.3, x, z[1:n+1])
			for i, v := range z[1 : n+1] {
				want := float32(0.3)*x[i] + y[i]
				if d := math.Abs(float64(v - want)); d > 2*0x1p-24*(math.Abs(float64(x[i]))+math.Abs(float64(y[i]))) {
					t.Errorf("Saxpy at %d of %d = %g, want %g", i, n, v, want)
				}
			}
			checkGuards(t, "Saxpy", z)
		}
		if got := Sdot([]float32{0, 1}, []float32{float32(math.Inf(1)), 2}); got == got {
			t.Errorf("0·Inf + 2 = %g, want NaN", got)
		}
	})
}

// The sum is that of the documented order, to the bit, on both paths.
func TestSumFloat64(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		for _, n := range append([]int{8, 9, 24, 25, 1000}, awkward...) {
			x := randomSlice(rng, n)
			for i := range x {
				x[i] *= float32(math.Exp(10 * rng.NormFloat64()))
			}
			var s [16]float64
			exact := 0.0
			for i, v := range x {
				s[i%16] += float64(v)
				exact += math.Abs(float64(v))
			}
			for step := 8; step >= 4; step /= 2 {
				// Lanes 4 apart first, then 8 apart.
				other := 12 - step
				for i := range 16 {
					if i&other == 0 {
						s[i] += s[i+other]
					}
				}
			}
			want := (s[0] + s[2]) + (s[1] + s[3])
			if got := SumFloat64(x); got != want {
				t.Errorf("sum of %d elements = %v, want %v (difference %g of %g)", n, got, want, got-want, exact)
			}
		}
	})
}

func TestRowMax(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		for _, cols := range awkward {
			for range 50 {
				x := arguments(rng, cols)
				if rng.IntN(2) == 0 { // few of the mixed rows are free of NaN
					x = randomSlice(rng, cols)
				}
				want := float32(math.Inf(-1))
				for _, v := range x {
					want = max(want, v)
				}
				dst := guarded(2)
				RowMax(dst[1:3], append(append([]float32(nil), x...), x...), 2, cols)
				if !same(dst[1], want) || !same(dst[2], want) {
					t.Fatalf("RowMax(%v) = %g, want %g", x, dst[1:3], want)
				}
				checkGuards(t, "RowMax", dst)
			}
		}
	})
}

func TestSoftmaxRows(t *testing.T) {
	const tolerance = 3e-7 // an exponential, a sum and a quotient
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 14))
		for _, cols := range awkward {
			const rows = 5
			x := randomSlice(rng, rows*cols)
			for i := range x {
				if x[i] *= 4; rng.IntN(10) == 0 && cols > 1 && i%cols > 0 {
					x[i] = float32(math.Inf(-1))
				}
			}
			dst := guarded(len(x))
			SoftmaxRows(dst[1:len(x)+1], x, rows, cols)
			inPlace := append([]float32(nil), x...)
			SoftmaxRows(inPlace, inPlace, rows, cols)
			for r := range rows {
				row := x[r*cols:][:cols]
				top, sum := math.Inf(-1), 0.0
				for _, v := range row {
					top = max(top, float64(v))
				}
				for _, v := range row {
					sum += math.Exp(float64(v) - top)
				}
				for i, v := range row {
					want, got := math.Exp(float64(v)-top)/sum, dst[1+r*cols+i]
					// The difference to the largest is rounded to single precision before.
					bound := want * (tolerance + math.Abs(float64(v)-top)*0x1p-24)
					if math.IsInf(float64(v), -1) {
						bound = 0
					}
					if !(math.Abs(float64(got)-want) <= bound) || !same(got, inPlace[r*cols+i]) {
						t.Fatalf("softmax of %g in a row of %d = %g, in place %g, want %g", v, cols, got, inPlace[r*cols+i], want)
					}
				}
			}
			checkGuards(t, "SoftmaxRows", dst)
		}
		inf := float32(math.Inf(1))
		for _, row := range [][]float32{{1, float32(math.NaN()), 2}, {1, inf, 0}, {-inf, -inf}} {
			SoftmaxRows(row, row, 1, len(row))
			nan := false
			for _, v := range row {
				nan = nan || v != v
			}
			if !nan {
				t.Errorf("softmax of a row without a finite maximum = %v, want NaN", row)
			}
		}
	})
}

func TestVectorMisuse(t *testing.T) {
	s := make([]float32, 6)
	for name, call := range map[string]func(){
		"Add":         func() { Add(s, s[:5], s) },
		"Exp":         func() { Exp(s[:3], s) },
		"Sdot":        func() { Sdot(s, s[1:]) },
		"RowMax":      func() { RowMax(s[:3], s, 2, 3) },
		"SoftmaxRows": func() { SoftmaxRows(s, s, 2, 2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

func BenchmarkVector(b *testing.B) {
	for _, n := range []int{64, 4096, 1 << 20} {
		rng := rand.New(rand.NewPCG(1, 1))
		x, y, dst := randomSlice(rng, n), randomSlice(rng, n), make([]float32, n)
		for _, f := range []struct {
			name  string
			bytes int // moved per element
			call  func()
		}{
			{"Add", 12, func() { Add(dst, x, y) }},
			{"Max", 12, func() { Max(dst, x, y) }},
			{"Div", 12, func() { Div(dst, x, y) }},
			{"MulScalar", 8, func() { MulScalar(dst, x, 2) }},
			{"Saxpy", 12, func() { Saxpy(1e-9, x, dst) }},
			{"Sdot", 8, func() { Sdot(x, y) }},
			{"SumFloat64", 4, func() { SumFloat64(x) }},
			{"Exp", 8, func() { Exp(dst, x) }},
			{"Sigmoid", 8, func() { Sigmoid(dst, x) }},
			{"Tanh", 8, func() { Tanh(dst, x) }},
			{"Erf", 8, func() { Erf(dst, x) }},
			{"Log", 8, func() { Log(dst, y) }},
			{"SoftmaxRows", 8, func() { SoftmaxRows(dst, x, n/64, 64) }},
			{"naiveExp", 8, func() {
				for i, v := range x {
					dst[i] = float32(math.Exp(float64(v)))
				}
			}},
			{"naiveAdd", 12, func() {
				for i := range dst {
					dst[i] = x[i] + y[i]
				}
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d", f.name, n), func(b *testing.B) {
				b.SetBytes(int64(f.bytes * n))
				for b.Loop() {
					f.call()
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/float64(n), "ns/element")
			})
		}
	}
}
