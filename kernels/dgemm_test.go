package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

func randomWide(rng *rand.Rand, n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = rng.NormFloat64()
	}
	return s
}

// dgemmCase is one product with its operands.
type dgemmCase struct {
	transA, transB, accumulate bool
	m, n, k, lda, ldb, ldc     int
	alpha                      float64
	a, b, c                    []float64
}

func newDgemmCase(rng *rand.Rand, m, n, k, pad int) *dgemmCase {
	g := &dgemmCase{m: m, n: n, k: k, alpha: []float64{1, -1, 0.37}[rng.IntN(3)]}
	g.transA, g.transB, g.accumulate = rng.IntN(2) == 1, rng.IntN(2) == 1, rng.IntN(2) == 1
	rowsA, colsA, rowsB, colsB := m, k, k, n
	if g.transA {
		rowsA, colsA = k, m
	}
	if g.transB {
		rowsB, colsB = n, k
	}
	g.lda, g.ldb, g.ldc = colsA+pad, colsB+pad, n+pad
	g.a, g.b = randomWide(rng, rowsA*g.lda), randomWide(rng, rowsB*g.ldb)
	g.c = randomWide(rng, m*g.ldc)
	for i := range g.c {
		if i%g.ldc >= n {
			g.c[i] = float64(guard)
		}
	}
	return g
}

func (g *dgemmCase) String() string {
	return fmt.Sprintf("transA=%t transB=%t accumulate=%t alpha=%v m=%d n=%d k=%d ldc=%d", g.transA, g.transB, g.accumulate, g.alpha, g.m, g.n, g.k, g.ldc)
}

func (g *dgemmCase) at(i, p int) float64 {
	if g.transA {
		return g.a[p*g.lda+i]
	}
	return g.a[i*g.lda+p]
}

func (g *dgemmCase) bt(p, j int) float64 {
	if g.transB {
		return g.b[j*g.ldb+p]
	}
	return g.b[p*g.ldb+j]
}

func (g *dgemmCase) run() []float64 {
	c := slices.Clone(g.c)
	Dgemm(g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, c, g.ldc, g.accumulate)
	return c
}

// check compares with the plain sum and with ParallelDgemm, and looks at what lies
// beyond the columns of C.
func (g *dgemmCase) check(t *testing.T) {
	t.Helper()
	got := g.run()
	// k+2 roundings, each of at most 2⁻⁵³ of the running magnitude; so in the naive sum.
	tolerance := 2 * float64(g.k+3) * 0x1p-53
	for x, v := range got {
		i, j := x/g.ldc, x%g.ldc
		if j >= g.n {
			if v != float64(guard) {
				t.Fatalf("%v: wrote %v outside of the columns at row %d, column %d", g, v, i, j)
			}
			continue
		}
		var want, size float64
		for p := range g.k {
			want += g.at(i, p) * g.bt(p, j)
			size += math.Abs(g.at(i, p) * g.bt(p, j))
		}
		want, size = g.alpha*want, math.Abs(g.alpha)*size
		if g.accumulate {
			want, size = want+g.c[x], size+math.Abs(g.c[x])
		}
		if d := math.Abs(v - want); !(d <= tolerance*size) {
			t.Fatalf("%v: C[%d,%d] = %v, want %v (tolerance %g)", g, i, j, v, want, tolerance*size)
		}
	}
	parallel := slices.Clone(g.c)
	ParallelDgemm(g.transA, g.transB, g.m, g.n, g.k, g.alpha, g.a, g.lda, g.b, g.ldb, parallel, g.ldc, g.accumulate)
	if !slices.Equal(parallel, got) {
		t.Fatalf("%v: several threads give other bits", g)
	}
}

func TestDgemm(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 3))
		sizes := []int{0, 1, 2, 3, 5, 6, 7, 8, 9, 13, 16, 31}
		for _, m := range sizes {
			for _, n := range sizes {
				for _, k := range sizes {
					newDgemmCase(rng, m, n, k, rng.IntN(4)).check(t)
				}
			}
		}
		for _, s := range [][3]int{{1, 17, 700}, {7, 600, 40}, {130, 33, 300}, {250, 530, 70}, {500, 20, 64}, {12, 1040, 260}} {
			for range 3 {
				newDgemmCase(rng, s[0], s[1], s[2], rng.IntN(4)).check(t)
			}
		}
	})
}

// Each element is the blocked sum that the contract describes, exactly.
func TestDgemmOrder(t *testing.T) {
	if !useAVX2 {
		t.Skip("the fused order is that of the AVX2 path")
	}
	rng := rand.New(rand.NewPCG(3, 5))
	for _, k := range []int{1, 5, 255, 256, 257, 700} {
		g := newDgemmCase(rng, 13, 19, k, 1)
		got := g.run()
		for i := range g.m {
			for j := range g.n {
				c, add := g.c[i*g.ldc+j], g.accumulate
				for from := 0; from < k; from += dgemmKC {
					var s float64
					for p := from; p < min(from+dgemmKC, k); p++ {
						s = math.FMA(g.at(i, p), g.bt(p, j), s)
					}
					if add {
						c = math.FMA(g.alpha, s, c)
					} else {
						c = g.alpha * s
					}
					add = true
				}
				if got[i*g.ldc+j] != c {
					t.Fatalf("%v: C[%d,%d] = %v, the sum in order is %v", g, i, j, got[i*g.ldc+j], c)
				}
			}
		}
	}
}

// A block of C has the same bits alone and within the whole, on any number of threads.
func TestDgemmIndependence(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 7))
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		for _, s := range [][3]int{{25, 20, 17}, {300, 70, 270}, {40, 600, 90}} {
			for _, threads := range []int{1, 2, 7} {
				runtime.GOMAXPROCS(threads)
				g := newDgemmCase(rng, s[0], s[1], s[2], rng.IntN(3))
				whole := g.run()
				for range 8 {
					part := *g
					i, j := rng.IntN(g.m), rng.IntN(g.n)
					part.m, part.n = 1+rng.IntN(g.m-i), 1+rng.IntN(g.n-j)
					ar, bs := i*g.lda, j
					if g.transA {
						ar = i
					}
					if g.transB {
						bs = j * g.ldb
					}
					part.a, part.b, part.c = g.a[ar:], g.b[bs:], g.c[i*g.ldc+j:]
					got := part.run()
					for r := range part.m {
						if !slices.Equal(got[r*g.ldc:][:part.n], whole[(i+r)*g.ldc+j:][:part.n]) {
							t.Fatalf("%v: row %d differs when %d×%d elements from [%d, %d] are computed alone", g, r, part.m, part.n, i, j)
						}
					}
				}
			}
		}
	})
}

func TestDgemmSpecialValues(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		a := []float64{1, math.NaN(), math.Inf(1), 2}
		b := []float64{1, 0, 0, 1}
		c := make([]float64, 4)
		Dgemm(false, false, 2, 2, 2, 1, a, 2, b, 2, c, 2, false)
		for i, nan := range []bool{true, true, false, true} { // ∞·1 + 2·0 and ∞·0 + 2·1
			if math.IsNaN(c[i]) != nan {
				t.Errorf("element %d is %v", i, c[i])
			}
		}
	})
}

// FuzzDgemm compares any sizes, strides and contents with the plain sum, which sees
// writes outside C, and the assembly with plain Go through it.
func FuzzDgemm(f *testing.F) {
	f.Add(uint64(1), uint16(6), uint16(8), uint16(4), uint8(0))
	f.Add(uint64(2), uint16(131), uint16(9), uint16(259), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k uint16, pad uint8) {
		eachPath(t, func(t *testing.T) {
			newDgemmCase(rand.New(rand.NewPCG(seed, 1)), int(m%300), int(n%300), int(k%600), int(pad%9)).check(t)
		})
	})
}

// BenchmarkDgemm multiplies squares and the shapes of factorizations: assembly, plain
// Go and gonum.
func BenchmarkDgemm(b *testing.B) {
	for _, s := range []struct {
		transA, transB bool
		m, n, k        int
	}{
		{false, false, 512, 512, 512},
		{false, false, 1024, 1024, 1024},
		{false, true, 2048, 128, 1024},
		{true, false, 128, 1536, 1024},
		{false, true, 256, 128, 128},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		x, y, c := randomWide(rng, s.m*s.k), randomWide(rng, s.k*s.n), make([]float64, s.m*s.n)
		lda, ldb, ta, tb := s.k, s.n, blas.NoTrans, blas.NoTrans
		if s.transA {
			lda, ta = s.m, blas.Trans
		}
		if s.transB {
			ldb, tb = s.k, blas.Trans
		}
		bench := func(path string, call func()) {
			b.Run(fmt.Sprintf("%s/%dx%dx%d-%t-%t", path, s.m, s.n, s.k, s.transA, s.transB), func(b *testing.B) {
				for b.Loop() {
					call()
				}
				b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
		one := func() { Dgemm(s.transA, s.transB, s.m, s.n, s.k, 1, x, lda, y, ldb, c, s.n, false) }
		bench("one", one)
		bench("threads", func() { ParallelDgemm(s.transA, s.transB, s.m, s.n, s.k, 1, x, lda, y, ldb, c, s.n, false) })
		if s.m*s.n*s.k > 1<<28 {
			continue
		}
		bench("go", func() {
			defer func(fast bool) { useAVX2 = fast }(useAVX2)
			useAVX2 = false
			one()
		})
		bench("gonum", func() { gonum.Implementation{}.Dgemm(ta, tb, s.m, s.n, s.k, 1, x, lda, y, ldb, 0, c, s.n) })
	}
}
