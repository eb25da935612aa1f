//go:build !amd64

package kernels

// Only amd64 has these routines; useAVX2 keeps others from calling them.

func sumSquaresAVX2(x *float32, n int) float64 { panic(noAVX2) }

func centeredSquaresAVX2(x *float32, n int, mean float64) float64 { panic(noAVX2) }

func dotFloat64AVX2(x, y *float32, n int) float64 { panic(noAVX2) }

func normalizeAVX2(dst, x *float32, n int, mean, scale float64) { panic(noAVX2) }

func sumRoundedSquaresAVX2(x *float32, n int) float64 { panic(noAVX2) }

func divideScaleAVX2(dst, x, gamma *float32, n int, s float32) { panic(noAVX2) }
