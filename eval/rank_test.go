package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestSpearman(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"any growing function", []float64{1, 2, 3, 4}, []float64{1, 10, 11, 1e9}, 1},
		{"reversed", []float64{1, 2, 3}, []float64{3, 2, 1}, -1},
		// Worked by hand: ranks 1 2.5 2.5 4 and 1 2 3 4: Σ(r−r̄)(q−q̄) = 4.5, over √(4.5·5).
		{"ties", []float64{1, 5, 5, 9}, []float64{1, 2, 3, 4}, 4.5 / math.Sqrt(4.5*5)},
		// The IQ and hours of television of a common textbook example: ρ = −29/165.
		{
			"textbook",
			[]float64{106, 100, 86, 101, 99, 103, 97, 113, 112, 110},
			[]float64{7, 27, 2, 50, 28, 29, 20, 12, 6, 17},
			-29.0 / 165,
		},
	} {
		got, err := Spearman(c.a, c.b)
		if err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	if got, err := Spearman([]float64{1, 1}, []float64{1, 2}); err != nil || !math.IsNaN(got) {
		t.Errorf("a constant list: %v, %v; want NaN", got, err)
	}
	for _, bad := range [][2][]float64{{{1}, {1}}, {{1, 2}, {1}}, {{1, math.NaN()}, {1, 2}}} {
		if _, err := Spearman(bad[0], bad[1]); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

func TestChooseBy(t *testing.T) {
	c, err := ChooseBy([]float64{3, 1, 2}, []float64{10, 7, 4})
	if err != nil || c != (Choice{Pick: 1, Best: 2, Regret: 3, Gain: 3, Room: 6}) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, _ := ChooseBy([]float64{1, 1}, []float64{5, 5}); c.Pick != 0 || c.Best != 0 {
		t.Errorf("ties must go to the first: %+v", c)
	}
	if _, err := ChooseBy(nil, nil); err == nil {
		t.Error("no candidates were taken")
	}
}

// TestBootstrapOf gives the mean as a statistic: the same draws must give what
// Bootstrap gives.
func TestBootstrapOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	values, clusters := make([]float64, 60), make([]string, 60)
	for i := range values {
		values[i], clusters[i] = rng.NormFloat64()+0.3, string(rune('a'+i/3))
	}
	want, err := Bootstrap(values, clusters, BootstrapConfig{}, rand.New(rand.NewPCG(7, 7)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := BootstrapOf(clusters, BootstrapConfig{}, rand.New(rand.NewPCG(7, 7)), func(times []int) float64 {
		sum, n := 0.0, 0
		for i, k := range times {
			sum += float64(k) * values[i]
			n += k
		}
		return sum / float64(n)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []float64{got.Mean - want.Mean, got.Low - want.Low, got.High - want.High, got.StdErr - want.StdErr, got.P - want.P} {
		if math.Abs(d) > 1e-12 {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	if got.N != want.N || got.Clusters != want.Clusters {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := BootstrapOf(clusters, BootstrapConfig{}, rng, func([]int) float64 { return math.NaN() }); err == nil {
		t.Error("a statistic that is never defined was taken")
	}
}

// TestBootstrapRatio covers a known ratio.
func TestBootstrapRatio(t *testing.T) {
	const n = 200
	a, b, clusters := make([]float64, n), make([]float64, n), make([]string, n)
	rng := rand.New(rand.NewPCG(2, 3))
	for i := range a {
		b[i] = 1 + rng.Float64()
		a[i] = b[i] * (0.5 + 0.1*rng.NormFloat64())
		clusters[i] = string(rune(i))
	}
	got, err := BootstrapRatio(a, b, clusters, BootstrapConfig{}, rng)
	if err != nil || !(got.Low < 0.5 && 0.5 < got.High) || got.High-got.Low > 0.05 {
		t.Errorf("%+v, %v: an interval of about 0.5 ± 0.014 was expected", got, err)
	}
	if _, err := BootstrapRatio(a[1:], b, clusters, BootstrapConfig{}, rng); err == nil {
		t.Error("lists of different lengths were taken")
	}
	if _, err := BootstrapRatio(a, make([]float64, n), clusters, BootstrapConfig{}, rng); err == nil {
		t.Error("a ratio to nothing was taken")
	}
}

// TestSeedInterval compares with values worked out by hand and checks how often the
// interval covers the truth.
func TestSeedInterval(t *testing.T) {
	// Seeds differ, samples don't: the textbook t interval of three seed means 1, 2, 3:
	// 2 ± t(0.975; 2)·1/√3 with t = 4.302653.
	same := [][]float64{{1, 1, 1}, {2, 2, 2}, {3, 3, 3}}
	got, err := SeedInterval(same, []string{"a", "b", "c"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if half := 4.302652729911275 / math.Sqrt(3); math.Abs(got.Low-(2-half)) > 1e-9 || math.Abs(got.High-(2+half)) > 1e-9 {
		t.Errorf("%+v, want 2 ± %v", got, half)
	}
	// Two-sided p of t = 2·√3 with 2 degrees of freedom: 1 − t/√(t²+2).
	if tt := 2 * math.Sqrt(3); math.Abs(got.P-(1-tt/math.Sqrt(tt*tt+2))) > 1e-9 {
		t.Errorf("p = %v", got.P)
	}
	// Samples differ, seeds don't: t over four clusters.
	got, err = SeedInterval([][]float64{{1, 2, 3, 4}, {1, 2, 3, 4}}, []string{"a", "b", "c", "d"}, 0)
	if half := 3.182446305284263 * math.Sqrt(5.0/3/4); err != nil || math.Abs(got.High-(2.5+half)) > 1e-9 {
		t.Errorf("%+v, %v, want 2.5 ± %v", got, err, half)
	}
	if got, err := SeedInterval([][]float64{{0, 0}, {0, 0}}, []string{"a", "b"}, 0); err != nil || got.P != 1 || got.Low != 0 || got.High != 0 {
		t.Errorf("no difference: %+v, %v", got, err)
	}
	for name, bad := range map[string]func() (Interval, error){
		"one seed":    func() (Interval, error) { return SeedInterval([][]float64{{1, 2}}, []string{"a", "b"}, 0) },
		"one cluster": func() (Interval, error) { return SeedInterval([][]float64{{1, 2}, {3, 4}}, []string{"a", "a"}, 0) },
		"ragged":      func() (Interval, error) { return SeedInterval([][]float64{{1, 2}, {3}}, []string{"a", "b"}, 0) },
		"level":       func() (Interval, error) { return SeedInterval(same, []string{"a", "b", "c"}, 2) },
	} {
		if _, err := bad(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestSeedIntervalCovers draws seeds' and samples' effects at random: the interval
// must hold the true mean in at least 95% of the cases, less three standard errors.
func TestSeedIntervalCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 13))
	const trials, seeds, samples = 1000, 8, 40
	clusters := make([]string, samples)
	for i := range clusters {
		clusters[i] = string(rune('a' + i/2))
	}
	held := 0
	for range trials {
		effect := make([]float64, samples)
		for i := range effect {
			if i%2 == 0 {
				effect[i] = rng.NormFloat64()
			} else {
				effect[i] = effect[i-1] + 0.3*rng.NormFloat64()
			}
		}
		values := make([][]float64, seeds)
		for s := range values {
			own := 0.4 * rng.NormFloat64()
			for i := range samples {
				values[s] = append(values[s], 0.2+own+effect[i]+0.5*rng.NormFloat64())
			}
		}
		got, err := SeedInterval(values, clusters, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got.Low <= 0.2 && 0.2 <= got.High {
			held++
		}
	}
	if share := float64(held) / trials; share < 0.95-3*math.Sqrt(0.95*0.05/trials) {
		t.Errorf("the interval holds the truth in %.1f%% of %d trials", 100*share, trials)
	}
}
