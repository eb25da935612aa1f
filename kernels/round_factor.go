package kernels

import "fmt"

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
