package models

import (
	"math"

	"github.com/gomlx/gomlx/core/graph"
)

// visionBlockNode is the weights of a vision block inside a graph.
type visionBlockNode struct {
	norm1, norm2  normNode
	q, k, v, proj linearNode
	fc1, fc2      linearNode
}

// visionBlock takes a block's weights in the order of VisionBlock.appendTo.
func (q *nodeQueue) visionBlock() visionBlockNode {
	return visionBlockNode{
		norm1: q.norm(), q: q.linear(true), k: q.linear(true), v: q.linear(true), proj: q.linear(true),
		norm2: q.norm(), fc1: q.linear(true), fc2: q.linear(true),
	}
}

// apply is a block: x + attention(norm(x)), then h + mlp(norm(h)), over x
// [P, N, hidden]. place puts queries and keys [P, N, heads, D] to their
// positions; activation is the MLP's.
func (b visionBlockNode) apply(v *VisionConfig, x *node, place func(q, k *node) (*node, *node), activation func(*node) *node) *node {
	dims := x.Shape().Dimensions
	heads := func(l linearNode, x *node) *node {
		return graph.Reshape(l.apply(x), dims[0], dims[1], v.Heads, v.HeadDim())
	}
	h := v.Inputs.apply(b.norm1.layer(x, v.Eps))
	q, k := place(heads(b.q, h), heads(b.k, h))
	x = graph.Add(x, b.proj.apply(v.Inputs.apply(groupedAttention(graph.ExpandAxes(q, 3), k, heads(b.v, h), nil))))
	h = b.fc1.apply(v.Inputs.apply(b.norm2.layer(x, v.Eps)))
	return graph.Add(x, b.fc2.apply(v.Inputs.apply(activation(h))))
}

// quickGELU is x·sigmoid(1.702·x).
func quickGELU(x *node) *node { return graph.Mul(x, graph.Sigmoid(graph.MulScalar(x, 1.702))) }

// gelu is the exact x·Φ(x) = x/2·(1 + erf(x/√2)).
func gelu(x *node) *node {
	phi := graph.MulScalar(graph.OnePlus(graph.Erf(graph.MulScalar(x, 1/math.Sqrt2))), 0.5)
	return graph.Mul(x, phi)
}
