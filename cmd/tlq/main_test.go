package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/internal/root"
	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// result is what a command line left.
type result struct {
	code     int
	out, err string
}

func tlqRun(args ...string) result {
	var out, errs bytes.Buffer
	code := run(context.Background(), args, &console{Out: &out, Err: &errs})
	return result{code, out.String(), errs.String()}
}

// workplace changes to an empty folder, with the checkout as the project's
// root and a store of its own, and returns a random model's folder.
func workplace(t *testing.T) string {
	t.Helper()
	dir, err := root.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(root.Variable, dir)
	t.Setenv(harness.EnvStore, t.TempDir())
	t.Chdir(t.TempDir())
	model := filepath.Join(t.TempDir(), "with a space", "tiny")
	if err := tiny.Write(model, 1); err != nil {
		t.Fatal(err)
	}
	return model
}

func (r result) lastLine() string {
	lines := strings.Split(strings.TrimRight(r.out, "\n"), "\n")
	return lines[len(lines)-1]
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string // in standard error, or in standard output for code 0
	}{
		{"", exitUsage, "usage: tlq"},
		{"abblate", exitUsage, `did you mean "ablate"`},
		{"--nonsense", exitUsage, "unknown command"},
		{"ablate --nonsense", exitUsage, "nonsense"},
		{"ablate a b", exitUsage, "at most one"},
		{"ablate --limit many", exitUsage, "whole number"},
		{"ablate --limit -1", exitUsage, "--limit -1"},
		{"ablate --workers 0", exitUsage, "--workers 0"},
		{"report", exitUsage, "expected 1"},
		{"eval", exitUsage, "no --model"},
		{"loss --model x", exitUsage, "--tokens"},
		{"quantize --model x", exitUsage, "-method"},
		{"generate --model x", exitUsage, "no --prompt"},
		{"inspect", exitUsage, "expected 1"},
		{"data", exitUsage, "usage: tlq data"},
		{"data lists", exitUsage, "unknown command"},
		{"notebook", exitUsage, "usage: tlq notebook"},
		{"notebook runs", exitUsage, `did you mean "notebook run"?`},
		{"notebook run --timeout soon", exitUsage, "expected a time such as 90s"},
		{"quantize --seed -1", exitUsage, "expected a whole number, 0 or more"},
		{"eval --limit 1.5", exitUsage, "expected a whole number"},
		{"conform model x", exitUsage, `expected models or algorithms; did you mean "models"?`},
		{"methods a b", exitUsage, "expected 1"},
		{"methods extra", exitFailed, "expected one of rtn"},
		{"methods qig", exitOK, "tokens.integrate.steps=32"},
		{"diff a", exitUsage, "expected 2"},
		{"diff a b", exitFailed, "not a run's folder"},
		{"conform algorithms x", exitFailed, "no fixtures"},
		{"worker --join nats://x", exitNotBuilt, "known but not built yet"},
		{"export --to gguf x -o y", exitNotBuilt, "known but not built yet"},
		{"help", exitOK, "usage: tlq"},
		{"ablate --help", exitOK, "--smoke"},
		{"help data", exitOK, "contact sheet"},
		{"data show -h", exitOK, "--split"},
	} {
		got := tlqRun(strings.Fields(c.args)...)
		text := got.err
		if c.code == exitOK {
			text = got.out
		}
		if got.code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("tlq %s: exit %d, want %d, with %q in:\n%s%s", c.args, got.code, c.code, c.want, got.out, got.err)
		}
	}
}

// TestBadNames expects one line on standard error, exit code 1, and nothing
// written.
func TestBadNames(t *testing.T) {
	model := workplace(t)
	spec := func(text string) string {
		path := filepath.Join(t.TempDir(), "spec.json")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "MODEL", model)), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"spec":          {[]string{"ablate", "papper"}, []string{"papper", "paper"}},
		"method":        {[]string{"ablate", spec(`{"models":["MODEL"],"methods":["tql"]}`)}, []string{"tql", "rtn", "tlq"}},
		"format":        {[]string{"ablate", spec(`{"models":["MODEL"],"formats":["w4a9"]}`)}, []string{"w4a9", "w4a8"}},
		"task":          {[]string{"ablate", spec(`{"models":["MODEL"],"tasks":["emoji","scenery"]}`)}, []string{"scenery", "scene"}},
		"model":         {[]string{"ablate", spec(`{"models":["zoo:nothing"]}`)}, []string{"zoo:nothing", "Hugging Face layout"}},
		"field":         {[]string{"ablate", spec(`{"model":["MODEL"]}`)}, []string{`"model"`, "models"}},
		"eval model":    {[]string{"eval", "--model", "/nowhere"}, []string{"/nowhere"}},
		"eval task":     {[]string{"eval", "--model", model, "--tasks", "emojo"}, []string{"emojo", "emoji"}},
		"method name":   {[]string{"quantize", "--model", model, "--method", "qtl", "--format", "w4a8", "-o", "x"}, []string{"qtl", "tlq"}},
		"setting":       {[]string{"quantize", "--model", model, "--method", "tlq", "--format", "w4a8", "--set", "tokens.kep=1", "-o", "x"}, []string{"tokens.kep", "tokens.keep"}},
		"group":         {[]string{"quantize", "--model", model, "--method", "rtn", "--format", "w4a16g24", "-o", "x"}, []string{"24", "32"}},
		"set of images": {[]string{"quantize", "--model", model, "--method", "tlq", "--format", "w4a8", "--calib", "coco", "-o", "x"}, []string{"coco", "default"}},
		"recipe":        {[]string{"train", "qwen2vl-huge", "-o", "x"}, []string{"qwen2vl-huge", "qwen2vl-nano"}},
		"data task":     {[]string{"data", "show", "emojo"}, []string{"emojo", "emoji"}},
		"split":         {[]string{"data", "show", "--split", "exam"}, []string{"exam", "tuning"}},
		"run":           {[]string{"report", "."}, []string{"records.jsonl"}},
		"picture":       {[]string{"generate", "--model", model, "--image", spec("no picture"), "--prompt", "x"}, []string{"PNG"}},
		"stream":        {[]string{"loss", "--model", model, "--tokens", "nothing.safetensors"}, []string{"nothing.safetensors"}},
	} {
		got := tlqRun(c.args...)
		if got.code != exitFailed || strings.Count(got.err, "\n") != 1 || got.out != "" {
			t.Errorf("%s: exit %d, standard output %q, standard error:\n%s", name, got.code, got.out, got.err)
		}
		for _, w := range c.want {
			if !strings.Contains(got.err, w) {
				t.Errorf("%s: no %q in %s", name, w, got.err)
			}
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAblateSmokeTwice(t *testing.T) {
	model := workplace(t)
	spec := `{"models": ["` + model + `"], "tasks": ["emoji", "scene"], "formats": ["w4a8"], "limit": 4, "calibration": {"name": "default", "samples": 2},
		"stats": {"bootstrap": {"resamples": 2000, "level": 0.95}, "seed": 0}}`
	if err := os.WriteFile("mine.json", []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	first := tlqRun("ablate", "mine.json", "--smoke")
	if first.code != exitOK {
		t.Fatalf("exit %d: %s", first.code, first.err)
	}
	dir := first.lastLine()
	if !strings.HasPrefix(dir, filepath.Join("runs", "mine-smoke-")) {
		t.Errorf("the last line is %q", dir)
	}
	for _, name := range []string{"report.md", "report.html"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, err := harness.ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	second := tlqRun("ablate", "mine.json", "--smoke", "-o", "other", "--json")
	var printed runResult
	if err := json.Unmarshal([]byte(second.out), &printed); err != nil || printed.Dir != "other" {
		t.Errorf("--json printed %s: %v", second.out, err)
	}
	b, err := harness.ReadRun("other")
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.SameRun(a, b); err != nil {
		t.Error(err)
	}
	if err := harness.SameRun(b, printed.Records); err != nil {
		t.Error(err)
	}
	if got := tlqRun("report", dir); got.code != exitOK || got.lastLine() != dir {
		t.Errorf("report: exit %d, %s%s", got.code, got.out, got.err)
	}
	if got := tlqRun("ablate", "mine.json", "--smoke", "--plan"); got.code != exitOK || strings.Contains(got.out, "to do") {
		t.Errorf("--plan: exit %d:\n%s", got.code, got.out)
	}
	if got := tlqRun("ablate", "mine.json", "--smoke", "--seeds", "2", "--limit", "2", "-o", "seeds"); got.code != exitOK {
		t.Errorf("--seeds: exit %d: %s", got.code, got.err)
	}
	if seeds, err := harness.ReadRun("seeds"); err != nil || len(seeds) != 1+2*2 || seeds[4].Seed != 1 || seeds[0].N != 4 {
		t.Errorf("--seeds 2 --limit 2: %d records, %v", len(seeds), err)
	}
}

func TestQuantizeEvalInspectGenerateLoss(t *testing.T) {
	model := workplace(t)
	got := tlqRun("quantize", "--model", model, "--method", "tlq", "--format", "w3a16g16", "--set", "search.points=4", "--samples", "2", "-o", "out/q")
	if got.code != exitOK || got.lastLine() != "out/q" {
		t.Fatalf("quantize: exit %d, %s%s", got.code, got.out, got.err)
	}
	got = tlqRun("eval", "--model", model, "--model", "out/q", "--tasks", "emoji", "--limit", "3")
	if got.code != exitOK || !strings.HasPrefix(got.lastLine(), filepath.Join("runs", "eval-")) {
		t.Errorf("eval: exit %d, %s%s", got.code, got.out, got.err)
	}
	if records, err := harness.ReadRun(got.lastLine()); err != nil || len(records) != 2 || !(records[1].Metrics.KL > 0) {
		t.Errorf("eval: %+v, %v", records, err)
	}
	got = tlqRun("inspect", "out/q", "--json")
	var info harness.Inspection
	if err := json.Unmarshal([]byte(got.out), &info); err != nil || info.Manifest == nil || info.Manifest.Method.Search.Points != 4 {
		t.Errorf("inspect: %v: %s", err, got.out)
	}
	if got = tlqRun("inspect", model); got.code != exitOK || !strings.Contains(got.out, "model.embed_tokens.weight") {
		t.Errorf("inspect: exit %d, %s%s", got.code, got.out, got.err)
	}
	writePNG(t, "p.png")
	if got = tlqRun("generate", "--model", model, "--image", "p.png", "--prompt", "What is this?", "--max-tokens", "3", "--json"); got.code != exitOK {
		t.Errorf("generate: exit %d, %s", got.code, got.err)
	}
	if err := safetensors.WriteFile("t.safetensors", nil, safetensors.FromInts("t", []int{2, 5}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})); err != nil {
		t.Fatal(err)
	}
	got = tlqRun("loss", "--model", model, "--tokens", "t.safetensors:t", "--json")
	var l harness.Loss
	if err := json.Unmarshal([]byte(got.out), &l); err != nil || l.Tokens != 8 || !(l.Perplexity > 1) {
		t.Errorf("loss: %v, %+v, %s", err, l, got.err)
	}
}

func TestTables(t *testing.T) {
	workplace(t)
	for _, args := range [][]string{{"methods"}, {"devices"}, {"data", "list"}} {
		if got := tlqRun(args...); got.code != exitOK || got.out == "" {
			t.Errorf("%v: exit %d, %s", args, got.code, got.err)
		}
		got := tlqRun(append(args, "--json")...)
		if got.code != exitOK || !json.Valid([]byte(got.out)) {
			t.Errorf("%v --json: exit %d, %s", args, got.code, got.out)
		}
	}
	got := tlqRun("data", "show", "emoji", "-n", "2")
	if got.code != exitOK || got.lastLine() != filepath.Join("runs", "data", "emoji-test.png") {
		t.Errorf("data show: exit %d, %s%s", got.code, got.out, got.err)
	}
	f, err := os.Open(got.lastLine())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
}

func TestPanicsDoNotReachUsers(t *testing.T) {
	var errs bytes.Buffer
	code := guarded(&console{Out: &errs, Err: &errs}, func() int { panic("index out of range\ngoroutine 1") })
	if code != exitFailed || errs.String() != "tlq: internal error: index out of range\n" {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}
