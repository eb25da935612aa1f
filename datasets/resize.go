package datasets

import (
	"image"
	"image/draw"
)

// sprite is a square picture with alpha: size×size premultiplied RGBA bytes.
type sprite struct {
	size int
	pix  []uint8 // [size, size, 4]
}

// newSprite converts img, centred on a transparent size×size square.
func newSprite(img image.Image, size int) *sprite {
	dst := image.NewRGBA(image.Rect(0, 0, size, size))
	b := img.Bounds()
	at := image.Pt((size-b.Dx())/2, (size-b.Dy())/2)
	draw.Draw(dst, image.Rectangle{Min: at, Max: at.Add(b.Size())}, img, b.Min, draw.Src)
	return &sprite{size: size, pix: dst.Pix}
}

// Fixed-point precision: weights sum to 1<<weightBits, the rows between the two
// passes keep middleBits fractional bits.
const (
	weightBits = 12
	middleBits = 4
)

// kernel holds, for every output pixel of one axis, the first input pixel and the weights of its taps.
type kernel struct {
	first   []int32
	taps    int
	weights []int64 // [outputs, taps]
}

// newKernel returns the Catmull–Rom cubic (Keys 1981 with a = −1/2), stretched by
// the scale when it shrinks so that nothing aliases:
//
//	k(t) = 3/2·t³ − 5/2·t² + 1            for t ≤ 1
//	k(t) = −1/2·t³ + 5/2·t² − 4·t + 2     for 1 < t < 2
//
// Distances are exact fractions p/q, and the weights are integers: the same on
// every machine. Taps outside the picture fall on its edge.
func newKernel(from, to int) *kernel {
	q := 2 * max(from, to) // t = p/q; pixel centres lie at halves
	reach := 4
	if from > to {
		reach = (4*from+to-1)/to + 1 // the window need not begin at a pixel
	}
	taps := min(reach, from)
	k := &kernel{first: make([]int32, to), taps: taps, weights: make([]int64, to*taps)}
	raw := make([]int64, reach)
	for i := range to {
		// The output's centre in input pixels is (from·(2i+1) − to) / 2to; the window reaches 2·max(1, from/to).
		left := floorDiv(from*(2*i+1)-to-2*q, 2*to) + 1
		var sum int64
		for n := range raw {
			p := 2*to*(left+n) - from*(2*i+1) + to
			raw[n] = cubic(int64(max(p, -p)), int64(q))
			sum += raw[n]
		}
		k.set(i, left, from, raw, sum)
	}
	return k
}

// set normalizes the weights of output i; the rounding error goes to the largest tap.
func (k *kernel) set(i, left, from int, raw []int64, sum int64) {
	start := min(max(left, 0), max(from-k.taps, 0))
	k.first[i] = int32(start)
	row := k.weights[i*k.taps : (i+1)*k.taps]
	total, largest := int64(0), 0
	for n, w := range raw {
		at := min(max(left+n, 0), from-1) - start
		v := (w*(2<<weightBits) + sum) / (2 * sum)
		if w < 0 {
			v = -((-w*(2<<weightBits) + sum) / (2 * sum))
		}
		row[at] += v
		total += v
	}
	for n, w := range row {
		if w > row[largest] {
			largest = n
		}
	}
	row[largest] += 1<<weightBits - total
}

// cubic is 2q³·k(p/q), an integer.
func cubic(p, q int64) int64 {
	switch {
	case p <= q:
		return 3*p*p*p - 5*p*p*q + 2*q*q*q
	case p < 2*q:
		return -p*p*p + 5*p*p*q - 8*p*q*q + 4*q*q*q
	}
	return 0
}

func floorDiv(a, b int) int {
	d := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		d--
	}
	return d
}

// resize returns s at another size: rows first, then columns.
//
// Two channels travel in one int64, low + high<<32, so that one product serves
// both: with signed weights the sum is still low + high<<32 of the exact sums.
func (s *sprite) resize(k *kernel) *sprite {
	to := len(k.first)
	stride := to * 2
	middle := make([]int64, s.size*stride) // [rows, to, 2], middleBits fractional bits
	line := make([]int64, s.size*2)
	for y := range s.size {
		src := s.pix[y*s.size*4 : (y+1)*s.size*4]
		for x := range s.size {
			line[2*x] = int64(src[4*x]) | int64(src[4*x+1])<<32
			line[2*x+1] = int64(src[4*x+2]) | int64(src[4*x+3])<<32
		}
		out := middle[y*stride : (y+1)*stride]
		for x := range to {
			rg, ba := k.sum(line, x, 2*int(k.first[x]), 2)
			out[2*x] = repack(rg, weightBits-middleBits)
			out[2*x+1] = repack(ba, weightBits-middleBits)
		}
	}
	dst := &sprite{size: to, pix: make([]uint8, to*to*4)}
	for y := range to {
		out := dst.pix[y*to*4 : (y+1)*to*4]
		for x := range to {
			rg, ba := k.sum(middle, y, int(k.first[y])*stride+2*x, stride)
			premultiplied(out[4*x:4*x+4:4*x+4], rg, ba)
		}
	}
	return dst
}

// sum adds the weighted taps of output i, which lie at, at + step, … in from.
// Enlarging has four taps, always; they are written out because the training stream spends its time here.
func (k *kernel) sum(from []int64, i, at, step int) (rg, ba int64) {
	w := k.weights[i*k.taps : (i+1)*k.taps]
	if len(w) == 4 {
		p, q, r, s := from[at:at+2], from[at+step:at+step+2], from[at+2*step:at+2*step+2], from[at+3*step:at+3*step+2]
		return w[0]*p[0] + w[1]*q[0] + w[2]*r[0] + w[3]*s[0], w[0]*p[1] + w[1]*q[1] + w[2]*r[1] + w[3]*s[1]
	}
	for _, v := range w {
		rg += v * from[at]
		ba += v * from[at+1]
		at += step
	}
	return rg, ba
}

// repack shifts both halves of a pair right, rounding.
func repack(pair int64, bits uint) int64 {
	low, high := halves(pair)
	half := int64(1) << (bits - 1)
	return (low+half)>>bits + ((high+half)>>bits)<<32
}

// halves undoes low + high<<32.
func halves(pair int64) (low, high int64) {
	low = int64(int32(pair))
	return low, (pair - low) >> 32
}

// premultiplied writes a pixel, clamped so that no colour exceeds its alpha.
func premultiplied(out []uint8, rg, ba int64) {
	const bits = weightBits + middleBits
	const half = 1 << (bits - 1)
	r, g := halves(rg)
	b, a := halves(ba)
	a = min(max((a+half)>>bits, 0), 255)
	out[0] = uint8(min(max((r+half)>>bits, 0), a))
	out[1] = uint8(min(max((g+half)>>bits, 0), a))
	out[2] = uint8(min(max((b+half)>>bits, 0), a))
	out[3] = uint8(a)
}

// onto draws the sprite over an opaque picture with its top left corner at (x, y).
func (s *sprite) onto(dst *image.RGBA, x, y int) {
	for row := range s.size {
		src := s.pix[row*s.size*4 : (row+1)*s.size*4]
		at := dst.PixOffset(x, y+row)
		out := dst.Pix[at : at+s.size*4]
		for i := 0; i < len(src); i += 4 {
			a := src[i+3]
			if a == 0 {
				continue
			}
			rest := 255 - uint32(a)
			out[i] = src[i] + over(out[i], rest)
			out[i+1] = src[i+1] + over(out[i+1], rest)
			out[i+2] = src[i+2] + over(out[i+2], rest)
		}
	}
}

// over is round(v·rest/255), exact for all bytes.
func over(v uint8, rest uint32) uint8 {
	t := uint32(v)*rest + 128
	return uint8((t + t>>8) >> 8)
}
