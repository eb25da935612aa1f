package harness

import (
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// statisticsStage is the resampling behind intervals.
var statisticsStage = StageID{"statistics", 1}

// statistics are the intervals of one cell.
type statistics struct {
	Intervals map[string]eval.Interval `json:"intervals"`
	Compared  *eval.Comparison         `json:"compared"` // with the unquantized model; nil for that model itself
}

// statistics resamples a model's scores, and compares them with a reference's
// where that is not nil. keys name both.
func (m *Model) statistics(settings Stats, keys []Key, reference, samples []eval.Sample) (*statistics, error) {
	return once(m, "statistics of "+m.Name, NewKey(statisticsStage, settings, keys...), jsonCodec[*statistics](), func(*Model) (*statistics, error) {
		return resample(settings, reference, samples)
	})
}

// answerKeys name the answers to all questions: see evaluateKey.
func answerKeys(m *Model, data, weights Key, reference *Model, questions []Questions) []Key {
	var keys []Key
	for _, asked := range questions {
		for _, c := range asked.chunks() {
			keys = append(keys, c.evaluateKey(m, data, weights, reference))
		}
	}
	return keys
}

// Streams of the generator that resamples: one per quantity, so that none
// depends on which others are asked for.
const (
	comparisonStream = iota
	accuracyStream
	nllStream
)

// resample makes the intervals; reference is nil where nothing is compared.
func resample(s Stats, reference, samples []eval.Sample) (*statistics, error) {
	accuracy, nll, clusters := make([]float64, len(samples)), make([]float64, len(samples)), make([]string, len(samples))
	for i := range samples {
		clusters[i], nll[i] = samples[i].Cluster(), samples[i].NLL
		accuracy[i] = samples[i].Points()
	}
	out := &statistics{Intervals: map[string]eval.Interval{}}
	for _, c := range []struct {
		name   string
		values []float64
		stream uint64
	}{{"accuracy", accuracy, accuracyStream}, {"nll", nll, nllStream}} {
		interval, err := eval.Bootstrap(c.values, clusters, s.Bootstrap, rand.New(rand.NewPCG(s.Seed, c.stream)))
		if err != nil {
			return nil, fmt.Errorf("harness: interval of %s: %w", c.name, err)
		}
		out.Intervals[c.name] = interval
	}
	if reference == nil {
		return out, nil
	}
	var err error
	if out.Compared, err = eval.Compare(reference, samples, s.Bootstrap, rand.New(rand.NewPCG(s.Seed, comparisonStream))); err != nil {
		return nil, err
	}
	if out.Compared.KL != nil { // the unquantized model's is 0: the difference is the KL itself
		out.Intervals["kl"] = *out.Compared.KL
	}
	return out, nil
}

// setScores fills in means, intervals and, where reference is not nil, the
// comparison with it.
func (r *Record) setScores(m *Model, settings Stats, keys []Key, reference, samples []eval.Sample) error {
	summary, err := eval.Summarize(samples)
	if err != nil {
		return err
	}
	r.N = summary.N
	r.Metrics = Metrics{Accuracy: summary.Accuracy, NLL: summary.NLL, KL: orZero(summary.KL)}
	r.Tasks = make(map[string]TaskScore, len(summary.Tasks))
	for name, s := range summary.Tasks {
		r.Tasks[name] = TaskScore{N: s.N, Accuracy: s.Accuracy, StdErr: s.StdErr, NLL: s.NLL, KL: orZero(s.KL), Chance: chanceOf(name, samples)}
	}
	statistics, err := m.statistics(settings, keys, reference, samples)
	if err != nil {
		return err
	}
	r.Intervals, r.Compared = statistics.Intervals, statistics.Compared
	if r.Compared != nil {
		a := r.Compared.Accuracy
		r.Delta = Delta{Accuracy: a.Mean, Low: a.Low, High: a.High, P: r.Compared.P}
	}
	return nil
}

func orZero(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// storedBits is the bits per weight of a checkpoint's linears, as stored.
func storedBits(dir string) (float64, error) {
	f, err := safetensors.OpenDir(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var bits, weights float64
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			return 0, err
		}
		if len(t.Shape) != 2 {
			continue
		}
		bits += 8 * float64(len(t.Data))
		weights += float64(t.Shape[0]) * float64(t.Shape[1])
	}
	if weights == 0 {
		return 0, fmt.Errorf("harness: %s holds no matrices", dir)
	}
	return bits / weights, nil
}
