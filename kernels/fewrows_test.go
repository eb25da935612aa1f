package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
)

// lanesProduct is one element of a few-row product as its contract says.
func lanesProduct(x, w []float32) float32 {
	var s [16]float32
	for p, v := range x {
		if useAVX2 {
			s[p%16] = fma32(v, w[p], s[p%16])
		} else {
			s[p%16] += float32(v * w[p])
		}
	}
	for i := range 8 {
		s[i] += s[i+8]
	}
	return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
}

// Every element is the sum in the documented order, to the bit: so it depends on
// its own row and column alone, for any number of rows, columns and threads.
func TestSgemmFewRows(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, m := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13} {
			for _, n := range []int{0, 1, 3, 4, 5, 8, 13, 30} {
				for _, k := range append([]int{8, 9, 23, 1000}, awkward...) {
					checkFewRows(t, rng, m, n, k)
				}
			}
		}
		checkFewRows(t, rng, 5, 301, 700)
		for _, threads := range []int{1, 2, 7} {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
			checkFewRows(t, rng, 3, 501, 700)
		}
	})
}

func checkFewRows(t *testing.T, rng *rand.Rand, m, n, k int) {
	t.Helper()
	ldx, ldw, ldy := k+rng.IntN(4), k+rng.IntN(4), n+1+rng.IntN(3)
	x, w := guardedCopy(randomSlice(rng, m*ldx)), guardedCopy(randomSlice(rng, n*ldw))
	y := make([]float32, 1+m*ldy)
	for i := range y {
		y[i] = guard
	}
	ParallelSgemmFewRows(m, n, k, x[1:1+m*ldx], ldx, w[1:1+n*ldw], ldw, y[1:], ldy)
	if y[0] != guard {
		t.Fatalf("m=%d n=%d k=%d: wrote before the destination", m, n, k)
	}
	for i := range m {
		for j := range ldy {
			got := y[1+i*ldy+j]
			if j >= n {
				if got != guard {
					t.Fatalf("m=%d n=%d k=%d: wrote %v behind row %d", m, n, k, got, i)
				}
				continue
			}
			if want := lanesProduct(x[1+i*ldx:][:k], w[1+j*ldw:][:k]); !same(got, want) {
				t.Fatalf("m=%d n=%d k=%d: y[%d,%d] = %v, want %v", m, n, k, i, j, got, want)
			}
		}
	}
}

// guardedCopy puts NaN on both sides of x, so that reading outside shows.
func guardedCopy(x []float32) []float32 {
	nan := float32(math.NaN())
	return append(append([]float32{nan}, x...), nan)
}

func TestSgemmFewRowsNonFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachPath(t, func(t *testing.T) {
		const n, k = 7, 11
		x, w, y := make([]float32, 2*k), make([]float32, n*k), make([]float32, 2*n)
		x[k+10], w[2*k+9], w[5*k] = inf, nan, 1
		SgemmFewRows(2, n, k, x, k, w, k, y, n)
		for i, v := range y {
			if wantNaN := i >= n || i == 2; wantNaN != (v != v) {
				t.Errorf("y[%d,%d] = %v", i/n, i%n, v)
			}
		}
		y[0] = 1
		SgemmFewRows(1, 1, 0, nil, 0, nil, 0, y, 1)
		if y[0] != 0 {
			t.Errorf("an empty sum is %v, want 0", y[0])
		}
	})
}

func FuzzSgemmFewRows(f *testing.F) {
	f.Add(uint64(1), uint8(1), uint8(17), uint16(400))
	f.Fuzz(func(t *testing.T, seed uint64, m, n uint8, k uint16) {
		eachPath(t, func(t *testing.T) {
			checkFewRows(t, rand.New(rand.NewPCG(seed, 0)), int(m)%10, int(n)%70, int(k)%900)
		})
	})
}

// BenchmarkFewRows multiplies one to eight rows with 2048×2048 weights. The
// weights of copies are used in turn, so that they come from memory (copies=16)
// or the last cache (copies=1). read only sums the same weights: what the memory
// gives.
func BenchmarkFewRows(b *testing.B) {
	const n, k = 2048, 2048
	rng := rand.New(rand.NewPCG(1, 1))
	w := make([][]float32, 16)
	for i := range w {
		w[i] = randomSlice(rng, n*k/16)
		for len(w[i]) < n*k {
			w[i] = append(w[i], w[i]...)
		}
	}
	x, y := randomSlice(rng, 8*k), make([]float32, 8*n)
	for _, copies := range []int{1, 16} {
		run := func(name string, flops int, f func(w []float32)) {
			b.Run(fmt.Sprintf("%s/copies=%d", name, copies), func(b *testing.B) {
				b.SetBytes(n * k * 4)
				for i := 0; b.Loop(); i++ {
					f(w[i%copies])
				}
				b.ReportMetric(float64(flops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
		run("read", n*k, readAll)
		for m := 1; m <= 8; m++ {
			run(fmt.Sprintf("m=%d", m), 2*m*n*k, func(w []float32) { ParallelSgemmFewRows(m, n, k, x, k, w, k, y, n) })
		}
		run("sgemm/m=1", 2*n*k, func(w []float32) { Sgemm(false, true, 1, n, k, x, k, w, k, y, n, false) })
	}
}

// readAll reads x once, on all threads.
func readAll(x []float32) {
	threads := runtime.GOMAXPROCS(0)
	split(threads, func(i int) {
		part := x[len(x)*i/threads : len(x)*(i+1)/threads]
		readSink.Store(math.Float32bits(Sdot(part[:len(part)/2], part[len(part)/2:])))
	})
}

// readSink keeps what is read from being left out.
var readSink atomic.Uint32
