package kernels

import (
	"fmt"
	"math"
)

// InverseFactor returns the upper triangular U with Uᵀ·U = H⁻¹ of a symmetric
// positive definite h [n, n], without forming the inverse: with J the reversal of
// rows and columns, J·H·J = L·Lᵀ gives H = R·Rᵀ with the upper triangle R = J·L·J,
// and U = R⁻¹ = J·L⁻¹·J. The error wraps [ErrNotPositive] and names the column.
func InverseFactor(h []float64, n int) ([]float64, error) {
	l := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			l[i*n+j] = h[(n-1-i)*n+n-1-j]
		}
	}
	for i := range n {
		row := l[i*n : i*n+i+1]
		for j := range i {
			row[j] = (row[j] - dot(row[:j], l[j*n:j*n+j])) / l[j*n+j]
		}
		d := row[i] - dot(row[:i], row[:i])
		if !(d > 0) {
			return nil, fmt.Errorf("%w at column %d", ErrNotPositive, n-1-i)
		}
		row[i] = math.Sqrt(d)
	}
	// L⁻¹, row by row: X_i = (e_i − Σ_{k<i} L_ik·X_k) / L_ii.
	x := make([]float64, n*n)
	for i := range n {
		row := x[i*n : i*n+i+1]
		for k := range i {
			addScaled(row[:k+1], -l[i*n+k], x[k*n:k*n+k+1])
		}
		row[i] = 1
		for j := range row {
			row[j] /= l[i*n+i]
		}
	}
	u := l // every entry is written
	for i := range n {
		for j := range n {
			u[i*n+j] = 0
			if j >= i {
				u[i*n+j] = x[(n-1-i)*n+n-1-j]
			}
		}
	}
	return u, nil
}

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

// AddGram adds Σ_t a_t·x_t·xᵀ_t to the symmetric h [cols, cols] in float64, tokens in
// order. x is [tokens, cols]; a holds one weight per token, nil: ones. Tokens of
// weight 0 are not read. Rows of h run on several threads, which changes no bit.
func AddGram(h []float64, x []float32, a []float32, cols int) {
	if cols < 1 || len(h) != cols*cols || len(x)%cols != 0 || (a != nil && len(a) != len(x)/cols) {
		panic(fmt.Sprintf("kernels: AddGram: %d sums, %d inputs and %d weights for %d columns", len(h), len(x), len(a), cols))
	}
	split(cols, func(i int) {
		row := h[i*cols : (i+1)*cols]
		for t := 0; t*cols < len(x); t++ {
			token := x[t*cols : (t+1)*cols]
			v := float64(token[i])
			if a != nil {
				v *= float64(a[t])
			}
			if v == 0 {
				continue
			}
			for j := i; j < cols; j++ {
				row[j] += v * float64(token[j])
			}
		}
	})
	for i := range cols {
		for j := range i {
			h[i*cols+j] = h[j*cols+i]
		}
	}
}

// AddCross adds Σ_t a_t·y_t·xᵀ_t to d [cols, cols], which is not symmetric, in float64
// and as [AddGram] does. x and y are [tokens, cols].
func AddCross(d []float64, y, x []float32, a []float32, cols int) {
	if cols < 1 || len(d) != cols*cols || len(x)%cols != 0 || len(y) != len(x) || (a != nil && len(a) != len(x)/cols) {
		panic(fmt.Sprintf("kernels: AddCross: %d sums, %d and %d inputs and %d weights for %d columns", len(d), len(y), len(x), len(a), cols))
	}
	split(cols, func(i int) {
		row := d[i*cols : (i+1)*cols]
		for t := 0; t*cols < len(x); t++ {
			v := float64(y[t*cols+i])
			if a != nil {
				v *= float64(a[t])
			}
			if v == 0 {
				continue
			}
			for j, w := range x[t*cols : (t+1)*cols] {
				row[j] += v * float64(w)
			}
		}
	})
}
