package kernels

// sgemmPanelGo is sgemmPanel in plain Go. Products are rounded before they are
// added (the conversions forbid fusing), so that all machines give the same bits
// and a row doesn't depend on which of the two loops computes it.
func sgemmPanelGo(m, k int, a []float32, ars, aks int, b []float32, bks int, c []float32, ldc int, add bool) {
	for i := range m {
		row := a[i*ars:]
		for j := 0; j < panelWidth; j += 4 {
			var s0, s1, s2, s3 float32
			for p := range k {
				x, y := row[p*aks], b[p*bks+j:][:4:4]
				s0 += float32(x * y[0])
				s1 += float32(x * y[1])
				s2 += float32(x * y[2])
				s3 += float32(x * y[3])
			}
			dst := c[i*ldc+j:][:4:4]
			if add {
				s0, s1, s2, s3 = s0+dst[0], s1+dst[1], s2+dst[2], s3+dst[3]
			}
			dst[0], dst[1], dst[2], dst[3] = s0, s1, s2, s3
		}
	}
}

// packPanelGo writes columns from ≤ j < to of B to a panel.
func packPanelGo(dst []float32, trans bool, k, from, to int, b []float32, ldb int) {
	if !trans {
		for p := range k {
			copy(dst[p*panelWidth+from:p*panelWidth+to], b[p*ldb+from:])
		}
		return
	}
	for j := from; j < to; j++ {
		for p, v := range b[j*ldb:][:k] {
			dst[p*panelWidth+j] = v
		}
	}
}

// clearColumns sets the columns of a panel from the given one on to zero.
func clearColumns(dst []float32, k, from int) {
	if from == panelWidth {
		return
	}
	for p := range k {
		clear(dst[p*panelWidth+from : (p+1)*panelWidth])
	}
}

// storePanelGo is storePanel in plain Go.
func storePanelGo(m, columns int, src, c []float32, ldc int, add bool) {
	for i := range m {
		row, dst := src[i*panelWidth:][:columns], c[i*ldc:][:columns]
		if !add {
			copy(dst, row)
			continue
		}
		for j, v := range row {
			dst[j] = v + dst[j]
		}
	}
}
