//go:build !amd64

package kernels

// packStrips packs nothing: A is read in place.
func packStrips(_ []float32, _, _ int, _ []float32, _ int) bool {
	return false
}

// sgemmPanel computes an m×16 block of C from m rows of A and one panel of B.
func sgemmPanel(m, k int, _, a []float32, ars, aks int, b []float32, bks, _ int, c []float32, ldc int, add bool) {
	sgemmPanelGo(m, k, a, ars, aks, b, bks, c, ldc, add)
}

// packPanel writes columns of B, k rows of them, as a panel [k][16] padded with zeros.
func packPanel(dst []float32, trans bool, k, columns int, b []float32, ldb int) {
	packPanelGo(dst, trans, k, 0, columns, b, ldb)
	clearColumns(dst, k, columns)
}

// storePanel copies the first columns of an m×16 block to C, or adds them.
func storePanel(m, columns int, src, c []float32, ldc int, add bool) {
	storePanelGo(m, columns, src, c, ldc, add)
}
