package eval

import (
	"math"
	"math/big"
	"testing"
)

// bigMcNemar is the definition in exact arithmetic.
func bigMcNemar(b, c int) float64 {
	n := int64(b + c)
	sum := new(big.Int)
	for k := int64(0); k <= int64(min(b, c)); k++ {
		sum.Add(sum, new(big.Int).Binomial(n, k))
	}
	sum.Lsh(sum, 1)
	p, _ := new(big.Rat).SetFrac(sum, new(big.Int).Lsh(big.NewInt(1), uint(n))).Float64()
	return min(p, 1)
}

func TestMcNemarAgainstExactBinomials(t *testing.T) {
	check := func(b, c int) {
		t.Helper()
		got, err := McNemar(b, c)
		if err != nil {
			t.Fatal(err)
		}
		// log-gamma near n = 3000 is about 2e4 with 1e-16 relative error
		if want := bigMcNemar(b, c); math.Abs(got-want) > 1e-10*want {
			t.Errorf("McNemar(%d, %d) = %v, exact binomials give %v", b, c, got, want)
		}
	}
	for b := range 41 {
		for c := range 41 {
			check(b, c)
		}
	}
	for _, pair := range [][2]int{{0, 1000}, {1450, 1550}, {1400, 1600}, {1, 2999}, {1499, 1500}} {
		check(pair[0], pair[1])
	}
}

func TestMcNemarByHand(t *testing.T) {
	for _, c := range []struct {
		b, c int
		want float64
	}{
		{0, 0, 1},
		{5, 5, 1},
		{0, 1, 1},               // 2·1/2
		{0, 5, 2.0 / 32},        // 2·1/2⁵
		{1, 9, 2 * 11.0 / 1024}, // 2·(1+10)/2¹⁰
		{9, 1, 2 * 11.0 / 1024},
		{6, 7, 1}, // the two halves of an odd n: 2·½
	} {
		if got, err := McNemar(c.b, c.c); err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("McNemar(%d, %d) = %v, %v, want %v", c.b, c.c, got, err, c.want)
		}
	}
	// A million pairs: the normal approximation with continuity correction,
	// erfc((|b−c|−1)/√(2n)), is right to a relative 1e-3 at two deviations.
	b, c := 499_000, 501_000
	want := math.Erfc((float64(c-b) - 1) / math.Sqrt(2*float64(b+c)))
	if got, _ := McNemar(b, c); math.Abs(got-want) > 1e-3*want {
		t.Errorf("McNemar(%d, %d) = %v, the normal approximation gives %v", b, c, got, want)
	}
	if _, err := McNemar(-1, 3); err == nil {
		t.Error("a negative count gave no error")
	}
}

func TestHolm(t *testing.T) {
	for _, c := range []struct{ in, want []float64 }{
		{nil, nil},
		{[]float64{0.03}, []float64{0.03}},
		// sorted .005·4, .01·3, .03·2, then .04·1 raised to the .06 before it
		{[]float64{0.01, 0.04, 0.03, 0.005}, []float64{0.03, 0.06, 0.06, 0.02}},
		{[]float64{0.5, 0.9, 0.6}, []float64{1, 1, 1}},
		{[]float64{0, 0, 1}, []float64{0, 0, 1}},
		{[]float64{0.02, 0.02}, []float64{0.04, 0.04}},
	} {
		got, err := Holm(c.in)
		if err != nil || len(got) != len(c.want) {
			t.Fatalf("Holm(%v) = %v, %v", c.in, got, err)
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-15 {
				t.Errorf("Holm(%v) = %v, want %v", c.in, got, c.want)
			}
		}
	}
	for _, bad := range [][]float64{{-0.1}, {1.1}, {0.5, math.NaN()}} {
		if _, err := Holm(bad); err == nil {
			t.Errorf("Holm(%v) gave no error", bad)
		}
	}
}
