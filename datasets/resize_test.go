package datasets

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"
)

// slowResize is the definition: float64 sums of the stretched cubic over both axes, edge pixels repeated.
func slowResize(s *sprite, to int) *sprite {
	weight := func(i, j int) float64 { // of input j for output i, not yet normalized
		centre := (float64(i)+0.5)*float64(s.size)/float64(to) - 0.5
		t := math.Abs(float64(j)-centre) / math.Max(1, float64(s.size)/float64(to))
		switch {
		case t <= 1:
			return 1.5*t*t*t - 2.5*t*t + 1
		case t < 2:
			return -0.5*t*t*t + 2.5*t*t - 4*t + 2
		}
		return 0
	}
	margin := 2*s.size/to + 4
	dst := &sprite{size: to, pix: make([]uint8, to*to*4)}
	for y := range to {
		for x := range to {
			var sum, total [5]float64
			for v := -margin; v < s.size+margin; v++ {
				wy := weight(y, v)
				if wy == 0 {
					continue
				}
				for u := -margin; u < s.size+margin; u++ {
					w := wy * weight(x, u)
					total[0] += w
					at := (min(max(v, 0), s.size-1)*s.size + min(max(u, 0), s.size-1)) * 4
					for c := range 4 {
						sum[c] += w * float64(s.pix[at+c])
					}
				}
			}
			alpha := math.Min(math.Max(math.Round(sum[3]/total[0]), 0), 255)
			for c := range 4 {
				dst.pix[(y*to+x)*4+c] = uint8(math.Min(math.Max(math.Round(sum[c]/total[0]), 0), alpha))
			}
		}
	}
	return dst
}

// noise is a premultiplied random picture: the hardest input of a resampler.
func noise(rng *rand.Rand, size int) *sprite {
	s := &sprite{size: size, pix: make([]uint8, size*size*4)}
	for i := 0; i < len(s.pix); i += 4 {
		a := rng.IntN(256)
		for c := range 3 {
			s.pix[i+c] = uint8(rng.IntN(a + 1))
		}
		s.pix[i+3] = uint8(a)
	}
	return s
}

func TestResizeMatchesDefinition(t *testing.T) {
	// Weights have 12 bits and up to 9 taps an axis, rows 4 fractional bits: on noise that is within 1 of 255.
	const tolerance = 1
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range [][2]int{{64, 30}, {64, 64}, {64, 96}, {64, 111}, {64, 128}, {16, 5}, {16, 1}, {5, 16}, {3, 4}} {
		s := noise(rng, c[0])
		k := newKernel(c[0], c[1])
		got, want := s.resize(k), slowResize(s, c[1])
		for i := range got.pix {
			if d := int(got.pix[i]) - int(want.pix[i]); d < -tolerance || d > tolerance {
				t.Errorf("%d to %d: byte %d is %d, want %d", c[0], c[1], i, got.pix[i], want.pix[i])
				break
			}
		}
		if c[0] == c[1] {
			for i := range got.pix {
				if got.pix[i] != s.pix[i] {
					t.Fatalf("%d to %d: byte %d changed", c[0], c[1], i)
				}
			}
		}
	}
}

func TestKernelSums(t *testing.T) {
	for from := 1; from <= 70; from++ {
		for to := 1; to <= canvas; to += 3 {
			k := newKernel(from, to)
			for i := range to {
				var sum int64
				for _, w := range k.weights[i*k.taps : (i+1)*k.taps] {
					sum += w
				}
				if sum != 1<<weightBits {
					t.Fatalf("%d to %d: the weights of output %d sum to %d", from, to, i, sum)
				}
			}
		}
	}
}

func TestOver(t *testing.T) {
	for v := range 256 {
		for rest := range 256 {
			if got, want := over(uint8(v), uint32(rest)), uint8(math.Round(float64(v*rest)/255)); got != want {
				t.Fatalf("over(%d, %d) = %d, want %d", v, rest, got, want)
			}
		}
	}
}

func TestOnto(t *testing.T) {
	dst := image.NewRGBA(image.Rect(0, 0, 3, 3))
	for i := range dst.Pix {
		dst.Pix[i] = 255
	}
	s := &sprite{size: 1, pix: []uint8{100, 0, 0, 128}} // premultiplied: half of a red
	s.onto(dst, 1, 1)
	if got, want := dst.RGBAAt(1, 1), (color.RGBA{227, 127, 127, 255}); got != want {
		t.Errorf("half of a red over white is %v, want %v", got, want)
	}
	for _, at := range []image.Point{{0, 0}, {1, 0}, {0, 1}, {2, 1}, {1, 2}} {
		if dst.RGBAAt(at.X, at.Y) != (color.RGBA{255, 255, 255, 255}) {
			t.Errorf("%v changed", at)
		}
	}
}
