package models

import (
	"math"

	"github.com/gomlx/gomlx/core/graph"
)

// visionNode is the vision tower's weights inside a graph.
type visionNode struct {
	patch      linearNode
	blocks     []visionBlockNode
	mergeNorm  normNode
	mlp0, mlp2 linearNode
}

type visionBlockNode struct {
	norm1, norm2  normNode
	q, k, v, proj linearNode
	fc1, fc2      linearNode
}

// vision takes the tower's weights in the order of VisionWeights.params.
func (q *nodeQueue) vision(v *VisionConfig) visionNode {
	w := visionNode{patch: q.linear(false)}
	for range v.Depth {
		w.blocks = append(w.blocks, visionBlockNode{
			norm1: q.norm(), q: q.linear(true), k: q.linear(true), v: q.linear(true), proj: q.linear(true),
			norm2: q.norm(), fc1: q.linear(true), fc2: q.linear(true),
		})
	}
	w.mergeNorm, w.mlp0, w.mlp2 = q.norm(), q.linear(true), q.linear(true)
	return w
}

// features maps patches [P, N, patch dim] of P pictures with one grid to the
// rows [P, N/merge², C] that replace the image tokens. cos and sin [1, N, D] are
// the grid's rotary tables; attention stays within a picture.
func (w visionNode) features(v *VisionConfig, patches, cos, sin *node) *node {
	x := w.patch.apply(patches)
	for _, b := range w.blocks {
		x = b.apply(v, x, cos, sin)
	}
	dims := x.Shape().Dimensions
	unit := v.Merge * v.Merge
	x = w.mergeNorm.layer(x, v.Eps)
	x = graph.Reshape(x, dims[0], dims[1]/unit, unit*dims[2])
	return w.mlp2.apply(gelu(w.mlp0.apply(x)))
}

func (b visionBlockNode) apply(v *VisionConfig, x, cos, sin *node) *node {
	dims := x.Shape().Dimensions
	heads := func(l linearNode, x *node) *node {
		return graph.Reshape(l.apply(x), dims[0], dims[1], v.Heads, v.HeadDim())
	}
	h := b.norm1.layer(x, v.Eps)
	q, k := rotate(heads(b.q, h), cos, sin), rotate(heads(b.k, h), cos, sin)
	q = graph.MulScalar(q, 1/math.Sqrt(float64(v.HeadDim())))
	scores := graph.Einsum("bthd,bshd->bhts", q, k)
	mixed := graph.Einsum("bhts,bshd->bthd", softmax(scores), heads(b.v, h))
	x = graph.Add(x, b.proj.apply(graph.Reshape(mixed, dims...)))
	h = b.fc1.apply(b.norm2.layer(x, v.Eps))
	return graph.Add(x, b.fc2.apply(quickGELU(h)))
}

// quickGELU is x·sigmoid(1.702·x).
func quickGELU(x *node) *node { return graph.Mul(x, graph.Sigmoid(graph.MulScalar(x, 1.702))) }

// gelu is the exact x·Φ(x) = x/2·(1 + erf(x/√2)).
func gelu(x *node) *node {
	phi := graph.MulScalar(graph.OnePlus(graph.Erf(graph.MulScalar(x, 1/math.Sqrt2))), 0.5)
	return graph.Mul(x, phi)
}
