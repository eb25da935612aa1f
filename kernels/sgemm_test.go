package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// awkward are sizes around the tile (6×16), its remainders and nothing.
var awkward = []int{0, 1, 2, 3, 5, 6, 7, 15, 16, 17, 31, 33, 64, 100}

// guard is a value that no test computes, put around destinations.
const guard = float32(-12345.75)

// eachPath runs a test with the assembly, when there is any, and without.
func eachPath(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if useAVX2 {
		t.Run("avx2", test)
		defer func() { useAVX2 = true }()
	}
	useAVX2 = false
	t.Run("go", test)
}

func randomSlice(rng *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(rng.NormFloat64())
	}
	return s
}

// gemmCase is one product with its operands and expected result.
type gemmCase struct {
	transA, transB, accumulate  bool
	m, n, k, lda, ldb, ldc, pad int
	a, b, c                     []float32
}

func newGemmCase(rng *rand.Rand, m, n, k, pad int) *gemmCase {
	g := &gemmCase{m: m, n: n, k: k, pad: pad}
	g.transA, g.transB, g.accumulate = rng.IntN(2) == 1, rng.IntN(2) == 1, rng.IntN(2) == 1
	rowsA, colsA, rowsB, colsB := m, k, k, n
	if g.transA {
		rowsA, colsA = k, m
	}
	if g.transB {
		rowsB, colsB = n, k
	}
	g.lda, g.ldb, g.ldc = colsA+pad, colsB+pad, n+pad
	g.a, g.b = randomSlice(rng, rowsA*g.lda), randomSlice(rng, rowsB*g.ldb)
	g.c = make([]float32, m*g.ldc)
	for i := range g.c {
		g.c[i] = guard
		if i%g.ldc < n {
			g.c[i] = float32(rng.NormFloat64())
		}
	}
	return g
}

func (g *gemmCase) String() string {
	return fmt.Sprintf("transA=%t transB=%t accumulate=%t m=%d n=%d k=%d pad=%d", g.transA, g.transB, g.accumulate, g.m, g.n, g.k, g.pad)
}

func (g *gemmCase) at(i, p int) float32 {
	if g.transA {
		return g.a[p*g.lda+i]
	}
	return g.a[i*g.lda+p]
}

func (g *gemmCase) bt(p, j int) float32 {
	if g.transB {
		return g.b[j*g.ldb+p]
	}
	return g.b[p*g.ldb+j]
}

// naive is one element in float64, with the sum of magnitudes that bounds its error.
func (g *gemmCase) naive(i, j int) (sum, size float64) {
	if g.accumulate {
		sum = float64(g.c[i*g.ldc+j])
		size = math.Abs(sum)
	}
	for p := range g.k {
		v := float64(g.at(i, p)) * float64(g.bt(p, j))
		sum += v
		size += math.Abs(v)
	}
	return sum, size
}

func (g *gemmCase) run() []float32 {
	c := append([]float32(nil), g.c...)
	Sgemm(g.transA, g.transB, g.m, g.n, g.k, g.a, g.lda, g.b, g.ldb, c, g.ldc, g.accumulate)
	return c
}

func (g *gemmCase) check(t *testing.T) {
	t.Helper()
	got := g.run()
	// k+1 roundings, each of at most 2⁻²⁴ of the running magnitude; FMA halves that.
	tolerance := float64(g.k+2) * 0x1p-24
	for x, v := range got {
		i, j := x/g.ldc, x%g.ldc
		if j >= g.n {
			if v != guard {
				t.Fatalf("%v: wrote %v outside of the columns at row %d, column %d", g, v, i, j)
			}
			continue
		}
		want, size := g.naive(i, j)
		if d := math.Abs(float64(v) - want); !(d <= tolerance*size) {
			t.Fatalf("%v: C[%d,%d] = %v, want %v (tolerance %g)", g, i, j, v, want, tolerance*size)
		}
	}
}

func TestSgemm(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, m := range awkward {
			for _, n := range awkward {
				for _, k := range awkward {
					newGemmCase(rng, m, n, k, rng.IntN(4)).check(t)
				}
			}
		}
		for _, s := range [][3]int{{1, 17, 1500}, {7, 600, 40}, {200, 33, 800}, {40, 530, 770}, {1000, 20, 64}, {12, 1040, 390}} {
			for range 4 {
				newGemmCase(rng, s[0], s[1], s[2], rng.IntN(4)).check(t)
			}
		}
	})
}

// Each element is the blocked sum that the contract describes, exactly.
func TestSgemmOrder(t *testing.T) {
	if !useAVX2 {
		t.Skip("the fused order is that of the AVX2 path")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, k := range []int{1, 5, 383, 384, 385, 1000} {
		g := newGemmCase(rng, 13, 35, k, 1)
		got := g.run()
		for i := range g.m {
			for j := range g.n {
				var c float32
				if g.accumulate {
					c = g.c[i*g.ldc+j]
				}
				for from := 0; from < k; from += gemmKC {
					var s float32
					for p := from; p < min(from+gemmKC, k); p++ {
						s = fma32(g.at(i, p), g.bt(p, j), s)
					}
					if from > 0 || g.accumulate {
						s += c
					}
					c = s
				}
				if got[i*g.ldc+j] != c {
					t.Fatalf("%v: C[%d,%d] = %v, the sum in order is %v", g, i, j, got[i*g.ldc+j], c)
				}
			}
		}
	}
}

// fma32 is x·y+z rounded once: the product is exact in float64, and rounding the
// sum to odd there makes the second rounding harmless.
func fma32(x, y, z float32) float32 {
	p := float64(x) * float64(y)
	s := p + float64(z)
	t := s - p
	rest := (p - (s - t)) + (float64(z) - t)
	if bits := math.Float64bits(s); rest != 0 && bits&1 == 0 {
		if (rest > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}

// A row has the same bits alone, among few rows and among all.
func TestSgemmRowIndependence(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, s := range [][3]int{{25, 20, 17}, {131, 35, 400}, {40, 16, 90}, {200, 70, 33}} {
			for range 8 {
				g := newGemmCase(rng, s[0], s[1], s[2], rng.IntN(3))
				whole := g.run()
				for _, rows := range []int{1, 2, 3, 5, 6, 11, 13} {
					from := rng.IntN(g.m - rows)
					part := *g
					part.m = rows
					part.c = g.c[from*g.ldc : (from+rows)*g.ldc]
					first := from * g.lda
					if g.transA {
						first = from
					}
					part.a = g.a[first:]
					for x, v := range part.run() {
						if want := whole[from*g.ldc+x]; math.Float32bits(v) != math.Float32bits(want) {
							t.Fatalf("%v: rows %d to %d alone give %v, want %v", g, from, from+rows, v, want)
						}
					}
				}
			}
		}
	})
}

// Zeros are not skipped: 0·Inf and 0·NaN reach exactly the elements they belong to.
func TestSgemmNonFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachPath(t, func(t *testing.T) {
		for _, size := range []int{1, 7, 16, 23} {
			for _, transB := range []bool{false, true} {
				a, b, c := make([]float32, size*size), make([]float32, size*size), make([]float32, size*size)
				a[0] = inf           // row 0 of A·0 is NaN
				b[size*size-1] = nan // the last column of B
				Sgemm(false, transB, size, size, size, a, size, b, size, c, size, false)
				for x, v := range c {
					if wantNaN := x/size == 0 || x%size == size-1; wantNaN != (v != v) || (!wantNaN && v != 0) {
						t.Fatalf("size %d: C[%d,%d] = %v", size, x/size, x%size, v)
					}
				}
			}
		}
		c := []float32{0}
		Sgemm(false, false, 1, 1, 2, []float32{inf, 1}, 2, []float32{2, 1}, 1, c, 1, false)
		if c[0] != inf {
			t.Errorf("inf·2 + 1 = %v, want +Inf", c[0])
		}
	})
}

func TestSgemmMisuse(t *testing.T) {
	s := make([]float32, 6)
	for name, call := range map[string]func(){
		"negative": func() { Sgemm(false, false, -1, 1, 1, s, 1, s, 1, s, 1, false) },
		"short A":  func() { Sgemm(false, false, 3, 1, 3, s, 3, s, 1, s, 1, false) },
		"stride B": func() { Sgemm(false, true, 2, 2, 3, s, 3, s, 2, s, 2, false) },
		"short C":  func() { Sgemm(false, false, 3, 3, 1, s, 1, s, 3, s, 3, false) },
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

func TestSgemmAllocations(t *testing.T) {
	g := newGemmCase(rand.New(rand.NewPCG(7, 8)), 50, 37, 70, 0)
	c := append([]float32(nil), g.c...)
	n := testing.AllocsPerRun(50, func() {
		Sgemm(g.transA, g.transB, g.m, g.n, g.k, g.a, g.lda, g.b, g.ldb, c, g.ldc, false)
	})
	if n > 0 {
		t.Errorf("%v allocations per call, want none", n)
	}
}

func FuzzSgemm(f *testing.F) {
	f.Add(uint64(1), uint8(7), uint8(17), uint16(400))
	f.Fuzz(func(t *testing.T, seed uint64, m, n uint8, k uint16) {
		rng := rand.New(rand.NewPCG(seed, 0))
		newGemmCase(rng, int(m)%70, int(n)%70, int(k)%900, rng.IntN(5)).check(t)
	})
}

func naiveSgemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	for i := range m {
		for j := range n {
			var s float32
			for p := range k {
				x, y := i*lda+p, p*ldb+j
				if transA {
					x = p*lda + i
				}
				if transB {
					y = j*ldb + p
				}
				s += a[x] * b[y]
			}
			c[i*ldc+j] = s
		}
	}
}

func BenchmarkSgemm(b *testing.B) {
	for _, s := range []struct {
		name           string
		transA, transB bool
		m, n, k        int
	}{
		{"linear", false, true, 1536, 128, 128},
		{"linear", false, true, 1536, 384, 128},
		{"linear", false, true, 1536, 128, 384},
		{"linear", false, true, 1536, 64, 64},
		{"linear", false, true, 1536, 16, 64},
		{"inputgrad", false, false, 1536, 128, 384},
		{"weightgrad", true, false, 128, 128, 1536},
		{"weightgrad", true, false, 64, 64, 1536},
		{"weightgrad", true, false, 384, 128, 1536},
		{"weightgrad", true, false, 192, 64, 1536},
		{"weightgrad", true, false, 256, 64, 1536},
		{"weightgrad", true, false, 512, 128, 1536},
		{"scores", false, true, 192, 192, 16},
		{"scores", false, true, 192, 192, 32},
		{"scores", false, true, 90, 90, 16},
		{"attention", false, false, 192, 32, 192},
		{"attention", false, false, 192, 16, 192},
		{"attentiongrad", true, false, 192, 32, 192},
		{"square", false, false, 512, 512, 512},
		{"square", false, false, 1024, 1024, 1024},
		{"squareBT", false, true, 1024, 1024, 1024},
		{"squareAT", true, false, 1024, 1024, 1024},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		x, y, c := randomSlice(rng, s.m*s.k), randomSlice(rng, s.k*s.n), make([]float32, s.m*s.n)
		lda, ldb := s.k, s.n
		if s.transA {
			lda = s.m
		}
		if s.transB {
			ldb = s.k
		}
		bench := func(path string, call func()) {
			b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", path, s.name, s.m, s.n, s.k), func(b *testing.B) {
				for b.Loop() {
					call()
				}
				b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
		bench("fast", func() { Sgemm(s.transA, s.transB, s.m, s.n, s.k, x, lda, y, ldb, c, s.n, false) })
		if s.m*s.n*s.k < 1<<28 {
			bench("naive", func() { naiveSgemm(s.transA, s.transB, s.m, s.n, s.k, x, lda, y, ldb, c, s.n) })
		}
	}
}
