package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// sameSlices reports the first place at which two results differ in a bit.
func sameSlices(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i, v := range got {
		if !same(v, want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", name, i, v, want[i])
		}
	}
}

// packed is the operand in the documented layout.
func (g *gemmCase) packed() []float32 {
	p := make([]float32, PackedSize(g.k, g.n))
	for j := range (g.n + PanelColumns - 1) / PanelColumns * PanelColumns {
		for q := range g.k {
			if j < g.n {
				p[j/PanelColumns*PanelColumns*g.k+q*PanelColumns+j%PanelColumns] = g.bt(q, j)
			}
		}
	}
	return p
}

// All forms of a product give the bits of Sgemm, for any number of threads, and
// write nothing else (guards lie between the rows of C).
func checkForms(t *testing.T, g *gemmCase) {
	t.Helper()
	want := g.run()
	packed := make([]float32, PackedSize(g.k, g.n))
	for i := range packed {
		packed[i] = float32(math.NaN())
	}
	PackColumns(packed, g.transB, g.k, g.n, g.b, g.ldb)
	sameSlices(t, g.String()+": PackColumns", packed, g.packed())
	for name, form := range map[string]func(c []float32){
		"SgemmPacked": func(c []float32) {
			SgemmPacked(g.transA, g.m, g.n, g.k, g.a, g.lda, packed, c, g.ldc, g.accumulate)
		},
		"SgemmPacked in columns": func(c []float32) {
			for j := 0; j < g.n; j += PanelColumns {
				SgemmPacked(g.transA, g.m, min(PanelColumns, g.n-j), g.k, g.a, g.lda, packed[j*g.k:], c[min(j, len(c)):], g.ldc, g.accumulate)
			}
		},
		"ParallelSgemmPacked": func(c []float32) {
			ParallelSgemmPacked(g.transA, g.m, g.n, g.k, g.a, g.lda, packed, c, g.ldc, g.accumulate)
		},
		"ParallelSgemm": func(c []float32) {
			ParallelSgemm(g.transA, g.transB, g.m, g.n, g.k, g.a, g.lda, g.b, g.ldb, c, g.ldc, g.accumulate)
		},
	} {
		c := slices.Clone(g.c)
		form(c)
		sameSlices(t, fmt.Sprintf("%v: %s", g, name), c, want)
	}
}

func TestPackedAndParallel(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, threads := range []int{1, 2, 7} {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
			for _, m := range []int{0, 1, 5, 16, 33} {
				for _, n := range []int{0, 1, 15, 16, 40} {
					for _, k := range []int{0, 1, 3, 17, 64, 400} {
						checkForms(t, newGemmCase(rng, m, n, k, rng.IntN(4)))
					}
				}
			}
			for _, s := range [][3]int{{200, 90, 100}, {97, 530, 70}, {1, 700, 900}, {300, 17, 390}} {
				checkForms(t, newGemmCase(rng, s[0], s[1], s[2], rng.IntN(4)))
			}
		}
	})
}

// With more columns than are packed at a time, the blocks meet without a seam.
func TestParallelSgemmInBlocks(t *testing.T) {
	if testing.Short() || !useAVX2 {
		t.Skip("a large product")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	k := packedBlock / 32
	g := newGemmCase(rand.New(rand.NewPCG(1, 2)), 1, 70, k, 0)
	want := g.run()
	c := slices.Clone(g.c)
	ParallelSgemm(g.transA, g.transB, g.m, g.n, g.k, g.a, g.lda, g.b, g.ldb, c, g.ldc, g.accumulate)
	sameSlices(t, g.String(), c, want)
}

// A batch is its products, one by one.
func TestSgemmBatch(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
		for _, batch := range []int{0, 1, 3, 9} {
			for _, size := range []int{0, 1, 7, 50} {
				m, n, k := size, size+rng.IntN(5), size+rng.IntN(5)
				transA, transB := rng.IntN(2) == 1, rng.IntN(2) == 1
				lda, ldb, ldc := max(m, k)+rng.IntN(3), max(n, k)+rng.IntN(3), n+rng.IntN(3)
				strideA, strideB, strideC := max(m, k)*lda, rng.IntN(2)*max(n, k)*ldb, m*ldc+rng.IntN(3)
				a := randomSlice(rng, max(1, batch)*max(m, k)*lda)
				b := randomSlice(rng, max(1, batch)*max(n, k)*ldb)
				want := randomSlice(rng, batch*strideC+1)
				serial, parallel := slices.Clone(want), slices.Clone(want)
				for i := range batch {
					Sgemm(transA, transB, m, n, k, a[i*strideA:], lda, b[i*strideB:], ldb, want[i*strideC:], ldc, true)
				}
				SgemmBatch(batch, transA, transB, m, n, k, a, lda, strideA, b, ldb, strideB, serial, ldc, strideC, true)
				ParallelSgemmBatch(batch, transA, transB, m, n, k, a, lda, strideA, b, ldb, strideB, parallel, ldc, strideC, true)
				sameSlices(t, "SgemmBatch", serial, want)
				sameSlices(t, "ParallelSgemmBatch", parallel, want)
			}
		}
	})
}

func TestPackedMisuse(t *testing.T) {
	s := make([]float32, 40)
	for name, call := range map[string]func(){
		"short destination": func() { PackColumns(s, false, 3, 3, s, 3) },
		"short B":           func() { PackColumns(make([]float32, 100), true, 5, 9, s, 5) },
		"short packed":      func() { SgemmPacked(false, 1, 3, 3, s, 3, s, s, 3, false) },
		"short A":           func() { SgemmPacked(false, 30, 1, 2, s, 2, s, s, 1, false) },
		"overlap":           func() { SgemmBatch(2, false, false, 2, 2, 2, s, 2, 4, s, 2, 4, s, 2, 3, false) },
		"negative stride":   func() { SgemmBatch(2, false, false, 2, 2, 2, s, 2, -4, s, 2, 4, s, 2, 4, false) },
		"short batch":       func() { SgemmBatch(20, false, false, 2, 2, 2, s, 2, 4, s, 2, 4, make([]float32, 80), 2, 4, false) },
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

func FuzzPacked(f *testing.F) {
	f.Add(uint64(1), uint8(7), uint8(17), uint16(400))
	f.Fuzz(func(t *testing.T, seed uint64, m, n uint8, k uint16) {
		checkForms(t, newGemmCase(rand.New(rand.NewPCG(seed, 0)), int(m)%70, int(n)%70, int(k)%900, int(seed%5)))
	})
}

// BenchmarkParallelSgemm multiplies square matrices on all threads; packed leaves
// out packing B.
func BenchmarkParallelSgemm(b *testing.B) {
	for _, n := range []int{512, 1024, 2048} {
		rng := rand.New(rand.NewPCG(1, 1))
		x, y, c := randomSlice(rng, n*n), randomSlice(rng, n*n), make([]float32, n*n)
		packed := make([]float32, PackedSize(n, n))
		PackColumns(packed, false, n, n, y, n)
		for _, f := range []struct {
			name string
			call func()
		}{
			{"plain", func() { ParallelSgemm(false, false, n, n, n, x, n, y, n, c, n, false) }},
			{"transposed", func() { ParallelSgemm(false, true, n, n, n, x, n, y, n, c, n, false) }},
			{"packed", func() { ParallelSgemmPacked(false, n, n, n, x, n, packed, c, n, false) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", f.name, n), func(b *testing.B) {
				for b.Loop() {
					f.call()
				}
				b.ReportMetric(2*float64(n)*float64(n)*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
