package kernels

// The routines below are in norm_amd64.s. They take any n ≥ 0.

//go:noescape
func sumSquaresAVX2(x *float32, n int) float64

//go:noescape
func centeredSquaresAVX2(x *float32, n int, mean float64) float64

//go:noescape
func dotFloat64AVX2(x, y *float32, n int) float64

// normalizeAVX2 stores (x − mean)·scale.
//
//go:noescape
func normalizeAVX2(dst, x *float32, n int, mean, scale float64)

//go:noescape
func sumRoundedSquaresAVX2(x *float32, n int) float64

// divideScaleAVX2 stores x/s·gamma.
//
//go:noescape
func divideScaleAVX2(dst, x, gamma *float32, n int, s float32)
