package backend

import (
	"math"

	"github.com/gomlx/compute"
)

// float32Row runs an arithmetic operation on a run of float32 values where
// both operands step by 0 or 1; it reports whether it had a kernel for it.
func float32Row(op compute.OpType, dst, a, b []float32, sa, sb int) bool {
	switch {
	case sa == 1 && sb == 1:
		a, b = a[:len(dst)], b[:len(dst)]
		if op == compute.OpTypeDiv {
			for i := range dst {
				dst[i] = a[i] / b[i]
			}
			return true
		}
	case sa == 1 && op == compute.OpTypeDiv:
		a, d := a[:len(dst)], b[0]
		for i := range dst {
			dst[i] = a[i] / d
		}
		return true
	}
	return false
}

// float32Unary returns the float32 kernel of an operation, or nil.
func float32Unary(op compute.OpType) func(dst, x []float32) {
	switch op {
	case compute.OpTypeSqrt:
		return func(dst, x []float32) {
			for i, v := range x {
				dst[i] = float32(math.Sqrt(float64(v)))
			}
		}
	case compute.OpTypeNeg:
		return func(dst, x []float32) {
			for i, v := range x {
				dst[i] = -v
			}
		}
	}
	return nil
}

// maxRows is the largest value of each row, NaN if there is one.
func maxRows(p reduction, src, dst []float32) {
	parallel(p.outer, rowsPerPiece(p.n), func(lo, hi int) {
		for o := lo; o < hi; o++ {
			best := float32(math.Inf(-1))
			for _, v := range src[o*p.n : (o+1)*p.n] {
				if v > best || v != v {
					best = v
				}
				if best != best {
					break
				}
			}
			dst[o] = best
		}
	})
}
