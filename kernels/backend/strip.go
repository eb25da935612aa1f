package backend

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/gomlx/compute/dtypes"
)

// strip is a sequence of operations that run together on rows.
type strip struct {
	members []int // nodes in order of creation
	rows    int   // that every member's output is seen as

	// scratch is, per member, where its block of rows lies in a worker's scratch
	// memory, in bytes; −1 for members whose values others need.
	scratch []int
	bytes   int // of scratch memory
	block   int // rows at a time
	cost    int // of a row
}

// stripBlock is the number of values that the widest member of a strip has in a
// block.
const stripBlock = 4096

// layout lays out scratch memory: members take that of a dying input where they
// may work in place, or what is free, or more.
func (e *executable) layout(s *strip, escapes func(i int) bool) {
	widest := 1
	last := map[int]int{} // per member, the position of the last that reads it
	for k, m := range s.members {
		n := e.nodes[m]
		width := n.shape.Size() / s.rows
		widest = max(widest, width)
		s.cost += width * max(1, n.rows.cost)
		last[m] = k
		for _, in := range e.inputs[m] {
			if r := e.root(in); slices.Contains(s.members[:k], r) {
				last[r] = k
			}
		}
	}
	s.block = min(s.rows, max(1, stripBlock/widest))
	p := places{}
	dying := make([][]int, len(s.members))
	for _, m := range s.members {
		dying[last[m]] = append(dying[last[m]], m)
	}
	at := map[int]int{}
	for k, m := range s.members {
		want := slotSize{e.nodes[m].shape.DType, e.nodes[m].shape.Size() / s.rows * s.block}
		at[m] = -1
		if !escapes(m) {
			at[m] = p.take(e, m, want, func(r int) (int, bool) {
				slot, ok := at[r]
				return slot, ok && slot >= 0 && last[r] == k
			})
		}
		for _, d := range dying[k] {
			if slot, ok := at[d]; ok && slot >= 0 && (d == m || slot != at[m]) {
				p.give(slot)
			}
		}
	}
	s.bytes = p.regions.size
	for _, m := range s.members {
		if at[m] >= 0 {
			s.scratch = append(s.scratch, p.slots[at[m]].at)
		} else {
			s.scratch = append(s.scratch, -1)
		}
	}
}

// stripWorker is a strip bound to the memory of one goroutine of one call.
type stripWorker struct {
	in  [][]*buffer // per member
	out []*buffer   // per member
	own []ownBlock  // blocks in scratch memory
}

// ownBlock is a block whose place in the whole array moves from block to block.
type ownBlock struct {
	b     *buffer
	width int
}

// bind makes the buffers of one goroutine.
func (s *strip) bind(a *arena, e *executable, memory []uint64) *stripWorker {
	w := &stripWorker{}
	inside := map[int]*buffer{}
	for k, m := range s.members {
		n, out := e.nodes[m], &a.values[m]
		if at := s.scratch[k]; at >= 0 {
			width := n.shape.Size() / s.rows
			out = &buffer{backend: out.backend, shape: out.shape, flat: viewAt(memory, at, n.shape.DType, width*s.block)}
			inside[m] = out
			w.own = append(w.own, ownBlock{out, width})
		}
		in := make([]*buffer, len(e.inputs[m]))
		for i, from := range e.inputs[m] {
			if b := inside[e.root(from)]; b != nil {
				in[i] = b
			} else {
				in[i] = &a.values[from]
			}
		}
		w.in, w.out = append(w.in, in), append(w.out, out)
	}
	return w
}

// viewAt sees part of scratch memory as values.
func viewAt(memory []uint64, at int, t dtypes.DType, n int) any {
	if at+n*t.Size() > len(memory)*8 {
		panic("backend: scratch memory is too small")
	}
	return dtypes.UnsafeAnySliceFromBytes(unsafe.Pointer(&memory[at/8]), t, n)
}

// run computes all rows.
func (s *strip) run(e *executable, a *arena) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v in rows of %s: %v", s.names(e), e.nodes[s.members[0]].shape, r)
		}
	}()
	blocks := (s.rows + s.block - 1) / s.block
	parallelWorkers(len(a.workers), blocks, max(1, pieceSize/(s.cost*s.block)), func(worker, from, to int) {
		w := a.workers[worker].bound(s, a, e)
		for b := from; b < to; b++ {
			w.block(e, s, b*s.block, min(s.rows, (b+1)*s.block))
		}
	})
	return nil
}

// block computes rows [from, to).
func (w *stripWorker) block(e *executable, s *strip, from, to int) {
	for _, o := range w.own {
		o.b.origin = from * o.width
	}
	for k, m := range s.members {
		n := e.nodes[m]
		width := n.shape.Size() / s.rows
		n.rows.part(w.in[k], w.out[k], from*width, to*width)
	}
}

func (s *strip) names(e *executable) []string {
	var list []string
	for _, m := range s.members {
		list = append(list, e.nodes[m].op.String())
	}
	return list
}
