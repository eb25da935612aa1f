package kernels

import (
	"errors"
	"fmt"
	"math"
	"runtime"
)

const (
	// choleskyBlock columns at most are factored at a time.
	choleskyBlock = 256
	// inverseBlock columns at most are inverted at a time.
	inverseBlock = 128
	// solveBlock rows are solved for at a time.
	solveBlock = 128
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
// Columns are halved until 256 are left: the first half is factored, what it
// contributes to the second is subtracted by one product, and the second is factored. Of
// 256 columns the block on the diagonal is factored, and the rows below are
// multiplied by its inverse's transpose (so the bound on the residual carries the condition of
// a diagonal block's factor, not of A's). Products run on several threads, bits don't
// depend on how many.
func Cholesky(a []float64, n int) error {
	checkSquare("Cholesky", a, n)
	if err := factorLower(a, n); err != nil {
		return err
	}
	for i := range n {
		clear(a[i*n+i+1 : (i+1)*n])
	}
	return nil
}

// factorLower is Cholesky without the zeros: above the diagonal nothing is changed.
func factorLower(a []float64, n int) error {
	size := min(n, choleskyBlock) * min(n, choleskyBlock)
	return factorColumns(a, n, 0, n, make([]float64, size), make([]float64, size))
}

// factorColumns factors the columns first ≤ j < end of a [n, n], from which those before
// are subtracted. block and inverse have room for a block on the diagonal.
func factorColumns(a []float64, n, first, end int, block, inverse []float64) error {
	w := end - first
	if w > choleskyBlock {
		half := (w/2 + choleskyBlock - 1) / choleskyBlock * choleskyBlock
		middle := first + half
		if err := factorColumns(a, n, first, middle, block, inverse); err != nil {
			return err
		}
		subtractLower(a[middle*n+first:], a[middle*n+middle:], n, n-middle, end-middle, half)
		return factorColumns(a, n, middle, end, block, inverse)
	}
	diagonal := a[first*n+first:]
	for i := range w {
		copy(block[i*w:][:i+1], diagonal[i*n:])
	}
	if at, pivot := factorSmall(block, w, inverse, w, w); at >= 0 {
		return &PivotError{Column: first + at, Pivot: pivot}
	}
	for i := range w {
		copy(diagonal[i*n:][:i+1], block[i*w:])
	}
	below := n - end
	tasks := min((below+dgemmMC-1)/dgemmMC, 2*runtime.GOMAXPROCS(0))
	split(tasks, func(i int) {
		from, to := below*i/tasks, below*(i+1)/tasks
		buf := dgemmBuffers.Get().(*dgemmBuffer)
		defer dgemmBuffers.Put(buf)
		buf.timesTransposed(inverse, a[(end+from)*n+first:], n, to-from, w)
	})
	return nil
}

// factorSmall replaces the lower triangle of a, rows lda apart, by its factor, and
// writes that one's inverse to x, rows ldx apart, zeros above the diagonal. It
// returns the column whose pivot is not positive and the pivot, or −1. Above the diagonal
// of a it may write.
func factorSmall(a []float64, lda int, x []float64, ldx, n int) (column int, pivot float64) {
	if n <= choleskySmall {
		if column, pivot = factorDirect(a, lda, n); column < 0 {
			invertDirect(x, ldx, a, lda, n)
		}
		return column, pivot
	}
	h := half(n)
	if column, pivot = factorSmall(a, lda, x, ldx, h); column >= 0 {
		return column, pivot
	}
	below, rest, product := a[h*lda:], a[h*lda+h:], make([]float64, (n-h)*h)
	for i := range n - h {
		copy(product[i*h:(i+1)*h], below[i*lda:])
	}
	Dgemm(false, true, n-h, h, h, 1, product, h, x, ldx, below, lda, false)
	Dgemm(false, true, n-h, n-h, h, -1, below, lda, below, lda, rest, lda, true)
	if column, pivot = factorSmall(rest, lda, x[h*ldx+h:], ldx, n-h); column >= 0 {
		return column + h, pivot
	}
	invertBelow(x, ldx, below, lda, h, n, product)
	return -1, 0
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

// InvertLower overwrites the lower triangular l [n, n] with its inverse. What lies above the
// diagonal is neither used nor changed. Entries of l's diagonal must
// not be zero, else the inverse holds infinities and NaN.
//
// Blocks on the diagonal are inverted, then blocks twice as large from two of them,
//
//	[L₁ 0; M L₂]⁻¹ = [L₁⁻¹ 0; −L₂⁻¹·M·L₁⁻¹ L₂⁻¹],
//
// and so on. Products with triangles take half of what square ones do, and run in
// place, on several threads, whose number changes no bit.
func InvertLower(l []float64, n int) {
	checkSquare("InvertLower", l, n)
	split((n+inverseBlock-1)/inverseBlock, func(b int) {
		i := b * inverseBlock
		w := min(inverseBlock, n-i)
		x := make([]float64, w*w)
		invertSmall(x, w, l[i*n+i:], n, w)
		for r := range w {
			copy(l[(i+r)*n+i:][:r+1], x[r*w:])
		}
	})
	for w := inverseBlock; w < n; w *= 2 {
		joinInverses(l, n, w)
	}
}

// joinInverses makes inverses of order 2·w from those of order w on the diagonal of l
// and what lies between them; the last may be smaller.
func joinInverses(l []float64, n, w int) {
	pairs := (n - w + 2*w - 1) / (2 * w)
	parts := min((w+inverseBlock-1)/inverseBlock, max((w+dgemmNC-1)/dgemmNC, (4*runtime.GOMAXPROCS(0)+pairs-1)/pairs))
	each := func(f func(buf *dgemmBuffer, top, part int)) {
		split(pairs*parts, func(i int) {
			buf := dgemmBuffers.Get().(*dgemmBuffer)
			defer dgemmBuffers.Put(buf)
			f(buf, i/parts*2*w, i%parts)
		})
	}
	each(func(buf *dgemmBuffer, top, part int) { // columns of M
		middle := top + w
		from, to := cut(w, part, parts, dgemmColumns), cut(w, part+1, parts, dgemmColumns)
		buf.minusLowerTimes(l[middle*n+middle:], l[middle*n+top+from:], n, min(w, n-middle), to-from)
	})
	each(func(buf *dgemmBuffer, top, part int) { // rows of M
		middle := top + w
		m := min(w, n-middle)
		from, to := cut(m, part, parts, dgemmRows), cut(m, part+1, parts, dgemmRows)
		if from < to {
			buf.timesLower(l[top*n+top:], l[(middle+from)*n+top:], n, to-from, w)
		}
	})
}

// cut is where part i of n begins, a multiple of whole.
func cut(n, i, parts, whole int) int {
	if i == parts {
		return n
	}
	return n * i / parts / whole * whole
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
	invertBelow(x, ldx, l[h*ldl:], ldl, h, n, make([]float64, (n-h)*h))
}

// invertBelow completes the inverse x [n, n] whose blocks on the diagonal, the first one of
// order h, are there: below are the rows from h on of the triangle. product has room for
// [n−h, h].
func invertBelow(x []float64, ldx int, below []float64, ldl, h, n int, product []float64) {
	Dgemm(false, false, n-h, h, h, 1, below, ldl, x, ldx, product, h, false)
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
	inverse, part := make([]float64, solveBlock*solveBlock), make([]float64, solveBlock*m)
	blocks := (n + solveBlock - 1) / solveBlock
	for step := range blocks {
		i := step * solveBlock
		if trans {
			i = (blocks - 1 - step) * solveBlock
		}
		w := min(solveBlock, n-i)
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
	InvertLower(u, n)
	reverseInPlace(u)
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

// reverseInPlace puts the last element first.
func reverseInPlace(x []float64) {
	const part = 1 << 16
	half := len(x) / 2
	split((half+part-1)/part, func(i int) {
		from, to := i*part, min((i+1)*part, half)
		front, back := x[from:to], x[len(x)-to:len(x)-from]
		for k, v := range front {
			front[k], back[len(back)-1-k] = back[len(back)-1-k], v
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
