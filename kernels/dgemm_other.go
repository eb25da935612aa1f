//go:build !amd64

package kernels

// dgemmStrips computes tiles·6 rows of 8 columns of C from packed strips of A and
// one packed panel of B, k of the pitch steps that a strip has.
func dgemmStrips(k, pitch int, a, b, c []float64, ldc int, alpha float64, add bool, tiles int) {
	dgemmStripsGo(k, pitch, a, b, c, ldc, alpha, add, tiles)
}

// dpack writes k steps of width lanes, lane i of step p at src[i*ls+p*ks], as
// [k][lanes] with zeros from width on.
func dpack(dst []float64, lanes, width, k int, src []float64, ls, ks int) {
	dpackGo(dst, lanes, width, 0, k, src, ls, ks)
}
