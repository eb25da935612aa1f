package kernels

// The routines below are in rows_amd64.s. rows and n must be at least 1; strides
// are in elements.

//go:noescape
func addRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)

//go:noescape
func subRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)

//go:noescape
func mulRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)

//go:noescape
func divRowsAVX2(dst, a, b *float32, rows, n, strideA, strideB int)

//go:noescape
func addRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)

//go:noescape
func subRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)

//go:noescape
func mulRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)

//go:noescape
func divRowScalarsAVX2(dst, x, s *float32, rows, n, strideX, strideS int)

// sumColumns16AVX2 sums 16 columns in double precision.
//
//go:noescape
func sumColumns16AVX2(dst, x *float32, rows, stride int)
