package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSiluGelu(t *testing.T) {
	for _, f := range []struct {
		name    string
		fast    func(dst, x []float32)
		formula func(float64) float64
		bound   func(x, want float64) float64
	}{
		{
			"Silu", Silu, func(x float64) float64 { return x / (1 + math.Exp(-x)) },
			func(x, want float64) float64 {
				return 4e-7*math.Abs(want) + (1+math.Abs(x))*math.SmallestNonzeroFloat32
			},
		},
		{
			"Gelu", Gelu, func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) },
			func(x, _ float64) float64 { return 2e-7*math.Abs(x) + math.SmallestNonzeroFloat32 },
		},
	} {
		eachPath(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			x := append(slices.Clone(special), arguments(rng, 1<<14)...)
			for v := float32(-105); v < 105; v += 0.0093 {
				x = append(x, v)
			}
			dst := make([]float32, len(x))
			f.fast(dst, x)
			for i, v := range dst {
				a := float64(x[i])
				want := f.formula(a)
				switch {
				case math.IsInf(a, -1) || a != a:
					if v == v {
						t.Fatalf("%s(%g) = %g, want NaN", f.name, a, v)
					}
				case math.IsInf(want, 1):
					if !math.IsInf(float64(v), 1) {
						t.Fatalf("%s(%g) = %g, want +Inf", f.name, a, v)
					}
				case !(math.Abs(float64(v)-want) <= f.bound(a, want)):
					t.Fatalf("%s(%g) = %g, want %g", f.name, a, v, want)
				}
			}
			// An element does not depend on its place, and the destination may be x.
			for _, n := range awkward {
				from := rng.IntN(len(x) - n)
				part := guarded(n)
				copy(part[1:], x[from:from+n])
				f.fast(part[1:n+1], part[1:n+1])
				for i := range n {
					if !same(part[i+1], dst[from+i]) {
						t.Fatalf("%s(%g) = %g as element %d of %d, %g elsewhere", f.name, x[from+i], part[i+1], i, n, dst[from+i])
					}
				}
				checkGuards(t, f.name, part)
			}
		})
	}
}

// treeSum is the documented order of sums in double precision.
func treeSum(n int, term func(i int) float64) float64 {
	var s [16]float64
	for i := range n {
		s[i%16] += term(i)
	}
	var t [4]float64
	for i := range t {
		t[i] = (s[i] + s[4+i]) + (s[8+i] + s[12+i])
	}
	return (t[0] + t[2]) + (t[1] + t[3])
}

func sameFloat64(a, b float64) bool { return a == b || (a != a && b != b) }

// Sums are those of the documented order, to the bit, on both paths.
func TestWideSums(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, n := range append([]int{8, 9, 24, 25, 1000}, awkward...) {
			for trial := range 10 {
				x, y := randomSlice(rng, n), randomSlice(rng, n)
				if trial == 0 {
					x, y = arguments(rng, n), arguments(rng, n)
				}
				// NaN next to the slices must not be read.
				x, y = guardedCopy(x)[1:n+1], guardedCopy(y)[1:n+1]
				mean := rng.NormFloat64()
				for _, s := range []struct {
					name string
					got  float64
					term func(i int) float64
				}{
					{"SumFloat64", SumFloat64(x), func(i int) float64 { return float64(x[i]) }},
					{"SumSquaresFloat64", SumSquaresFloat64(x), func(i int) float64 { return float64(x[i]) * float64(x[i]) }},
					{"DotFloat64", DotFloat64(x, y), func(i int) float64 { return float64(x[i]) * float64(y[i]) }},
					{"centeredSquares", centeredSquares(x, mean), func(i int) float64 {
						d := float64(x[i]) - mean
						return float64(d * d)
					}},
				} {
					if want := treeSum(n, s.term); !sameFloat64(s.got, want) {
						t.Fatalf("%s of %d elements = %v, want %v", s.name, n, s.got, want)
					}
				}
			}
		}
	})
}

// Norms are their formulas, to the bit, for every length and in place.
func TestNormRows(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, cols := range append([]int{8, 72}, awkward[1:]...) {
			for _, rows := range []int{0, 1, 3} {
				x := randomSlice(rng, rows*cols)
				for i := range x {
					x[i] = x[i]*3 + 100
				}
				gamma, beta := randomSlice(rng, cols), randomSlice(rng, cols)
				checkNormRows(t, rows, cols, x, gamma, beta)
				checkNormRows(t, rows, cols, x, nil, nil)
				checkNormRows(t, rows, cols, x, nil, beta)
			}
		}
	})
}

func checkNormRows(t *testing.T, rows, cols int, x, gamma, beta []float32) {
	t.Helper()
	const eps = 1e-5
	layer, rms := guarded(len(x)), guarded(len(x))
	LayerNormRows(layer[1:len(x)+1], x, gamma, beta, rows, cols, eps)
	RMSNormRows(rms[1:len(x)+1], x, gamma, rows, cols, eps)
	inPlace := slices.Clone(x)
	LayerNormRows(inPlace, inPlace, gamma, beta, rows, cols, eps)
	for r := range rows {
		row := x[r*cols:][:cols]
		n := float64(cols)
		mean := treeSum(cols, func(i int) float64 { return float64(row[i]) }) / n
		variance := treeSum(cols, func(i int) float64 { d := float64(row[i]) - mean; return float64(d * d) }) / n
		square := treeSum(cols, func(i int) float64 { return float64(row[i]) * float64(row[i]) }) / n
		deviation, root := 1/math.Sqrt(variance+eps), 1/math.Sqrt(square+eps)
		for i, v := range row {
			a, b := float32((float64(v)-mean)*deviation), float32(float64(v)*root)
			if gamma != nil {
				a, b = float32(a*gamma[i]), b*gamma[i]
			}
			if beta != nil {
				a += beta[i]
			}
			at := r*cols + i
			if !same(layer[1+at], a) || !same(inPlace[at], a) || !same(rms[1+at], b) {
				t.Fatalf("row of %d, element %d: layer norm %v, in place %v, want %v; RMS norm %v, want %v", cols, i, layer[1+at], inPlace[at], a, rms[1+at], b)
			}
		}
	}
	checkGuards(t, "LayerNormRows", layer)
	checkGuards(t, "RMSNormRows", rms)
}

func TestNormNonFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachPath(t, func(t *testing.T) {
		for _, bad := range []float32{inf, -inf, nan} {
			x := make([]float32, 40)
			x[9], x[25] = bad, 1 // rows of 20: the second is finite
			layer, rms := make([]float32, 40), make([]float32, 40)
			LayerNormRows(layer, x, nil, nil, 2, 20, 1e-6)
			RMSNormRows(rms, x, nil, 2, 20, 1e-6)
			for i := range x {
				if first := i < 20; (layer[i] != layer[i]) != first {
					t.Errorf("layer norm of a row with %g: [%d] = %g", bad, i, layer[i])
				}
				if isNaN := rms[i] != rms[i]; isNaN != (i < 20 && (i == 9 || bad != bad)) {
					t.Errorf("RMS norm of a row with %g: [%d] = %g", bad, i, rms[i])
				}
			}
		}
	})
}

func TestNormMisuse(t *testing.T) {
	s := make([]float32, 6)
	for name, call := range map[string]func(){
		"rows":  func() { LayerNormRows(s, s, nil, nil, 2, 2, 0) },
		"gamma": func() { RMSNormRows(s, s, s, 2, 3, 0) },
		"beta":  func() { LayerNormRows(s, s, nil, s[:2], 2, 3, 0) },
		"dot":   func() { DotFloat64(s, s[1:]) },
		"gelu":  func() { Gelu(s, s[1:]) },
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

func BenchmarkNorm(b *testing.B) {
	const rows, cols = 2048, 512
	rng := rand.New(rand.NewPCG(1, 1))
	x, y, gamma := randomSlice(rng, rows*cols), make([]float32, rows*cols), randomSlice(rng, cols)
	for _, f := range []struct {
		name string
		call func()
	}{
		{"LayerNormRows", func() { LayerNormRows(y, x, gamma, gamma, rows, cols, 1e-5) }},
		{"RMSNormRows", func() { RMSNormRows(y, x, gamma, rows, cols, 1e-5) }},
		{"RMSNormStepsRows", func() { RMSNormStepsRows(y, x, gamma, rows, cols, 1./cols, 1e-5) }},
		{"SoftmaxRows", func() { SoftmaxRows(y, x, rows, cols) }},
		{"Gelu", func() { Gelu(y, x) }},
		{"Silu", func() { Silu(y, x) }},
		{"SumSquaresFloat64", func() { SumSquaresFloat64(x) }},
		{"DotFloat64", func() { DotFloat64(x, y) }},
	} {
		for _, path := range []string{"avx2", "go"} {
			if path == "avx2" && !useAVX2 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%s", f.name, path), func(b *testing.B) {
				defer func(was bool) { useAVX2 = was }(useAVX2)
				useAVX2 = path == "avx2"
				b.SetBytes(rows * cols * 4)
				for b.Loop() {
					f.call()
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/rows/cols, "ns/element")
			})
		}
	}
}
