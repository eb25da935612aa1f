package kernels

// The routines below are in dgemm_amd64.s. Strides are in bytes; all counts must be
// at least 1.

// dgemmTiles computes tiles successive tiles of 6×8 elements of C from as many
// strips of A, skip bytes between one's end and the next, and one panel of B.
//
//go:noescape
func dgemmTiles(k int, a, b, c *float64, ldc int, alpha float64, add bool, tiles, skip int)

// dpackCopy8 copies the first 8 elements of each of k rows to consecutive places.
//
//go:noescape
func dpackCopy8(k int, src *float64, ld int, dst *float64)

// dpackCopy6 copies the first 6 elements of each of k rows to consecutive places.
//
//go:noescape
func dpackCopy6(k int, src *float64, ld int, dst *float64)

// dpackTransposed8 writes 4·groups columns of eight rows as rows of eight elements.
//
//go:noescape
func dpackTransposed8(groups int, src *float64, ld int, dst *float64)

// dpackTransposed6 writes 4·groups columns of six rows as rows of six elements.
//
//go:noescape
func dpackTransposed6(groups int, src *float64, ld int, dst *float64)

// dgemmStrips computes tiles·6 rows of 8 columns of C from packed strips of A and
// one packed panel of B, k of the pitch steps that a strip has.
func dgemmStrips(k, pitch int, a, b, c []float64, ldc int, alpha float64, add bool, tiles int) {
	if !useAVX2 {
		dgemmStripsGo(k, pitch, a, b, c, ldc, alpha, add, tiles)
		return
	}
	dgemmTiles(k, &a[0], &b[0], &c[0], ldc*8, alpha, add, tiles, (pitch-k)*dgemmRows*8)
}

// dpack writes k steps of width lanes, lane i of step p at src[i*ls+p*ks], as
// [k][lanes] with zeros from width on. One of the strides is 1.
func dpack(dst []float64, lanes, width, k int, src []float64, ls, ks int) {
	if !useAVX2 || width < lanes {
		dpackGo(dst, lanes, width, 0, k, src, ls, ks)
		return
	}
	switch {
	case ls == 1 && lanes == dgemmColumns:
		dpackCopy8(k, &src[0], ks*8, &dst[0])
		return
	case ls == 1:
		dpackCopy6(k, &src[0], ks*8, &dst[0])
		return
	case k < 4:
	case lanes == dgemmColumns:
		dpackTransposed8(k/4, &src[0], ls*8, &dst[0])
	default:
		dpackTransposed6(k/4, &src[0], ls*8, &dst[0])
	}
	dpackGo(dst, lanes, width, k&^3, k, src, ls, ks)
}
