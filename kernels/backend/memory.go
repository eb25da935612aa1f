package backend

import (
	"reflect"
	"unsafe"

	"github.com/gomlx/compute/dtypes"
)

// allocate makes a zeroed slice of n values of a type in [types].
func allocate(t dtypes.DType, n int) any { return dtypes.MakeAnySlice(t, n) }

// words is how values of a size move: operations that only move data see them as
// unsigned integers of that size.
type words interface {
	uint8 | uint16 | uint32 | uint64
}

// asWords reinterprets a buffer's memory, all of it that flat holds.
func asWords[W words](b *buffer) []W {
	v := reflect.ValueOf(b.flat)
	if v.Len() == 0 {
		return nil
	}
	return unsafe.Slice((*W)(v.UnsafePointer()), v.Len())
}

// asBytes sees a buffer's memory as bytes.
func asBytes(b *buffer) []byte {
	v := reflect.ValueOf(b.flat)
	if v.Len() == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Len()*int(v.Type().Elem().Size()))
}

// copyBuffer copies an array of the same size in bytes.
func copyBuffer(dst, src *buffer) { copy(asBytes(dst), asBytes(src)) }

// mover is the set of operations that only move values of one size.
type mover interface {
	// strided fills places [from, to) of out with x read in another order.
	strided(l *loop, x, out *buffer, from, to int)
	// choose picks a or b by the condition.
	choose(l *loop, cond, a, b, out *buffer, from, to int)
	concatenate(in []*buffer, out *buffer, axis int)
	pad(p padding, x, fill, out *buffer)
	gather(w *window, x *buffer, index []int64, out *buffer)
	update(w *window, x *buffer, index []int64, out *buffer)
}

// moving is the mover of values like W.
type moving[W words] struct{}

// movers by size in bytes of a value.
var movers = [...]mover{1: moving[uint8]{}, 2: moving[uint16]{}, 4: moving[uint32]{}, 8: moving[uint64]{}}

func moverOf(t dtypes.DType) mover { return movers[t.Size()] }
