package harness

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tlqlab/tlqlab/eval"
)

// Metrics of claims, the primary one first.
const (
	MetricKL       = "kl"
	MetricNLL      = "nll"
	MetricAccuracy = "accuracy"
)

// ClaimMetrics lists them.
func ClaimMetrics() []string { return []string{MetricKL, MetricNLL, MetricAccuracy} }

// ClaimVerdict is a claim with what became of it: one line of claims.json.
type ClaimVerdict struct {
	Claim      string       `json:"claim"` // in words
	Family     string       `json:"family"`
	A          string       `json:"a"`
	B          string       `json:"b"`
	Model      string       `json:"model"`
	Format     string       `json:"format"`
	Outliers   string       `json:"outliers,omitempty"`
	Metric     string       `json:"metric"`
	Difference float64      `json:"difference"` // A − B; KL and NLL: below 0 A is better
	Low        float64      `json:"low"`
	High       float64      `json:"high"`
	PHolm      float64      `json:"p_holm"` // over the family and the metric
	Verdict    eval.Outcome `json:"verdict"`
	N          int          `json:"n"` // questions or streams, of all seeds together
	Seeds      int          `json:"seeds"`
	Clusters   int          `json:"clusters"`
	MeanA      float64      `json:"mean_a"`
	MeanB      float64      `json:"mean_b"`
	// NeededN and NeededSeeds would decide with 80% power, both grown by one factor; 0
	// where decided, or where nothing differs.
	NeededN     int `json:"needed_n,omitempty"`
	NeededSeeds int `json:"needed_seeds,omitempty"`
	// Identical is the number of seeds on which both methods end with the same weights.
	Identical int `json:"identical_seeds"`
}

// decide judges all claims of the run.
func (r *ClaimsRun) decide() error {
	for _, f := range r.Spec.Families {
		for _, metric := range ClaimMetrics() {
			list, err := r.decideFamily(f, metric)
			if err != nil {
				return fmt.Errorf("harness: family %s, %s: %w", f.Name, metric, err)
			}
			r.Claims = append(r.Claims, list...)
		}
	}
	return nil
}

// decideFamily judges one family by one metric.
func (r *ClaimsRun) decideFamily(f ClaimFamily, metric string) ([]ClaimVerdict, error) {
	var out []ClaimVerdict
	var claims []eval.Claim
	var differences []eval.Interval
	for _, model := range r.Spec.Models {
		for _, st := range r.Spec.Settings {
			for _, c := range f.Claims {
				v, d, err := r.difference(model, st, c, metric)
				if err != nil {
					return nil, err
				}
				if v == nil {
					continue
				}
				v.Family = f.Name
				v.Claim = fmt.Sprintf("%s has a %s %s than %s at %s on %s", c[0], better(metric), metric, c[1], st, model)
				out = append(out, *v)
				if v.Verdict != eval.Identical {
					claims, differences = append(claims, eval.Claim{Name: v.Claim, LowerIsBetter: metric != MetricAccuracy}), append(differences, *d)
				}
			}
		}
	}
	if len(claims) == 0 {
		return out, nil
	}
	verdicts, err := eval.DecideFamily(claims, differences)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Verdict == eval.Identical {
			continue
		}
		v := verdicts[0]
		verdicts = verdicts[1:]
		out[i].PHolm, out[i].Verdict, out[i].NeededN = v.AdjustedP, v.Outcome, v.NeededN
		if v.NeededN > 0 {
			out[i].NeededSeeds = int(math.Ceil(float64(out[i].Seeds) * float64(v.NeededN) / float64(out[i].N)))
		}
	}
	return out, nil
}

func better(metric string) string {
	if metric == MetricAccuracy {
		return "higher"
	}
	return "lower"
}

// difference pairs two methods by seed and question; nil where cells are missing.
func (r *ClaimsRun) difference(model string, st ClaimSetting, c [2]string, metric string) (*ClaimVerdict, *eval.Interval, error) {
	v := &ClaimVerdict{A: c[0], B: c[1], Model: model, Format: st.Format, Outliers: st.Outliers, Metric: metric, PHolm: 1}
	var values [][]float64
	var clusters [][]string
	for k, seed := range r.Spec.Seeds {
		a, b := r.Cell(model, st, c[0], seed), r.Cell(model, st, c[1], seed)
		if a == nil || b == nil || a.scores == nil || b.scores == nil {
			continue
		}
		x, y := a.scores.of(metric), b.scores.of(metric)
		d := make([]float64, len(x))
		for i := range d {
			d[i] = x[i] - y[i]
		}
		values, clusters = append(values, d), append(clusters, r.clusters[model][k])
		v.MeanA, v.MeanB = v.MeanA+eval.Mean(x), v.MeanB+eval.Mean(y)
		if a.WeightsSHA256 == b.WeightsSHA256 {
			v.Identical++
		}
	}
	if len(values) < 2 {
		return nil, nil, nil
	}
	v.Seeds = len(values)
	v.MeanA, v.MeanB = v.MeanA/float64(v.Seeds), v.MeanB/float64(v.Seeds)
	interval, err := r.interval(values, clusters)
	if err != nil {
		return nil, nil, err
	}
	v.Difference, v.Low, v.High, v.Clusters, v.N = interval.Mean, interval.Low, interval.High, interval.Clusters, interval.N
	if v.Identical == v.Seeds {
		v.Verdict = eval.Identical
	}
	return v, &interval, nil
}

// Cell finds a cell; nil where there is none.
func (r *ClaimsRun) Cell(model string, st ClaimSetting, method string, seed uint64) *ClaimCell {
	i := slices.IndexFunc(r.Cells, func(c ClaimCell) bool {
		return c.Model == model && c.Format == st.Format && c.Outliers == st.Outliers && c.Method == method && c.Seed == seed
	})
	if i < 0 {
		return nil
	}
	return &r.Cells[i]
}

// Failed lists the cells without a result.
func (r *ClaimsRun) Failed() []ClaimCell {
	return slices.DeleteFunc(slices.Clone(r.Cells), func(c ClaimCell) bool { return c.Error == "" })
}

// MethodMean is a method's mean of a metric over seeds, with an interval over seeds
// and questions.
func (r *ClaimsRun) MethodMean(model string, st ClaimSetting, method, metric string) (eval.Interval, error) {
	var values [][]float64
	var clusters [][]string
	for k, seed := range r.Spec.Seeds {
		if c := r.Cell(model, st, method, seed); c != nil && c.scores != nil {
			values, clusters = append(values, c.scores.of(metric)), append(clusters, r.clusters[model][k])
		}
	}
	return r.interval(values, clusters)
}

// interval is over seeds and questions, [seeds][questions]: the same of every seed, or each
// seed's own.
func (r *ClaimsRun) interval(values [][]float64, clusters [][]string) (eval.Interval, error) {
	if r.Spec.Spread {
		return eval.SeedBlocks(values, clusters, r.Spec.Level)
	}
	if len(values) == 0 {
		return eval.Interval{}, errors.New("harness: no cell of the method has a result")
	}
	return eval.SeedInterval(values, clusters[0], r.Spec.Level)
}
