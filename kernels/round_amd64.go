package kernels

import "math"

// The routines below are in round_amd64.s; n is a positive multiple of 8.

//go:noescape
func absMaxAVX2(w *float32, n int) uint32

//go:noescape
func minMaxAVX2(w *float32, n int) (low, top float32)

//go:noescape
func roundSymmetricAVX2(dst, w *float32, n int, s, low, high float32)

//go:noescape
func roundAsymmetricAVX2(dst, w *float32, n int, s, z, high float32)

// absMax is absMaxGo.
func absMax(w []float32) float32 {
	n := len(w) &^ 7
	if !useAVX2 || n == 0 {
		return absMaxGo(w)
	}
	m := absMaxAVX2(&w[0], n)
	return math.Float32frombits(max(m, math.Float32bits(absMaxGo(w[n:]))))
}

// minMax is minMaxGo.
func minMax(w []float32) (low, top float32) {
	n := len(w) &^ 7
	if !useAVX2 || n == 0 {
		return minMaxGo(w, w[0], w[0])
	}
	low, top = minMaxAVX2(&w[0], n)
	return minMaxGo(w[n:], low, top)
}

// roundSymmetricTo is roundSymmetricGo.
func roundSymmetricTo(dst, w []float32, s, low, high float32) {
	n := 0
	if useAVX2 && len(w) >= 8 {
		n = len(w) &^ 7
		roundSymmetricAVX2(&dst[0], &w[0], n, s, low, high)
	}
	roundSymmetricGo(dst[n:], w[n:], s, low, high)
}

// roundAsymmetricTo is roundAsymmetricGo.
func roundAsymmetricTo(dst, w []float32, s, z, high float32) {
	n := 0
	if useAVX2 && len(w) >= 8 {
		n = len(w) &^ 7
		roundAsymmetricAVX2(&dst[0], &w[0], n, s, z, high)
	}
	roundAsymmetricGo(dst[n:], w[n:], s, z, high)
}
