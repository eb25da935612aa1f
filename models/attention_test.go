package models

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// The backend's attention agrees with the one in a graph's own operations, with
// their gradients, masked as batches are and without a mask.
func TestGroupedAttention(t *testing.T) {
	b, err := sharedBackend()
	if err != nil {
		t.Fatal(err)
	}
	const batch, tokens, heads, group, width = 2, 30, 2, 3, 8
	rng := rand.New(rand.NewPCG(4, 4))
	draw := func(dims ...int) *tensors.Tensor {
		n := 1
		for _, d := range dims {
			n *= d
		}
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(rng.NormFloat64())
		}
		return tensors.FromFlatDataAndDimensions(list, dims...)
	}
	mask := make([]float32, batch*tokens*tokens)
	for i := range batch {
		n := tokens - 9*i
		branch := make([]int32, n)
		branch[n-1], branch[n-2], branch[n-3] = 2, 1, 1
		fillMask(&Sequence{IDs: make([]int32, n), Branch: branch}, tokens, mask[i*tokens*tokens:])
	}
	args := []any{
		draw(batch, tokens, heads, group, width), draw(batch, tokens, heads, width), draw(batch, tokens, heads, width),
		tensors.FromFlatDataAndDimensions(mask, batch, tokens, tokens),
	}
	for _, masked := range []bool{true, false} {
		exec, err := graph.NewExec(b, func(in []*graph.Node) []*graph.Node {
			mask := in[3]
			if !masked {
				mask = nil
			}
			var out []*graph.Node
			for _, attend := range []func(q, k, v, mask *node) *node{groupedAttention, plainAttention} {
				y := attend(in[0], in[1], in[2], mask)
				loss := graph.ReduceAllSum(graph.Mul(y, graph.Sin(graph.IotaFull(y.Graph(), y.Shape()))))
				out = append(append(out, y), graph.Gradient(loss, in[:3]...)...)
			}
			return out
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(args...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out[:4] {
			got, want := tensors.MustCopyFlatData[float32](out[i]), tensors.MustCopyFlatData[float32](out[4+i])
			for k := range got {
				if d := math.Abs(float64(got[k] - want[k])); d > 2e-6*max(1, math.Abs(float64(want[k]))) {
					t.Fatalf("masked: %t, result %d, value %d: %g; want %g", masked, i, k, got[k], want[k])
				}
			}
		}
		exec.Finalize()
	}
}
