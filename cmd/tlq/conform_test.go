package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness/conform"
)

func TestConform(t *testing.T) {
	fixtures := filepath.Join(t.TempDir(), "some", "fixtures")
	if err := os.CopyFS(fixtures, os.DirFS("../../models/testdata")); err != nil {
		t.Fatal(err)
	}
	workplace(t)
	got := tlqRun("conform", "models", filepath.Dir(fixtures))
	if got.code != exitOK || !strings.Contains(got.lastLine(), " 0 beyond tolerance") || !strings.Contains(got.out, "image_features") {
		t.Fatalf("exit %d:\n%s%s", got.code, got.out, got.err)
	}
	var list struct {
		Checks, Failed int
		List           []conform.Check
	}
	got = tlqRun("conform", "models", "--json", fixtures)
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || got.code != exitOK || list.Checks != len(list.List) || list.Checks < 40 {
		t.Errorf("exit %d, %d of %d comparisons: %v", got.code, len(list.List), list.Checks, err)
	}
	// A stricter tolerance than float32 can keep.
	path := filepath.Join(fixtures, "qwen2vl-f32", "tolerances.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), "0.0002", "1e-12")), 0o644); err != nil {
		t.Fatal(err)
	}
	got = tlqRun("conform", "models", fixtures)
	if got.code != exitFailed || !strings.Contains(got.out, "FAIL") || !strings.Contains(got.err, "beyond their tolerance") {
		t.Errorf("exit %d:\n%s", got.code, got.err)
	}
	for args, want := range map[string]string{"conform models .": "no fixtures", "conform models gone": "no such file"} {
		if got := tlqRun(strings.Fields(args)...); got.code != exitFailed || !strings.Contains(got.err, want) {
			t.Errorf("%s: exit %d: %s", args, got.code, got.err)
		}
	}
	for args, want := range map[string]string{"conform": "expected a kind", "conform modells x": `did you mean "models"`, "conform models": "at least one folder"} {
		if got := tlqRun(strings.Fields(args)...); got.code != exitUsage || !strings.Contains(got.err, want) {
			t.Errorf("%s: exit %d: %s", args, got.code, got.err)
		}
	}
}

func TestConformAlgorithms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fixtures")
	if err := os.CopyFS(dir, os.DirFS("../../ptq/testdata")); err != nil {
		t.Fatal(err)
	}
	workplace(t)
	got := tlqRun("conform", "algorithms", dir)
	if got.code != exitOK || !strings.Contains(got.lastLine(), " 0 beyond tolerance") || !strings.Contains(got.out, "loss_curve") {
		t.Fatalf("exit %d:\n%s%s", got.code, got.out, got.err)
	}
	later := filepath.Join(dir, "later")
	if err := os.Mkdir(later, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(later, "cases.json"), []byte(`{"method":"bpdq"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	got = tlqRun("conform", "algorithms", dir)
	if got.code != exitNotBuilt || !strings.Contains(got.err, "bpdq") || !strings.Contains(got.out, "not built yet: bpdq") {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	path := filepath.Join(dir, "mbq", "cases.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"alpha": 0.`, `"alpha": 1.`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	got = tlqRun("conform", "algorithms", "--json", dir)
	if got.code != exitFailed || !strings.Contains(got.err, "1 of ") || !strings.Contains(got.out, `"pass": false`) {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
}
