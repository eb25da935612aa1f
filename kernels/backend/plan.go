package backend

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gomlx/compute/dtypes"
)

// executable implements compute.Executable: the needed nodes in order, the steps
// that compute them, and the slot of memory that each writes to.
type executable struct {
	builder *builder
	nodes   []*node // needed, in order of creation
	inputs  [][]int // per node: positions of its inputs in nodes
	outputs []int   // positions of the outputs
	steps   []step

	// slot is, per node, the memory it writes to; −1 where that is another's, an
	// output's or a strip's own.
	slot  []int
	slots []slot
	bytes int // of all slots
	// direct marks nodes that write straight into an output's fresh memory.
	direct []bool
	// scratch is the memory that a worker needs for strips, in bytes.
	scratch int

	idle  sync.Pool // of *arena, without memory
	ended atomic.Bool
}

type slotSize struct {
	dtype dtypes.DType
	size  int
}

// slot is memory of one size. Slots that are not in use at the same time may
// overlap.
type slot struct {
	slotSize
	region
}

// newExecutable drops what no output needs, finds strips and assigns memory.
func newExecutable(b *builder) (*executable, error) {
	e := &executable{builder: b}
	b.main.recognise()
	at := e.collect(b.main)
	for _, o := range b.main.outputs {
		e.outputs = append(e.outputs, at[o])
	}
	e.schedule()
	e.plan()
	if err := b.backend.limit.allows(e.needs(), 0); err != nil {
		return nil, fmt.Errorf("backend: graph %q, %s of it intermediate values: %w; run smaller batches or raise the limit, %s:memory=…", b.name, inBytes(e.bytes), err, Name)
	}
	return e, nil
}

// needs is how many bytes a call takes: inputs, constants, intermediate values and
// results.
func (e *executable) needs() int {
	total := e.bytes + e.scratch
	for i, n := range e.nodes {
		if n.parameter >= 0 || n.constant != nil || e.direct[i] {
			total += n.shape.Size() * n.shape.DType.Size()
		}
	}
	return total
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

// members are the nodes that a step computes.
func (s *step) members() []int {
	if s.strip != nil {
		return s.strip.members
	}
	return []int{s.node}
}

// plan assigns slots. A node takes the memory of an input that nobody else reads
// any more where it may work in place, or a free slot of its type and size, or a
// new one where memory is free; memory that strips pass on inside is scratch.
func (e *executable) plan() {
	last, inside := e.lastUses()
	e.direct, e.slot = make([]bool, len(e.nodes)), slices.Repeat([]int{-1}, len(e.nodes))
	for _, o := range e.outputs {
		r := e.root(o)
		e.direct[r] = e.nodes[r].computed()
	}
	dying := make([][]int, len(e.steps))
	for i, s := range last {
		if s >= 0 {
			dying[s] = append(dying[s], i)
		}
	}
	p := places{}
	for k := range e.steps {
		s := &e.steps[k]
		if s.strip != nil {
			e.layout(s.strip, func(i int) bool { return e.direct[i] || !inside[i] })
			e.scratch = max(e.scratch, s.strip.bytes)
		}
		for _, i := range s.members() {
			if !e.direct[i] && !(s.strip != nil && inside[i]) {
				e.slot[i] = p.take(e, i, slotSize{e.nodes[i].shape.DType, e.nodes[i].shape.Size()}, func(r int) (int, bool) {
					return e.slot[r], s.strip == nil && e.slot[r] >= 0 && last[r] == k
				})
			}
		}
		for _, d := range dying[k] {
			if slot := e.slot[d]; slot >= 0 && !slices.ContainsFunc(s.members(), func(i int) bool { return i != d && e.slot[i] == slot }) {
				p.give(slot)
			}
		}
	}
	e.slots, e.bytes = p.slots, p.regions.size
}

// lastUses is, per node, the last step that reads the memory it owns; inside marks
// those that no other step than their own reads.
func (e *executable) lastUses() (last []int, inside []bool) {
	last, inside = slices.Repeat([]int{-1}, len(e.nodes)), slices.Repeat([]bool{true}, len(e.nodes))
	own := slices.Clone(last)
	for k := range e.steps {
		for _, i := range e.steps[k].members() {
			last[i], own[i] = k, k
			for _, in := range e.inputs[i] {
				r := e.root(in)
				last[r] = k
				inside[r] = inside[r] && own[r] == k
			}
		}
	}
	return last, inside
}

// places hands out memory.
type places struct {
	slots   []slot
	regions regions
}

// take returns a slot for node i: that of an input that dying gives, where the
// node works in place, or a new one in memory that is free.
func (p *places) take(e *executable, i int, want slotSize, dying func(input int) (slot int, ok bool)) int {
	if n := e.nodes[i]; n.rows != nil && n.rows.inPlace {
		for _, in := range e.inputs[i] {
			if s, ok := dying(e.root(in)); ok && p.slots[s].slotSize == want {
				return s
			}
		}
	}
	p.slots = append(p.slots, slot{want, p.regions.take(want.size * want.dtype.Size())})
	return len(p.slots) - 1
}

func (p *places) give(slot int) { p.regions.give(p.slots[slot].region) }
