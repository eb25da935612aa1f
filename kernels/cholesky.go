package kernels

import (
	"errors"
	"fmt"
	"math"
)

const (
	// choleskyBlock columns are factored at a time; what lies left of them is
	// subtracted by one product.
	choleskyBlock = 128
	// inverseBlock columns of an inverse are one task.
	inverseBlock = 192
	// choleskySmall is the order up to which no product is worth its packing.
	choleskySmall = 32
)

// ErrNotPositive is wrapped where a matrix has no Cholesky factor.
var ErrNotPositive = errors.New("not positive definite")

// PivotError reports the column at which a Cholesky factorization met a pivot that
// is not positive. It wraps [ErrNotPositive].
type PivotError struct {
	Column int     // place in the matrix given
	Pivot  float64 // what the columns before leave of the diagonal entry
}

// Error says which pivot is not positive.
func (e *PivotError) Error() string {
	return fmt.Sprintf("%v: column %d has the pivot %g after those before it", ErrNotPositive, e.Column, e.Pivot)
}

// Unwrap returns ErrNotPositive.
func (e *PivotError) Unwrap() error { return ErrNotPositive }

// Cholesky overwrites the symmetric positive definite a [n, n] with its factor L,
// A = L·Lᵀ, zeros above the diagonal. Only the lower triangle of a is read. The error
// is a [PivotError]; a then holds nothing of use.
//
// Columns are taken in blocks of 128: what the blocks before contribute is subtracted
// by one product, the block on the diagonal is factored, and the rows below are
// multiplied by its inverse's transpose (so the bound on the residual carries the condition of
// a diagonal block's factor, not of A's). Products run on several threads, bits don't
// depend on how many.
func Cholesky(a []float64, n int) error {
	checkSquare("Cholesky", a, n)
	inverse := make([]float64, choleskyBlock*choleskyBlock)
	rest := make([]float64, max(0, n-choleskyBlock)*choleskyBlock)
	for j := 0; j < n; j += choleskyBlock {
		w := min(choleskyBlock, n-j)
		diagonal := a[j*n+j:]
		if j > 0 {
			ParallelDgemm(false, true, n-j, w, j, -1, a[j*n:], n, a[j*n:], n, diagonal, n, true)
		}
		if at, pivot := factorSmall(diagonal, n, w); at >= 0 {
			return &PivotError{Column: j + at, Pivot: pivot}
		}
		below := n - j - w
		if below == 0 {
			break
		}
		invertSmall(inverse, w, diagonal, n, w)
		panel := a[(j+w)*n+j:]
		for i := range below {
			copy(rest[i*w:(i+1)*w], panel[i*n:])
		}
		ParallelDgemm(false, true, below, w, w, 1, rest, w, inverse, w, panel, n, false)
	}
	for i := range n {
		clear(a[i*n+i+1 : (i+1)*n])
	}
	return nil
}

// factorSmall replaces the lower triangle of a, rows ld apart, by its factor. It
// returns the column whose pivot is not positive and the pivot, or −1. Above the diagonal
// it may write.
func factorSmall(a []float64, ld, n int) (column int, pivot float64) {
	if n <= choleskySmall {
		return factorDirect(a, ld, n)
	}
	h := half(n)
	if column, pivot = factorSmall(a, ld, h); column >= 0 {
		return column, pivot
	}
	inverse, low := make([]float64, h*h), make([]float64, (n-h)*h)
	invertSmall(inverse, h, a, ld, h)
	for i := range n - h {
		copy(low[i*h:(i+1)*h], a[(h+i)*ld:])
	}
	below, rest := a[h*ld:], a[h*ld+h:]
	Dgemm(false, true, n-h, h, h, 1, low, h, inverse, h, below, ld, false)
	Dgemm(false, true, n-h, n-h, h, -1, below, ld, below, ld, rest, ld, true)
	if column, pivot = factorSmall(rest, ld, n-h); column >= 0 {
		column += h
	}
	return column, pivot
}

// half cuts n, above 32, into two parts of whole tiles.
func half(n int) int { return (n/2 + dgemmColumns - 1) / dgemmColumns * dgemmColumns }

func factorDirect(a []float64, ld, n int) (column int, pivot float64) {
	for i := range n {
		row := a[i*ld:][:i+1]
		for j := range i {
			row[j] = (row[j] - dot(row[:j], a[j*ld:])) / a[j*ld+j]
		}
		d := row[i] - dot(row[:i], row[:i])
		if !(d > 0) {
			return i, d
		}
		row[i] = math.Sqrt(d)
	}
	return -1, 0
}

// InvertLower returns the inverse X of the lower triangular l [n, n], zeros above the
// diagonal. What l holds above its diagonal is not read. Entries of l's diagonal must
// not be zero, else X holds infinities and NaN.
//
// A block of columns of X is X_jj = L_jj⁻¹ and, going down, X_ij = −L_ii⁻¹·Σ_k L_ik·X_kj
// over j ≤ k < i; blocks of columns run on several threads, whose number changes no
// bit.
func InvertLower(l []float64, n int) []float64 {
	checkSquare("InvertLower", l, n)
	x := make([]float64, n*n)
	blocks := (n + inverseBlock - 1) / inverseBlock
	split(blocks, func(b int) {
		j := b * inverseBlock
		invertSmall(x[j*n+j:], n, l[j*n+j:], n, min(inverseBlock, n-j))
	})
	split(blocks, func(b int) {
		j := b * inverseBlock
		w := min(inverseBlock, n-j)
		sum := make([]float64, inverseBlock*w)
		for i := j + w; i < n; i += inverseBlock {
			h := min(inverseBlock, n-i)
			Dgemm(false, false, h, w, i-j, 1, l[i*n+j:], n, x[j*n+j:], n, sum, w, false)
			Dgemm(false, false, h, w, h, -1, x[i*n+i:], n, sum, w, x[i*n+j:], n, false)
		}
	})
	return x
}

// invertSmall writes the inverse of the lower triangle of l to x, zeros above the
// diagonal. ldx and ldl are elements from row to row.
func invertSmall(x []float64, ldx int, l []float64, ldl, n int) {
	if n <= choleskySmall {
		invertDirect(x, ldx, l, ldl, n)
		return
	}
	h := half(n)
	invertSmall(x, ldx, l, ldl, h)
	invertSmall(x[h*ldx+h:], ldx, l[h*ldl+h:], ldl, n-h)
	product := make([]float64, (n-h)*h)
	Dgemm(false, false, n-h, h, h, 1, l[h*ldl:], ldl, x, ldx, product, h, false)
	Dgemm(false, false, n-h, h, n-h, -1, x[h*ldx+h:], ldx, product, h, x[h*ldx:], ldx, false)
	for i := range h {
		clear(x[i*ldx+h:][:n-h])
	}
}

// invertDirect goes row by row: X_i = (e_i − Σ_{k<i} L_ik·X_k) / L_ii.
func invertDirect(x []float64, ldx int, l []float64, ldl, n int) {
	for i := range n {
		row := x[i*ldx:][:n]
		clear(row)
		for k := range i {
			addScaled(row[:k+1], -l[i*ldl+k], x[k*ldx:])
		}
		row[i] = 1
		for j := range i + 1 {
			row[j] /= l[i*ldl+i]
		}
	}
}

// SolveLower overwrites b [n, m] with L⁻¹·B, or with L⁻ᵀ·B when trans is set, for the
// lower triangular l [n, n], of which only the lower triangle is read. Blocks of 128
// rows are solved in order; products run on several threads, whose number changes no
// bit.
func SolveLower(trans bool, l []float64, n int, b []float64, m int) {
	checkSquare("SolveLower", l, n)
	if m < 0 || len(b) != n*m {
		panic(fmt.Sprintf("kernels: SolveLower: a right-hand side of %d, want [%d, %d]", len(b), n, m))
	}
	inverse, part := make([]float64, choleskyBlock*choleskyBlock), make([]float64, choleskyBlock*m)
	blocks := (n + choleskyBlock - 1) / choleskyBlock
	for step := range blocks {
		i := step * choleskyBlock
		if trans {
			i = (blocks - 1 - step) * choleskyBlock
		}
		w := min(choleskyBlock, n-i)
		rows := b[i*m : (i+w)*m]
		switch {
		case trans && i+w < n:
			ParallelDgemm(true, false, w, m, n-i-w, -1, l[(i+w)*n+i:], n, b[(i+w)*m:], m, rows, m, true)
		case !trans && i > 0:
			ParallelDgemm(false, false, w, m, i, -1, l[i*n:], n, b, m, rows, m, true)
		}
		invertSmall(inverse, w, l[i*n+i:], n, w)
		copy(part, rows)
		ParallelDgemm(trans, false, w, m, w, 1, inverse, w, part, m, rows, m, false)
	}
}

// InverseFactor returns the upper triangular U with Uᵀ·U = H⁻¹ of a symmetric positive
// definite h [n, n], whose upper triangle alone is read, without forming the inverse:
// with J the reversal of rows and columns, J·H·J = L·Lᵀ gives H = R·Rᵀ with the upper
// triangle R = J·L·J, and U = R⁻¹ = J·L⁻¹·J. So one factorization and one triangular
// inverse stand for the two factorizations and the inverse that GPTQ's code makes. The
// error is a [PivotError]; its column is h's.
func InverseFactor(h []float64, n int) ([]float64, error) {
	checkSquare("InverseFactor", h, n)
	u := make([]float64, n*n)
	reverse(u, h)
	if err := factorReversed(u, n); err != nil {
		return nil, err
	}
	return u, nil
}

// factorReversed replaces the lower triangle of J·H·J by U.
func factorReversed(u []float64, n int) error {
	if err := Cholesky(u, n); err != nil {
		var pivot *PivotError
		if errors.As(err, &pivot) {
			pivot.Column = n - 1 - pivot.Column
		}
		return err
	}
	reverse(u, InvertLower(u, n))
	return nil
}

// reverse writes the elements of src to dst, the last one first.
func reverse(dst, src []float64) {
	const part = 1 << 16
	n := len(src)
	split((n+part-1)/part, func(i int) {
		to := min((i+1)*part, n)
		d := dst[n-to : n-i*part]
		for k, v := range src[i*part : to] {
			d[len(d)-1-k] = v
		}
	})
}

func checkSquare(name string, a []float64, n int) {
	if n < 0 || len(a) != n*n {
		panic(fmt.Sprintf("kernels: %s: a matrix of %d elements, want [%d, %d]", name, len(a), n, n))
	}
}

// dot is Σ a_i·b_i over the elements of a.
func dot(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// addScaled adds a·x to y, over the elements of y.
func addScaled(y []float64, a float64, x []float64) {
	x = x[:len(y)]
	for i := range y {
		y[i] += a * x[i]
	}
}
