//go:build !amd64

package kernels

// Only amd64 has these routines; useAVX2 keeps others from calling them.

func addAVX2(dst, a, b *float32, n int) { panic(noAVX2) }

func subAVX2(dst, a, b *float32, n int) { panic(noAVX2) }

func mulAVX2(dst, a, b *float32, n int) { panic(noAVX2) }

func divAVX2(dst, a, b *float32, n int) { panic(noAVX2) }

func maxAVX2(dst, a, b *float32, n int) { panic(noAVX2) }

func minAVX2(dst, a, b *float32, n int) { panic(noAVX2) }

func axpyAVX2(alpha float32, x, y *float32, n int) { panic(noAVX2) }

func addScalarAVX2(dst, x *float32, n int, s float32) { panic(noAVX2) }

func mulScalarAVX2(dst, x *float32, n int, s float32) { panic(noAVX2) }

func divScalarAVX2(dst, x *float32, n int, s float32) { panic(noAVX2) }

func sqrtAVX2(dst, x *float32, n int) { panic(noAVX2) }

func expAVX2(dst, x *float32, n int) { panic(noAVX2) }

func sigmoidAVX2(dst, x *float32, n int) { panic(noAVX2) }

func siluAVX2(dst, x *float32, n int) { panic(noAVX2) }

func geluAVX2(dst, x *float32, n int) { panic(noAVX2) }

func tanhAVX2(dst, x *float32, n int) { panic(noAVX2) }

func erfAVX2(dst, x *float32, n int) { panic(noAVX2) }

func expShiftSumAVX2(dst, x *float32, n int, shift float32) float64 { panic(noAVX2) }

func sumFloat64AVX2(x *float32, n int) float64 { panic(noAVX2) }

func rowMaxAVX2(x *float32, n int) float32 { panic(noAVX2) }

func dotAVX2(x, y *float32, n int) float32 { panic(noAVX2) }

const noAVX2 = "kernels: AVX2 routine called on another architecture"
