package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models"
)

// studyModel opens a session whose zoo holds a random model.
func studyModel(t *testing.T) (*harness.Session, *harness.Model) {
	t.Helper()
	root := t.TempDir()
	if err := tiny.Write(filepath.Join(harness.ZooDir(root), "tiny-nano"), 1); err != nil {
		t.Fatal(err)
	}
	s, err := harness.NewSession(root, t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	s = s.WithContext(harness.WithEvents(t.Context(), &harness.EventLog{}))
	m, err := s.Model("zoo:tiny-nano")
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

var tinyPrompts = harness.Prompts{Tasks: []string{"emoji", "scene"}, Split: string(datasets.Test), N: 12}

// checkFolder builds a folder twice and expects the wanted files, whole and the same
// both times; the texts that it returns hold no number that isn't one.
func checkFolder(t *testing.T, build func(dir string) error, want ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	dir := filepath.Join(t.TempDir(), "study")
	if err := build(dir); err != nil {
		t.Fatal(err)
	}
	if err := build(dir); err != nil {
		t.Fatal("over an earlier one:", err)
	}
	other := filepath.Join(t.TempDir(), "study")
	if err := build(other); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(want, "report.md", "report.html") {
		a, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if b, err := os.ReadFile(filepath.Join(other, name)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs between two folders: %v", name, err)
		}
		if text := string(a); !strings.HasSuffix(name, ".png") {
			if strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
				t.Errorf("%s holds something that isn't a number", name)
			}
			out[name] = text
		}
		if len(a) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "mine.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := build(foreign); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder of other things: %v", err)
	}
	return out
}

func TestBuildPremise(t *testing.T) {
	_, m := studyModel(t)
	s := harness.DefaultPremise()
	s.Prompts, s.Formats, s.Stats.Bootstrap.Resamples = tinyPrompts, []string{"w4a8", "w3a16g16"}, eval.MinResamples
	p, err := m.Premise(s)
	if err != nil {
		t.Fatal(err)
	}
	text := checkFolder(t, func(dir string) error { return BuildPremise(dir, p) },
		"premise.json", "card.md", "figures/premise-rounded.png", "figures/premise-rounded.svg", "figures/premise-gradients.svg", "figures/premise-activations.svg",
		"tables/premise-rounded.csv", "tables/premise-gradients.csv", "tables/premise-activations.csv")
	var stored struct {
		Verdict []string      `json:"verdict"`
		Model   string        `json:"model"`
		NLL     eval.Interval `json:"nll"`
	}
	if err := json.Unmarshal([]byte(text["premise.json"]), &stored); err != nil || stored.Model != m.Name || len(stored.Verdict) != 5 || stored.NLL != p.NLL {
		t.Errorf("premise.json: %v, %+v", err, stored)
	}
	if rows := strings.Count(text["tables/premise-activations.csv"], "\n"); rows != 1+4*m.NumLayers() {
		t.Errorf("%d rows of activations", rows)
	}
	for _, want := range []string{"./tlq inspect --premise zoo:tiny-nano", "w3a16g16", "vision's share"} {
		if !strings.Contains(text["card.md"], want) {
			t.Errorf("the card lacks %q:\n%s", want, text["card.md"])
		}
	}
}

// TestPremiseVerdict words the cases that a model can be in.
func TestPremiseVerdict(t *testing.T) {
	premise := func(share, low, high, ratio, peak float64) *harness.Premise {
		site := harness.PremiseSite{
			Site: models.O, Vision: harness.Magnitudes{Mean: 1, TopQuarter: peak}, Answer: harness.Magnitudes{Mean: 1 / ratio},
			Ratio: &eval.Interval{Mean: ratio}, Profile: &eval.Interval{Mean: 0.5},
		}
		return &harness.Premise{
			Activations: []harness.PremiseSite{site}, Gradients: []harness.PremiseSite{site}, Clusters: 10,
			Rounded: []harness.PremiseFormat{{Format: "w4a8", Share: map[string]eval.Interval{"vision": {Mean: share, Low: low, High: high}}}},
		}
	}
	for _, c := range []struct {
		p    *harness.Premise
		want []string
	}{
		{premise(0.03, 0.02, 0.04, 0.05, 0.45), []string{"differ strongly", "only 3.0% of the KL", "little to win", "less than the 70.0%"}},
		{premise(0.3, 0.25, 0.35, 0.05, 0.8), []string{"30.0% of the KL, enough", "peaked enough"}},
		{premise(0.21, 0.15, 0.27, 0.05, 0.8), []string{"not beyond noise"}},
		{premise(0.3, 0.25, 0.35, 0.9, 0.8), []string{"hardly differ in their gradients"}},
	} {
		text := paragraph(PremiseVerdict(c.p))
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing from: %s", want, text)
			}
		}
	}
}

func TestBuildFidelity(t *testing.T) {
	_, m := studyModel(t)
	s := harness.DefaultFidelity()
	s.Methods = []harness.MethodRef{{Name: "awq"}, {Name: "mbq"}, {Name: "tlq"}}
	s.Sites = []models.Site{models.Down}
	s.Prompts, s.Calibration.Samples, s.Stats.Bootstrap.Resamples = tinyPrompts, 3, eval.MinResamples
	f, err := m.Fidelity(s)
	if err != nil {
		t.Fatal(err)
	}
	text := checkFolder(t, func(dir string) error { return BuildFidelity(dir, f) }, "fidelity.json", "figures/fidelity-tiny-nano-w4a4.svg",
		"figures/fidelity-choices-tiny-nano-w4a4.png", "figures/fidelity-curves-tiny-nano-w4a4.svg", "tables/fidelity.csv", "tables/fidelity-pairs.csv", "tables/fidelity-sites.csv")
	if want := 1 + 20*3*m.NumLayers(); strings.Count(text["tables/fidelity-sites.csv"], "\n") != want {
		t.Errorf("%d rows of candidates, want %d", strings.Count(text["tables/fidelity-sites.csv"], "\n"), want)
	}
	if command := "./tlq fidelity zoo:tiny-nano --format w4a4 --limit 12 --samples 3 --seed 0 --split test --methods awq,mbq,tlq --sites down"; !strings.Contains(text["report.md"], command) {
		t.Errorf("the report lacks its command %q", command)
	}
}

func TestBuildClaims(t *testing.T) {
	s, m := studyModel(t)
	spec, err := harness.LoadClaims("decisive")
	if err != nil {
		t.Fatal(err)
	}
	spec.Models, spec.Settings, spec.Prompts = []string{m.Name}, []harness.ClaimSetting{{Format: "w4a4"}, {Format: "w3a16g16"}}, tinyPrompts
	spec.Seeds, spec.Calibration.Samples = []uint64{0, 1}, 2
	if err := spec.Only([]string{"rtn", "mbq", "tlq"}); err != nil {
		t.Fatal(err)
	}
	run, err := s.RunClaims(spec, harness.ClaimsOptions{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range run.Cells { // what the clock says
		run.Cells[i].Seconds, run.Cells[i].Calibrate = 0, 0
	}
	text := checkFolder(t, func(dir string) error { return BuildClaims(dir, run) }, "claims.json", "cells.jsonl", "spec.json", "claims.md",
		"figures/claims-decisive-tokens.svg", "figures/claims-decisive-baselines.png", "tables/claims.csv", "tables/methods.csv")
	var verdicts []map[string]any
	if err := json.Unmarshal([]byte(text["claims.json"]), &verdicts); err != nil || len(verdicts) != len(run.Claims) {
		t.Fatalf("claims.json: %v, %d verdicts", err, len(verdicts))
	}
	for _, field := range []string{"claim", "family", "a", "b", "model", "format", "metric", "difference", "low", "high", "p_holm", "verdict", "n"} {
		if _, ok := verdicts[0][field]; !ok {
			t.Errorf("claims.json lacks %q", field)
		}
	}
	if !strings.Contains(text["claims.md"], "tlq − mbq") || !slices.Contains(strings.Split(text["claims.md"], "\n"), "./tlq claims decisive --limit 12 --seeds 2 --samples 2 --models zoo:tiny-nano --formats w4a4,w3a16g16 --outliers none --methods rtn,mbq,tlq") {
		t.Errorf("claims.md:\n%s", text["claims.md"])
	}
}
