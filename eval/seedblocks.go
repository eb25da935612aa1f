package eval

import "fmt"

// SeedBlocks is [SeedInterval] where every calibration seed was asked samples of its own,
// values and clusters [seeds][samples]: the same work answers as many times more questions as there
// are seeds. With d_s the mean of each seed's samples and d̄ their mean,
//
//	SE² = Σ_s (d_s − d̄)² / (S(S−1))  +  max(0, SE²(all, by cluster) − SE²(all, by seed and cluster))
//
// The first term holds what differs between seeds, calibration and questions alike; the second what
// seeds have in common because a picture is in the blocks of several (two-way clustering: Cameron,
// Gelbach and Miller, Journal of Business & Economic Statistics 29, 2011). Degrees of freedom as
// in SeedInterval.
func SeedBlocks(values [][]float64, clusters [][]string, level float64) (Interval, error) {
	level, err := checkSeedLevel(level, len(values))
	if err != nil {
		return Interval{}, err
	}
	if len(clusters) != len(values) {
		return Interval{}, fmt.Errorf("eval: %d calibration seeds have values and %d have cluster names: expected the same seeds", len(values), len(clusters))
	}
	means := make([]float64, len(values))
	var all []float64
	var shared, own []string
	for s, v := range values {
		if len(v) == 0 || len(v) != len(clusters[s]) {
			return Interval{}, fmt.Errorf("eval: calibration seed %d has %d values and %d cluster names: expected one name per value, and at least one", s, len(v), len(clusters[s]))
		}
		means[s] = Mean(v)
		all = append(all, v...)
		for _, name := range clusters[s] {
			shared, own = append(shared, name), append(own, fmt.Sprintf("%d/%s", s, name))
		}
	}
	byCluster, err := cluster(all, shared)
	if err != nil {
		return Interval{}, err
	}
	bySeed, err := cluster(all, own)
	if err != nil {
		return Interval{}, err
	}
	mean := Mean(all)
	a, b := byCluster.stdErr(all, mean), bySeed.stdErr(all, mean)
	out := Interval{Mean: Mean(means), Level: level, N: len(all), Clusters: len(byCluster.sums), Seeds: len(values)}
	out.fromVariances(seedVariance(means), max(0, a*a-b*b))
	return out, nil
}
