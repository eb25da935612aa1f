package backend

import (
	"reflect"

	"github.com/gomlx/compute/dtypes"
)

// arena is the memory of one call.
type arena struct {
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

// arena returns memory for all slots, from an earlier call where one is idle.
func (e *executable) arena() *arena {
	if a, ok := e.idle.Get().(*arena); ok {
		return a
	}
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

// release keeps an arena for another call, without what belongs to the caller,
// until the garbage collector finds it idle.
func (e *executable) release(a *arena) {
	for i, n := range e.nodes {
		if n.parameter >= 0 || n.view || e.direct[i] {
			a.values[i].flat = nil
		}
	}
	if !e.ended.Load() {
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
