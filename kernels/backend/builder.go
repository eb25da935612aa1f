package backend

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/notimplemented"
	"github.com/gomlx/compute/shapes"
)

// node is one operation of a graph.
type node struct {
	owner  *function
	op     compute.OpType
	shape  shapes.Shape
	inputs []*node

	// run computes the node; inputs are dense, in row-major order.
	run func(in []*buffer, out *buffer)
	// view marks a node whose result is its input's memory under another shape.
	view bool
	// inPlace marks a node that may write over an input of its own shape and type.
	inPlace bool
	// constant holds the value of a constant.
	constant *buffer
	// parameter is the index of a parameter, or −1.
	parameter int

	broadcastAxes []int // of BroadcastInDim, which arithmetic reads through
	permutation   []int // of Transpose, which products read through
}

// builder implements compute.Builder.
type builder struct {
	notimplemented.Builder
	name     string
	backend  *Backend
	main     *function
	compiled bool
}

// Name is the computation's name.
func (b *builder) Name() string { return b.name }

// Main is the computation's only function.
func (b *builder) Main() compute.Function { return b.main }

// NewFunction is not implemented: graphs have one function.
func (b *builder) NewFunction(string) (compute.Function, error) {
	return nil, fmt.Errorf("backend %s: functions: %w", Name, compute.ErrNotImplemented)
}

// OpShape is the shape of a value.
func (b *builder) OpShape(v compute.Value) (shapes.Shape, error) { return b.main.Shape(v) }

// Compile plans memory and returns the executable.
func (b *builder) Compile() (compute.Executable, error) {
	if b.main.outputs == nil {
		return nil, errors.New("backend: Compile before Return")
	}
	if b.compiled {
		return nil, errors.New("backend: Compile called twice")
	}
	b.compiled = true
	return newExecutable(b), nil
}

// function implements compute.Function.
type function struct {
	notimplemented.Function
	builder    *builder
	nodes      []*node
	parameters []*node
	names      []string
	outputs    []*node
}

var _ compute.Function = (*function)(nil)

// Name is GoMLX's name of the main function.
func (f *function) Name() string { return compute.MainName }

// Builder returns the function's builder.
func (f *function) Builder() compute.Builder { return f.builder }

// Parent is nil: there is one function.
func (f *function) Parent() compute.Function { return nil }

// Shape is the shape of a value.
func (f *function) Shape(v compute.Value) (shapes.Shape, error) {
	n, err := f.node(v)
	if err != nil {
		return shapes.Invalid(), err
	}
	return n.shape, nil
}

// node checks that v is a value of this function.
func (f *function) node(v compute.Value) (*node, error) {
	n, ok := v.(*node)
	if !ok || n == nil || n.owner != f {
		return nil, fmt.Errorf("backend: %T is not a value of computation %q", v, f.builder.name)
	}
	return n, nil
}

func (f *function) nodesOf(values ...compute.Value) ([]*node, error) {
	list := make([]*node, len(values))
	for i, v := range values {
		n, err := f.node(v)
		if err != nil {
			return nil, err
		}
		list[i] = n
	}
	return list, nil
}

// add appends an operation. Types the backend does not compute are refused here,
// while the graph is built.
func (f *function) add(n *node) (*node, error) {
	if f.builder.compiled {
		return nil, fmt.Errorf("backend: computation %q is compiled", f.builder.name)
	}
	if !capabilities.DTypes[n.shape.DType] {
		return nil, fmt.Errorf("backend %s: %s of type %s: %w", Name, n.op, n.shape.DType, compute.ErrNotImplemented)
	}
	if n.op != compute.OpTypeParameter {
		n.parameter = -1
	}
	n.owner = f
	f.nodes = append(f.nodes, n)
	return n, nil
}

// value hides the nil node of a failed add.
func value(n *node, err error) (compute.Value, error) {
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Parameter declares the next input.
func (f *function) Parameter(name string, shape shapes.Shape, sharding *compute.ShardingSpec) (compute.Value, error) {
	if sharding != nil {
		return nil, fmt.Errorf("backend %s: sharding: %w", Name, compute.ErrNotImplemented)
	}
	n, err := f.add(&node{op: compute.OpTypeParameter, shape: shape, parameter: len(f.parameters)})
	if err != nil {
		return nil, err
	}
	f.parameters = append(f.parameters, n)
	f.names = append(f.names, name)
	return n, nil
}

// Constant embeds a copy of flat.
func (f *function) Constant(flat any, dims ...int) (compute.Value, error) {
	t := reflect.TypeOf(flat)
	if t == nil || t.Kind() != reflect.Slice {
		return nil, fmt.Errorf("backend: constant of type %T; expected a slice", flat)
	}
	shape, err := shapeOfSlice(flat, dims)
	if err != nil {
		return nil, err
	}
	b, err := f.builder.backend.BufferFromFlatData(0, flat, shape)
	if err != nil {
		return nil, err
	}
	return value(f.constant(b.(*buffer)))
}

func (f *function) constant(b *buffer) (*node, error) {
	return f.add(&node{op: compute.OpTypeConstant, shape: b.shape, constant: b})
}

// Return declares the outputs.
func (f *function) Return(outputs []compute.Value, shardings []*compute.ShardingSpec) error {
	for _, s := range shardings {
		if s != nil {
			return fmt.Errorf("backend %s: sharding: %w", Name, compute.ErrNotImplemented)
		}
	}
	list, err := f.nodesOf(outputs...)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("backend: Return without outputs")
	}
	f.outputs = list
	return nil
}
