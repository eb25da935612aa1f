package kernels

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// hadamardEntry is M[l, j] by the definition, times √n.
func hadamardEntry(h *Hadamard, l, j int) float64 {
	p := h.n / h.base
	v := 1.0
	if bits.OnesCount(uint(l%p&(j%p)))%2 == 1 {
		v = -1
	}
	if h.base > 1 {
		v *= float64(baseMatrix(h.base)[j/p*h.base+l/p])
	}
	return v
}

// naiveHadamard is x·M, or x·Mᵀ, from the definition, for x [outer, n, inner].
func naiveHadamard(h *Hadamard, x []float32, inner int, inverse bool) []float64 {
	y := make([]float64, len(x))
	for o := 0; o < len(x); o += h.n * inner {
		for j := range h.n {
			for l := range h.n {
				m := hadamardEntry(h, l, j)
				if inverse {
					m = hadamardEntry(h, j, l)
				}
				for i := range inner {
					y[o+j*inner+i] += float64(x[o+l*inner+i]) * m / math.Sqrt(float64(h.n))
				}
			}
		}
	}
	return y
}

func TestHadamardEqualsDefinition(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 9))
		for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 128, 12, 20, 24, 28, 36, 40, 52, 56, 60, 76, 96, 112, 160, 344} {
			h, err := NewHadamard(n)
			if err != nil {
				t.Fatal(err)
			}
			for _, inner := range []int{1, 3, 8, 16} {
				if n > 100 && inner > 1 {
					break
				}
				x := append(randomSlice(rng, 3*n*inner), guard)
				for _, inverse := range []bool{false, true} {
					narrow, wide := slices.Clone(x), make([]float64, len(x)-1)
					for i := range wide {
						wide[i] = float64(x[i])
					}
					part := narrow[: len(x)-1 : len(x)-1]
					if inverse {
						h.Inverse(part, inner)
						h.InverseWide(wide, inner)
					} else {
						h.Apply(part, inner)
						h.ApplyWide(wide, inner)
					}
					for i, want := range naiveHadamard(h, x[:len(x)-1], inner, inverse) {
						// |x| is about √n, and sums of n terms have log₂n + K roundings.
						if d := math.Abs(float64(narrow[i]) - want); !(d <= 4e-6) {
							t.Fatalf("n = %d, inner %d, inverse %t: element %d is %v, want %v", n, inner, inverse, i, narrow[i], want)
						}
						if d := math.Abs(wide[i] - want); !(d <= 1e-13) {
							t.Fatalf("n = %d, inner %d, inverse %t: wide element %d is %v, want %v", n, inner, inverse, i, wide[i], want)
						}
					}
					if narrow[len(x)-1] != guard {
						t.Fatalf("n = %d: wrote beyond the end", n)
					}
				}
			}
		}
	})
}

// The assembly adds in the order of plain Go.
func TestHadamardSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	for p := 1; p <= 1<<13; p *= 2 {
		for _, inner := range []int{1, 5, 8, 24} {
			x := randomSlice(rng, 3*p*inner)
			want := slices.Clone(x)
			fwht(x, inner, p, 0.3)
			fwhtGo(want, inner, p, 0.3)
			equalBits(t, fmt.Sprint(p, inner), x, want)
		}
	}
}

// B·Bᵀ = K·I for every order that can be had, and the orders that models need can.
func TestHadamardBases(t *testing.T) {
	count := 0
	for k := 4; k <= 344; k += 4 {
		m := baseMatrix(k)
		if m == nil || k > 160 && k != 312 && k != 344 { // the large ones on fields of 311 and 7³ elements
			continue
		}
		count++
		for i := range k {
			for j := range i + 1 {
				var sum int
				for l := range k {
					sum += int(m[i*k+l]) * int(m[j*k+l])
				}
				if i == j && sum != k || i != j && sum != 0 {
					t.Fatalf("order %d: rows %d and %d have the product %d", k, i, j, sum)
				}
			}
		}
	}
	if count != 29 { // bases of transforms: beside powers of two times smaller ones, 92, 116 and 156 lack
		t.Errorf("%d orders", count)
	}
	for n, base := range map[int]int{ // hidden and MLP sizes, QuaRot's K but for the last six
		768: 12, 896: 28, 1024: 1, 1152: 36, 1536: 12, 2048: 1, 2560: 40, 3072: 12, 3584: 28, 4096: 1, 5120: 40, 8192: 1, 8960: 140, 14336: 28, 28672: 28, 13824: 108, 20: 20, 160: 40,
		4864: 76, 18944: 148, 11008: 344, 22016: 344, 29568: 924, 11776: 368, 92: 0,
	} {
		h, err := NewHadamard(n)
		if base == 0 {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint(n)) {
				t.Errorf("%d: got %v", n, err)
			}
			continue
		}
		if err != nil || h.Base() != base || h.Len() != n {
			t.Errorf("%d: got base %v, %v, want %d", n, h, err, base)
		}
	}
	for _, n := range []int{-1, 0, 3, 6, 7, 14, 10} {
		if _, err := NewHadamard(n); err == nil {
			t.Errorf("a transform of %d elements was made", n)
		}
	}
	if _, err := NewHadamardBase(160, 20); err != nil {
		t.Error(err)
	}
	for _, bad := range [][2]int{{160, 12}, {60, 4 * 23}, {36, 1}, {92, 92}} {
		if _, err := NewHadamardBase(bad[0], bad[1]); err == nil {
			t.Errorf("%d on %d was made", bad[0], bad[1])
		}
	}
}

// The matrices that published code stores, by the quadratic residues they come from:
// the first rows after the border.
func TestHadamardKnownRows(t *testing.T) {
	for k, want := range map[int]string{
		12: "++-+---+++-+",
		20: "++-++----+-+-++++--+",
		28: "+++-++----++-++-+-++----++-+",
		40: "++-++----+-+-++++--+++-++----+-+-++++--+",
	} {
		var got strings.Builder
		for _, v := range baseMatrix(k)[k : 2*k] {
			got.WriteByte("-0+"[v+1])
		}
		if got.String() != want {
			t.Errorf("order %d: got %s, want %s", k, got.String(), want)
		}
	}
}

// Transforming there and back gives x, lengths stay.
func FuzzHadamard(f *testing.F) {
	f.Add(uint64(1), uint16(63), uint8(1)) // order 64
	f.Add(uint64(2), uint16(95), uint8(8)) // order 96
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, inner uint8) {
		h, err := NewHadamard(1 + int(n%2048))
		if err != nil {
			t.Skip()
		}
		in := 1 + int(inner%17)
		x := randomSlice(rand.New(rand.NewPCG(seed, 1)), 2*h.Len()*in)
		y := slices.Clone(x)
		h.Apply(y, in)
		var before, after float64
		for i := range x {
			before, after = before+float64(x[i])*float64(x[i]), after+float64(y[i])*float64(y[i])
		}
		h.Inverse(y, in)
		for i := range x {
			if math.Abs(float64(x[i]-y[i])) > 2e-5 {
				t.Fatalf("n = %d, inner %d: element %d came back as %v, was %v", h.Len(), in, i, y[i], x[i])
			}
		}
		if math.Abs(before-after) > 1e-4*before {
			t.Errorf("n = %d: the squared length went from %v to %v", h.Len(), before, after)
		}
	})
}

// BenchmarkHadamard transforms 256 tokens: assembly and plain Go.
func BenchmarkHadamard(b *testing.B) {
	for _, n := range []int{1024, 3584, 4096, 18944} {
		h, err := NewHadamard(n)
		if err != nil {
			b.Fatal(err)
		}
		x := randomSlice(rand.New(rand.NewPCG(1, 1)), 256*n)
		bench := func(name string) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(4 * len(x)))
				for b.Loop() {
					h.Apply(x, 1)
				}
			})
		}
		bench("fast")
		if useAVX2 {
			useAVX2 = false
			bench("go")
			useAVX2 = true
		}
	}
}
