package kernels

// paley is a Hadamard matrix of order k, a multiple of 4, by the constructions of R. E. A. C.
// Paley (On orthogonal matrices, 1933), nil where none gives that order. χ is the
// quadratic character of the field of q elements: 0 at 0, 1 at squares, −1 elsewhere.
//
// I, k = q + 1, q ≡ 3 mod 4: a first row of −1 after the corner's 1, a first column of
// 1, and within 1 on the diagonal, −χ(j−i) elsewhere.
//
// II, k = 2·(q + 1), q ≡ 1 mod 4: with the symmetric C, zero on its diagonal, ones else in
// its first row and column, χ(j−i) within, the blocks [C+I, C−I; C−I, −C−I].
//
// A prime q of the first comes before the second, and that before a power of a
// prime: the order in which the matrices of order 12, 20 and 28 are those that are
// commonly stored.
func paley(k int) []int8 {
	if k < 4 || k%4 != 0 {
		return nil
	}
	p, degree := primePower(k - 1)
	if degree == 1 {
		return paleyFirst(k, characters(p, 1))
	}
	if q, d := primePower(k/2 - 1); d > 0 && (k/2-1)%4 == 1 {
		return paleySecond(k, characters(q, d))
	}
	if degree > 0 {
		return paleyFirst(k, characters(p, degree))
	}
	return nil
}

func paleyFirst(k int, chi []int8) []int8 {
	q := k - 1
	m := make([]int8, k*k)
	for i := range k {
		for j := range k {
			switch {
			case i == j || j == 0:
				m[i*k+j] = 1
			case i == 0:
				m[i*k+j] = -1
			default:
				m[i*k+j] = -chi[(i-1)*q+j-1]
			}
		}
	}
	return m
}

func paleySecond(k int, chi []int8) []int8 {
	half, q := k/2, k/2-1
	m := make([]int8, k*k)
	for i := range half {
		for j := range half {
			var c, one int8 = 1, 0
			switch {
			case i == j:
				c, one = 0, 1
			case i > 0 && j > 0:
				c = chi[(i-1)*q+j-1]
			}
			m[i*k+j], m[i*k+half+j] = c+one, c-one
			m[(half+i)*k+j], m[(half+i)*k+half+j] = c-one, -c-one
		}
	}
	return m
}

// primePower writes n as p^degree; degree is 0 where n is none, and where it is above
// 3.
func primePower(n int) (p, degree int) {
	if n < 3 {
		return 0, 0
	}
	p = n
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			p = d
			break
		}
	}
	for rest := n; rest > 1; rest /= p {
		if rest%p != 0 {
			return 0, 0
		}
		degree++
	}
	if degree > 3 {
		return 0, 0
	}
	return p, degree
}

// characters is χ(b − a) for all elements a, b of the field of p^degree elements,
// [q, q], p odd. An element's number in base p has the coefficients of its polynomial.
func characters(p, degree int) []int8 {
	f := newField(p, degree)
	chi := make([]int8, f.q)
	for a := 1; a < f.q; a++ {
		chi[a] = -1
	}
	for a := 1; a < f.q; a++ {
		chi[f.times(a, a)] = 1
	}
	out := make([]int8, f.q*f.q)
	for a := range f.q {
		for b := range f.q {
			out[a*f.q+b] = chi[f.minus(b, a)]
		}
	}
	return out
}

// field is that of p^degree elements, degree 1 to 3: polynomials modulo
// x^degree − low[degree−1]·x^(degree−1) − … − low[0].
type field struct {
	p, q, degree int
	low          []int
}

// newField takes the first polynomial without a root: up to degree 3 that is
// irreducible.
func newField(p, degree int) field {
	f := field{p: p, q: 1, degree: degree}
	for range degree {
		f.q *= p
	}
	for n := 0; ; n++ {
		f.low = f.digits(n)
		if degree == 1 || !f.hasRoot() {
			return f
		}
	}
}

func (f field) hasRoot() bool {
	for x := range f.p {
		sum, power := 0, 1
		for _, c := range f.low {
			sum, power = (sum+c*power)%f.p, power*x%f.p
		}
		if sum == power {
			return true
		}
	}
	return false
}

func (f field) digits(a int) []int {
	d := make([]int, f.degree)
	for i := range d {
		d[i], a = a%f.p, a/f.p
	}
	return d
}

func (f field) number(d []int) int {
	a := 0
	for i := f.degree - 1; i >= 0; i-- {
		a = a*f.p + d[i]
	}
	return a
}

func (f field) minus(a, b int) int {
	x, y := f.digits(a), f.digits(b)
	for i := range x {
		x[i] = (x[i] - y[i] + f.p) % f.p
	}
	return f.number(x)
}

func (f field) times(a, b int) int {
	x, y := f.digits(a), f.digits(b)
	product := make([]int, 2*f.degree)
	for i, v := range x {
		for j, w := range y {
			product[i+j] = (product[i+j] + v*w) % f.p
		}
	}
	for i := len(product) - 1; i >= f.degree; i-- {
		for j, c := range f.low {
			product[i-f.degree+j] = (product[i-f.degree+j] + product[i]*c) % f.p
		}
		product[i] = 0
	}
	return f.number(product)
}
