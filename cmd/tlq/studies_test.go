package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness"
)

// TestPremise measures a random model, and is told that a language model alone has
// nothing to measure.
func TestPremise(t *testing.T) {
	model := workplace(t)
	got := tlqRun("inspect", "--premise", model, "--limit", "4", "--formats", "w4a8", "--tasks", "emoji,scene", "-o", "out")
	if got.code != exitOK || got.lastLine() != "out" || !strings.Contains(got.out, "rounding at vision tokens alone") {
		t.Fatalf("exit %d: %s%s", got.code, got.out, got.err)
	}
	for _, name := range []string{"premise.json", "report.html", "card.md", "figures/premise-rounded.png", "tables/premise-rounded.csv"} {
		if _, err := os.Stat(filepath.Join("out", name)); err != nil {
			t.Error(err)
		}
	}
	writeLlama(t, "llama")
	if got := tlqRun("inspect", "--premise", "llama"); got.code != exitOK || !strings.Contains(got.out, "no vision tokens") {
		t.Errorf("a language model alone: exit %d: %s%s", got.code, got.out, got.err)
	}
	if got := tlqRun("inspect", "--premise", model, "--limit", "1"); got.code != exitUsage {
		t.Errorf("one prompt: exit %d", got.code)
	}
	if got := tlqRun("inspect", "--premise", model, "--formats", "w4b8"); got.code != exitFailed || !strings.Contains(got.err, "w4a8") {
		t.Errorf("a mistyped format: exit %d: %s", got.code, got.err)
	}
}

func TestFidelity(t *testing.T) {
	model := workplace(t)
	got := tlqRun("fidelity", model, "--sites", "down", "--methods", "awq,mbq-mse", "--limit", "4", "--samples", "2", "--tasks", "emoji", "--json", "-o", "out")
	var f struct {
		harness.Fidelity
		Dir string `json:"dir"`
	}
	if err := json.Unmarshal([]byte(got.out), &f); err != nil || got.code != exitOK || f.Dir != "out" || len(f.Methods) != 2 || f.Prompts != 4 {
		t.Fatalf("exit %d, %v: %s", got.code, err, got.err)
	}
	for args, want := range map[string]string{"--methods rtn": "no objective", "--methods mbk": "did you mean", "--sites downs": "unknown site", "--format w4": "w4a8"} {
		if got := tlqRun(append([]string{"fidelity", model, "--limit", "4"}, strings.Fields(args)...)...); got.code != exitFailed || !strings.Contains(got.err, want) {
			t.Errorf("%s: exit %d: %s", args, got.code, got.err)
		}
	}
}

// TestClaims decides a small experiment by both of its names.
func TestClaims(t *testing.T) {
	model := workplace(t)
	args := []string{"claims", "decisive", "--models", model, "--methods", "rtn,mbq", "--formats", "w4a8", "--limit", "6", "--seeds", "2", "--samples", "2"}
	got := tlqRun(append(args, "--json", "-o", "out")...)
	var verdicts []harness.ClaimVerdict
	if err := json.Unmarshal([]byte(got.out), &verdicts); err != nil || got.code != exitOK || len(verdicts) != 3 || verdicts[0].A != "mbq" || verdicts[0].N != 2*6 {
		t.Fatalf("exit %d, %v, %d verdicts: %s", got.code, err, len(verdicts), got.err)
	}
	if got := tlqRun(append(args, "-o", "out")...); got.code != exitOK || got.lastLine() != "out" {
		t.Errorf("again: exit %d: %s%s", got.code, got.out, got.err)
	}
	for args, want := range map[string]string{"claims decisiv": `did you mean "decisive"`, "claims decisive --methods mbk": "mbq", "claims decisive --models nowhere": "nowhere"} {
		if got := tlqRun(strings.Fields(args)...); got.code != exitFailed || !strings.Contains(got.err, want) {
			t.Errorf("%s: exit %d: %s", args, got.code, got.err)
		}
	}
	if got := tlqRun("claims", "decisive", "--seeds", "1"); got.code != exitUsage {
		t.Errorf("one seed: exit %d", got.code)
	}
	if got := tlqRun("ablate", "nothing"); got.code != exitFailed || !strings.Contains(got.err, "paper, formats, decisive, stress, tokens, exposure, methods, text, fidelity") {
		t.Errorf("an unknown experiment: exit %d: %s", got.code, got.err)
	}
}

// TestExperiments plans every built-in experiment by both of its names and runs it to its
// end at a reduced size: all its methods and one of its settings.
func TestExperiments(t *testing.T) {
	model := workplace(t)
	for _, name := range harness.ClaimSpecs() {
		if name == harness.ClaimsText {
			continue // TestStreamClaims runs it
		}
		spec, err := harness.LoadClaims(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			a, b := tlqRun("ablate", name, "--plan"), tlqRun("claims", name, "--plan", "--workers", "1")
			if a.code != exitOK || a.out != b.out || !strings.Contains(a.out, "if nothing else runs here") || !strings.Contains(a.out, "zoo:qwen2vl-nano") {
				t.Errorf("plans: exit %d and %d:\n%s%s%s%s", a.code, b.code, a.out, b.out, a.err, b.err)
			}
			st := spec.Settings[len(spec.Settings)-1]
			format := strings.ReplaceAll(st.Format, "g64", "g16") // the model's inputs are narrower
			args := []string{"claims", name, "--models", model, "--formats", format, "--limit", "2", "--seeds", "2", "--samples", "1", "-o", name}
			if st.Outliers != "" {
				args = append(args, "--outliers", st.Outliers)
			}
			got := tlqRun(args...)
			if got.code != exitOK || got.lastLine() != name || strings.Contains(got.out, "missing") {
				t.Fatalf("exit %d: %s%s", got.code, got.out, got.err)
			}
			page, err := os.ReadFile(filepath.Join(name, "claims.md"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range spec.Families {
				if !strings.Contains(string(page), f.Question) {
					t.Errorf("the report lacks %q", f.Question)
				}
			}
		})
	}
}
