package report

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// estimate is a mean with a 95% interval.
type estimate struct {
	mean      float64 // NaN: unknown
	low, high float64
	interval  bool // low and high are known
}

var unknown = estimate{mean: math.NaN()}

func (e estimate) known() bool { return !math.IsNaN(e.mean) }

// overlaps reports whether two intervals share a point.
func (e estimate) overlaps(o estimate) bool { return e.low <= o.high && o.low <= e.high }

// scaled returns a + b·e for b > 0.
func (e estimate) scaled(a, b float64) estimate {
	return estimate{a + b*e.mean, a + b*e.low, a + b*e.high, e.interval}
}

func fromInterval(i eval.Interval) estimate { return estimate{i.Mean, i.Low, i.High, true} }

// answers are the per-question scores of one cell, as columns.
type answers struct {
	keys     []string // task/id
	clusters []string
	correct  []float64 // 0 or 1
	nll      []float64 // nats per answer token
	kl       []float64 // nats per answer token; nil where a question has none
}

// readAnswers reads the per-question scores of every finished cell.
func (r *run) readAnswers() {
	for i := range r.records {
		rec := &r.records[i]
		if rec.Status != harness.StatusOK {
			continue
		}
		a, err := readAnswers(r.dir, rec)
		if err != nil {
			r.leaveOut("the per-question answers of "+rec.Cell(), rec.Samples, err)
			continue
		}
		r.answers[rec.Cell()] = a
	}
}

func readAnswers(dir string, rec *harness.Record) (*answers, error) {
	if rec.Samples == "" {
		return nil, errors.New("the record names no file of answers")
	}
	samples, err := harness.ReadSamples(dir, rec.Samples)
	if err != nil {
		return nil, err
	}
	if len(samples) != rec.N {
		return nil, fmt.Errorf("%s holds %d answers, the record counts %d", rec.Samples, len(samples), rec.N)
	}
	a := &answers{kl: make([]float64, 0, len(samples))}
	for i := range samples {
		s := &samples[i]
		correct := 0.0
		if s.Correct {
			correct = 1
		}
		a.keys, a.clusters = append(a.keys, s.Task+"/"+s.ID), append(a.clusters, s.Cluster())
		a.correct, a.nll = append(a.correct, correct), append(a.nll, s.NLL)
		if s.KL != nil && a.kl != nil {
			a.kl = append(a.kl, *s.KL)
		} else {
			a.kl = nil
		}
	}
	return a, nil
}

// sameQuestions reports whether all cells answered the same questions in the
// same order, as one run's cells do.
func sameQuestions(all ...*answers) bool {
	for _, a := range all {
		if a == nil || len(a.keys) != len(all[0].keys) {
			return false
		}
		for i := range a.keys {
			if a.keys[i] != all[0].keys[i] {
				return false
			}
		}
	}
	return true
}

// Streams of the generator that resamples, one per quantity. The harness uses
// the first ones.
const (
	accuracyStream = iota + 16
	nllStream
	klStream
	deltaStream
	pairStream
	taskStream
)

// resample returns the mean of per-question values, [seeds][questions], with
// its interval.
func (r *run) resample(values [][]float64, clusters []string, stream uint64) (eval.Interval, error) {
	var stats harness.Stats
	if r.spec != nil {
		stats = r.spec.Stats
	}
	rng := rand.New(rand.NewPCG(stats.Seed, stream))
	if len(values) == 1 {
		return eval.Bootstrap(values[0], clusters, stats.Bootstrap, rng)
	}
	return eval.BootstrapCrossed(values, clusters, stats.Bootstrap, rng)
}

// average fills in the scores' estimates.
func (r *run) average() error {
	var all []*score
	for _, st := range r.settings {
		all = append(all, st.scores...)
	}
	return eachAtOnce(all, func(s *score) error {
		s.kept = unknown
		if !s.finished() {
			s.accuracy, s.nll, s.kl, s.delta = unknown, unknown, unknown, unknown
			return nil
		}
		if err := r.averageScore(s); err != nil {
			return fmt.Errorf("report: %s %s %s: %w", s.setting.model, s.setting.format, s.method, err)
		}
		if fp := r.fp[s.setting.model]; fp != nil && fp.Metrics.Accuracy > 0 {
			s.kept = s.delta.scaled(1, 1/fp.Metrics.Accuracy)
		}
		return nil
	})
}

func (r *run) averageScore(s *score) error {
	if len(s.records) == 1 {
		s.recorded()
		return nil
	}
	all := make([]*answers, len(s.records))
	for i, rec := range s.records {
		all[i] = r.answers[rec.Cell()]
	}
	fp := r.answers[s.setting.model+" "+harness.MethodFP]
	if !sameQuestions(append(all, fp)...) {
		s.approximated()
		return nil
	}
	measures := []struct {
		to     *estimate
		of     func(*answers) []float64
		stream uint64
	}{
		{&s.accuracy, func(a *answers) []float64 { return a.correct }, accuracyStream},
		{&s.nll, func(a *answers) []float64 { return a.nll }, nllStream},
		{&s.kl, func(a *answers) []float64 { return a.kl }, klStream},
		{&s.delta, func(a *answers) []float64 { return difference(a.correct, fp.correct) }, deltaStream},
	}
	for _, m := range measures {
		values := make([][]float64, len(all))
		for i, a := range all {
			if values[i] = m.of(a); values[i] == nil {
				return errors.New("some answers have a KL and some have none: run the experiment again")
			}
		}
		interval, err := r.resample(values, fp.clusters, m.stream)
		if err != nil {
			return err
		}
		*m.to = fromInterval(interval)
	}
	return nil
}

func difference(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

// recorded takes a single seed's estimates from its record.
func (s *score) recorded() {
	rec := s.records[0]
	take := func(name string, mean float64) estimate {
		if i, ok := rec.Intervals[name]; ok {
			return estimate{mean, i.Low, i.High, true}
		}
		return estimate{mean: mean}
	}
	s.accuracy, s.nll, s.kl = take("accuracy", rec.Metrics.Accuracy), take("nll", rec.Metrics.NLL), take("kl", rec.Metrics.KL)
	s.delta = estimate{rec.Delta.Accuracy, rec.Delta.Low, rec.Delta.High, true}
}

// z95 is the normal quantile Φ⁻¹(0.975).
const z95 = 1.959963984540054

// approximated makes estimates of several seeds from their records alone: see
// the package's comment.
func (s *score) approximated() {
	from := func(mean, se func(*harness.Record) float64) estimate {
		n := float64(len(s.records))
		var m, e float64
		for _, rec := range s.records {
			m += mean(rec) / n
			e += se(rec) / n
		}
		var variance float64
		for _, rec := range s.records {
			variance += (mean(rec) - m) * (mean(rec) - m) / (n - 1)
		}
		half := z95 * math.Sqrt(e*e+variance/n)
		if math.IsNaN(half) {
			return estimate{mean: m}
		}
		return estimate{m, m - half, m + half, true}
	}
	se := func(name string) func(*harness.Record) float64 {
		return func(rec *harness.Record) float64 {
			if i, ok := rec.Intervals[name]; ok {
				return i.StdErr
			}
			return math.NaN()
		}
	}
	s.accuracy = from(func(r *harness.Record) float64 { return r.Metrics.Accuracy }, se("accuracy"))
	s.nll = from(func(r *harness.Record) float64 { return r.Metrics.NLL }, se("nll"))
	s.kl = from(func(r *harness.Record) float64 { return r.Metrics.KL }, se("kl"))
	if s.kl.interval {
		s.kl.low = max(s.kl.low, 0) // a divergence is never negative
	}
	s.delta = from(
		func(r *harness.Record) float64 { return r.Delta.Accuracy },
		func(r *harness.Record) float64 { return (r.Delta.High - r.Delta.Low) / (2 * z95) },
	)
}
