package eval

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	interval := func(low, high float64, clusters int) Interval {
		mean := (low + high) / 2
		return Interval{Mean: mean, Low: low, High: high, StdErr: (high - low) / (2 * zTwoSided95), P: 0.01, Level: 0.95, N: 100, Clusters: clusters}
	}
	for _, c := range []struct {
		name  string
		lower bool
		d     Interval
		want  Outcome
	}{
		{"higher", false, interval(0.1, 0.3, 50), Shown},
		{"higher, other side", false, interval(-0.3, -0.1, 50), Refuted},
		{"lower", true, interval(-0.3, -0.1, 50), Shown},
		{"lower, other side", true, interval(0.1, 0.3, 50), Refuted},
		{"holds 0", true, interval(-0.3, 0.1, 50), Undecidable},
		{"touches 0", false, interval(0, 0.2, 50), Undecidable},
		{"all equal", false, interval(0, 0, 50), Undecidable},
		{"too few clusters", false, interval(0.1, 0.3, MinClusters-1), Undecidable},
	} {
		v := Decide(Claim{Name: c.name, LowerIsBetter: c.lower}, c.d)
		if v.Outcome != c.want {
			t.Errorf("%s: %s, want %s", c.name, v.Outcome, c.want)
		}
		if (v.Outcome == Undecidable) != strings.Contains(v.String(), "undecidable at n = 100") {
			t.Errorf("%s: words %q", c.name, v.String())
		}
	}
}

// TestDecideNeededN uses the design's own example: at 2,000 questions and 5%
// discordant answers, differences under 1.4 points can't be seen.
func TestDecideNeededN(t *testing.T) {
	se := math.Sqrt(0.05 / 2000)
	d := Interval{Mean: 0.007, Low: -0.003, High: 0.017, StdErr: se, P: 0.16, Level: 0.95, N: 2000, Clusters: 500}
	v := Decide(Claim{}, d)
	if math.Abs(v.Detectable-0.014) > 0.0001 {
		t.Errorf("detectable %v, want 0.0140", v.Detectable)
	}
	// Half the difference takes four times the questions.
	if v.NeededN < 7990 || v.NeededN > 8020 {
		t.Errorf("n needed for 0.7 points: %d, want about 8000", v.NeededN)
	}
	if v := Decide(Claim{Effect: 0.02}, d); v.NeededN != 2001 {
		t.Errorf("n needed for a difference that n should have found: %d, want n+1", v.NeededN)
	}
	if v := Decide(Claim{}, Interval{N: 10, Clusters: 10}); v.NeededN != 0 {
		t.Errorf("n needed where no two scores differ: %d, want 0 (unknown)", v.NeededN)
	}
}

// TestDecideNeededNHolds draws experiments of the size that Decide asks for
// and counts how many then decide: 80% was promised.
func TestDecideNeededNHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	draw := func(n int) Verdict {
		values := make([]float64, n)
		for i := range values {
			values[i] = 0.2 + rng.NormFloat64()
		}
		d, err := Bootstrap(values, own(n), BootstrapConfig{Resamples: MinResamples}, rng)
		if err != nil {
			t.Fatal(err)
		}
		return Decide(Claim{Effect: 0.2}, d)
	}
	// (1.96 + 0.84)² / 0.2² = 196
	const n, experiments = 196, 200
	shown := 0
	for range experiments {
		if draw(n).Outcome == Shown {
			shown++
		}
	}
	if share := float64(shown) / experiments; share < 0.71 || share > 0.89 { // ±3 deviations of 2.8 points
		t.Errorf("%d questions decide %.2f of the experiments, want 0.80", n, share)
	}
	small := draw(49)
	for small.Outcome != Undecidable {
		small = draw(49)
	}
	if small.NeededN < 120 || small.NeededN > 300 {
		t.Errorf("49 questions ask for %d, want about 196", small.NeededN)
	}
}

func TestDecideFamily(t *testing.T) {
	at := func(p float64) Interval {
		return Interval{Mean: 0.2, Low: 0.01, High: 0.4, StdErr: 0.1, P: p, Level: 0.95, N: 100, Clusters: 100}
	}
	claims := []Claim{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	// Holm: .01·3 = .03, .04·2 = .08, .045 → .08
	verdicts, err := DecideFamily(claims, []Interval{at(0.04), at(0.01), at(0.045)})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Outcome{Undecidable, Shown, Undecidable} {
		if verdicts[i].Outcome != want {
			t.Errorf("claim %s: %s at adjusted p %v, want %s", verdicts[i].Name, verdicts[i].Outcome, verdicts[i].AdjustedP, want)
		}
	}
	if verdicts[0].NeededN <= 100 {
		t.Errorf("an outcome taken back needs %d samples, want more than 100", verdicts[0].NeededN)
	}
	if _, err := DecideFamily(claims, nil); err == nil {
		t.Error("3 claims and no differences gave no error")
	}
}
