//go:build !amd64

package kernels

// Only amd64 has these routines; useAVX2 keeps others from calling them.

func addRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int) { panic(noAVX2) }

func subRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int) { panic(noAVX2) }

func mulRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int) { panic(noAVX2) }

func divRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int) { panic(noAVX2) }

func addRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int) { panic(noAVX2) }

func subRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int) { panic(noAVX2) }

func mulRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int) { panic(noAVX2) }

func divRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int) { panic(noAVX2) }

func sumColumns16AVX2(dst, x *float32, rows, stride int) { panic(noAVX2) }
