package safetensors

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// halfValue is the value of a binary16 by its definition.
func halfValue(h uint16) float64 {
	exp, frac := int(h>>10&0x1f), float64(h&0x3ff)
	v := math.Ldexp(1+frac/1024, exp-15)
	switch {
	case exp == 0:
		v = math.Ldexp(frac/1024, -14)
	case exp == 0x1f && frac != 0:
		v = math.NaN()
	case exp == 0x1f:
		v = math.Inf(1)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}

func brainValue(h uint16) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }

func TestWideningIsExact(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		for _, c := range []struct {
			got  float32
			want float64
			back uint16
		}{{fromF16(h), halfValue(h), toF16(fromF16(h))}, {fromBF16(h), brainValue(h), toBF16(fromBF16(h))}} {
			if math.IsNaN(c.want) {
				if !math.IsNaN(float64(c.got)) {
					t.Errorf("%#04x: %v, want NaN", h, c.got)
				}
				continue
			}
			if float64(c.got) != c.want || math.Signbit(float64(c.got)) != math.Signbit(c.want) || c.back != h {
				t.Errorf("%#04x: %v, back %#04x, want %v", h, c.got, c.back, c.want)
			}
		}
	}
	nan := float32(math.NaN())
	if !math.IsNaN(halfValue(toF16(nan))) || !math.IsNaN(brainValue(toBF16(nan))) {
		t.Error("a NaN is lost")
	}
	low := math.Float32frombits(0x7f800001) // a NaN whose upper bits alone are an infinity
	if !math.IsNaN(halfValue(toF16(low))) || !math.IsNaN(brainValue(toBF16(low))) {
		t.Error("a NaN with a small payload is lost")
	}
}

// nearestHalf rounds by looking for the neighbours among all values of a 16-bit
// type; bits of positive values ascend with the values.
func nearestHalf(f float64, value func(uint16) float64, infinity uint16) uint16 {
	sign := uint16(0)
	if math.Signbit(f) {
		sign, f = 0x8000, -f
	}
	above := uint16(sort.Search(int(infinity), func(i int) bool { return value(uint16(i)) >= f }))
	if above == 0 || value(above) == f {
		return sign | above
	}
	below := above - 1
	top := value(above)
	if above == infinity { // where the next value would lie
		top = 2*value(below) - value(below-1)
	}
	switch down, up := f-value(below), top-f; {
	case down < up || down == up && below%2 == 0:
		return sign | below
	default:
		return sign | above
	}
}

func TestRoundingIsHalfToEven(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var values []float32
	for range 20000 {
		values = append(values, math.Float32frombits(r.Uint32()))
		h := uint16(r.Uint32()) // half way between two binary16 and two bfloat16 values, and just beside
		for _, mid := range []float32{(fromF16(h) + fromF16(h+1)) / 2, math.Float32frombits(uint32(h)<<16 | 0x8000)} {
			values = append(values, mid, math.Nextafter32(mid, 0), math.Nextafter32(mid, 1e30))
		}
	}
	values = append(values, 65519.996, 65520, 65536, 0x1p-24, 0x1p-25, 0x1.8p-25, math.MaxFloat32, math.SmallestNonzeroFloat32)
	for _, f := range values {
		if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			continue
		}
		if got, want := toF16(f), nearestHalf(float64(f), halfValue, 0x7c00); got != want {
			t.Errorf("toF16(%g) = %#04x, want %#04x", f, got, want)
		}
		if got, want := toBF16(f), nearestHalf(float64(f), brainValue, 0x7f80); got != want {
			t.Errorf("toBF16(%g) = %#04x, want %#04x", f, got, want)
		}
	}
}
