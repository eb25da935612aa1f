package backend

import "github.com/gomlx/compute"

// compare runs comparisons of float32 in loops of their own where operands step by 0
// or 1 within a run: masks are made of them.
func (singles) compare(op compute.OpType, l *loop, a, b, out *buffer, from, to int) {
	sx, sy := l.innerStep(0), l.innerStep(1)
	if sx|sy != 1 { // only (0, 1), (1, 0) and (1, 1) give 1
		floats[float32]{}.compare(op, l, a, b, out, from, to)
		return
	}
	x, x0 := valuesOf[float32](a)
	y, y0 := valuesOf[float32](b)
	dst, d0 := valuesOf[bool](out)
	for c := l.start(from); from < to; c.next() {
		n := min(c.left, to-from)
		row, u, v := dst[from-d0:][:n], x[c.at[0]-x0:], y[c.at[1]-y0:]
		switch {
		case sx&sy == 1:
			compareSlices(op, row, u[:n], v[:n])
		case sx == 1:
			compareScalar(op, row, u[:n], v[0])
		default:
			compareScalar(mirrored(op), row, v[:n], u[0])
		}
		from += n
	}
}

// mirrored is the comparison that b and a have where a and b have this one.
func mirrored(op compute.OpType) compute.OpType {
	switch op {
	case compute.OpTypeGreaterThan:
		return compute.OpTypeLessThan
	case compute.OpTypeGreaterOrEqual:
		return compute.OpTypeLessOrEqual
	case compute.OpTypeLessThan:
		return compute.OpTypeGreaterThan
	case compute.OpTypeLessOrEqual:
		return compute.OpTypeGreaterOrEqual
	}
	return op
}

func compareSlices(op compute.OpType, dst []bool, x, y []float32) {
	dst, y = dst[:len(x)], y[:len(x)]
	switch op {
	case compute.OpTypeEqual:
		for i, v := range x {
			dst[i] = v == y[i]
		}
	case compute.OpTypeNotEqual:
		for i, v := range x {
			dst[i] = v != y[i]
		}
	case compute.OpTypeGreaterThan:
		for i, v := range x {
			dst[i] = v > y[i]
		}
	case compute.OpTypeGreaterOrEqual:
		for i, v := range x {
			dst[i] = v >= y[i]
		}
	case compute.OpTypeLessThan:
		for i, v := range x {
			dst[i] = v < y[i]
		}
	case compute.OpTypeLessOrEqual:
		for i, v := range x {
			dst[i] = v <= y[i]
		}
	default:
		panic("no comparison " + op.String())
	}
}

func compareScalar(op compute.OpType, dst []bool, x []float32, s float32) {
	dst = dst[:len(x)]
	switch op {
	case compute.OpTypeEqual:
		for i, v := range x {
			dst[i] = v == s
		}
	case compute.OpTypeNotEqual:
		for i, v := range x {
			dst[i] = v != s
		}
	case compute.OpTypeGreaterThan:
		for i, v := range x {
			dst[i] = v > s
		}
	case compute.OpTypeGreaterOrEqual:
		for i, v := range x {
			dst[i] = v >= s
		}
	case compute.OpTypeLessThan:
		for i, v := range x {
			dst[i] = v < s
		}
	case compute.OpTypeLessOrEqual:
		for i, v := range x {
			dst[i] = v <= s
		}
	default:
		panic("no comparison " + op.String())
	}
}
