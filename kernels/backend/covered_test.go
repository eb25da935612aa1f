package backend_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/tlqlab/tlqlab/kernels/backend"
)

// alone lists the operations that random graphs don't draw, by the test that each
// has instead.
var alone = []struct {
	test func(t *testing.T)
	ops  []compute.OpType
}{
	{TestBinaryOperations, []compute.OpType{
		compute.OpTypeRem, compute.OpTypeEqual, compute.OpTypeNotEqual, compute.OpTypeGreaterOrEqual, compute.OpTypeLessThan,
		compute.OpTypeBitwiseAnd, compute.OpTypeBitwiseOr, compute.OpTypeBitwiseXor, compute.OpTypeLogicalAnd, compute.OpTypeLogicalXor,
		compute.OpTypeShiftLeft, compute.OpTypeShiftRightArithmetic, compute.OpTypeShiftRightLogical,
	}},
	{TestIntegerCorners, []compute.OpType{compute.OpTypePow}},
	{TestUnaryOperations, []compute.OpType{
		compute.OpTypeSign, compute.OpTypeExpm1, compute.OpTypeRsqrt, compute.OpTypeRound, compute.OpTypeCeil,
		compute.OpTypeBitwiseNot, compute.OpTypeBitCount, compute.OpTypeClz, compute.OpTypeIsFinite, compute.OpTypeIsNaN,
	}},
	{TestClamp, []compute.OpType{compute.OpTypeClamp}},
	{TestReductionsOfBits, []compute.OpType{
		compute.OpTypeReduceLogicalAnd, compute.OpTypeReduceLogicalOr, compute.OpTypeReduceLogicalXor,
		compute.OpTypeReduceBitwiseAnd, compute.OpTypeReduceBitwiseOr, compute.OpTypeReduceBitwiseXor,
	}},
	{TestBitcast, []compute.OpType{compute.OpTypeBitcast}},
	{TestBorders, []compute.OpType{compute.OpTypeDynamicSlice, compute.OpTypeDynamicUpdateSlice}},
	{TestRandomBits, []compute.OpType{compute.OpTypeRNGBitGenerator}},
	{TestFusedIsDecomposed, []compute.OpType{compute.OpTypeFusedSoftmax, compute.OpTypeFusedGelu, compute.OpTypeFusedLayerNorm}},
	{TestFusedAttention, []compute.OpType{compute.OpTypeIota, compute.OpTypeFusedScaledDotProductAttention, compute.OpTypeFusedScaledDotProductAttentionVJP}},
	{TestConformance, []compute.OpType{compute.OpTypeOptimizationBarrier, compute.OpTypeSchedulingBarrier, compute.OpTypeIdentity}},
}

// Whatever the backend claims is drawn in random graphs or has a test of its own, and
// nothing is listed that it doesn't claim.
func TestClaimsAreCovered(t *testing.T) {
	on := open(t, "tlq")
	covered := map[compute.OpType]bool{}
	claims := on.Capabilities().Operations
	for _, a := range alone {
		for _, op := range a.ops {
			covered[op] = true
			if !claims[op] {
				t.Errorf("%s is listed and not claimed", op)
			}
		}
	}
	for seed := range uint64(60) {
		exec, err := graph.NewExec(on, func(in []*graph.Node) []*graph.Node {
			out, _ := build(seed, in)
			return out
		})
		if err != nil {
			t.Fatal(err)
		}
		results, g, err := exec.CallWithGraph(inputs(seed, dtypes.Float32)...)
		if err != nil || len(results) == 0 {
			t.Fatalf("seed %d: %d results: %v", seed, len(results), err)
		}
		for _, op := range backend.Built(g.Executable()) {
			covered[op] = true
		}
		exec.Finalize()
	}
	for op, claimed := range claims {
		if claimed && !covered[op] {
			t.Errorf("%s is claimed; neither do random graphs draw it nor is it listed with a test", op)
		}
	}
}

// Clamp moves values between bounds of scalars or arrays; NaN in any place stays.
func TestClamp(t *testing.T) {
	on, nan := open(t, "tlq"), float32(math.NaN())
	build := func(f compute.Function, p []compute.Value) (compute.Value, error) { return f.Clamp(p[0], p[1], p[2]) }
	for _, c := range []struct{ low, x, high, want any }{
		{float32(-1), []float32{-3, -1, 0.5, 1, 7, nan}, float32(1), []float32{-1, -1, 0.5, 1, 1, nan}},
		{[]float32{0, 1, nan, 0}, []float32{5, 0, 1, 1}, []float32{3, 2, 3, nan}, []float32{3, 1, nan, nan}},
		{int8(-5), []int8{-128, 0, 127}, int8(9), []int8{-5, 0, 9}},
		{[]uint16{3, 3}, []uint16{1, 9}, uint16(7), []uint16{3, 7}},
		{0.5, []float64{0, 1}, 0.75, []float64{0.5, 0.75}},
	} {
		if err := same(call(t, on, build, c.low, c.x, c.high), c.want, 0); err != nil {
			t.Errorf("clamp of %v to [%v, %v]: %v", c.x, c.low, c.high, err)
		}
	}
}

// Reductions of booleans and of bits are loops over their values, along rows and
// columns.
func TestReductionsOfBits(t *testing.T) {
	on := open(t, "tlq")
	const rows, cols = 3, 5
	truths, bits := [][]bool{}, [][]int32{}
	for r := range rows {
		truths, bits = append(truths, make([]bool, cols)), append(bits, make([]int32, cols))
		for c := range cols {
			truths[r][c], bits[r][c] = c > r || r == 2, int32(7<<(2*r)|c<<4-r)
		}
	}
	reduceBits(t, on, "and", truths, compute.Function.ReduceLogicalAnd, func(a, b bool) bool { return a && b })
	reduceBits(t, on, "or", truths, compute.Function.ReduceLogicalOr, func(a, b bool) bool { return a || b })
	reduceBits(t, on, "xor", truths, compute.Function.ReduceLogicalXor, func(a, b bool) bool { return a != b })
	reduceBits(t, on, "bitwise and", bits, compute.Function.ReduceBitwiseAnd, func(a, b int32) int32 { return a & b })
	reduceBits(t, on, "bitwise or", bits, compute.Function.ReduceBitwiseOr, func(a, b int32) int32 { return a | b })
	reduceBits(t, on, "bitwise xor", bits, compute.Function.ReduceBitwiseXor, func(a, b int32) int32 { return a ^ b })
}

func reduceBits[T any](t *testing.T, on compute.Backend, name string, x [][]T, op func(f compute.Function, x compute.Value, axes ...int) (compute.Value, error), pair func(a, b T) T) {
	t.Helper()
	columns, rows := append([]T{}, x[0]...), []T{}
	for r, row := range x {
		all := row[0]
		for c, v := range row {
			if c > 0 {
				all = pair(all, v)
			}
			if r > 0 {
				columns[c] = pair(columns[c], v)
			}
		}
		rows = append(rows, all)
	}
	for axis, want := range []any{columns, rows} {
		got := call(t, on, func(f compute.Function, p []compute.Value) (compute.Value, error) { return op(f, p[0], axis) }, x)
		if err := same(got, want, 0); err != nil {
			t.Errorf("%s of axis %d: %v", name, axis, err)
		}
	}
}
