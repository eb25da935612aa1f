package kernels

import (
	"fmt"
	"math"
	"runtime"
	"sync"
)

// MinRange is the smallest range that a quantizer divides into steps: the range
// of a group is taken as at least this, so that a step is never zero. It is the
// constant of the published MBQ and AWQ code.
const MinRange = 1e-5

// roundMagic added to and subtracted from a float32 of magnitude at most 2²²
// rounds it to an integer, half to even: the sum's last mantissa bit is then
// worth one.
const roundMagic = 3 << 22

// roundLimit bounds what roundMagic may be added to. Clamping a quotient to it
// changes no code: codes have at most 16 bits.
const roundLimit = 1 << 22

const signBit = 1 << 31

// parallelSize is the number of elements from which a matrix is worth more than
// one thread.
const parallelSize = 1 << 17

// RoundSymmetric rounds the matrix w to a symmetric grid and writes the
// dequantized values to dst. For every group of consecutive columns of a row,
//
//	s = max(max|w|, MinRange) / (2^(bits-1) − 1)
//	dst = s · clamp(roundEven(w/s), −2^(bits-1), 2^(bits-1) − 1)
//
// in float32 and in this order. This is MBQ's weight quantizer per output channel
// (group = cols) and its dynamic activation quantizer per token (rows are
// tokens), bit for bit.
//
// w and dst are [rows, cols]; dst may be w. step, when not nil, receives the s
// of every group, [rows, cols/group]. group divides cols; bits is 2 to 16. A
// group that contains NaN becomes NaN.
func RoundSymmetric(dst, step, w []float32, rows, cols, group, bits int) {
	groups := checkRound("RoundSymmetric", dst, step, w, rows, cols, group, bits)
	forRows(rows, cols, func(from, to int) {
		for r := from; r < to; r++ {
			for g := range groups {
				at := r*cols + g*group
				s := roundSymmetricGroup(dst[at:at+group], w[at:at+group], bits)
				if step != nil {
					step[r*groups+g] = s
				}
			}
		}
	})
}

func roundSymmetricGroup(dst, w []float32, bits int) float32 {
	high := float32(int(1)<<(bits-1) - 1)
	s := max(absMax(w), MinRange) / high
	roundSymmetricTo(dst, w, s, -high-1, high)
	return s
}

// roundSymmetricGo writes s·clamp(roundEven(w/s), low, high) with the sign of w.
func roundSymmetricGo(dst, w []float32, s, low, high float32) {
	dst = dst[:len(w)]
	for i, v := range w {
		q := v / s
		q = (q + roundMagic) - roundMagic
		if q > high {
			q = high
		} else if q < low {
			q = low
		}
		q *= s
		// roundMagic turns −0.3 into +0 where IEEE rounding gives −0.
		dst[i] = math.Float32frombits(math.Float32bits(q) | math.Float32bits(v)&signBit)
	}
}

// absMaxGo returns the largest magnitude in w, NaN if there is one. The bits of
// non-negative floats are ordered as the floats are, NaN last.
func absMaxGo(w []float32) float32 {
	var m uint32
	for _, v := range w {
		m = max(m, math.Float32bits(v)&^signBit)
	}
	return math.Float32frombits(m)
}

// RoundAsymmetric rounds the matrix w to an asymmetric grid and writes the
// dequantized values to dst. For every group of consecutive columns of a row,
//
//	s = max(max w − min w, MinRange) / (2^bits − 1)
//	z = clamp(−roundEven(min w / s), 0, 2^bits − 1)
//	dst = s · (clamp(roundEven(w/s) + z, 0, 2^bits − 1) − z)
//
// in float32 and in this order: the weight-only quantizer of AWQ and MBQ, bit for
// bit. The range is not extended to contain zero, so a group that lies wholly on
// one side of zero is clipped, and a constant group collapses to about MinRange,
// as in the published code; [CollapsedGroups] counts those.
//
// w and dst are [rows, cols]; dst may be w. step and zero, when not nil, receive
// the s and z of every group, [rows, cols/group]. group divides cols; bits is 2
// to 16.
func RoundAsymmetric(dst, step, zero, w []float32, rows, cols, group, bits int) {
	groups := checkRound("RoundAsymmetric", dst, step, w, rows, cols, group, bits)
	if zero != nil && len(zero) != rows*groups {
		panic(fmt.Sprintf("kernels: RoundAsymmetric: %d zeros, want %d", len(zero), rows*groups))
	}
	forRows(rows, cols, func(from, to int) {
		for r := from; r < to; r++ {
			for g := range groups {
				at := r*cols + g*group
				s, z := roundAsymmetricGroup(dst[at:at+group], w[at:at+group], bits)
				if step != nil {
					step[r*groups+g] = s
				}
				if zero != nil {
					zero[r*groups+g] = z
				}
			}
		}
	})
}

func roundAsymmetricGroup(dst, w []float32, bits int) (s, z float32) {
	high := float32(int(1)<<bits - 1)
	low, top := minMax(w)
	s = max(top-low, MinRange) / high
	z = min(max(-roundEven(low/s), 0), high)
	roundAsymmetricTo(dst, w, s, z, high)
	return s, z
}

// roundAsymmetricGo writes s·(clamp(roundEven(w/s) + z, 0, high) − z).
func roundAsymmetricGo(dst, w []float32, s, z, high float32) {
	dst = dst[:len(w)]
	for i, v := range w {
		q := roundEven(v/s) + z
		if q > high {
			q = high
		} else if q < 0 {
			q = 0
		}
		dst[i] = (q - z) * s
	}
}

// roundEven rounds half to even; magnitudes beyond roundLimit, which no code
// reaches, come back as roundLimit, and −0.3 as +0.
func roundEven(x float32) float32 {
	if x > roundLimit {
		x = roundLimit
	} else if x < -roundLimit {
		x = -roundLimit
	}
	return (x + roundMagic) - roundMagic
}

// minMaxGo is the least and the largest of low, top and the values of w. NaN in w is
// passed over.
func minMaxGo(w []float32, low, top float32) (float32, float32) {
	for _, v := range w {
		if v < low {
			low = v
		}
		if v > top {
			top = v
		}
	}
	return low, top
}

// CollapsedGroups counts the groups of w that RoundAsymmetric cannot represent:
// every value is the same (the range is below MinRange) and it is not near zero,
// so that the clamped zero point leaves almost nothing of it. Sizes are as for
// [RoundAsymmetric].
func CollapsedGroups(w []float32, rows, cols, group int) int {
	checkRound("CollapsedGroups", w, nil, w, rows, cols, group, 2)
	n := 0
	for at := 0; at < rows*cols; at += group {
		low, top := minMax(w[at : at+group])
		if top-low < MinRange && (low > MinRange || top < -MinRange) {
			n++
		}
	}
	return n
}

// ScaleColumns writes dst[r, c] = w[r, c] · s[c]. w and dst are [rows, cols] and
// may be the same.
func ScaleColumns(dst, w, s []float32, rows, cols int) {
	if len(w) != rows*cols || len(dst) != rows*cols || len(s) != cols {
		panic(fmt.Sprintf("kernels: ScaleColumns: got %d to %d elements and %d factors, want [%d, %d]", len(w), len(dst), len(s), rows, cols))
	}
	forRows(rows, cols, func(from, to int) {
		for r := from; r < to; r++ {
			Mul(dst[r*cols:(r+1)*cols], w[r*cols:(r+1)*cols], s)
		}
	})
}

func checkRound(name string, dst, step, w []float32, rows, cols, group, bits int) (groups int) {
	if group <= 0 || cols <= 0 || cols%group != 0 {
		panic(fmt.Sprintf("kernels: %s: group %d does not divide %d columns", name, group, cols))
	}
	if bits < 2 || bits > 16 {
		panic(fmt.Sprintf("kernels: %s: %d bits, want 2 to 16", name, bits))
	}
	groups = cols / group
	if len(w) != rows*cols || len(dst) != rows*cols {
		panic(fmt.Sprintf("kernels: %s: got %d to %d elements, want [%d, %d]", name, len(w), len(dst), rows, cols))
	}
	if step != nil && len(step) != rows*groups {
		panic(fmt.Sprintf("kernels: %s: %d steps, want %d", name, len(step), rows*groups))
	}
	return groups
}

// forRows calls f with ranges that cover the rows, on several threads when the
// matrix is large. Rows are independent, so the split changes no bit.
func forRows(rows, cols int, f func(from, to int)) {
	threads := min(runtime.GOMAXPROCS(0), rows*cols/parallelSize, rows)
	if threads <= 1 {
		f(0, rows)
		return
	}
	var group sync.WaitGroup
	for i := range threads {
		group.Go(func() { f(rows*i/threads, rows*(i+1)/threads) })
	}
	group.Wait()
}
