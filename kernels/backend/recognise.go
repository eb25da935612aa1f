package backend

import (
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/tlqlab/tlqlab/kernels"
)

// recognising is off where tests run each operation by itself.
var recognising = true

// recognise replaces operations on float32 that are known by their parts by one that
// reads and writes once: SiLU, x·σ(x); the exact GELU, x·½(1 + erf(x/√2)); and RMS
// norm and what layer norm shares with it, see [function.recogniseNorms]. All have
// the bits of the operations one by one, so that a graph that needs what lies between
// them agrees with one that doesn't.
func (f *function) recognise() {
	if !recognising {
		return
	}
	uses := f.uses()
	f.recogniseActivations(uses)
	f.recogniseNorms(uses)
}

func (f *function) recogniseActivations(uses map[*node]int) {
	for _, n := range f.nodes {
		if uses[n] == 0 || n.op != compute.OpTypeMul || n.shape.DType != dtypes.Float32 || len(n.inputs) != 2 {
			continue
		}
		for i, y := range n.inputs {
			x := n.inputs[1-i]
			var kernel func(dst, x []float32)
			switch {
			case !sameShape(x.shape, n.shape) || !sameShape(y.shape, n.shape):
			case isSigmoid(y, x, uses):
				kernel = kernels.Silu
			case isPhi(y, x, uses):
				kernel = kernels.Gelu
			}
			if kernel == nil {
				continue
			}
			n.inputs, n.joined = []*node{x}, true
			n.rows = dense(n.shape, 4, func(in []*buffer, out *buffer, from, to int) {
				src, s0 := valuesOf[float32](in[0])
				dst, d0 := valuesOf[float32](out)
				kernel(dst[from-d0:to-d0], src[from-s0:to-s0])
			})
			break
		}
	}
}

// uses counts how often outputs and what they need read a node.
func (f *function) uses() map[*node]int {
	uses := map[*node]int{}
	for _, o := range f.outputs {
		uses[o] += 2 // what is returned is not left out
	}
	for i := len(f.nodes) - 1; i >= 0; i-- {
		if n := f.nodes[i]; uses[n] > 0 {
			for _, in := range n.inputs {
				uses[in]++
			}
		}
	}
	return uses
}

// isSigmoid tells whether y is σ(x) and nothing else needs it.
func isSigmoid(y, x *node, uses map[*node]int) bool {
	return y.op == compute.OpTypeLogistic && uses[y] == 1 && y.inputs[0] == x
}

// isPhi tells whether y is ½(1 + erf(x/√2)) and nothing else needs any of it.
func isPhi(y, x *node, uses map[*node]int) bool {
	sum := withScalar(y, compute.OpTypeMul, 0.5, uses)
	if sum == nil {
		return false
	}
	erf := withScalar(sum, compute.OpTypeAdd, 1, uses)
	if erf == nil || erf.op != compute.OpTypeErf || uses[erf] != 1 {
		return false
	}
	return withScalar(erf.inputs[0], compute.OpTypeMul, 1/math.Sqrt2, uses) == x
}

// withScalar is the operand that n, which nothing else needs, combines with a
// constant scalar; nil if n is something else.
func withScalar(n *node, op compute.OpType, v float32, uses map[*node]int) *node {
	if x, c, ok := scalarOperand(n, op, uses); ok && c == v {
		return x
	}
	return nil
}

// scalarOperand is what n, which nothing else needs, combines, and the constant scalar
// that it combines it with; ok is false if n is something else.
func scalarOperand(n *node, op compute.OpType, uses map[*node]int) (x *node, scalar float32, ok bool) {
	if n.op != op || n.joined || uses[n] != 1 || len(n.inputs) != 2 {
		return nil, 0, false
	}
	for i, c := range n.inputs {
		for c.op == compute.OpTypeReshape {
			c = c.inputs[0]
		}
		if c.constant == nil || c.shape.Size() != 1 {
			continue
		}
		if flat, ok := c.constant.flat.([]float32); ok && sameShape(n.inputs[1-i].shape, n.shape) {
			return n.inputs[1-i], flat[0], true
		}
	}
	return nil, 0, false
}
