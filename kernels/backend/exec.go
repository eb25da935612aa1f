package backend

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

var _ compute.Executable = (*executable)(nil)

// ErrFinalized is wrapped by the errors of calls of what was finalized, before them
// or while they ran.
var ErrFinalized = errors.New("finalized")

// Finalize makes calls fail from then on; those that run stop before their next
// step.
func (e *executable) Finalize() { e.ended.Store(true) }

// stopped tells whether calls must not go on.
func (e *executable) stopped() bool { return e.ended.Load() || e.builder.backend.finalized.Load() }

// Inputs lists the parameters.
func (e *executable) Inputs() ([]string, []shapes.Shape) {
	var list []shapes.Shape
	for _, p := range e.builder.main.parameters {
		list = append(list, p.shape)
	}
	return e.builder.main.names, list
}

// Outputs lists the results' shapes.
func (e *executable) Outputs() []shapes.Shape {
	var list []shapes.Shape
	for _, o := range e.builder.main.outputs {
		list = append(list, o.shape)
	}
	return list
}

// Execute runs the computation. Calls may overlap: each has memory of its own.
// Donated inputs are let go of.
func (e *executable) Execute(inputs []compute.Buffer, donate []bool, _ compute.DeviceNum) ([]compute.Buffer, error) {
	params, err := e.checkInputs(inputs, donate)
	if err != nil {
		return nil, err
	}
	a, err := e.arena()
	if err != nil {
		return nil, fmt.Errorf("backend: %q: %w", e.builder.name, err)
	}
	defer e.release(a)
	e.prepare(a, params, runtime.GOMAXPROCS(0))
	for _, step := range e.steps {
		if e.stopped() {
			return nil, fmt.Errorf("backend: %q: %w", e.builder.name, ErrFinalized)
		}
		var err error
		if step.strip != nil {
			err = step.strip.run(e, a)
		} else {
			err = e.nodes[step.node].execute(a.in[step.node], &a.values[step.node])
		}
		if err != nil {
			return nil, fmt.Errorf("backend: %q: node %d: %w", e.builder.name, step.node, err)
		}
	}
	out := e.results(a)
	for i, d := range donate {
		if d {
			inputs[i].(*buffer).flat = nil
		}
	}
	return out, nil
}

// execute runs a node and turns a panic into an error that names the operation
// and its shapes.
func (n *node) execute(in []*buffer, out *buffer) (err error) {
	defer func() {
		if r := recover(); r != nil {
			list := make([]shapes.Shape, len(in))
			for i, b := range in {
				list[i] = b.shape
			}
			err = fmt.Errorf("%s of %v to %s: %v", n.op, list, n.shape, r)
		}
	}()
	if n.run != nil {
		n.run(in, out)
	} else {
		n.rows.run(in, out)
	}
	return nil
}

// results hands fresh memory to the outputs, each to one; others are copies:
// parameters, constants and what is returned twice.
func (e *executable) results(a *arena) []compute.Buffer {
	out := make([]compute.Buffer, len(e.outputs))
	used := map[int]bool{}
	for k, i := range e.outputs {
		v, r := &a.values[i], e.root(i)
		b := &buffer{backend: v.backend, shape: v.shape.Clone(), flat: v.flat}
		if !e.direct[r] || used[r] {
			b.flat = allocate(v.shape.DType, v.shape.Size())
			copyBuffer(b, v)
		}
		used[r] = true
		out[k] = b
	}
	return out
}

// checkInputs returns the memory of the inputs.
func (e *executable) checkInputs(inputs []compute.Buffer, donate []bool) ([]any, error) {
	name, want := e.builder.name, e.builder.main.parameters
	switch err := e.builder.backend.alive(); {
	case err != nil:
		return nil, err
	case e.ended.Load():
		return nil, fmt.Errorf("backend: %q: %w", name, ErrFinalized)
	case len(inputs) != len(want):
		return nil, fmt.Errorf("backend: %q got %d inputs; it has %d parameters", name, len(inputs), len(want))
	case donate != nil && len(donate) != len(inputs):
		return nil, fmt.Errorf("backend: %q got %d inputs and donates %d", name, len(inputs), len(donate))
	}
	list := make([]any, len(inputs))
	for i, in := range inputs {
		b, ok := in.(*buffer)
		if !ok || b == nil || b.backend != e.builder.backend {
			return nil, fmt.Errorf("backend: %q: input %d is a %T of another backend", name, i, in)
		}
		if err := b.check(); err != nil {
			return nil, fmt.Errorf("backend: %q: input %d: %w", name, i, err)
		}
		if !sameShape(b.shape, want[i].shape) {
			return nil, fmt.Errorf("backend: %q: input %d has shape %s; parameter %q has %s", name, i, b.shape, e.builder.main.names[i], want[i].shape)
		}
		list[i] = b.flat
	}
	return list, nil
}
