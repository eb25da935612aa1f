package kernels

// packWide8AVX2 converts eight neighbouring elements of each of k tokens, which begin
// at src[at], to double precision and multiplies them with a weight, the next one step
// bytes on. It is in gram_amd64.s; k must be at least 1.
//
//go:noescape
func packWide8AVX2(k int, src *float32, at *int, weight *float64, step int, dst *float64)

// packWide6AVX2 is packWide8AVX2 for six elements.
//
//go:noescape
func packWide6AVX2(k int, src *float32, at *int, weight *float64, step int, dst *float64)
