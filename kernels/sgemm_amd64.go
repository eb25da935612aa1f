package kernels

// The routines below are in sgemm_amd64.s. Strides are in bytes; k, tiles, groups
// and rows must be at least 1.

// sgemmTiles6 computes tiles successive tiles of 6×16 elements of C from 6·tiles
// rows of A, step bytes from one six to the next, and one panel of B. The next panel
// lies next bytes behind this one.
//
//go:noescape
func sgemmTiles6(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool, tiles, step, next int)

//go:noescape
func sgemmTile4(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool)

//go:noescape
func sgemmTile2(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool)

//go:noescape
func sgemmTile1(k int, a *float32, ars, aks int, b *float32, bks int, c *float32, ldc int, add bool)

// packTransposed8 writes 4·groups columns of eight rows of src as rows of eight
// elements, 16 elements apart.
//
//go:noescape
func packTransposed8(groups int, src *float32, ld int, dst *float32)

// packRows16 copies the first 16 elements of each row to consecutive places.
//
//go:noescape
func packRows16(rows int, src *float32, ld int, dst *float32)

// packStrip6 copies the first 6 elements of each of k rows to consecutive places.
//
//go:noescape
func packStrip6(k int, src *float32, ld int, dst *float32)

// storeColumns copies the first columns (below 16) of m rows of 16 elements to C.
//
//go:noescape
func storeColumns(m, columns int, src, c *float32, ldc int)

// addColumns is storeColumns adding to C.
//
//go:noescape
func addColumns(m, columns int, src, c *float32, ldc int)

// packStrips packs the whole sixes of m rows of a transposed A as strips [k][6]
// and reports whether it did: without assembly A is read in place.
func packStrips(dst []float32, m, k int, a []float32, lda int) bool {
	if !useAVX2 {
		return false
	}
	for i := 0; i+6 <= m; i += 6 {
		packStrip6(k, &a[i], lda*4, &dst[i*k])
	}
	return true
}

// sgemmPanel computes an m×16 block of C from m rows of A and one panel of B, next
// elements before the panel that will follow. If strips is not nil it holds the whole
// sixes of rows as packStrips leaves them.
func sgemmPanel(m, k int, strips, a []float32, ars, aks int, b []float32, bks, next int, c []float32, ldc int, add bool) {
	if !useAVX2 {
		sgemmPanelGo(m, k, a, ars, aks, b, bks, c, ldc, add)
		return
	}
	i := m - m%6
	switch {
	case i == 0:
	case strips != nil:
		sgemmTiles6(k, &strips[0], 4, 24, &b[0], bks*4, &c[0], ldc*4, add, i/6, k*24, next*4)
	default:
		sgemmTiles6(k, &a[0], ars*4, aks*4, &b[0], bks*4, &c[0], ldc*4, add, i/6, ars*24, next*4)
	}
	if m-i >= 4 {
		sgemmTile4(k, &a[i*ars], ars*4, aks*4, &b[0], bks*4, &c[i*ldc], ldc*4, add)
		i += 4
	}
	if m-i >= 2 {
		sgemmTile2(k, &a[i*ars], ars*4, aks*4, &b[0], bks*4, &c[i*ldc], ldc*4, add)
		i += 2
	}
	if m-i >= 1 {
		sgemmTile1(k, &a[i*ars], ars*4, aks*4, &b[0], bks*4, &c[i*ldc], ldc*4, add)
	}
}

// packPanel writes columns of B, k rows of them, as a panel [k][16] padded with zeros.
func packPanel(dst []float32, trans bool, k, columns int, b []float32, ldb int) {
	switch {
	case !useAVX2:
		packPanelGo(dst, trans, k, 0, columns, b, ldb)
		clearColumns(dst, k, columns)
	case trans:
		packed, j := k-k%4, 0
		for ; j+8 <= columns && packed > 0; j += 8 {
			packTransposed8(packed/4, &b[j*ldb], ldb*4, &dst[j])
			if packed < k {
				packPanelGo(dst[packed*panelWidth+j:], true, k-packed, 0, 8, b[j*ldb+packed:], ldb)
			}
		}
		packPanelGo(dst, true, k, j, columns, b, ldb)
		clearColumns(dst, k, columns)
	case columns == panelWidth:
		packRows16(k, &b[0], ldb*4, &dst[0])
	default:
		packPanelGo(dst, false, k, 0, columns, b, ldb)
		clearColumns(dst, k, columns)
	}
}

// storePanel copies the first columns of an m×16 block to C, or adds them.
func storePanel(m, columns int, src, c []float32, ldc int, add bool) {
	switch {
	case !useAVX2:
		storePanelGo(m, columns, src, c, ldc, add)
	case add:
		addColumns(m, columns, &src[0], &c[0], ldc*4)
	default:
		storeColumns(m, columns, &src[0], &c[0], ldc*4)
	}
}
