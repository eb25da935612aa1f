//go:build !amd64

package kernels

// Only amd64 has these routines; useAVX2 keeps others from calling them.

func packWide8AVX2(k int, src *float32, at *int, weight *float64, step int, dst *float64) {
	panic(noAVX2)
}

func packWide6AVX2(k int, src *float32, at *int, weight *float64, step int, dst *float64) {
	panic(noAVX2)
}
