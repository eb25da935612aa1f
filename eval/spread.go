package eval

import (
	"fmt"
	"math"
)

// clustering is per-sample values summed up by cluster, clusters in the order
// of their first sample.
type clustering struct {
	sums   []float64 // [clusters] Σ of the cluster's values
	counts []int     // [clusters] samples in it
	index  []int     // [samples] cluster of each sample
}

// cluster groups values by name and rejects what has no mean.
func cluster(values []float64, clusters []string) (*clustering, error) {
	if len(values) == 0 {
		return nil, fmt.Errorf("eval: no values: expected at least one sample")
	}
	if len(clusters) != len(values) {
		return nil, fmt.Errorf("eval: %d values but %d cluster names: expected one name per value", len(values), len(clusters))
	}
	c := &clustering{index: make([]int, len(values))}
	at := make(map[string]int)
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("eval: value %d of %d is %v, expected a finite number", i, len(values), v)
		}
		k, ok := at[clusters[i]]
		if !ok {
			k = len(c.sums)
			at[clusters[i]] = k
			c.sums, c.counts = append(c.sums, 0), append(c.counts, 0)
		}
		c.index[i] = k
		c.sums[k] += v
		c.counts[k]++
	}
	return c, nil
}

// Mean returns the arithmetic mean, summed in order in float64; 0 for an
// empty slice.
func Mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// ClusteredStdErr returns the mean of values and its standard error when
// samples of one cluster may depend on each other (Miller, "Adding Error Bars
// to Evals", arXiv:2411.00640, section 2.2, with the usual small-sample factor
// G/(G−1)):
//
//	SE² = G/(G−1) · 1/n² · Σ_c (Σ_{i∈c} (x_i − x̄))²
//
// clusters names the cluster of each value. When every sample is a cluster of
// its own this is the textbook s/√n. One cluster alone shows no spread: the
// standard error is then reported as 0, which claims nothing ([Decide] refuses
// to).
func ClusteredStdErr(values []float64, clusters []string) (mean, stdErr float64, err error) {
	c, err := cluster(values, clusters)
	if err != nil {
		return 0, 0, err
	}
	mean = Mean(values)
	return mean, c.stdErr(values, mean), nil
}

// stdErr is the formula of ClusteredStdErr.
func (c *clustering) stdErr(values []float64, mean float64) float64 {
	groups := len(c.sums)
	if groups < 2 {
		return 0
	}
	residuals := make([]float64, groups)
	for i, v := range values {
		residuals[c.index[i]] += v - mean
	}
	var sum float64
	for _, r := range residuals {
		sum += r * r
	}
	g, n := float64(groups), float64(len(values))
	return math.Sqrt(g/(g-1)*sum) / n
}
