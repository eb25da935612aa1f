package eval

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// SeedInterval is the mean of values measured with several calibration seeds on the
// same samples, [seeds][samples], with a t interval in which the seed is a unit of its
// own: what is claimed holds for other calibration sets and other questions. With d the
// mean over samples of each seed, d̄ their mean and v̄ the samples' means over seeds,
//
//	SE² = Σ_s (d_s − d̄)² / (S(S−1))  +  SE²(v̄, clustered as in [ClusteredStdErr])
//
// and the degrees of freedom are Welch and Satterthwaite's (Satterthwaite, Biometrics
// Bulletin 2, 1946), at least S−1. The variance of seed × sample is counted in both
// terms, so the interval errs on the wide side, as [BootstrapCrossed] does; unlike
// that, it is not too narrow with few seeds, and costs no resampling. P is two-sided,
// of "the mean is 0"; it is 1 where nothing differs, and no interval has width 0 unless
// every value is the same.
func SeedInterval(values [][]float64, clusters []string, level float64) (Interval, error) {
	seeds := len(values)
	level, err := checkSeedLevel(level, seeds)
	if err != nil {
		return Interval{}, err
	}
	means, average := make([]float64, seeds), make([]float64, len(clusters))
	for s, v := range values {
		if len(v) != len(clusters) {
			return Interval{}, fmt.Errorf("eval: calibration seed %d has %d values but there are %d cluster names: expected one name per value", s, len(v), len(clusters))
		}
		means[s] = Mean(v)
		for i, x := range v {
			average[i] += x / float64(seeds)
		}
	}
	c, err := cluster(average, clusters)
	if err != nil {
		return Interval{}, err
	}
	if len(c.sums) < 2 {
		return Interval{}, fmt.Errorf("eval: all %d samples are of one cluster, %q: an interval needs at least 2", len(clusters), clusters[0])
	}
	sampleErr := c.stdErr(average, Mean(average))
	out := Interval{Mean: Mean(means), Level: level, N: len(clusters), Clusters: len(c.sums), Seeds: seeds}
	out.fromVariances(seedVariance(means), sampleErr*sampleErr)
	return out, nil
}

// checkSeedLevel fills the level of an interval over seeds in and checks it and their number.
func checkSeedLevel(level float64, seeds int) (float64, error) {
	if level == 0 {
		level = DefaultLevel
	}
	if !(level > 0 && level < 1) {
		return 0, fmt.Errorf("eval: interval level %v, expected a number between 0 and 1 (0: %v)", level, DefaultLevel)
	}
	if seeds < 2 {
		return 0, fmt.Errorf("eval: %d calibration seeds, expected at least 2 for an interval over them", seeds)
	}
	return level, nil
}

// seedVariance is the variance of the mean of the seeds' means.
func seedVariance(means []float64) float64 {
	mean, sum := Mean(means), 0.0
	for _, m := range means {
		sum += (m - mean) * (m - mean)
	}
	return sum / (float64(len(means)) * float64(len(means)-1))
}

// fromVariances fills in the t interval of a mean with these two variances.
func (out *Interval) fromVariances(seedVar, sampleVar float64) {
	mean := out.Mean
	out.Low, out.High, out.P = mean, mean, 1
	total := seedVar + sampleVar
	if total == 0 {
		if mean != 0 {
			out.P = 0
		}
		return
	}
	freedom := total * total / (seedVar*seedVar/float64(out.Seeds-1) + sampleVar*sampleVar/float64(max(1, out.Clusters-1)))
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}
	out.StdErr = math.Sqrt(total)
	half := t.Quantile((1+out.Level)/2) * out.StdErr
	out.Low, out.High = mean-half, mean+half
	out.P = min(1, 2*t.Survival(math.Abs(mean)/out.StdErr))
}
