package models

import "github.com/tlqlab/tlqlab/kernels"

// HadamardBlocks is the transform that n values pass: in as few equal blocks as have a
// Hadamard matrix, one where n itself has. M is then the identity of that order ⊗ the
// block's.
func HadamardBlocks(n int) (h *kernels.Hadamard, blocks int) {
	for blocks = 1; ; blocks++ {
		if n%blocks != 0 {
			continue
		}
		if h, err := kernels.NewHadamard(n / blocks); err == nil { // at the latest of order 1
			return h, blocks
		}
	}
}

// hadamardMatrix is the orthogonal matrix M [n, n] of the transform x·M in blocks.
func hadamardMatrix(h *kernels.Hadamard, blocks int) []float32 {
	n := h.Len() * blocks
	wide := make([]float64, n*n)
	for i := range n {
		wide[i*n+i] = 1
	}
	h.ApplyWide(wide, 1)
	m := make([]float32, len(wide))
	for i, v := range wide {
		m[i] = float32(v)
	}
	return m
}
