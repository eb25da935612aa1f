//go:build !amd64

package kernels

// Only amd64 has these routines; useAVX2 keeps others from calling them.

func fewRows1AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int) {
	panic(noAVX2)
}

func fewRows2AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int) {
	panic(noAVX2)
}

func fewRows3AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int) {
	panic(noAVX2)
}
