package backend

import (
	"sync"

	"github.com/gomlx/compute/dtypes"
)

// executable implements compute.Executable: the needed nodes in order, with the
// slot of memory that each writes to.
type executable struct {
	builder *builder
	nodes   []*node // needed, in order of creation
	inputs  [][]int // per node: positions of its inputs in nodes
	outputs []int   // positions of the outputs

	// slot is, per node, the memory it writes to; −1 where that is another's or an
	// output's.
	slot  []int
	slots []slotSize
	// direct marks nodes that write straight into an output's fresh memory.
	direct []bool

	mu    sync.Mutex
	idle  []*arena
	ended bool
}

type slotSize struct {
	dtype dtypes.DType
	size  int
}

// newExecutable drops what no output needs and assigns memory.
func newExecutable(b *builder) *executable {
	e := &executable{builder: b}
	at := e.collect(b.main)
	for _, o := range b.main.outputs {
		e.outputs = append(e.outputs, at[o])
	}
	e.plan()
	return e
}

// collect lists the nodes that outputs need.
func (e *executable) collect(f *function) map[*node]int {
	needed := map[*node]bool{}
	stack := append([]*node{}, f.outputs...)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !needed[n] {
			needed[n] = true
			stack = append(stack, n.inputs...)
		}
	}
	at := map[*node]int{}
	for _, n := range f.nodes {
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
	return at
}

// root follows views to the node that owns the memory.
func (e *executable) root(i int) int {
	for e.nodes[i].view {
		i = e.inputs[i][0]
	}
	return i
}

// computed tells nodes that write memory from parameters, constants and views.
func (n *node) computed() bool { return n.run != nil || n.rows != nil }

// plan assigns slots: a node takes its dying input's where it may work in place,
// or a free slot of its type and size, or a new one.
func (e *executable) plan() {
	last := e.lastUses()
	e.direct, e.slot = make([]bool, len(e.nodes)), make([]int, len(e.nodes))
	for _, o := range e.outputs {
		r := e.root(o)
		e.direct[r] = e.nodes[r].computed()
	}
	dying := make([][]int, len(e.nodes))
	for i, l := range last {
		if l < len(e.nodes) {
			dying[l] = append(dying[l], i)
		}
	}
	free := map[slotSize][]int{}
	for i, n := range e.nodes {
		e.slot[i] = -1
		if n.computed() && !e.direct[i] {
			e.slot[i] = e.pick(i, last, free)
		}
		for _, d := range dying[i] {
			if s := e.slot[d]; s >= 0 && (d == i || s != e.slot[i]) {
				free[e.slots[s]] = append(free[e.slots[s]], s)
			}
		}
	}
}

// lastUses is, per node, the last node that reads the memory it owns; beyond all
// for outputs.
func (e *executable) lastUses() []int {
	last := make([]int, len(e.nodes))
	for i := range e.nodes {
		last[i] = i
		for _, in := range e.inputs[i] {
			last[e.root(in)] = i
		}
	}
	for _, o := range e.outputs {
		last[e.root(o)] = len(e.nodes)
	}
	return last
}

func (e *executable) pick(i int, last []int, free map[slotSize][]int) int {
	n := e.nodes[i]
	want := slotSize{n.shape.DType, n.shape.Size()}
	if n.rows != nil && n.rows.inPlace {
		for _, in := range e.inputs[i] {
			r := e.root(in)
			if s := e.slot[r]; s >= 0 && last[r] == i && e.slots[s] == want {
				return s
			}
		}
	}
	if list := free[want]; len(list) > 0 {
		free[want] = list[:len(list)-1]
		return list[len(list)-1]
	}
	e.slots = append(e.slots, want)
	return len(e.slots) - 1
}

// arena is the memory of one call.
type arena struct {
	values []buffer    // per node
	in     [][]*buffer // per node: its inputs among values
}

// maxIdle bounds the arenas an executable keeps between calls.
const maxIdle = 2

// arena returns memory for all slots, from an earlier call where one is idle.
func (e *executable) arena() *arena {
	e.mu.Lock()
	if n := len(e.idle); n > 0 {
		a := e.idle[n-1]
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		return a
	}
	e.mu.Unlock()
	a := &arena{values: make([]buffer, len(e.nodes)), in: make([][]*buffer, len(e.nodes))}
	memory := make([]any, len(e.slots))
	for i, s := range e.slots {
		memory[i] = allocate(s.dtype, s.size)
	}
	for i, n := range e.nodes {
		v := &a.values[i]
		v.backend, v.shape = e.builder.backend, n.shape
		switch {
		case n.constant != nil:
			v.flat = n.constant.flat
		case e.slot[i] >= 0:
			v.flat = memory[e.slot[i]]
		}
		for _, in := range e.inputs[i] {
			a.in[i] = append(a.in[i], &a.values[in])
		}
	}
	return a
}

// release keeps an arena for another call, without what belongs to the caller.
func (e *executable) release(a *arena) {
	for i, n := range e.nodes {
		if n.parameter >= 0 || n.view || e.direct[i] {
			a.values[i].flat = nil
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended && len(e.idle) < maxIdle {
		e.idle = append(e.idle, a)
	}
}
