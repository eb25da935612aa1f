package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// blockedSum is one element of a sum over tokens as the contract of AddGram says.
func blockedSum(h float64, y, x, a []float32, cols, i, j int) float64 {
	var block float64
	read := 0
	for t := 0; t*cols < len(x); t++ {
		weight := float32(1)
		if a != nil {
			weight = a[t]
		}
		if weight == 0 {
			continue
		}
		u, v := float64(weight)*float64(y[t*cols+i]), float64(x[t*cols+j])
		if useAVX2 {
			block = math.FMA(u, v, block)
		} else {
			block += float64(u * v)
		}
		if read++; read%dgemmKC == 0 {
			h, block = h+block, 0
		}
	}
	if read%dgemmKC != 0 {
		h += block
	}
	return h
}

// Every element is the sum in the documented order, to the bit, with any weights and
// for any number of threads.
func TestGramOrder(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, threads := range []int{1, 2, 7} {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
			for _, cols := range []int{1, 5, 6, 7, 8, 13, 48, 50} {
				for _, n := range []int{0, 1, 9, 300} {
					checkGram(t, rng, n, cols)
				}
			}
			checkGram(t, rng, 60, 150)
		}
		checkGram(t, rng, 20, 530) // more columns than are packed at a time
	})
}

func checkGram(t *testing.T, rng *rand.Rand, n, cols int) {
	t.Helper()
	x, y := guardedCopy(randomSlice(rng, n*cols)), guardedCopy(randomSlice(rng, n*cols))
	x, y = x[1:len(x)-1], y[1:len(y)-1]
	var a []float32
	if rng.IntN(3) > 0 {
		a = randomSlice(rng, n)
		for i := range a {
			if rng.IntN(3) == 0 { // what has no weight is not read
				a[i], x[i*cols] = 0, float32(math.NaN())
			}
		}
	}
	h, d := make([]float64, cols*cols+2), make([]float64, cols*cols+2)
	for i := range h {
		h[i], d[i] = rng.NormFloat64(), rng.NormFloat64()
	}
	wantH, wantD := slices.Clone(h), slices.Clone(d)
	for i := range cols {
		for j := range cols {
			wantD[1+i*cols+j] = blockedSum(d[1+i*cols+j], y, x, a, cols, i, j)
			if j <= i {
				v := blockedSum(h[1+i*cols+j], x, x, a, cols, i, j)
				wantH[1+i*cols+j], wantH[1+j*cols+i] = v, v
			}
		}
	}
	AddGram(h[1:1+cols*cols], x, a, cols)
	AddCross(d[1:1+cols*cols], y, x, a, cols)
	for i := range h { // the first and the last are guards
		if !sameFloat64(h[i], wantH[i]) || !sameFloat64(d[i], wantD[i]) {
			t.Fatalf("%d tokens of %d columns: element %d is %v and %v, want %v and %v", n, cols, i-1, h[i], d[i], wantH[i], wantD[i])
		}
	}
}

func TestGramMisuse(t *testing.T) {
	s, h := make([]float32, 6), make([]float64, 4)
	for name, call := range map[string]func(){
		"columns": func() { AddGram(h, s, nil, 0) },
		"sums":    func() { AddGram(h[:3], s, nil, 2) },
		"weights": func() { AddGram(h, s, s[:2], 2) },
		"other":   func() { AddCross(h, s[:4], s, nil, 2) },
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

func FuzzGram(f *testing.F) {
	f.Add(uint64(1), uint16(300), uint8(17))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, cols uint8) {
		checkGram(t, rand.New(rand.NewPCG(seed, 0)), int(n)%600, 1+int(cols)%60)
	})
}

// naiveGram is the sum without blocks or threads.
func naiveGram(h []float64, x, a []float32, cols int) {
	for t := 0; t*cols < len(x); t++ {
		token := x[t*cols : (t+1)*cols]
		for i, v := range token {
			row := h[i*cols : (i+1)*cols]
			for j := range i + 1 {
				row[j] += float64(a[t]) * float64(v) * float64(token[j])
			}
		}
	}
	for from := 0; from < cols; from += mirrorTile {
		mirror(h, cols, from)
	}
}

// BenchmarkGram counts the operations of the lower triangle.
func BenchmarkGram(b *testing.B) {
	for _, s := range [][2]int{{200, 64}, {200, 192}, {512, 1024}, {512, 4096}} {
		n, cols := s[0], s[1]
		rng := rand.New(rand.NewPCG(1, 1))
		x, a, h := randomSlice(rng, n*cols), randomSlice(rng, n), make([]float64, cols*cols)
		for _, f := range []struct {
			name string
			call func()
		}{
			{"AddGram", func() { AddGram(h, x, a, cols) }},
			{"AddCross", func() { AddCross(h, x, x, a, cols) }},
			{"naive", func() { naiveGram(h, x, a, cols) }},
		} {
			if f.name == "naive" && cols > 1024 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%dx%d", f.name, n, cols), func(b *testing.B) {
				for b.Loop() {
					f.call()
				}
				flops := float64(n) * float64(cols) * float64(cols+1)
				if f.name == "AddCross" {
					flops = 2 * float64(n) * float64(cols) * float64(cols)
				}
				b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
