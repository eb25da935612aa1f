package backend

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapeinference"
	"github.com/gomlx/compute/shapes"
)

// DotGeneral contracts axes of two operands; see GoMLX's description. Transposes
// in front of it are read through. It is computed in the type of the accumulator,
// or without one of the output, or that of the operands where that is wider; half
// precision in single.
func (f *function) DotGeneral(lhs compute.Value, lhsContracting, lhsBatch []int, rhs compute.Value, rhsContracting, rhsBatch []int, config compute.DotGeneralConfig) (compute.Value, error) {
	const op = compute.OpTypeDotGeneral
	in, err := f.nodesOf(lhs, rhs)
	if err != nil {
		return nil, err
	}
	shape, err := infer(op, in, func() (shapes.Shape, error) {
		return shapeinference.DotGeneral(in[0].shape, lhsContracting, lhsBatch, in[1].shape, rhsContracting, rhsBatch, config)
	})
	if err != nil {
		return nil, err
	}
	if t := in[0].shape.DType; t == dtypes.Bool || shape.DType == dtypes.Bool {
		return nil, opError(op, in, compute.ErrNotImplemented)
	}
	t := accumulator(in[0].shape.DType, config)
	for i, v := range []compute.Value{lhs, rhs} {
		if in[i].shape.DType != t {
			if v, err = f.ConvertDType(v, t); err != nil {
				return nil, err
			}
			in[i] = v.(*node)
		}
	}
	a := newOperand(in[0], lhsBatch, lhsContracting)
	b := newOperand(in[1], rhsBatch, rhsContracting)
	d := &product{batch: size(a.batchDims), m: size(a.crossDims), n: size(b.crossDims), k: size(a.innerDims), a: a.matrix(true), b: b.matrix(false)}
	result := shape.Clone()
	result.DType = t
	calc := arithmetics[t]
	v, err := value(f.add(&node{op: op, shape: result, inputs: []*node{a.node, b.node}, run: func(in []*buffer, out *buffer) {
		calc.product(d, in[0], in[1], out)
	}}))
	if err != nil || t == shape.DType {
		return v, err
	}
	return f.ConvertDType(v, shape.DType)
}

// accumulator is the type to compute a contraction of operands of type t in.
func accumulator(t dtypes.DType, config compute.DotGeneralConfig) dtypes.DType {
	wanted := config.AccumulatorDType
	if wanted == dtypes.InvalidDType {
		wanted = config.OutputDType
	}
	sameKind := t.IsFloat() == wanted.IsFloat()
	if wanted == dtypes.InvalidDType || (t.IsFloat() && !wanted.IsFloat()) || (sameKind && t.Size() >= wanted.Size()) {
		return t
	}
	return wanted
}

// operand is one side of a contraction: dimensions and steps in memory of its
// batch, cross and contracted axes.
type operand struct {
	node                            *node
	batchDims, crossDims, innerDims []int
	batch, cross, inner             []int
}

func newOperand(n *node, batch, contracting []int) operand {
	o := operand{node: n}
	dims, steps := n.shape.Dimensions, n.shape.Strides()
	if n.op == compute.OpTypeTranspose {
		o.node = n.inputs[0]
		from := o.node.shape.Strides()
		for i, axis := range n.permutation {
			steps[i] = from[axis]
		}
	}
	for _, a := range batch {
		o.batchDims, o.batch = append(o.batchDims, dims[a]), append(o.batch, steps[a])
	}
	for _, a := range contracting {
		o.innerDims, o.inner = append(o.innerDims, dims[a]), append(o.inner, steps[a])
	}
	for a := range dims {
		if !slices.Contains(batch, a) && !slices.Contains(contracting, a) {
			o.crossDims, o.cross = append(o.crossDims, dims[a]), append(o.cross, steps[a])
		}
	}
	return o
}

// matrix is how an operand's values become matrices: in place, with a row stride
// and maybe transposed, or copied into order first.
type matrix struct {
	offsets    []int // of each batch's matrix
	stride     int   // from row to row
	transposed bool  // stored as [k, m] for the left, [n, k] for the right operand
	order      *loop // to copy in, as [batch, cross, inner]; nil: in place
}

// matrix finds the cheapest way to read an operand. left operands are wanted as
// [cross, inner], right ones as [inner, cross].
func (o operand) matrix(left bool) matrix {
	cross, crossStep := evenStep(o.crossDims, o.cross)
	inner, innerStep := evenStep(o.innerDims, o.inner)
	switch {
	case inner == 1 && crossStep == 1:
		return matrix{offsets: offsets(o.batchDims, o.batch), stride: cross, transposed: left}
	case (innerStep == 1 || inner == 1) && (crossStep >= inner || cross == 1):
		return matrix{offsets: offsets(o.batchDims, o.batch), stride: max(crossStep, inner), transposed: !left}
	case (crossStep == 1 || cross == 1) && (innerStep >= cross || inner == 1):
		return matrix{offsets: offsets(o.batchDims, o.batch), stride: max(innerStep, cross), transposed: left}
	}
	m := matrix{
		stride: max(inner, 1), transposed: !left, offsets: make([]int, size(o.batchDims)),
		order: newLoop(slices.Concat(o.batchDims, o.crossDims, o.innerDims), slices.Concat(o.batch, o.cross, o.inner)),
	}
	for i := range m.offsets {
		m.offsets[i] = i * cross * inner
	}
	return m
}

// evenStep is the number of values of some axes, and the step that walks through
// all of them; 0 where there is none, or nothing to walk through.
func evenStep(dims, steps []int) (n, step int) {
	n = size(dims)
	if l := newLoop(dims, steps); len(l.dims) == 1 && n > 1 {
		step = l.steps[0][0]
	}
	return n, step
}
