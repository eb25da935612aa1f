package pixels

import (
	"fmt"
	"math"
)

// Pillow's 8-bit resampling (libImaging/Resample.c) works in two passes, columns
// first. Each output byte is
//
//	clip((½ + Σ_k byte_k · w_k) >> 22),  w_k = round(2²² · weight_k)
//
// with weights from a filter around the output pixel's centre, which are
// normalized to a sum of 1 in float64. The filter is stretched when shrinking, so
// that every input pixel counts.

// weightBits is the precision of the fixed-point weights: 32 bits less 8 of a
// pixel less 2 of headroom for negative lobes.
const weightBits = 32 - 8 - 2

// bicubicSupport is the radius of the bicubic filter in pixels.
const bicubicSupport = 2.0

// bicubic is Keys' cubic convolution kernel with a = −0.5. The conversions keep
// the compiler from fusing multiplications with additions.
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

// taps are the input pixels and weights of every output pixel along one axis.
type taps struct {
	first   []int   // [out], first input pixel
	count   []int   // [out], number of input pixels
	weights []int32 // [out, stride], fixed point
	stride  int
}

// bicubicTaps computes the taps for resizing in to out pixels (Resample.c,
// precompute_coeffs and normalize_coeffs_8bpc).
func bicubicTaps(in, out int) taps {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := bicubicSupport * stretch
	t := taps{
		first:  make([]int, out),
		count:  make([]int, out),
		stride: 2*int(math.Ceil(support)) + 1,
	}
	t.weights = make([]int32, out*t.stride)
	w := make([]float64, t.stride)
	for i := range out {
		center := (float64(i) + 0.5) * scale
		first := max(0, int(center-support+0.5))
		count := min(in, int(center+support+0.5)) - first
		sum := 0.0
		for k := range count {
			w[k] = bicubic((float64(k+first) - center + 0.5) * (1 / stretch))
			sum += w[k]
		}
		for k := range count {
			v := w[k]
			if sum != 0 {
				v /= sum
			}
			// away from zero at halves, as C's conversion after adding ±0.5
			t.weights[i*t.stride+k] = int32(float64(v*(1<<weightBits)) + math.Copysign(0.5, v))
		}
		t.first[i], t.count[i] = first, count
	}
	return t
}

// clip turns a sum of bytes times weights into a byte.
func clip(sum int32) uint8 { return uint8(min(max(sum>>weightBits, 0), 255)) }

// ResizeBicubic resizes src to width × height pixels with the bytes that Pillow's
// resize(…, BICUBIC) gives. The source is not changed; it is returned itself when
// the size is the same.
func ResizeBicubic(src *RGB, width, height int) (*RGB, error) {
	if err := src.check(); err != nil {
		return nil, err
	}
	if width < 1 || height < 1 {
		return nil, fmt.Errorf("pixels: cannot resize to %d × %d pixels (width × height); expected at least 1 × 1", width, height)
	}
	if width != src.Width {
		src = resizeColumns(src, bicubicTaps(src.Width, width), width)
	}
	if height != src.Height {
		src = resizeRows(src, bicubicTaps(src.Height, height), height)
	}
	return src, nil
}

// resizeColumns changes the width.
func resizeColumns(src *RGB, t taps, width int) *RGB {
	out := NewRGB(width, src.Height)
	for y := range src.Height {
		line := src.Pix[3*y*src.Width : 3*(y+1)*src.Width]
		to := out.Pix[3*y*width : 3*(y+1)*width]
		for x := range width {
			weights := t.weights[x*t.stride:][:t.count[x]]
			from := line[3*t.first[x]:][:3*len(weights)]
			const half = int32(1) << (weightBits - 1)
			r, g, b := half, half, half
			for _, w := range weights {
				r += int32(from[0]) * w
				g += int32(from[1]) * w
				b += int32(from[2]) * w
				from = from[3:]
			}
			to[3*x], to[3*x+1], to[3*x+2] = clip(r), clip(g), clip(b)
		}
	}
	return out
}

// resizeRows changes the height. It sums whole rows, so that memory is read in
// order.
func resizeRows(src *RGB, t taps, height int) *RGB {
	out := NewRGB(src.Width, height)
	row := 3 * src.Width
	sums := make([]int32, row)
	for y := range height {
		for i := range sums {
			sums[i] = 1 << (weightBits - 1)
		}
		for k, w := range t.weights[y*t.stride:][:t.count[y]] {
			line := src.Pix[(t.first[y]+k)*row:][:row]
			for i, v := range line {
				sums[i] += int32(v) * w
			}
		}
		to := out.Pix[y*row:][:row]
		for i, s := range sums {
			to[i] = clip(s)
		}
	}
	return out
}
