package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas"
	lapackgonum "gonum.org/v1/gonum/lapack/gonum"
)

// randomPositive is X·Xᵀ/k + 0.1·I with k = 2n columns in X, its condition about 100.
func randomPositive(rng *rand.Rand, n int) []float64 {
	x, a := randomWide(rng, 2*n*n), make([]float64, n*n)
	Dgemm(false, true, n, n, 2*n, 1/float64(2*n), x, 2*n, x, 2*n, a, n, false)
	for i := range n {
		a[i*n+i] += 0.1
	}
	return a
}

// choleskyGo and inverseFactorGo are the definitions, as the package had them before
// it took products.
func choleskyGo(a []float64, n int) error {
	if at, pivot := factorDirect(a, n, n); at >= 0 {
		return &PivotError{at, pivot}
	}
	for i := range n {
		clear(a[i*n+i+1 : (i+1)*n])
	}
	return nil
}

func inverseFactorGo(h []float64, n int) ([]float64, error) {
	u, x := slices.Clone(h), make([]float64, n*n)
	slices.Reverse(u)
	if err := choleskyGo(u, n); err != nil {
		return nil, err
	}
	invertDirect(x, n, u, n, n)
	slices.Reverse(x)
	return x, nil
}

// orders are those around a block and its halves.
var orders = []int{0, 1, 2, 7, 31, 32, 33, 50, 64, 100, 127, 128, 129, 191, 192, 193, 260, 400}

// largest is max|a − b|.
func largest(a, b []float64) (d float64) {
	for i := range a {
		d = math.Max(d, math.Abs(a[i]-b[i]))
	}
	return d
}

// cholesky residuals grow with the order at most as n·2⁻⁵³ times a small constant
// (Higham, Accuracy and Stability, theorem 10.3); here with entries of about 1.
func residual(n int) float64 { return 4 * float64(n+1) * 0x1p-53 }

func TestCholesky(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 8))
		for _, n := range orders {
			a := randomPositive(rng, n)
			l, want := slices.Clone(a), slices.Clone(a)
			for i := range n { // the upper triangle is not read
				for j := i + 1; j < n; j++ {
					l[i*n+j] = math.NaN()
				}
			}
			if err := Cholesky(l, n); err != nil {
				t.Fatalf("n = %d: %v", n, err)
			}
			product := make([]float64, n*n)
			Dgemm(false, true, n, n, n, 1, l, n, l, n, product, n, false)
			if d := largest(product, a); !(d <= residual(n)) {
				t.Errorf("n = %d: L·Lᵀ is off by %g", n, d)
			}
			if err := choleskyGo(want, n); err != nil || !(largest(l, want) <= 100*residual(n)) {
				t.Errorf("n = %d: L is off by %g from the definition's (%v)", n, largest(l, want), err)
			}
			if n > 0 {
				lapackgonum.Implementation{}.Dpotrf(blas.Lower, n, a, n)
				for i := range n {
					clear(a[i*n+i+1 : (i+1)*n])
				}
				if d := largest(l, a); !(d <= 100*residual(n)) {
					t.Errorf("n = %d: L is off by %g from LAPACK's", n, d)
				}
			}
		}
	})
}

func TestCholeskyNamesThePivot(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 8))
	for _, n := range []int{5, 64, 300} {
		for _, bad := range []int{0, n / 2, n - 1} {
			a := randomPositive(rng, n)
			a[bad*n+bad] = -1
			var pivot *PivotError
			if err := Cholesky(slices.Clone(a), n); !errors.As(err, &pivot) || pivot.Column != bad || !(pivot.Pivot <= -1) {
				t.Errorf("n = %d, column %d: got %v", n, bad, err)
			}
			if _, err := InverseFactor(a, n); !errors.As(err, &pivot) || pivot.Column != bad || !errors.Is(err, ErrNotPositive) {
				t.Errorf("n = %d, column %d of the inverse factor: got %v", n, bad, err)
			}
			a[bad*n+bad] = math.NaN()
			if err := Cholesky(a, n); !errors.As(err, &pivot) || pivot.Column != bad {
				t.Errorf("n = %d, NaN in column %d: got %v", n, bad, err)
			}
		}
	}
}

func TestInvertLower(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 8))
		for _, n := range orders {
			l := randomPositive(rng, n)
			if err := Cholesky(l, n); err != nil {
				t.Fatal(err)
			}
			x := slices.Clone(l)
			for i := range n { // the upper triangle is not used
				for j := i + 1; j < n; j++ {
					x[i*n+j] = math.NaN()
				}
			}
			InvertLower(x, n)
			product, one := make([]float64, n*n), make([]float64, n*n)
			for i := range n {
				one[i*n+i] = 1
				for j := i + 1; j < n; j++ {
					if x[i*n+j] == x[i*n+j] {
						t.Fatalf("n = %d: wrote %v to [%d, %d], above the diagonal", n, x[i*n+j], i, j)
					}
					x[i*n+j] = 0
				}
			}
			Dgemm(false, false, n, n, n, 1, x, n, l, n, product, n, false)
			if d := largest(product, one); !(d <= 100*residual(n)) {
				t.Errorf("n = %d: X·L is off by %g", n, d)
			}
			if n > 0 {
				lapackgonum.Implementation{}.Dtrtri(blas.Lower, blas.NonUnit, n, l, n)
				if d := largest(x, l); !(d <= 1000*residual(n)) {
					t.Errorf("n = %d: X is off by %g from LAPACK's", n, d)
				}
			}
		}
	})
}

func TestSolveLower(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 8))
		for _, n := range []int{1, 33, 128, 300} {
			for _, m := range []int{0, 1, 9, 130} {
				for _, trans := range []bool{false, true} {
					l := randomPositive(rng, n)
					if err := Cholesky(l, n); err != nil {
						t.Fatal(err)
					}
					b := randomWide(rng, n*m)
					x, back := slices.Clone(b), make([]float64, n*m)
					SolveLower(trans, l, n, x, m)
					if m == 0 {
						continue
					}
					Dgemm(trans, false, n, m, n, 1, l, n, x, m, back, m, false)
					if d := largest(back, b); !(d <= 200*residual(n)) {
						t.Errorf("n = %d, m = %d, transposed %t: off by %g", n, m, trans, d)
					}
				}
			}
		}
	})
}

// checkTriangles compares the products that write in place with plain sums. Beyond the
// triangles lie NaN.
func checkTriangles(t *testing.T, rng *rand.Rand, m, n, pad int) {
	t.Helper()
	ld := max(m, n) + pad
	triangle := func(n int) []float64 {
		x := randomWide(rng, n*ld)
		for i := range x {
			if i%ld > i/ld {
				x[i] = math.NaN()
			}
		}
		return x
	}
	compare := func(name string, got, b []float64, rows, columns, terms int, want func(i, j int) (sum, size float64)) {
		for i := range rows {
			for j := range ld {
				at := i*ld + j
				if j >= columns {
					if got[at] != b[at] {
						t.Fatalf("%s, m = %d, n = %d: wrote to [%d, %d], outside", name, m, n, i, j)
					}
					continue
				}
				if sum, size := want(i, j); !(math.Abs(got[at]-sum) <= 2*float64(terms+3)*0x1p-53*size) {
					t.Fatalf("%s, m = %d, n = %d: [%d, %d] is %v, want %v", name, m, n, i, j, got[at], sum)
				}
			}
		}
	}
	buf := new(dgemmBuffer)
	b := randomWide(rng, m*ld)

	x, got := triangle(m), slices.Clone(b)
	width := min(n, dgemmNC)
	buf.minusLowerTimes(x, got, ld, m, width)
	compare("−X·B", got, b, m, width, m, func(i, j int) (sum, size float64) {
		for k := range i + 1 {
			sum -= x[i*ld+k] * b[k*ld+j]
			size += math.Abs(x[i*ld+k] * b[k*ld+j])
		}
		return sum, size
	})

	x, got = triangle(n), slices.Clone(b)
	buf.timesLower(x, got, ld, m, n)
	compare("B·X", got, b, m, n, n, func(i, j int) (sum, size float64) {
		for k := j; k < n; k++ {
			sum += b[i*ld+k] * x[k*ld+j]
			size += math.Abs(b[i*ld+k] * x[k*ld+j])
		}
		return sum, size
	})

	width = min(n, dgemmKC)
	y := randomWide(rng, width*width)
	for i := range y {
		if i%width > i/width {
			y[i] = 0
		}
	}
	got = slices.Clone(b)
	buf.timesTransposed(y, got, ld, m, width)
	compare("B·Yᵀ", got, b, m, width, width, func(i, j int) (sum, size float64) {
		for k := range j + 1 {
			sum += b[i*ld+k] * y[j*width+k]
			size += math.Abs(b[i*ld+k] * y[j*width+k])
		}
		return sum, size
	})

	steps := pad + 1
	columns := min(m, n)
	c := randomWide(rng, m*ld)
	got = slices.Clone(c)
	subtractLower(b, got, ld, m, columns, steps)
	for i := range m {
		for j := range ld {
			switch at := i*ld + j; {
			case j <= i && j < columns:
				sum, size := c[at], math.Abs(c[at])
				for k := range steps {
					sum -= b[i*ld+k] * b[j*ld+k]
					size += math.Abs(b[i*ld+k] * b[j*ld+k])
				}
				if !(math.Abs(got[at]-sum) <= 2*float64(steps+3)*0x1p-53*size) {
					t.Fatalf("C − A·Bᵀ, m = %d, n = %d: [%d, %d] is %v, want %v", m, n, i, j, got[at], sum)
				}
				got[at] = c[at]
			}
		}
	}
	if !slices.Equal(got, c) {
		t.Fatalf("C − A·Bᵀ, m = %d, n = %d: wrote outside", m, n)
	}
}

func TestTriangles(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 8))
		for i, size := range [][2]int{{1, 1}, {5, 3}, {6, 8}, {7, 9}, {121, 17}, {130, 121}, {250, 33}, {3, 530}, {13, 800}, {490, 7}} {
			checkTriangles(t, rng, size[0], size[1], []int{0, 5, 259}[i%3])
		}
	})
}

func FuzzTriangles(f *testing.F) {
	f.Add(uint64(1), uint16(40), uint16(60), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, m, n uint16, pad uint8) {
		checkTriangles(t, rand.New(rand.NewPCG(seed, 1)), 1+int(m)%300, 1+int(n)%800, int(pad))
	})
}

// Large enough for every kind of block: the same bits on any number of threads, and an
// inverse.
func TestInverseFactorLarge(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const n = 1179
	rng := rand.New(rand.NewPCG(6, 8))
	h := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			h[i*n+j] = rng.NormFloat64()
			h[j*n+i] = h[i*n+j]
		}
		h[i*n+i] = 3 * n // dominates its row
	}
	var first []float64
	for _, threads := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(threads)
		u, err := InverseFactor(h, n)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = u
		}
		if !slices.Equal(u, first) {
			t.Fatalf("%d threads give other bits", threads)
		}
	}
	x, back := make([]float64, n), make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	for _, trans := range []bool{false, true} { // Uᵀ·U·H·x = x
		if !trans {
			Dgemm(false, false, n, 1, n, 1, h, n, x, 1, back, 1, false)
			x, back = back, x
		}
		Dgemm(trans, false, n, 1, n, 1, first, n, x, 1, back, 1, false)
		x, back = back, x
	}
	rng = rand.New(rand.NewPCG(6, 8))
	for range n * (n + 1) / 2 {
		rng.NormFloat64()
	}
	for i := range x {
		if want := rng.NormFloat64(); !(math.Abs(x[i]-want) <= 1000*residual(n)) {
			t.Fatalf("U·U·H·x at %d is %v, want %v", i, x[i], want)
		}
	}
}

// Uᵀ·U is H⁻¹, U has the definition's values, and the same bits on any number of
// threads.
func TestInverseFactorBlocks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	rng := rand.New(rand.NewPCG(5, 8))
	for _, n := range orders[1:] {
		h := randomPositive(rng, n)
		var first []float64
		for _, threads := range []int{1, 2, 7} {
			runtime.GOMAXPROCS(threads)
			u, err := InverseFactor(h, n)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = u
			}
			if !slices.Equal(u, first) {
				t.Fatalf("n = %d: %d threads give other bits", n, threads)
			}
		}
		want, err := inverseFactorGo(h, n)
		if err != nil || !(largest(first, want) <= 1000*residual(n)) {
			t.Errorf("n = %d: U is off by %g (%v)", n, largest(first, want), err)
		}
		uh, product := make([]float64, n*n), make([]float64, n*n)
		Dgemm(false, false, n, n, n, 1, first, n, h, n, uh, n, false)
		Dgemm(false, true, n, n, n, 1, uh, n, first, n, product, n, false) // U·H·Uᵀ = I
		for i := range n {
			product[i*n+i]--
		}
		if d := largest(product, make([]float64, n*n)); !(d <= 1000*residual(n)) {
			t.Errorf("n = %d: U·H·Uᵀ is off by %g", n, d)
		}
	}
}

// BenchmarkFactor takes GPTQ's factor apart: ours, plain Go (as it was before there were products)
// and gonum's LAPACK.
func BenchmarkFactor(b *testing.B) {
	for _, n := range []int{512, 1536, 4096} {
		rng := rand.New(rand.NewPCG(1, 1))
		a := make([]float64, n*n)
		for i := range n {
			for j := range i + 1 {
				a[i*n+j] = rng.NormFloat64()
				a[j*n+i] = a[i*n+j]
			}
			a[i*n+i] = 3 * float64(n) // dominates its row, so that A is positive definite
		}
		work, l := make([]float64, n*n), slices.Clone(a)
		if err := Cholesky(l, n); err != nil {
			b.Fatal(err)
		}
		bench := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					f()
				}
			})
		}
		bench("cholesky", func() { copy(work, a); _ = Cholesky(work, n) })
		bench("inverse", func() { copy(work, l); InvertLower(work, n) })
		bench("factor", func() { _, _ = InverseFactor(a, n) })
		if n > 2048 {
			continue
		}
		bench("cholesky-go", func() { copy(work, a); _ = choleskyGo(work, n) })
		bench("factor-go", func() { _, _ = inverseFactorGo(a, n) })
		bench("cholesky-gonum", func() { copy(work, a); lapackgonum.Implementation{}.Dpotrf(blas.Lower, n, work, n) })
		bench("inverse-gonum", func() { copy(work, l); lapackgonum.Implementation{}.Dtrtri(blas.Lower, blas.NonUnit, n, work, n) })
	}
}
