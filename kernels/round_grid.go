package kernels

import (
	"fmt"
	"math"
)

// GridKind names the published rule by which a group's step and zero point
// follow from its values. With b bits, low and top the least and the largest value:
type GridKind string

// Grid kinds.
const (
	// GridRange is the rule of AWQ and MBQ (and of [RoundSymmetric] and
	// [RoundAsymmetric]): s = max(max|w|, MinRange)/(2^(b−1) − 1), codes −2^(b−1) …
	// 2^(b−1)−1; or s = max(top − low, MinRange)/(2^b − 1), z = clamp(−round(low/s),
	// 0, 2^b−1).
	GridRange GridKind = "range"
	// GridGPTQ is that of IST-DASLab/gptq: the range contains zero, an all-zero group
	// gets [−1, 1]; s = (top − low)/(2^b − 1), z = round(−low/s). Symmetric: top =
	// max(|low|, top), low = −top, z = 2^(b−1), so that codes stay 0 … 2^b−1.
	GridGPTQ GridKind = "gptq"
	// GridQuaRot is that of QuaRot's, RSQ's and GPTAQ's weights: symmetric as
	// GridRange, asymmetric as GridGPTQ with a range of at least MinRange.
	GridQuaRot GridKind = "quarot"
	// GridActivation is that of QuaRot's activations: the range contains zero, both
	// ends are multiplied by Clip; symmetric s = top/(2^(b−1) − 1), and 1 where that
	// is 0; asymmetric as GridGPTQ.
	GridActivation GridKind = "activation"
	// GridActivationGroup is GridActivation without zero in the range, for groups of
	// channels.
	GridActivationGroup GridKind = "activation-group"
)

// GridRule finds the grid of a group of values.
type GridRule struct {
	Kind      GridKind
	Bits      int // 2 to 16
	Symmetric bool
	// Clip multiplies both ends of the range; 0 stands for 1. Activations only.
	Clip float64
	// Shrink searches the range p·[low, top], p = 1 − i/100, i = 0 … 79, for the
	// least Σ|ŵ − w|^2.4, the first one winning (the "mse" option of GPTQ's family).
	Shrink bool
	// HalfRange keeps an oddity of GPTQ's symmetric rule: a group without negative
	// values uses the upper half of the codes only, and what exceeds half the
	// maximum is clipped. For comparing with its numbers; not for use.
	HalfRange bool
}

// Validate checks the fields.
func (g GridRule) Validate() error {
	switch g.Kind {
	case GridRange, GridGPTQ, GridQuaRot, GridActivation, GridActivationGroup:
	default:
		return fmt.Errorf("kernels: grid kind %q; expected one of %s, %s, %s, %s, %s", g.Kind, GridRange, GridGPTQ, GridQuaRot, GridActivation, GridActivationGroup)
	}
	if g.Bits < 2 || g.Bits > 16 {
		return fmt.Errorf("kernels: grid of %d bits; expected 2 to 16", g.Bits)
	}
	return nil
}

// Codes is the range of codes.
func (g GridRule) Codes() (low, high int) {
	if g.Symmetric && g.Kind != GridGPTQ {
		return -1 << (g.Bits - 1), 1<<(g.Bits-1) - 1
	}
	return 0, 1<<g.Bits - 1
}

// Float is the type that a grid is computed in: float32 gives the bits of the
// published code, float64 that of its widened form.
type Float interface{ float32 | float64 }

// FindGrid returns the step and the zero point of a group of values, which is
// not empty.
func FindGrid[T Float](g GridRule, w []T) (step, zero T) {
	low, top := rangeOf(g, w)
	step, zero = fit(g, low, top)
	if !g.Shrink {
		return step, zero
	}
	return shrink(g, w, low, top)
}

// shrink is the search that GridRule.Shrink asks for.
func shrink[T Float](g GridRule, w []T, low, top T) (step, zero T) {
	least, most := g.Codes()
	best := math.Inf(1)
	for i := range 80 {
		p := T(1 - float64(i)/100)
		s, z := fit(g, p*low, p*top)
		var sum float64
		for _, v := range w {
			d := Dequantize(min(max(even(v/s)+z, T(least)), T(most)), s, z) - v
			sum += float64(T(power24(float64(d)))) // tiny terms vanish in float32
			if sum >= best {
				break // terms are not negative
			}
		}
		if sum < best {
			best, step, zero = sum, s, z
		}
	}
	return step, zero
}

// power24 is |d|^2.4 = x·x^(1/5) with x = d², to about 1e-15 of it. With r
// = x^(−1/5), x^(1/5) = x·r⁴; Newton's step r·(6 − x·r⁵)/5 for r turns a relative error e
// into 3e², and the first r, from a fifth of the exponent, is off by 7 % at most.
func power24(d float64) float64 {
	x := d * d
	if !(x > 1e-300 && x < 1e300) {
		return math.Pow(math.Abs(d), 2.4)
	}
	const one = 1023 << 52 // the bits of 1
	r := math.Float64frombits(one/5*6 - math.Float64bits(x)/5)
	for range 5 {
		r2 := r * r
		r *= 1.2 - float64(0.2*float64(x*float64(float64(r2*r2)*r)))
	}
	r2 := r * r
	return x * float64(x*float64(r2*r2))
}

// rangeOf is the range of a group after the rule's adjustments.
func rangeOf[T Float](g GridRule, w []T) (low, top T) {
	low, top = w[0], w[0]
	for _, v := range w {
		low, top = min(low, v), max(top, v)
	}
	return adjust(g, low, top)
}

// adjust is the range that the rule takes for a least and a largest value.
func adjust[T Float](g GridRule, low, top T) (T, T) {
	if g.Kind != GridRange && g.Kind != GridActivationGroup {
		low, top = min(low, 0), max(top, 0)
	}
	if g.Clip != 0 {
		low, top = low*T(g.Clip), top*T(g.Clip)
	}
	if !g.Symmetric {
		if g.Kind != GridRange && low == 0 && top == 0 {
			return -1, 1
		}
		return low, top
	}
	negative := low < 0
	top = max(max(low, -low), top)
	switch g.Kind {
	case GridGPTQ:
		switch {
		case top == 0:
			return -1, 1
		case g.HalfRange && !negative:
			return 0, top
		}
	case GridRange, GridQuaRot:
		top = max(top, MinRange)
	default:
		if top == 0 {
			_, high := g.Codes()
			top = T(high)
		}
	}
	return -top, top
}

// fit is the step and zero point for a range.
func fit[T Float](g GridRule, low, top T) (step, zero T) {
	_, high := g.Codes()
	if g.Symmetric && g.Kind != GridGPTQ {
		return top / T(high), 0
	}
	size := top - low
	if g.Kind == GridRange || g.Kind == GridQuaRot {
		size = max(size, MinRange)
	}
	step = size / T(high)
	switch {
	case g.Symmetric:
		return step, T(int(1) << (g.Bits - 1))
	case g.Kind == GridRange:
		return step, min(max(-even(low/step), 0), T(high))
	}
	return step, even(-low / step)
}

// even rounds half to even.
func even[T Float](x T) T { return T(math.RoundToEven(float64(x))) }

// Quantize returns the code of v, a whole number.
func Quantize[T Float](g GridRule, v, step, zero T) T {
	low, high := g.Codes()
	q := even(v/step) + zero
	return min(max(q, T(low)), T(high))
}

// Dequantize returns the value of a code.
func Dequantize[T Float](code, step, zero T) T { return (code - zero) * step }
