package kernels

// dgemmStripsGo is dgemmStrips in plain Go. Products are rounded before they are
// added (the conversions forbid fusing), so that all machines give the same bits.
func dgemmStripsGo(k, pitch int, a, b, c []float64, ldc int, alpha float64, add bool, tiles int) {
	for t := range tiles {
		strip := a[t*pitch*dgemmRows:][:k*dgemmRows]
		for i := range dgemmRows {
			for j := 0; j < dgemmColumns; j += 4 {
				var s0, s1, s2, s3 float64
				for p := range k {
					x, y := strip[p*dgemmRows+i], b[p*dgemmColumns+j:][:4:4]
					s0 += float64(x * y[0])
					s1 += float64(x * y[1])
					s2 += float64(x * y[2])
					s3 += float64(x * y[3])
				}
				dst := c[(t*dgemmRows+i)*ldc+j:][:4:4]
				s0, s1, s2, s3 = float64(alpha*s0), float64(alpha*s1), float64(alpha*s2), float64(alpha*s3)
				if add {
					s0, s1, s2, s3 = s0+dst[0], s1+dst[1], s2+dst[2], s3+dst[3]
				}
				dst[0], dst[1], dst[2], dst[3] = s0, s1, s2, s3
			}
		}
	}
}

// dpackGo is dpack for steps from ≤ p < to, in plain Go.
func dpackGo(dst []float64, lanes, width, from, to int, src []float64, ls, ks int) {
	for p := from; p < to; p++ {
		row := dst[p*lanes:][:lanes]
		for i := range width {
			row[i] = src[i*ls+p*ks]
		}
		clear(row[width:])
	}
}
