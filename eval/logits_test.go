package eval

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// Bounds of the numeric ladder. The fast functions and the plain formulas
// differ by rounding of float64 sums over a vocabulary of about 1000; the
// inputs are float32, so hand-worked logarithms carry its half-ulp.
const (
	tolLadder = 1e-12
	tolHand   = 1e-7
)

// plainSoftmax is the textbook formula with no maximum taken out.
func plainSoftmax(x []float32) []float64 {
	p := make([]float64, len(x))
	var sum float64
	for i, v := range x {
		p[i] = math.Exp(float64(v))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// plainKL is Σ p ln(p/q) over plain softmaxes.
func plainKL(x, y []float32) float64 {
	p, q := plainSoftmax(x), plainSoftmax(y)
	var sum float64
	for i := range p {
		sum += p[i] * math.Log(p[i]/q[i])
	}
	return sum
}

const bigPrec = 256 // bits; far beyond float64's 53

// bigExp is eˣ by its Taylor series at x/2⁶⁴, squared 64 times.
func bigExp(x float64) *big.Float {
	z := new(big.Float).SetPrec(2 * bigPrec).SetFloat64(x)
	z.SetMantExp(z, -64)
	sum := new(big.Float).SetPrec(2 * bigPrec).SetInt64(1)
	term := new(big.Float).SetPrec(2 * bigPrec).SetInt64(1)
	for k := int64(1); k < 40; k++ {
		term.Mul(term, z)
		term.Quo(term, new(big.Float).SetPrec(2*bigPrec).SetInt64(k))
		sum.Add(sum, term)
	}
	for range 64 {
		sum.Mul(sum, sum)
	}
	return sum
}

// bigSoftmax validates plainSoftmax and the fast path with 512-bit numbers.
func bigSoftmax(x []float32) []*big.Float {
	p := make([]*big.Float, len(x))
	sum := new(big.Float).SetPrec(2 * bigPrec)
	for i, v := range x {
		p[i] = bigExp(float64(v))
		sum.Add(sum, p[i])
	}
	for i := range p {
		p[i] = new(big.Float).SetPrec(2*bigPrec).Quo(p[i], sum)
	}
	return p
}

// bigLog is ln of a positive big number: the exponent is taken out exactly,
// the mantissa's logarithm is float64's.
func bigLog(x *big.Float) float64 {
	mant := new(big.Float)
	exp := x.MantExp(mant)
	m, _ := mant.Float64()
	return math.Log(m) + float64(exp)*math.Ln2
}

func bigKL(x, y []float32) float64 {
	p, q := bigSoftmax(x), bigSoftmax(y)
	var sum float64
	for i := range p {
		ratio := new(big.Float).SetPrec(2*bigPrec).Quo(p[i], q[i])
		pi, _ := p[i].Float64()
		sum += pi * bigLog(ratio)
	}
	return sum
}

func randomLogits(rng *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * scale)
	}
	return x
}

func TestLogitsLadder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 7, 100, 1000} {
		for _, scale := range []float64{0, 1e-3, 1, 20} {
			x, y := randomLogits(rng, n, scale), randomLogits(rng, n, scale)
			got, err := KL(x, y)
			if err != nil {
				t.Fatal(err)
			}
			if want := plainKL(x, y); math.Abs(got-want) > tolLadder*(1+want) {
				t.Errorf("KL of %d logits at scale %v: %v, the plain formula gives %v", n, scale, got, want)
			}
			if want := bigKL(x, y); n <= 100 && math.Abs(got-want) > tolLadder*(1+want) {
				t.Errorf("KL of %d logits at scale %v: %v, 512-bit numbers give %v", n, scale, got, want)
			}
			target := int32(rng.IntN(n))
			lp, err := LogProb(x, target)
			if err != nil {
				t.Fatal(err)
			}
			if want := math.Log(plainSoftmax(x)[target]); math.Abs(lp-want) > tolLadder*(1-want) {
				t.Errorf("LogProb of %d logits at scale %v: %v, the plain formula gives %v", n, scale, lp, want)
			}
			if want := bigLog(bigSoftmax(x)[target]); n <= 100 && math.Abs(lp-want) > tolLadder*(1-want) {
				t.Errorf("LogProb of %d logits at scale %v: %v, 512-bit numbers give %v", n, scale, lp, want)
			}
		}
	}
}

func TestLogitsByHand(t *testing.T) {
	even := []float32{0, 0}
	quarter := []float32{0, float32(math.Log(3))} // (1/4, 3/4)
	// KL((1/2, 1/2) ‖ (1/4, 3/4)) = ½ ln 2 + ½ ln ⅔ = ½ ln(4/3)
	if got, _ := KL(even, quarter); math.Abs(got-math.Log(4.0/3)/2) > tolHand {
		t.Errorf("KL = %v, want ½ ln(4/3) = %v", got, math.Log(4.0/3)/2)
	}
	// The other direction differs: ¼ ln ½ + ¾ ln(3/2).
	if got, _ := KL(quarter, even); math.Abs(got-(math.Log(0.5)/4+math.Log(1.5)*3/4)) > tolHand {
		t.Errorf("reverse KL = %v", got)
	}
	if got, _ := LogProb(quarter, 0); math.Abs(got-math.Log(0.25)) > tolHand {
		t.Errorf("LogProb = %v, want ln ¼", got)
	}
	// A shift of all logits changes nothing; 3e38 would overflow exp.
	for _, shift := range []float32{1, -1e4, 1e4} {
		if got, _ := LogProb([]float32{shift, shift}, 1); math.Abs(got-math.Log(0.5)) > tolLadder {
			t.Errorf("LogProb of two logits of %v = %v, want ln ½", shift, got)
		}
	}
	if got, err := KL([]float32{3e38, 0}, []float32{0, 3e38}); err != nil || got < 2.9e38 {
		t.Errorf("KL of opposite certainties = %v, %v, want about 3e38", got, err)
	}
	x := randomLogits(rand.New(rand.NewPCG(2, 2)), 500, 5)
	if got, _ := KL(x, x); got != 0 {
		t.Errorf("KL of identical logits = %v, want exactly 0", got)
	}
}

func TestLogitsRejected(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	cases := []struct {
		name string
		call func() error
		want string
	}{
		{"target beyond", func() error { _, err := LogProb([]float32{1, 2}, 2); return err }, "outside the vocabulary of 2"},
		{"target negative", func() error { _, err := LogProb([]float32{1, 2}, -1); return err }, "target token -1"},
		{"NaN", func() error { _, err := LogProb([]float32{1, nan}, 0); return err }, "logit 1 of 2 is NaN"},
		{"Inf in Q", func() error { _, err := KL([]float32{1, 1}, []float32{-inf, 1}); return err }, "logit 0 of 2 is -Inf"},
		{"lengths", func() error { _, err := KL([]float32{1}, []float32{1, 2}); return err }, "same vocabulary"},
		{"empty", func() error { _, err := KL(nil, nil); return err }, "no logits"},
	}
	for _, c := range cases {
		if err := c.call(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestArgmax(t *testing.T) {
	for _, c := range []struct {
		in   []float32
		want int
	}{{nil, -1}, {[]float32{3}, 0}, {[]float32{1, 5, 5}, 1}, {[]float32{-2, -1, -3}, 1}} {
		if got := Argmax(c.in); got != c.want {
			t.Errorf("Argmax(%v) = %d, want %d", c.in, got, c.want)
		}
	}
}

func BenchmarkKL(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, y := randomLogits(rng, 4096, 3), randomLogits(rng, 4096, 3)
	b.SetBytes(2 * 4 * 4096)
	for b.Loop() {
		if _, err := KL(x, y); err != nil {
			b.Fatal(err)
		}
	}
}
