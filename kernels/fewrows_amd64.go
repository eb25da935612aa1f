package kernels

// The routines below are in fewrows_amd64.s. They multiply one, two or three rows
// of x with tiles rows of w and as many that lie pairW bytes behind them; those
// results lie pairY bytes apart. Strides are in bytes; tiles must be at least 1.

//go:noescape
func fewRows1AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int)

//go:noescape
func fewRows2AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int)

//go:noescape
func fewRows3AVX2(k int, x *float32, ldx int, w *float32, ldw, pairW int, y *float32, ldy, pairY, tiles int)
