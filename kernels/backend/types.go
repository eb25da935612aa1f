package backend

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

type (
	float interface{ float32 | float64 }
	// integer types; arithmetic on them wraps around.
	integer interface {
		int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
	}
	// number is what arithmetic is defined on.
	number interface{ float | integer }
)

// arithmetic is what is computed on values of one type. Ranges are of places of
// the output.
type arithmetic interface {
	binary(op compute.OpType, l *loop, a, b, out *buffer, from, to int)
	compare(op compute.OpType, l *loop, a, b, out *buffer, from, to int)
	unary(op compute.OpType, x, out *buffer, from, to int)
	predicate(op compute.OpType, x, out *buffer, from, to int)
	convert(x, out *buffer, from, to int)
	clamp(l *loop, low, x, high, out *buffer, from, to int)
	reduce(op compute.OpType, p *reduction, x, out *buffer, from, to int)
	argMinMax(p *reduction, isMin bool, x *buffer, index []int64)
	scatter(op compute.OpType, w *window, x *buffer, index []int64, updates, out *buffer)
	product(d *product, b block, left, right, out *buffer)
}

// numbers is the part of arithmetic that all types of numbers share. The types
// that embed it differ in how they compute single values.
type numbers[T number] struct{}

type (
	floats[T float]     struct{ numbers[T] }
	integers[T integer] struct{ numbers[T] }
	// singles are float32, with vector kernels.
	singles  struct{ floats[float32] }
	booleans struct{ integers[uint8] }
)

// arithmetics by type. Half precision is widened to single before it gets here.
var arithmetics = map[dtypes.DType]arithmetic{
	dtypes.Float32: singles{}, dtypes.Float16: singles{}, dtypes.BFloat16: singles{},
	dtypes.Float64: floats[float64]{},
	dtypes.Int8:    integers[int8]{}, dtypes.Int16: integers[int16]{}, dtypes.Int32: integers[int32]{}, dtypes.Int64: integers[int64]{},
	dtypes.Uint8: integers[uint8]{}, dtypes.Uint16: integers[uint16]{}, dtypes.Uint32: integers[uint32]{}, dtypes.Uint64: integers[uint64]{},
	dtypes.Bool: booleans{},
}

// valuesOf is a buffer's memory, and where in the array it begins.
func valuesOf[T any](b *buffer) ([]T, int) { return b.flat.([]T), b.origin }
