package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// own gives every value a cluster of its own.
func own(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	return names
}

// plainStdErr is s/√n.
func plainStdErr(values []float64) float64 {
	m := Mean(values)
	var sum float64
	for _, v := range values {
		sum += (v - m) * (v - m)
	}
	n := float64(len(values))
	return math.Sqrt(sum/(n-1)) / math.Sqrt(n)
}

// pairwiseStdErr is the double sum that defines the clustered standard error
// (arXiv:2411.00640, equation 4), with the factor G/(G−1).
func pairwiseStdErr(values []float64, clusters []string) float64 {
	m, groups := Mean(values), map[string]bool{}
	var sum float64
	for i := range values {
		groups[clusters[i]] = true
		for j := range values {
			if clusters[i] == clusters[j] {
				sum += (values[i] - m) * (values[j] - m)
			}
		}
	}
	g, n := float64(len(groups)), float64(len(values))
	return math.Sqrt(sum*g/(g-1)) / n
}

func TestClusteredStdErr(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	values, clusters := make([]float64, 60), make([]string, 60)
	for i := range values {
		values[i] = rng.NormFloat64()
		clusters[i] = fmt.Sprint("c", rng.IntN(17))
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	mean, se, err := ClusteredStdErr(values, clusters)
	if err != nil {
		t.Fatal(err)
	}
	near("mean", mean, Mean(values))
	near("clustered", se, pairwiseStdErr(values, clusters))
	_, se, _ = ClusteredStdErr(values, own(60))
	near("every sample its own cluster", se, plainStdErr(values))
	// Asking every question three times adds no information.
	tripled, names := []float64{}, []string{}
	for i, v := range values {
		for range 3 {
			tripled, names = append(tripled, v), append(names, fmt.Sprint(i))
		}
	}
	_, again, _ := ClusteredStdErr(tripled, names)
	near("tripled", again, se)
	if _, se, err := ClusteredStdErr([]float64{1, 0}, []string{"a", "a"}); se != 0 || err != nil {
		t.Errorf("one cluster: %v, %v, want 0", se, err)
	}
}

// TestBootstrapAgainstEnumeration compares with the exact bootstrap
// distribution of three clusters: 27 equally likely draws.
func TestBootstrapAgainstEnumeration(t *testing.T) {
	values := []float64{1, 2, 10, 4, -3}
	clusters := []string{"a", "a", "b", "c", "c"}
	sums, counts := []float64{3, 10, 1}, []float64{2, 1, 2}
	var means []float64
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				means = append(means, (sums[i]+sums[j]+sums[k])/(counts[i]+counts[j]+counts[k]))
			}
		}
	}
	exact := percentile(append([]float64(nil), means...), DefaultLevel)
	sd := exact.StdErr * math.Sqrt(26.0/27) // of the whole population, not a sample of it
	got, err := Bootstrap(values, clusters, BootstrapConfig{Resamples: 40_000}, rand.New(rand.NewPCG(4, 4)))
	if err != nil {
		t.Fatal(err)
	}
	if got.Mean != 14.0/5 || got.N != 5 || got.Clusters != 3 {
		t.Errorf("mean, n, clusters = %v, %d, %d, want 2.8, 5, 3", got.Mean, got.N, got.Clusters)
	}
	// 40,000 draws: the standard deviation is known to about 1/√80000 = 0.4%
	if math.Abs(got.StdErr-sd) > 0.02*sd {
		t.Errorf("standard error %v, enumeration gives %v", got.StdErr, sd)
	}
	// Each extreme, 3 × the same cluster, has probability 1/27 = 3.7% > 2.5%.
	if got.Low != 0.5 || got.High != 10 {
		t.Errorf("interval [%v, %v], enumeration gives [0.5, 10]", got.Low, got.High)
	}
}

func TestBootstrapIsReproducible(t *testing.T) {
	values, clusters := []float64{0, 1, 1, 0, 1, 0, 0, 1}, []string{"a", "b", "a", "c", "d", "d", "e", "f"}
	draw := func(seed uint64) Interval {
		i, err := Bootstrap(values, clusters, BootstrapConfig{}, rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	if a, b := draw(1), draw(1); a != b {
		t.Errorf("same seed: %+v and %+v", a, b)
	}
	if a, b := draw(1), draw(2); a == b {
		t.Errorf("different seeds gave the same %+v", a)
	}
}

// TestBootstrapCoverage simulates questions of which three share a picture
// and checks what an interval promises: that 95% of them hold the truth.
func TestBootstrapCoverage(t *testing.T) {
	const experiments, pictures, each = 400, 60, 3
	rng := rand.New(rand.NewPCG(5, 5))
	config := BootstrapConfig{Resamples: MinResamples}
	var clustered, naive int
	for range experiments {
		values, names := []float64{}, []string{}
		for p := range pictures {
			shared := rng.NormFloat64() // intra-cluster correlation 0.8
			for range each {
				values = append(values, 0.3+shared+0.5*rng.NormFloat64())
				names = append(names, fmt.Sprint(p))
			}
		}
		holds := func(names []string) bool {
			i, err := Bootstrap(values, names, config, rng)
			if err != nil {
				t.Fatal(err)
			}
			return i.Low <= 0.3 && 0.3 <= i.High
		}
		if holds(names) {
			clustered++
		}
		if holds(own(len(values))) {
			naive++
		}
	}
	// Of 400 intervals at a true 94% (60 clusters cost about one point), the
	// standard deviation is 1.2 points: ±3 of them. Ignoring clusters makes
	// intervals too narrow by √(1+2·0.8) = 1.6, which covers about 77%.
	if c := float64(clustered) / experiments; c < 0.90 || c > 0.98 {
		t.Errorf("clustered intervals cover %.3f, want 0.95", c)
	}
	if c := float64(naive) / experiments; c > 0.85 {
		t.Errorf("intervals that ignore clusters cover %.3f: the simulation shows no dependence", c)
	}
}

// TestBootstrapP checks the p-value's promise: under no difference it is
// below 0.05 in 5% of experiments.
func TestBootstrapP(t *testing.T) {
	const experiments, n = 400, 80
	rng := rand.New(rand.NewPCG(6, 6))
	names, false05 := own(n), 0
	for range experiments {
		values := make([]float64, n)
		for i := range values {
			values[i] = rng.NormFloat64()
		}
		i, err := Bootstrap(values, names, BootstrapConfig{Resamples: MinResamples}, rng)
		if err != nil {
			t.Fatal(err)
		}
		if i.P < 0.05 {
			false05++
		}
	}
	// binomial(400, 0.055): 22 ± 4.6, three deviations
	if false05 < 8 || false05 > 36 {
		t.Errorf("%d of %d null experiments have p < 0.05, want about 5%%", false05, experiments)
	}
	zeros := make([]float64, 20)
	if i, _ := Bootstrap(zeros, own(20), BootstrapConfig{}, rng); i.P != 1 || i.Low != 0 || i.High != 0 {
		t.Errorf("equal scores: %+v, want p = 1 and an empty interval", i)
	}
}

// TestBootstrapCrossed uses values a_s + b_c, whose resampled mean is a mean
// of drawn a plus an independent mean of drawn b, so its variance is exactly
// var(a)/S + var(b)/G.
func TestBootstrapCrossed(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	const seeds, pictures = 8, 40
	a, b := make([]float64, seeds), make([]float64, pictures)
	for i := range a {
		a[i] = rng.NormFloat64()
	}
	for i := range b {
		b[i] = 3 * rng.NormFloat64()
	}
	values := make([][]float64, seeds)
	for s := range values {
		values[s] = make([]float64, pictures)
		for c := range values[s] {
			values[s][c] = a[s] + b[c]
		}
	}
	variance := func(x []float64) float64 { // of the population
		n := float64(len(x))
		return plainStdErr(x) * plainStdErr(x) * (n - 1)
	}
	got, err := BootstrapCrossed(values, own(pictures), BootstrapConfig{Resamples: 20_000}, rng)
	if err != nil {
		t.Fatal(err)
	}
	want := math.Sqrt(variance(a)/seeds + variance(b)/pictures)
	if math.Abs(got.StdErr-want) > 0.03*want {
		t.Errorf("standard error %v, want %v", got.StdErr, want)
	}
	if math.Abs(got.Mean-Mean(a)-Mean(b)) > 1e-12 || got.Seeds != seeds || got.Clusters != pictures {
		t.Errorf("mean %v, seeds %d, clusters %d", got.Mean, got.Seeds, got.Clusters)
	}
}

func TestQuantile(t *testing.T) {
	// R: quantile(c(1, 2, 4, 8), type = 7): at 0.5 halfway from 2 to 4, at
	// 0.9 position 2.7 of 0..3
	x := []float64{1, 2, 4, 8}
	for _, c := range []struct{ q, want float64 }{{0, 1}, {0.5, 3}, {0.9, 6.8}, {1, 8}} {
		if got := quantile(x, c.q); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("quantile(%v) = %v, want %v", c.q, got, c.want)
		}
	}
	if got := quantile([]float64{7}, 0.3); got != 7 {
		t.Errorf("quantile of one value = %v", got)
	}
}

func TestBootstrapRejected(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	one, name := []float64{1}, []string{"a"}
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"empty", func() error { _, err := Bootstrap(nil, nil, BootstrapConfig{}, rng); return err }, "no values"},
		{"names", func() error { _, err := Bootstrap(one, nil, BootstrapConfig{}, rng); return err }, "0 cluster names"},
		{"NaN", func() error { _, err := Bootstrap([]float64{math.NaN()}, name, BootstrapConfig{}, rng); return err }, "value 0 of 1 is NaN"},
		{"few", func() error { _, err := Bootstrap(one, name, BootstrapConfig{Resamples: 100}, rng); return err }, "at least 2000"},
		{"level", func() error { _, err := Bootstrap(one, name, BootstrapConfig{Level: 95}, rng); return err }, "between 0 and 1"},
		{"one seed", func() error { _, err := BootstrapCrossed([][]float64{one}, name, BootstrapConfig{}, rng); return err }, "at least 2"},
		{"ragged", func() error {
			_, err := BootstrapCrossed([][]float64{one, {1, 2}}, name, BootstrapConfig{}, rng)
			return err
		}, "calibration seed 1"},
	} {
		if err := c.call(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func BenchmarkBootstrap(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, 2000)
	for i := range values {
		values[i] = rng.NormFloat64()
	}
	names := own(len(values))
	for b.Loop() {
		if _, err := Bootstrap(values, names, BootstrapConfig{}, rng); err != nil {
			b.Fatal(err)
		}
	}
}
