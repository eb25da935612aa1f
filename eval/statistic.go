package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// BootstrapOf is [Bootstrap] for any statistic of samples: a ratio of means, a
// correlation, the loss of a choice. It draws whole clusters with replacement and
// hands statistic how often each sample is in the resample (all 1 first, which gives
// Mean). Resamples in which the statistic is NaN, because what it divides by is
// missing from them, are left out; an interval from fewer than half of the resamples
// is an error. P tests the value 0.
func BootstrapOf(clusters []string, config BootstrapConfig, rng *rand.Rand, statistic func(times []int) float64) (Interval, error) {
	if err := config.Validate(); err != nil {
		return Interval{}, err
	}
	config = config.withDefaults()
	c, err := cluster(make([]float64, len(clusters)), clusters)
	if err != nil {
		return Interval{}, err
	}
	times := make([]int, len(clusters))
	for i := range times {
		times[i] = 1
	}
	mean := statistic(times)
	if math.IsNaN(mean) || math.IsInf(mean, 0) {
		return Interval{}, fmt.Errorf("eval: the statistic of all %d samples is %v, expected a finite number", len(clusters), mean)
	}
	groups := len(c.sums)
	drawn := make([]int, groups)
	values := make([]float64, 0, config.Resamples)
	for range config.Resamples {
		clear(drawn)
		for range groups {
			drawn[rng.IntN(groups)]++
		}
		for i, k := range c.index {
			times[i] = drawn[k]
		}
		if v := statistic(times); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) < config.Resamples/2 {
		return Interval{}, fmt.Errorf("eval: the statistic is defined in %d of %d resamples only: too few clusters (%d) for an interval", len(values), config.Resamples, groups)
	}
	interval := percentile(values, config.Level)
	interval.Mean, interval.N, interval.Clusters = mean, len(clusters), groups
	return interval, nil
}

// BootstrapRatio is the ratio Σ numerator / Σ denominator with its interval, both
// per sample.
func BootstrapRatio(numerator, denominator []float64, clusters []string, config BootstrapConfig, rng *rand.Rand) (Interval, error) {
	if len(numerator) != len(clusters) || len(denominator) != len(clusters) {
		return Interval{}, fmt.Errorf("eval: ratio of %d values to %d in %d clusters' names: expected one of each per sample", len(numerator), len(denominator), len(clusters))
	}
	return BootstrapOf(clusters, config, rng, func(times []int) float64 {
		var a, b float64
		for i, n := range times {
			a += float64(n) * numerator[i]
			b += float64(n) * denominator[i]
		}
		if b == 0 {
			return math.NaN()
		}
		return a / b
	})
}
