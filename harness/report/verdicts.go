package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/display"
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

// gridFamily names the family of the comparisons over the whole grid.
const gridFamily = "grid"

// everywhere stands for a model or a format where a claim speaks of all of them.
const everywhere = "all"

// claimLine is a line of claims.json; what else is known of a claim stands in
// tables/claims.csv.
type claimLine struct {
	Claim      string       `json:"claim"`
	Family     string       `json:"family"`
	A          string       `json:"a"`
	B          string       `json:"b"`
	Model      string       `json:"model"`
	Format     string       `json:"format"`
	Metric     string       `json:"metric"`
	Difference float64      `json:"difference"`
	Low        float64      `json:"low"`
	High       float64      `json:"high"`
	PHolm      float64      `json:"p_holm"`
	Verdict    eval.Outcome `json:"verdict"`
	N          int          `json:"n"`
}

// claimLines takes verdicts as claims.json has them. A format names its outliers.
func claimLines(claims []harness.ClaimVerdict) []claimLine {
	out := make([]claimLine, len(claims))
	for i, v := range claims {
		out[i] = claimLine{v.Claim, v.Family, v.A, v.B, v.Model, harness.ClaimSetting{Format: v.Format, Outliers: v.Outliers}.String(), v.Metric, v.Difference, v.Low, v.High, v.PHolm, v.Verdict, v.N}
	}
	return out
}

// gridClaims are the verdicts over the whole grid, in its units: KL as a share of the
// baseline's, NLL in nats, accuracy as a share of the unquantized one.
func (r *run) gridClaims() []harness.ClaimVerdict {
	if r.whole == nil {
		return nil
	}
	var out []harness.ClaimVerdict
	means := map[string]*wholeMethod{}
	for _, m := range r.whole.methods {
		means[m.method] = m
	}
	for _, metric := range harness.ClaimMetrics() {
		for _, p := range r.whole.pairs {
			verdict := p.verdict(metric)
			v := harness.ClaimVerdict{
				Claim:  fmt.Sprintf("%s has %s %s than %s over the whole grid", p.a, aBetter(metric), metric, p.b),
				Family: gridFamily, A: p.a, B: p.b, Model: everywhere, Format: everywhere, Metric: metric,
				Difference: verdict.Difference.Mean, Low: verdict.Difference.Low, High: verdict.Difference.High, PHolm: verdict.AdjustedP, Verdict: verdict.Outcome,
				N: r.whole.questions, Seeds: len(r.whole.seeds), Clusters: verdict.Difference.Clusters, NeededN: verdict.NeededN,
				MeanA: means[p.a].of(metric).mean, MeanB: means[p.b].of(metric).mean,
			}
			if p.identical {
				v.PHolm, v.Identical = 1, len(r.whole.seeds)
			}
			out = append(out, v)
		}
	}
	return out
}

// aBetter is what a claim says of the first method's metric.
func aBetter(metric string) string {
	if metric == harness.MetricAccuracy {
		return "a higher"
	}
	return "a lower"
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
	switch metric {
	case harness.MetricNLL:
		verdict, of = c.nll, func(r *harness.Record) float64 { return r.Metrics.NLL }
	case harness.MetricAccuracy:
		verdict, of = c.accuracy, func(r *harness.Record) float64 { return r.Metrics.Accuracy }
	}
	first := c.a.records[0]
	v := harness.ClaimVerdict{
		Claim:  fmt.Sprintf("%s has %s %s than %s at %s on %s", c.a.method, aBetter(metric), metric, c.b.method, c.setting.format, c.setting.model),
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

// claimTable is the claims of a family by one metric, each shown, refuted or undecidable
// with the n that it would take.
func (r *run) claimTable(claims []harness.ClaimVerdict, family string, metrics ...string) *display.Table {
	t := &display.Table{
		Columns: []string{"claim", "model", "format", "metric", "difference", "p (Holm)", "verdict", "n", "seeds", "n needed"},
		Caption: "Difference: first method − second. KL and NLL in nats per answer token, accuracy in points.",
	}
	if family == gridFamily {
		t.Caption = fmt.Sprintf("Difference: first method − second, averaged over %s. KL in points of %s's KL in the same setting, NLL in nats per answer token, accuracy in points of the unquantized accuracy.",
			count(len(r.whole.settings), "setting"), r.label(r.baseline()))
	}
	t.Caption += " Shown or refuted: beyond noise after Holm's correction over the family, per metric. n needed: questions that would decide the difference seen with 80% power, at as many seeds."
	for i := range claims {
		v := &claims[i]
		if v.Family != family || !slices.Contains(metrics, v.Metric) {
			continue
		}
		sign, show := "<", signed
		if v.Metric == harness.MetricAccuracy {
			sign = ">"
		}
		if v.Metric == harness.MetricAccuracy || family == gridFamily && v.Metric == harness.MetricKL {
			show = points
		}
		needed, d := none, withInterval(estimate{v.Difference, v.Low, v.High, true}, show)
		switch {
		case v.Verdict == eval.Identical:
			d = "identical weights"
		case v.NeededN > mostNeeded:
			needed = ">\u00a0" + grouped(mostNeeded)
		case v.NeededN > 0:
			needed = grouped(v.NeededN)
		}
		t.Add(r.short(v.A)+" "+sign+" "+r.short(v.B), r.modelName(v.Model), harness.ClaimSetting{Format: v.Format, Outliers: v.Outliers}.String(), metricTitle(v.Metric), d, pValue(v.PHolm), string(v.Verdict), v.N, v.Seeds, needed)
	}
	return t
}

// metricTitle is a metric's name in a table.
func metricTitle(metric string) string {
	switch metric {
	case harness.MetricKL:
		return "KL"
	case harness.MetricNLL:
		return "NLL"
	}
	return metric
}

// claimCounts says what became of the claims of each metric.
func claimCounts(claims []harness.ClaimVerdict, family string) string {
	var parts []string
	for _, metric := range harness.ClaimMetrics() {
		counts, all := map[eval.Outcome]int{}, 0
		for _, v := range claims {
			if v.Family == family && v.Metric == metric {
				counts[v.Verdict]++
				all++
			}
		}
		if all == 0 {
			continue
		}
		var words []string
		for _, o := range []eval.Outcome{eval.Shown, eval.Refuted, eval.Undecidable, eval.Identical} {
			if counts[o] > 0 {
				words = append(words, fmt.Sprintf("%d %s", counts[o], o))
			}
		}
		parts = append(parts, fmt.Sprintf("by %s %s of %d", metricTitle(metric), list(words), all))
	}
	return strings.Join(parts, "; ")
}
