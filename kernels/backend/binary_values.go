package backend

import (
	"math"

	"github.com/gomlx/compute"
)

func (floats[T]) binary(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	each2(floatBinary[T](op), l, a, b, out, from, to)
}

func (integers[T]) binary(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	each2(integerBinary[T](op), l, a, b, out, from, to)
}

func (booleans) binary(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	each2(boolBinary(op), l, a, b, out, from, to)
}

// each2 applies an operation on single values to a range of the output.
func each2[T, R any](f func(a, b T) R, l *loop, a, b, out *buffer, from, to int) {
	x, x0 := valuesOf[T](a)
	y, y0 := valuesOf[T](b)
	dst, d0 := valuesOf[R](out)
	sx, sy := l.innerStep(0), l.innerStep(1)
	for c := l.start(from); from < to; c.next() {
		n := min(c.left, to-from)
		row := dst[from-d0:][:n]
		i, j := c.at[0]-x0, c.at[1]-y0
		for k := range row {
			row[k] = f(x[i], y[j])
			i += sx
			j += sy
		}
		from += n
	}
}

// floatBinary is an operation on single values.
func floatBinary[T float](op compute.OpType) func(a, b T) T {
	switch op {
	case compute.OpTypeAdd:
		return func(a, b T) T { return a + b }
	case compute.OpTypeSub:
		return func(a, b T) T { return a - b }
	case compute.OpTypeMul:
		return func(a, b T) T { return a * b }
	case compute.OpTypeDiv:
		return func(a, b T) T { return a / b }
	case compute.OpTypeMax:
		return func(a, b T) T { return max(a, b) }
	case compute.OpTypeMin:
		return func(a, b T) T { return min(a, b) }
	case compute.OpTypePow:
		return func(a, b T) T { return T(math.Pow(float64(a), float64(b))) }
	case compute.OpTypeRem:
		return func(a, b T) T { return T(math.Mod(float64(a), float64(b))) }
	}
	panic("no operation " + op.String() + " on floating-point numbers")
}

func integerBinary[T integer](op compute.OpType) func(a, b T) T {
	switch op {
	case compute.OpTypeAdd:
		return func(a, b T) T { return a + b }
	case compute.OpTypeSub:
		return func(a, b T) T { return a - b }
	case compute.OpTypeMul:
		return func(a, b T) T { return a * b }
	case compute.OpTypeDiv:
		return divide[T]
	case compute.OpTypeMax:
		return func(a, b T) T { return max(a, b) }
	case compute.OpTypeMin:
		return func(a, b T) T { return min(a, b) }
	case compute.OpTypePow:
		return power[T]
	case compute.OpTypeRem:
		return remainder[T]
	}
	return bitwise[T](op)
}

func bitwise[T integer](op compute.OpType) func(a, b T) T {
	switch op {
	case compute.OpTypeBitwiseAnd:
		return func(a, b T) T { return a & b }
	case compute.OpTypeBitwiseOr:
		return func(a, b T) T { return a | b }
	case compute.OpTypeBitwiseXor:
		return func(a, b T) T { return a ^ b }
	case compute.OpTypeShiftLeft:
		return func(a, b T) T { return a << shift(b) }
	case compute.OpTypeShiftRightArithmetic:
		return func(a, b T) T { return a >> shift(b) }
	case compute.OpTypeShiftRightLogical:
		mask := uint64(1)<<bitsOf[T]() - 1 // all ones for 64 bits, where the shift gives 0
		return func(a, b T) T { return T(uint64(a) & mask >> shift(b)) }
	}
	panic("no operation " + op.String() + " on integers")
}

// shift is a number of places; negative ones are as if beyond any width.
func shift[T integer](b T) uint64 {
	if b < 0 {
		return 64
	}
	return uint64(b)
}

// bitsOf is the width of a type.
func bitsOf[T integer]() int {
	n := 0
	for v := T(1); v != 0; v <<= 1 {
		n++
	}
	return n
}

// divide gives −1 (all bits set) for a zero divisor.
func divide[T integer](a, b T) T {
	if b == 0 {
		return ^b
	}
	return a / b
}

func remainder[T integer](a, b T) T {
	if b == 0 {
		return a
	}
	return a % b
}

// power gives 0 for fractions, except that 1 and −1 have integer powers, and −1
// (a division by zero) for negative powers of 0.
func power[T integer](a, b T) T {
	if b < 0 {
		switch {
		case a == 0:
			return ^a
		case a == 1, a == ^T(0) && b&1 == 0:
			return 1
		case a == ^T(0):
			return a
		}
		return 0
	}
	p := T(1)
	for n := uint64(b); n > 0; n >>= 1 {
		if n&1 == 1 {
			p *= a
		}
		a *= a
	}
	return p
}

func boolBinary(op compute.OpType) func(a, b bool) bool {
	switch op {
	case compute.OpTypeLogicalAnd, compute.OpTypeMin:
		return func(a, b bool) bool { return a && b }
	case compute.OpTypeLogicalOr, compute.OpTypeMax:
		return func(a, b bool) bool { return a || b }
	case compute.OpTypeLogicalXor:
		return func(a, b bool) bool { return a != b }
	}
	panic("no operation " + op.String() + " on booleans")
}

func (numbers[T]) compare(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	each2(comparison[T](op), l, a, b, out, from, to)
}

func (booleans) compare(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	each2(comparison[uint8](op), l, boolsAsNumbers(a), boolsAsNumbers(b), out, from, to)
}

func comparison[T number](op compute.OpType) func(a, b T) bool {
	switch op {
	case compute.OpTypeEqual:
		return func(a, b T) bool { return a == b }
	case compute.OpTypeNotEqual:
		return func(a, b T) bool { return a != b }
	case compute.OpTypeGreaterThan:
		return func(a, b T) bool { return a > b }
	case compute.OpTypeGreaterOrEqual:
		return func(a, b T) bool { return a >= b }
	case compute.OpTypeLessThan:
		return func(a, b T) bool { return a < b }
	case compute.OpTypeLessOrEqual:
		return func(a, b T) bool { return a <= b }
	}
	panic("no comparison " + op.String())
}

// boolsAsNumbers sees booleans as zeros and ones in the same memory.
func boolsAsNumbers(b *buffer) *buffer {
	return &buffer{shape: b.shape, flat: asWords[uint8](b), origin: b.origin}
}

func (numbers[T]) clamp(l *loop, low, x, high, out *buffer, from, to int) {
	lo, lo0 := valuesOf[T](low)
	v, v0 := valuesOf[T](x)
	hi, hi0 := valuesOf[T](high)
	dst, d0 := valuesOf[T](out)
	s0, s1, s2 := l.innerStep(0), l.innerStep(1), l.innerStep(2)
	for c := l.start(from); from < to; c.next() {
		n := min(c.left, to-from)
		row := dst[from-d0:][:n]
		i, j, k := c.at[0]-lo0, c.at[1]-v0, c.at[2]-hi0
		for p := range row {
			row[p] = min(max(v[j], lo[i]), hi[k])
			i, j, k = i+s0, j+s1, k+s2
		}
		from += n
	}
}

func (moving[W]) choose(l *loop, cond, a, b, out *buffer, from, to int) {
	test, t0 := valuesOf[bool](cond)
	x, y, dst := asWords[W](a), asWords[W](b), asWords[W](out)
	s0, s1, s2 := l.innerStep(0), l.innerStep(1), l.innerStep(2)
	for c := l.start(from); from < to; c.next() {
		n := min(c.left, to-from)
		row := dst[from-out.origin:][:n]
		from += n
		i, j, k := c.at[0]-t0, c.at[1]-a.origin, c.at[2]-b.origin
		if s0 == 1 && s1|s2 <= 1 && s1|s2 >= 0 {
			chooseRun(row, test[i:], x[j:], y[k:], s1, s2)
			continue
		}
		for p := range row {
			if test[i] {
				row[p] = x[j]
			} else {
				row[p] = y[k]
			}
			i, j, k = i+s0, j+s1, k+s2
		}
	}
}

// chooseRun picks values of x and y, which step by 0 or 1.
func chooseRun[W words](dst []W, test []bool, x, y []W, stepX, stepY int) {
	n := len(dst)
	test = test[:n]
	switch {
	case stepX == 1 && stepY == 1:
		x, y = x[:n], y[:n]
		for i, t := range test {
			v := y[i]
			if t {
				v = x[i]
			}
			dst[i] = v
		}
	case stepX == 1:
		x = x[:n]
		other := y[0]
		for i, t := range test {
			v := other
			if t {
				v = x[i]
			}
			dst[i] = v
		}
	case stepY == 1:
		y = y[:n]
		other := x[0]
		for i, t := range test {
			v := y[i]
			if t {
				v = other
			}
			dst[i] = v
		}
	default:
		either := [2]W{y[0], x[0]}
		for i, t := range test {
			v := either[0]
			if t {
				v = either[1]
			}
			dst[i] = v
		}
	}
}
