package backend

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/tlqlab/tlqlab/kernels"
)

// float32Row runs an arithmetic operation on a run of float32 values where
// both operands step by 0 or 1; it reports whether it had a kernel for it.
func float32Row(op compute.OpType, dst, a, b []float32, sa, sb int) bool {
	switch {
	case sa == 1 && sb == 1:
		if f := vectorKernels[op]; f != nil {
			f(dst, a[:len(dst)], b[:len(dst)])
			return true
		}
	case sa == 1:
		return rowScalar(op, dst, a[:len(dst)], b[0])
	case sb == 1 && (op == compute.OpTypeAdd || op == compute.OpTypeMul):
		return rowScalar(op, dst, b[:len(dst)], a[0])
	}
	return false
}

// vectorKernels are the operations on two float32 slices.
var vectorKernels = map[compute.OpType]func(dst, a, b []float32){
	compute.OpTypeAdd: kernels.Add,
	compute.OpTypeSub: kernels.Sub,
	compute.OpTypeMul: kernels.Mul,
	compute.OpTypeDiv: kernels.Div,
}

func rowScalar(op compute.OpType, dst, x []float32, s float32) bool {
	switch op {
	case compute.OpTypeAdd:
		kernels.AddScalar(dst, x, s)
	case compute.OpTypeSub:
		kernels.AddScalar(dst, x, -s)
	case compute.OpTypeMul:
		kernels.MulScalar(dst, x, s)
	case compute.OpTypeDiv:
		kernels.DivScalar(dst, x, s)
	default:
		return false
	}
	return true
}

// float32Unary returns the float32 kernel of an operation, or nil.
func float32Unary(op compute.OpType) func(dst, x []float32) {
	switch op {
	case compute.OpTypeExp:
		return kernels.Exp
	case compute.OpTypeLogistic:
		return kernels.Sigmoid
	case compute.OpTypeTanh:
		return kernels.Tanh
	case compute.OpTypeErf:
		return kernels.Erf
	case compute.OpTypeLog:
		return kernels.Log
	case compute.OpTypeSqrt:
		return kernels.Sqrt
	case compute.OpTypeNeg:
		return func(dst, x []float32) { kernels.MulScalar(dst, x, -1) }
	}
	return nil
}

// maxRows is the largest value of each row, NaN if there is one.
func maxRows(p reduction, src, dst []float32) {
	if p.n == 0 {
		for i := range dst {
			dst[i] = float32(math.Inf(-1))
		}
		return
	}
	parallel(p.outer, rowsPerPiece(p.n), func(lo, hi int) {
		kernels.RowMax(dst[lo:hi], src[lo*p.n:hi*p.n], hi-lo, p.n)
	})
}
