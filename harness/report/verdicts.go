package report

import (
	"encoding/json"
	"fmt"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// runFamily names the family of a run's comparisons: Holm's correction runs
// over all of them, per metric.
const runFamily = "methods"

// encodeNumbers is a JSON file for programs.
func encodeNumbers(name string, v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("report: %s: %w", name, err)
	}
	return append(data, '\n'), nil
}

// claims are the run's verdicts as claims.json holds them: every comparison by
// each metric, those without per-question answers left out.
func (r *run) claims(comparisons []*comparison) []harness.ClaimVerdict {
	out := []harness.ClaimVerdict{}
	for _, metric := range harness.ClaimMetrics() {
		for _, c := range comparisons {
			if c.compared() {
				out = append(out, c.claim(metric))
			}
		}
	}
	return out
}

// claim is one comparison by one metric.
func (c *comparison) claim(metric string) harness.ClaimVerdict {
	verdict, of := c.kl, func(r *harness.Record) float64 { return r.Metrics.KL }
	better := "a lower"
	switch metric {
	case harness.MetricNLL:
		verdict, of = c.nll, func(r *harness.Record) float64 { return r.Metrics.NLL }
	case harness.MetricAccuracy:
		verdict, of = c.accuracy, func(r *harness.Record) float64 { return r.Metrics.Accuracy }
		better = "a higher"
	}
	first := c.a.records[0]
	v := harness.ClaimVerdict{
		Claim:  fmt.Sprintf("%s has %s %s than %s at %s on %s", c.a.method, better, metric, c.b.method, c.setting.format, c.setting.model),
		Family: runFamily, A: c.a.method, B: c.b.method, Model: first.Model, Format: first.Format, Metric: metric,
		Difference: verdict.Difference.Mean, Low: verdict.Difference.Low, High: verdict.Difference.High, PHolm: verdict.AdjustedP, Verdict: verdict.Outcome,
		N: c.n, Seeds: c.seeds, Clusters: verdict.Difference.Clusters, NeededN: verdict.NeededN,
	}
	if first.Setting() != first.Format {
		v.Outliers = first.Outliers
	}
	if verdict.Outcome == eval.Identical {
		v.PHolm = 1
	}
	for _, a := range c.a.records {
		for _, b := range c.b.records {
			if a.Seed != b.Seed {
				continue
			}
			v.MeanA, v.MeanB = v.MeanA+of(a)/float64(c.seeds), v.MeanB+of(b)/float64(c.seeds)
			if a.WeightsSHA256 != "" && a.WeightsSHA256 == b.WeightsSHA256 {
				v.Identical++
			}
		}
	}
	return v
}
