package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// The bootstrap's defaults and bounds.
const (
	DefaultResamples = 10_000 // resamples of a bootstrap when none are named
	MinResamples     = 2_000  // fewer leave the ends of a 95% interval to chance: 50 draws beyond each
	DefaultLevel     = 0.95   // coverage of an interval when none is named
)

// BootstrapConfig says how intervals are drawn. The zero value means the
// defaults.
type BootstrapConfig struct {
	Resamples int     `json:"resamples"` // 0: DefaultResamples; at least MinResamples
	Level     float64 `json:"level"`     // coverage in (0, 1); 0: DefaultLevel
}

// Validate reports settings that no bootstrap can run with.
func (c BootstrapConfig) Validate() error {
	if c.Resamples != 0 && c.Resamples < MinResamples {
		return fmt.Errorf("eval: %d bootstrap resamples, expected at least %d (0: %d)", c.Resamples, MinResamples, DefaultResamples)
	}
	if c.Level != 0 && !(c.Level > 0 && c.Level < 1) {
		return fmt.Errorf("eval: interval level %v, expected a number between 0 and 1 (0: %v)", c.Level, DefaultLevel)
	}
	return nil
}

// withDefaults fills the zero fields in.
func (c BootstrapConfig) withDefaults() BootstrapConfig {
	if c.Resamples == 0 {
		c.Resamples = DefaultResamples
	}
	if c.Level == 0 {
		c.Level = DefaultLevel
	}
	return c
}

// Interval is a mean with its uncertainty. It is in the unit of its values.
type Interval struct {
	Mean     float64 `json:"mean"`
	Low      float64 `json:"low"`             // lower end of the percentile interval
	High     float64 `json:"high"`            // upper end
	StdErr   float64 `json:"stderr"`          // standard deviation of the resampled means
	P        float64 `json:"p"`               // two-sided bootstrap p of "the mean is 0"
	Level    float64 `json:"level"`           // coverage of [Low, High]
	N        int     `json:"n"`               // samples
	Clusters int     `json:"clusters"`        // independent groups of samples
	Seeds    int     `json:"seeds,omitempty"` // calibration seeds, where they were resampled too
}

// Bootstrap returns the mean of per-sample values, usually differences
// between two models on the same questions, with a percentile interval
// (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13) from
// resamples that draw whole clusters with replacement. A resample's mean is
// Σ values / Σ samples over the clusters drawn.
//
// P is twice the smaller share of resampled means on either side of 0, both
// counted with ties and one added to numerator and denominator, so that it is
// never 0 (Davison and Hinkley, Bootstrap Methods and their Application,
// section 4.2). To test against another value, subtract it from values.
//
// Clusters are drawn in the order of their first sample, so equal input and
// equal rng state give equal bits.
func Bootstrap(values []float64, clusters []string, config BootstrapConfig, rng *rand.Rand) (Interval, error) {
	if err := config.Validate(); err != nil {
		return Interval{}, err
	}
	config = config.withDefaults()
	c, err := cluster(values, clusters)
	if err != nil {
		return Interval{}, err
	}
	groups := len(c.sums)
	means := make([]float64, config.Resamples)
	for r := range means {
		var sum float64
		var n int
		for range groups {
			k := rng.IntN(groups)
			sum += c.sums[k]
			n += c.counts[k]
		}
		means[r] = sum / float64(n)
	}
	interval := percentile(means, config.Level)
	interval.Mean, interval.N, interval.Clusters = Mean(values), len(values), groups
	return interval, nil
}

// BootstrapCrossed is [Bootstrap] for values measured with several
// calibration seeds on the same samples: values is [seeds][samples]. Seeds and
// clusters are drawn independently of each other (the pigeonhole bootstrap of
// Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007,
// which errs on the wide side), so the interval speaks of new seeds and of new
// questions. With fewer than about eight seeds it is too narrow.
func BootstrapCrossed(values [][]float64, clusters []string, config BootstrapConfig, rng *rand.Rand) (Interval, error) {
	if err := config.Validate(); err != nil {
		return Interval{}, err
	}
	config = config.withDefaults()
	if len(values) < 2 {
		return Interval{}, fmt.Errorf("eval: %d calibration seeds, expected at least 2 to resample them (use Bootstrap for one)", len(values))
	}
	groupings := make([]*clustering, len(values))
	seedMeans := make([]float64, len(values))
	for s, v := range values {
		c, err := cluster(v, clusters)
		if err != nil {
			return Interval{}, fmt.Errorf("calibration seed %d: %w", s, err)
		}
		groupings[s], seedMeans[s] = c, Mean(v)
	}
	groups := len(groupings[0].sums)
	counts := groupings[0].counts
	drawn := make([]int, groups)
	means := make([]float64, config.Resamples)
	for r := range means {
		n := 0
		for i := range drawn {
			drawn[i] = rng.IntN(groups)
			n += counts[drawn[i]]
		}
		var sum float64
		for range values {
			c := groupings[rng.IntN(len(values))]
			for _, k := range drawn {
				sum += c.sums[k]
			}
		}
		means[r] = sum / float64(n*len(values))
	}
	interval := percentile(means, config.Level)
	interval.Mean, interval.N, interval.Clusters, interval.Seeds = Mean(seedMeans), len(clusters), groups, len(values)
	return interval, nil
}

// percentile turns resampled means, which it sorts, into everything of an
// Interval that comes from them.
func percentile(means []float64, level float64) Interval {
	center := Mean(means)
	var squares float64
	below, above := 1, 1
	for _, m := range means {
		squares += (m - center) * (m - center)
		if m <= 0 {
			below++
		}
		if m >= 0 {
			above++
		}
	}
	slices.Sort(means)
	n := float64(len(means))
	return Interval{
		Low:    quantile(means, (1-level)/2),
		High:   quantile(means, (1+level)/2),
		StdErr: math.Sqrt(squares / (n - 1)),
		P:      min(1, 2*float64(min(below, above))/(n+1)),
		Level:  level,
	}
}

// quantile returns the q-quantile of sorted values by linear interpolation
// between order statistics (Hyndman and Fan's type 7, the default of R and
// NumPy).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(math.Floor(at))
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
