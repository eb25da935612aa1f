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
	if in[0].shape.DType == dtypes.Bool || shape.DType == dtypes.Bool {
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
	a, err := f.operand(in[0], lhsBatch, lhsContracting, true)
	if err != nil {
		return nil, err
	}
	b, err := f.operand(in[1], rhsBatch, rhsContracting, false)
	if err != nil {
		return nil, err
	}
	d := &product{calc: arithmetics[t], batch: size(a.batchDims), m: size(a.crossDims), n: size(b.crossDims), k: size(a.innerDims), a: a.matrix, b: b.matrix}
	result := shape.Clone()
	result.DType = t
	v, err := value(f.add(d.node(result, a.node, b.node)))
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
// batch, cross and contracted axes, and how they make matrices.
type operand struct {
	node                            *node
	batchDims, crossDims, innerDims []int
	batch, cross, inner             []int
	matrix                          matrix
}

// matrix is how an operand's values become matrices, in place.
type matrix struct {
	offsets    []int // of each batch's matrix
	stride     int   // from row to row
	transposed bool  // stored as [k, m] for the left, [n, k] for the right operand
	extent     int   // from the first to behind the last value of one
}

// operand finds how to read n as matrices, through a transpose in front of it. If
// there is no way, n is transposed so that there is.
func (f *function) operand(n *node, batch, contracted []int, left bool) (*operand, error) {
	o := newOperand(n, batch, contracted)
	if o.find(left) {
		return o, nil
	}
	var cross []int
	for a := range n.shape.Rank() {
		if !slices.Contains(batch, a) && !slices.Contains(contracted, a) {
			cross = append(cross, a)
		}
	}
	order := slices.Concat(batch, cross, contracted)
	if k := len(o.cross); k > 0 && o.cross[k-1] == 1 { // so that the copy is one of runs
		order = slices.Concat(batch, contracted, cross)
	}
	base, permutation := n, slices.Clone(order)
	if n.op == compute.OpTypeTranspose {
		base = n.inputs[0]
		for i, a := range order {
			permutation[i] = n.permutation[a]
		}
	}
	v, err := f.Transpose(base, permutation...)
	if err != nil {
		return nil, err
	}
	place := func(axes []int) []int {
		list := make([]int, len(axes))
		for i, a := range axes {
			list[i] = slices.Index(order, a)
		}
		return list
	}
	o = layoutOf(v.(*node), v.(*node).shape.Strides(), place(batch), place(contracted))
	o.find(left)
	return o, nil
}

func newOperand(n *node, batch, contracted []int) *operand {
	steps := n.shape.Strides()
	if n.op != compute.OpTypeTranspose {
		return layoutOf(n, steps, batch, contracted)
	}
	from := n.inputs[0].shape.Strides()
	for i, axis := range n.permutation {
		steps[i] = from[axis]
	}
	o := layoutOf(n, steps, batch, contracted)
	o.node = n.inputs[0]
	return o
}

// layoutOf sorts axes by what they are for.
func layoutOf(n *node, steps, batch, contracted []int) *operand {
	o := &operand{node: n}
	dims := n.shape.Dimensions
	for _, a := range batch {
		o.batchDims, o.batch = append(o.batchDims, dims[a]), append(o.batch, steps[a])
	}
	for _, a := range contracted {
		o.innerDims, o.inner = append(o.innerDims, dims[a]), append(o.inner, steps[a])
	}
	for a := range dims {
		if !slices.Contains(batch, a) && !slices.Contains(contracted, a) {
			o.crossDims, o.cross = append(o.crossDims, dims[a]), append(o.cross, steps[a])
		}
	}
	return o
}

// find sets the matrix, if the values can be read as one in place. left operands
// are wanted as [cross, inner], right ones as [inner, cross].
func (o *operand) find(left bool) bool {
	cross, crossStep := evenStep(o.crossDims, o.cross)
	inner, innerStep := evenStep(o.innerDims, o.inner)
	m := matrix{offsets: offsets(o.batchDims, o.batch)}
	switch {
	case cross == 0 || inner == 0: // nothing is read
		m.stride = 1
	case inner == 1 && crossStep == 1:
		m.stride, m.transposed, m.extent = cross, left, cross
	case (innerStep == 1 || inner == 1) && (crossStep >= inner || cross == 1):
		m.stride, m.transposed = max(crossStep, inner), !left
		m.extent = (cross-1)*m.stride + inner
	case (crossStep == 1 || cross == 1) && (innerStep >= cross || inner == 1):
		m.stride, m.transposed = max(innerStep, cross), left
		m.extent = (inner-1)*m.stride + cross
	default:
		return false
	}
	o.matrix = m
	return true
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
