package models

import "math"

// hadamardShape cuts n columns into blocks of a power of two.
func hadamardShape(n int) (blocks, size int) {
	size = 1
	for n%(2*size) == 0 {
		size *= 2
	}
	return n / size, size
}

// HadamardMatrix is the orthogonal matrix M [n, n] of the transform x·M.
func HadamardMatrix(n int) []float64 {
	_, size := hadamardShape(n)
	m := make([]float64, n*n)
	for i := range n {
		for j := range n {
			if i/size != j/size {
				continue
			}
			sign := 1.0
			for b := (i % size) & (j % size); b != 0; b &= b - 1 {
				sign = -sign
			}
			m[i*n+j] = sign / math.Sqrt(float64(size))
		}
	}
	return m
}
