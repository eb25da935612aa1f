//go:build !amd64

package kernels

// fwht is fwhtGo for float32.
func fwht(x []float32, inner, p int, scale float32) { fwhtGo(x, inner, p, scale) }
