package backend

import (
	"reflect"
	"unsafe"

	"github.com/gomlx/compute/dtypes"
)

// arena is what one call works on.
type arena struct {
	chunk   *chunk
	base    *byte       // of the chunk that values lie in
	values  []buffer    // per node
	in      [][]*buffer // per node: its inputs among values
	workers []*worker
}

// worker is what one goroutine of a call has for strips. Only that goroutine
// touches it.
type worker struct {
	memory []uint64
	strips map[*strip]*stripWorker
}

// arena returns memory for all slots.
func (e *executable) arena() (*arena, error) {
	memory, err := e.builder.backend.chunks.take(e.bytes, e.builder.backend.limit)
	if err != nil {
		return nil, err
	}
	a, ok := e.idle.Get().(*arena)
	if !ok {
		a = e.newArena()
	}
	a.chunk = memory
	if base := unsafe.SliceData(memory.bytes); a.base != base {
		a.base = base
		for i, k := range e.slot {
			if k >= 0 {
				s := e.slots[k]
				a.values[i].flat = dtypes.UnsafeAnySliceFromBytes(unsafe.Pointer(&memory.bytes[s.at]), s.dtype, s.slotSize.size)
			}
		}
	}
	return a, nil
}

func (e *executable) newArena() *arena {
	a := &arena{values: make([]buffer, len(e.nodes)), in: make([][]*buffer, len(e.nodes))}
	for i, n := range e.nodes {
		v := &a.values[i]
		v.backend, v.shape = e.builder.backend, n.shape
		if n.constant != nil {
			v.flat = n.constant.flat
		}
		for _, in := range e.inputs[i] {
			a.in[i] = append(a.in[i], &a.values[in])
		}
	}
	return a
}

// release keeps an arena for another call, without what belongs to the caller,
// until the garbage collector finds it idle, and its memory for any other.
func (e *executable) release(a *arena) {
	for i, n := range e.nodes {
		if n.parameter >= 0 || n.view || e.direct[i] {
			a.values[i].flat = nil
		}
	}
	b := e.builder.backend
	b.chunks.give(a.chunk)
	if b.finalized.Load() {
		b.chunks.drop()
	}
	if a.chunk = nil; !e.ended.Load() {
		e.idle.Put(a)
	}
}

// prepare sets the memory of parameters, outputs and views.
func (e *executable) prepare(a *arena, params []any, workers int) {
	for i, n := range e.nodes {
		v := &a.values[i]
		switch {
		case n.parameter >= 0:
			v.flat = params[n.parameter]
		case e.direct[i]:
			v.flat = allocate(n.shape.DType, n.shape.Size())
		case n.part:
			v.flat = dtypes.UnsafeAnySliceFromBytes(reflect.ValueOf(a.in[i][0].flat).Index(n.offset).Addr().UnsafePointer(), n.shape.DType, n.shape.Size())
		case n.view:
			v.flat = a.in[i][0].flat
		}
	}
	for len(a.workers) < workers {
		a.workers = append(a.workers, &worker{strips: map[*strip]*stripWorker{}})
	}
}

// bound is a strip on this worker's memory.
func (w *worker) bound(s *strip, a *arena, e *executable) *stripWorker {
	if b := w.strips[s]; b != nil {
		return b
	}
	if w.memory == nil {
		w.memory = make([]uint64, (e.scratch+7)/8+1)
	}
	b := s.bind(a, e, w.memory)
	w.strips[s] = b
	return b
}
