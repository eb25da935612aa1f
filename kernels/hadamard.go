package kernels

import (
	"fmt"
	"math"
	"math/bits"
	"sync"
)

// Hadamard is an orthonormal Hadamard transform y = x·M of vectors of n elements, as
// QuaRot (arXiv:2404.00456) rotates weights and activations by. With n = K·P, P a
// power of two,
//
//	M = (B_K ⊗ S_P)ᵀ / √n,  y[i·P + j] = Σ_kl B[i, k]·S[j, l]·x[k·P + l] / √n
//
// where S is Sylvester's matrix, S[j, l] = (−1)^(number of ones in j AND l), and B_K a
// Hadamard matrix of order K, 1 where n is a power of two. M is orthogonal, and
// symmetric where K = 1.
//
// A vector costs n·(K + log₂ P) additions. A Hadamard may be used by many goroutines.
type Hadamard struct {
	n, base int
	signs   []float32 // B, [base, base]
	wide    []float64 // the same
}

// NewHadamard returns the transform of vectors of n elements.
//
// K follows from n = 2^m·o, o odd, as in QuaRot's code: 1 where o = 1, 40 where o = 5 and
// n ≥ 40, else 4·o. Where no matrix of that order is known to the package, it is 8·o, 16·o
// and so on. B is Paley's: for K = 12, 20, 28 and 40 entry for entry the matrix that
// QuaRot stores, for others one that does the same service but may differ from its. So
// sizes that QuaRot refuses are there too: 4864 = 76·64, 18944 = 148·128; 11008 is
// 344·32 where QuaRot has 172·64.
//
// The error says that there is none: for odd n, twice an odd number, and odd factors
// for which K would exceed 1024.
func NewHadamard(n int) (*Hadamard, error) {
	if n < 1 {
		return nil, fmt.Errorf("kernels: a Hadamard transform of %d elements; expected 1 or more", n)
	}
	base, odd := 1, n>>bits.TrailingZeros(uint(n))
	switch {
	case odd == 5 && n%40 == 0:
		base = 40
	case odd > 1:
		for base = 4 * odd; base <= maxHadamardBase && n%base == 0 && paley(base) == nil; base *= 2 {
		}
	}
	if base > maxHadamardBase || n%base != 0 {
		return nil, fmt.Errorf("kernels: no Hadamard matrix of order %d is known here; expected a power of two, or one times 12, 20, 28, 36 or another multiple of 4 up to %d for which Paley's construction exists: use blocks of such a size", n, maxHadamardBase)
	}
	return NewHadamardBase(n, base)
}

// maxHadamardBase bounds K, and with it what a transform costs.
const maxHadamardBase = 1024

// NewHadamardBase is [NewHadamard] with K given: 1, or the order of one of Paley's
// matrices, or twice one for which [NewHadamard] would take that.
func NewHadamardBase(n, base int) (*Hadamard, error) {
	if n < 1 || base < 1 || base > maxHadamardBase || n%base != 0 || n/base&(n/base-1) != 0 {
		return nil, fmt.Errorf("kernels: a Hadamard transform of %d elements on a base of order %d; expected the order times a power of two", n, base)
	}
	h := &Hadamard{n: n, base: base}
	if base == 1 {
		return h, nil
	}
	signs := baseMatrix(base)
	if signs == nil {
		return nil, fmt.Errorf("kernels: no Hadamard matrix of order %d is known here; expected 12, 20, 28, 36, 40 or another for which Paley's construction exists", base)
	}
	for _, s := range signs {
		h.signs, h.wide = append(h.signs, float32(s)), append(h.wide, float64(s))
	}
	return h, nil
}

// Len is n, the number of elements of a vector.
func (h *Hadamard) Len() int { return h.n }

// Base is K, the order of the matrix B.
func (h *Hadamard) Base() int { return h.base }

// Apply transforms x, which is [outer, n, inner], along its middle axis, in place:
// inner = 1 transforms rows, inner = cols the rows' places of a weight [n, cols].
// Sums are float32, scaling by 1/√n comes first. Large x run on several threads;
// vectors are independent, so that changes no bit.
func (h *Hadamard) Apply(x []float32, inner int) { h.apply(x, inner, false) }

// Inverse is the inverse of [Hadamard.Apply], x·Mᵀ.
func (h *Hadamard) Inverse(x []float32, inner int) { h.apply(x, inner, true) }

// ApplyWide is [Hadamard.Apply] in float64, in plain Go but for the base matrix.
func (h *Hadamard) ApplyWide(x []float64, inner int) { h.applyWide(x, inner, false) }

// InverseWide is [Hadamard.Inverse] in float64.
func (h *Hadamard) InverseWide(x []float64, inner int) { h.applyWide(x, inner, true) }

func (h *Hadamard) apply(x []float32, inner int, inverse bool) {
	size := h.check(len(x), inner)
	scale := float32(1 / math.Sqrt(float64(h.n)))
	forRows(len(x)/size, size, func(from, to int) {
		var sums []float32
		if h.base > 1 {
			sums = make([]float32, size)
		}
		for r := from; r < to; r++ {
			part := x[r*size : (r+1)*size]
			fwht(part, inner, h.n/h.base, scale)
			if h.base > 1 {
				n := size / h.base
				Sgemm(inverse, false, h.base, n, h.base, h.signs, h.base, part, n, sums, n, false)
				copy(part, sums)
			}
		}
	})
}

func (h *Hadamard) applyWide(x []float64, inner int, inverse bool) {
	size := h.check(len(x), inner)
	scale := 1 / math.Sqrt(float64(h.n))
	forRows(len(x)/size, size, func(from, to int) {
		var sums []float64
		if h.base > 1 {
			sums = make([]float64, size)
		}
		for r := from; r < to; r++ {
			part := x[r*size : (r+1)*size]
			fwhtGo(part, inner, h.n/h.base, scale)
			if h.base > 1 {
				n := size / h.base
				Dgemm(inverse, false, h.base, n, h.base, 1, h.wide, h.base, part, n, sums, n, false)
				copy(part, sums)
			}
		}
	})
}

// check returns the number of elements that belong together.
func (h *Hadamard) check(length, inner int) int {
	if inner < 1 || length%(h.n*inner) != 0 {
		panic(fmt.Sprintf("kernels: Hadamard: %d elements, want a multiple of %d·%d", length, h.n, inner))
	}
	return h.n * inner
}

// fwhtGo multiplies x by scale and then transforms every p of its vectors of inner
// elements by Sylvester's matrix, in plain Go.
func fwhtGo[T Float](x []T, inner, p int, scale T) {
	for i := range x {
		x[i] *= scale
	}
	for d := inner; d < inner*p; d *= 2 {
		for at := 0; at < len(x); at += 2 * d {
			a, b := x[at:at+d], x[at+d:at+2*d]
			for i, v := range a {
				a[i], b[i] = v+b[i], v-b[i]
			}
		}
	}
}

// baseMatrices keeps what has been made.
var baseMatrices sync.Map // int → []int8

// baseMatrix is the Hadamard matrix of order k > 1 that transforms are built on, nil
// where the package knows none.
func baseMatrix(k int) []int8 {
	if m, ok := baseMatrices.Load(k); ok {
		return m.([]int8)
	}
	m := paley(k)
	if k == 40 { // QuaRot's choice: twice the one of order 20
		m = double(paley(20), 20)
	}
	if m != nil {
		baseMatrices.Store(k, m)
	}
	return m
}

// double is [M M; M −M].
func double(m []int8, k int) []int8 {
	out := make([]int8, 4*k*k)
	for i := range k {
		for j := range k {
			v := m[i*k+j]
			out[i*2*k+j], out[i*2*k+k+j], out[(k+i)*2*k+j], out[(k+i)*2*k+k+j] = v, v, v, -v
		}
	}
	return out
}
