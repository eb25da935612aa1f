package backend

import (
	"errors"
	"fmt"

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
	id     int // position in the function
	// key is the same for nodes that compute the same, besides their operation,
	// shape and inputs; "" for nodes that are never shared.
	key string

	// run computes the node; inputs are dense, in row-major order.
	run func(in []*buffer, out *buffer)
	// rows computes parts of the node, where it can; run, if there is one too,
	// computes it better as a whole.
	rows *rowwise
	// view marks a node whose result is its first input's memory under another
	// shape.
	view bool
	// part marks a view of the values from offset on.
	part   bool
	offset int
	// moves marks a node that computes nothing with values of its own type, so
	// that half precision needs no widening.
	moves bool
	// constant holds the value of a constant.
	constant *buffer
	// parameter is the index of a parameter, or −1.
	parameter int

	broadcastAxes []int      // of BroadcastInDim, which arithmetic reads through
	permutation   []int      // of Transpose, which products read through
	reduction     *reduction // of reductions
	joined        bool       // computes more than its operation, see recognise
}

// rowwise is an operation any part of whose output can be computed by itself.
type rowwise struct {
	// part computes places [from, to) of the output.
	part func(in []*buffer, out *buffer, from, to int)
	// grain divides the places where parts may begin and end; 0 is 1.
	grain int
	// cost of a place, in cheap operations; 0 is 1.
	cost int
	// aligned tells whether, with the output seen as the given number of rows, a
	// row needs of input i exactly the input's own row. nil: never.
	aligned func(input, rows int) bool
	// natural is the number of rows that the operation itself works by; 0: as many
	// as the output has.
	natural int
	// inPlace marks an operation that may write over an input of its own shape
	// and type.
	inPlace bool
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
	switch err := b.backend.alive(); {
	case err != nil:
		return nil, err
	case b.main.outputs == nil:
		return nil, fmt.Errorf("backend: %q: Compile before Return", b.name)
	case b.compiled:
		return nil, fmt.Errorf("backend: %q: Compile called twice", b.name)
	}
	b.compiled = true
	e, err := newExecutable(b)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// function implements compute.Function.
type function struct {
	notimplemented.Function
	builder    *builder
	nodes      []*node
	parameters []*node
	names      []string
	outputs    []*node
	known      map[string]*node // nodes with keys
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

// add appends an operation. What the backend does not compute is refused here,
// while the graph is built.
func (f *function) add(n *node) (*node, error) {
	switch {
	case f.builder.compiled:
		return nil, fmt.Errorf("backend: computation %q is compiled", f.builder.name)
	case f.outputs != nil:
		return nil, fmt.Errorf("backend: computation %q has returned", f.builder.name)
	}
	if err := checkShape(n.shape); err != nil {
		return nil, opError(n.op, n.inputs, err)
	}
	if n.op != compute.OpTypeParameter {
		n.parameter = -1
	}
	if n.key != "" {
		n.key = n.fullKey()
		if same := f.known[n.key]; same != nil {
			return same, nil
		}
		f.known[n.key] = n
	}
	if !n.moves && !n.view {
		widen(n)
	}
	n.owner, n.id = f, len(f.nodes)
	f.nodes = append(f.nodes, n)
	return n, nil
}

// fullKey tells a node from all that compute something else. Equal nodes are one, so
// that what a graph says twice, as gradients and fused operations with their
// decomposed forms do, is computed once.
func (n *node) fullKey() string {
	key := fmt.Sprintf("%d %s %v", n.op, n.shape.DType, n.shape.Dimensions)
	for _, in := range n.inputs {
		key += fmt.Sprintf(" #%d", in.id)
	}
	return key + " " + n.key
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
	n, err := f.add(&node{op: compute.OpTypeParameter, shape: shape.Clone(), parameter: len(f.parameters)})
	if err != nil {
		return nil, err
	}
	f.parameters = append(f.parameters, n)
	f.names = append(f.names, name)
	return n, nil
}

// Return declares the outputs.
func (f *function) Return(outputs []compute.Value, shardings []*compute.ShardingSpec) error {
	for _, s := range shardings {
		if s != nil {
			return fmt.Errorf("backend %s: sharding: %w", Name, compute.ErrNotImplemented)
		}
	}
	list, err := f.nodesOf(outputs...)
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return errors.New("backend: Return without outputs")
	case f.outputs != nil:
		return fmt.Errorf("backend: computation %q returns twice", f.builder.name)
	}
	f.outputs = list
	return nil
}
