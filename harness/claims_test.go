package harness

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
)

func tinyClaims(t *testing.T, name string) ClaimsSpec {
	t.Helper()
	s, err := LoadClaims("decisive")
	if err != nil {
		t.Fatal(err)
	}
	s.Models, s.Settings = []string{name}, []ClaimSetting{{Format: "w4a4"}, {Format: "w3a16g16"}}
	s.Prompts = Prompts{Tasks: []string{"emoji", "scene"}, Split: string(datasets.Test), N: 20}
	s.Seeds, s.Calibration.Samples = []uint64{0, 1, 2}, 3
	if err := s.Only([]string{"rtn", "mbq", "tlq"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestClaims compares cells with what Evaluate says of the same models, and verdicts
// with the cells.
func TestClaims(t *testing.T) {
	s, m := tinySession(t)
	spec := tinyClaims(t, m.Name)
	run, err := s.RunClaims(spec, ClaimsOptions{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Cells) != spec.ClaimCells() || len(run.Failed()) > 0 {
		t.Fatalf("%d cells of %d, failed: %+v", len(run.Cells), spec.ClaimCells(), run.Failed())
	}
	cell := run.Cell(m.Name, spec.Settings[0], "mbq", 1)
	q, err := m.Quantize(mustSamples(t, m, 3, 1), mustQuantization(t, "mbq", "w4a4"))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := m.Evaluate(q, Questions{Task: "emoji", Split: "test", N: 10}, Questions{Task: "scene", Split: "test", N: 10})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := eval.Summarize(samples)
	if err != nil {
		t.Fatal(err)
	}
	if cell.WeightsSHA256 != q.WeightsSHA256 || math.Abs(cell.KL-*summary.KL) > 1e-6 || math.Abs(cell.NLL-summary.NLL) > 1e-6 || cell.Accuracy != summary.Accuracy {
		t.Errorf("cell %+v, evaluated: KL %v, NLL %v, accuracy %v", cell, *summary.KL, summary.NLL, summary.Accuracy)
	}
	if len(run.Claims) == 0 {
		t.Fatal("no claims")
	}
	for _, v := range run.Claims {
		checkVerdict(t, run, spec, &v)
	}
	again, err := s.RunClaims(spec, ClaimsOptions{Workers: 1})
	if err != nil || !slices.Equal(again.Claims, run.Claims) {
		t.Errorf("one worker, from the store, gives other verdicts: %v", err)
	}
}

// checkVerdict compares a verdict's difference with its cells.
func checkVerdict(t *testing.T, run *ClaimsRun, spec ClaimsSpec, v *ClaimVerdict) {
	t.Helper()
	st := ClaimSetting{Format: v.Format, Outliers: v.Outliers}
	sum := 0.0
	for _, seed := range spec.Seeds {
		a, b := run.Cell(v.Model, st, v.A, seed), run.Cell(v.Model, st, v.B, seed)
		sum += map[string]float64{MetricKL: a.KL - b.KL, MetricNLL: a.NLL - b.NLL, MetricAccuracy: a.Accuracy - b.Accuracy}[v.Metric]
	}
	if want := sum / float64(len(spec.Seeds)); math.Abs(v.Difference-want) > 1e-9 {
		t.Errorf("%s: difference %v, want %v", v.Claim, v.Difference, want)
	}
	if v.Verdict == "" || v.N != 20 || v.Seeds != 3 || v.Low > v.Difference || v.High < v.Difference || v.PHolm < 0 || v.PHolm > 1 {
		t.Errorf("%+v", v)
	}
	if v.Verdict == eval.Undecidable && v.NeededN > 0 && v.NeededSeeds < v.Seeds {
		t.Errorf("%s: needs %d seeds of %d", v.Claim, v.NeededSeeds, v.Seeds)
	}
}

// TestClaimSpecs loads every built-in experiment: names must be known, and every
// method but RTN must be part of a claim.
func TestClaimSpecs(t *testing.T) {
	for _, name := range ClaimSpecs() {
		s, err := LoadClaims(name)
		if err != nil {
			t.Fatal(err)
		}
		s.Models = nil // the zoo need not be there
		if err := s.validate(""); err == nil || !strings.Contains(err.Error(), "models is empty") {
			t.Errorf("%s: %v", name, err)
		}
		for _, ref := range s.Methods {
			m, err := ref.Method()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			claimed := slices.ContainsFunc(s.Families, func(f ClaimFamily) bool {
				return slices.ContainsFunc(f.Claims, func(c [2]string) bool { return c[0] == m.Name || c[1] == m.Name })
			})
			if !claimed {
				t.Errorf("%s: no claim speaks of %s", name, m.Name)
			}
		}
		for _, st := range s.Settings {
			var q Quantization
			if err := q.setOutliers(st.Outliers); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := LoadClaims("decisiv"); err == nil || !strings.Contains(err.Error(), `did you mean "decisive"`) {
		t.Errorf("a mistyped experiment: %v", err)
	}
}
