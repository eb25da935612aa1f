package backend

import (
	"fmt"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

// executable implements compute.Executable: the needed nodes in order, with the
// slot of memory that each writes to.
type executable struct {
	builder *builder
	nodes   []*node // needed, in order of creation
	slot    []int   // per node: its slot, or −1 where memory is another's or an output's
	slots   []slotSpec
	inputs  [][]int // per node: positions of its inputs in nodes
	outputs []int   // positions of the outputs
	// direct marks nodes that write straight into an output's fresh memory.
	direct []bool

	mu    sync.Mutex
	idle  [][]any // arenas between calls: memory per slot
	ended bool
}

type slotSpec struct {
	shape shapes.Shape // of the node that needed it first; type and capacity
	size  int
}

// newExecutable drops what no output needs and assigns memory.
func newExecutable(b *builder) *executable {
	e := &executable{builder: b}
	needed := map[*node]bool{}
	var mark func(n *node)
	mark = func(n *node) {
		if needed[n] {
			return
		}
		needed[n] = true
		for _, in := range n.inputs {
			mark(in)
		}
	}
	for _, o := range b.main.outputs {
		mark(o)
	}
	at := map[*node]int{}
	for _, n := range b.main.nodes {
		if !needed[n] {
			continue
		}
		at[n] = len(e.nodes)
		list := make([]int, len(n.inputs))
		for i, in := range n.inputs {
			list[i] = at[in]
		}
		e.nodes, e.inputs = append(e.nodes, n), append(e.inputs, list)
	}
	for _, o := range b.main.outputs {
		e.outputs = append(e.outputs, at[o])
	}
	e.plan()
	return e
}

// root follows views to the node that owns the memory.
func (e *executable) root(i int) int {
	for e.nodes[i].view {
		i = e.inputs[i][0]
	}
	return i
}

// plan assigns slots: a node takes a free slot of its type and size, or its dying
// input's where it may work in place, or a new one.
func (e *executable) plan() {
	last := make([]int, len(e.nodes)) // last use of the memory that a node owns
	for i := range e.nodes {
		last[i] = i
	}
	for i := range e.nodes {
		for _, in := range e.inputs[i] {
			last[e.root(in)] = i
		}
	}
	e.direct = make([]bool, len(e.nodes))
	taken := map[int]bool{}
	for _, o := range e.outputs {
		last[e.root(o)] = len(e.nodes)
		if !taken[o] && !e.nodes[o].view && e.nodes[o].run != nil {
			e.direct[o] = true
		}
		taken[o] = true
	}
	free := map[string][]int{}
	dying := make([][]int, len(e.nodes))
	for i, l := range last {
		if l < len(e.nodes) {
			dying[l] = append(dying[l], i)
		}
	}
	e.slot = make([]int, len(e.nodes))
	key := func(i int) string { return fmt.Sprint(e.nodes[i].shape.DType, e.nodes[i].shape.Size()) }
	for i, n := range e.nodes {
		e.slot[i] = -1
		if n.run != nil && !n.view && !e.direct[i] {
			e.slot[i] = e.pick(i, last, free, key(i))
		}
		for _, d := range dying[i] {
			if e.slot[d] >= 0 && (d == i || e.slot[d] != e.slot[i]) {
				free[key(d)] = append(free[key(d)], e.slot[d])
			}
		}
	}
}

func (e *executable) pick(i int, last []int, free map[string][]int, key string) int {
	n := e.nodes[i]
	if n.inPlace {
		for _, in := range e.inputs[i] {
			r := e.root(in)
			if e.slot[r] >= 0 && last[r] == i && e.nodes[r].shape.DType == n.shape.DType && e.nodes[r].shape.Size() == n.shape.Size() {
				return e.slot[r]
			}
		}
	}
	if list := free[key]; len(list) > 0 {
		s := list[len(list)-1]
		free[key] = list[:len(list)-1]
		return s
	}
	e.slots = append(e.slots, slotSpec{shape: n.shape, size: n.shape.Size()})
	return len(e.slots) - 1
}

// Finalize frees the arenas.
func (e *executable) Finalize() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idle, e.ended = nil, true
}

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
func (e *executable) Execute(inputs []compute.Buffer, _ []bool, _ compute.DeviceNum) ([]compute.Buffer, error) {
	params, err := e.checkInputs(inputs)
	if err != nil {
		return nil, err
	}
	arena := e.arena()
	defer e.release(arena)
	values := make([]*buffer, len(e.nodes))
	for i, n := range e.nodes {
		switch {
		case n.parameter >= 0:
			values[i] = params[n.parameter]
			continue
		case n.constant != nil:
			values[i] = n.constant
			continue
		}
		in := make([]*buffer, len(e.inputs[i]))
		for k, j := range e.inputs[i] {
			in[k] = values[j]
		}
		values[i] = &buffer{backend: e.builder.backend, shape: n.shape}
		switch {
		case n.view:
			values[i].flat = in[0].flat
			continue
		case e.direct[i]:
			values[i].flat = allocate(n.shape.DType, n.shape.Size())
		default:
			values[i].flat = arena[e.slot[i]]
		}
		if err := n.execute(in, values[i]); err != nil {
			return nil, fmt.Errorf("backend: %q: node %d: %w", e.builder.name, i, err)
		}
	}
	return e.results(values)
}

// execute runs a node and turns a panic into an error that names the operation
// and its shapes.
func (n *node) execute(in []*buffer, out *buffer) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var list []shapes.Shape
			for _, b := range in {
				list = append(list, b.shape)
			}
			err = fmt.Errorf("%s of %v to %s: %v", n.op, list, n.shape, r)
		}
	}()
	n.run(in, out)
	return nil
}

// results copies outputs that are not fresh memory: parameters, constants,
// views and repeated outputs.
func (e *executable) results(values []*buffer) ([]compute.Buffer, error) {
	out := make([]compute.Buffer, len(e.outputs))
	used := map[int]bool{}
	for k, i := range e.outputs {
		if e.direct[i] && !used[i] {
			used[i] = true
			out[k] = values[i]
			continue
		}
		c, err := values[i].backend.newBuffer(values[i].shape)
		if err != nil {
			return nil, err
		}
		move(values[i].shape.DType.Size(),
			func() { copy(asWords[uint8](c), asWords[uint8](values[i])) },
			func() { copy(asWords[uint16](c), asWords[uint16](values[i])) },
			func() { copy(asWords[uint32](c), asWords[uint32](values[i])) },
			func() { copy(asWords[uint64](c), asWords[uint64](values[i])) })
		out[k] = c
	}
	return out, nil
}

func (e *executable) checkInputs(inputs []compute.Buffer) ([]*buffer, error) {
	want := e.builder.main.parameters
	if len(inputs) != len(want) {
		return nil, fmt.Errorf("backend: %q got %d inputs; it has %d parameters", e.builder.name, len(inputs), len(want))
	}
	list := make([]*buffer, len(inputs))
	for i, in := range inputs {
		b, ok := in.(*buffer)
		if !ok {
			return nil, fmt.Errorf("backend: %q: input %d is a %T of another backend", e.builder.name, i, in)
		}
		if err := b.check(); err != nil {
			return nil, err
		}
		if !b.shape.Equal(want[i].shape) {
			return nil, fmt.Errorf("backend: %q: input %d has shape %s; parameter %q has %s", e.builder.name, i, b.shape, e.builder.main.names[i], want[i].shape)
		}
		list[i] = b
	}
	return list, nil
}

// arena returns memory for all slots, from an earlier call where one is idle.
func (e *executable) arena() []any {
	e.mu.Lock()
	if n := len(e.idle); n > 0 {
		a := e.idle[n-1]
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		return a
	}
	e.mu.Unlock()
	a := make([]any, len(e.slots))
	for i, s := range e.slots {
		a[i] = allocate(s.shape.DType, s.size)
	}
	return a
}

func (e *executable) release(a []any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended && len(e.idle) < maxIdle {
		e.idle = append(e.idle, a)
	}
}

// maxIdle bounds the arenas an executable keeps between calls.
const maxIdle = 2
