package algorithms

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shared is the whole set of fixtures, where it lies beside the repository.
var shared = filepath.Join("..", "..", "..", "shared", "fixtures", "algorithms")

func fixtures(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(shared); err == nil {
		return shared
	}
	return filepath.Join("..", "..", "ptq", "testdata")
}

// Everything that the fixtures expect is reproduced.
func TestFixtures(t *testing.T) {
	byKind := map[string]int{}
	res, err := Run(context.Background(), []string{fixtures(t)}, func(c Check) {
		byKind[filepath.Base(c.Fixture)]++
		if !c.Pass {
			t.Errorf("%s, %s, %s: %s error %g, tolerance %g, %d values %s", c.Fixture, c.Case, c.Name, c.Kind, c.Error, c.Tolerance, c.Values, c.Note)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if byKind["rtn"] < 6 || byKind["mbq"] < 20 {
		t.Errorf("compared %v", byKind)
	}
	t.Logf("%d checks: %v; not built: %d", res.Checks, byKind, len(res.NotBuilt))
}

// copyFixture copies one folder so that a test can spoil it.
func copyFixture(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(fixtures(t), name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A number that is wrong, a tensor that is missing or that nothing expects, and
// broken files fail.
func TestSpoiledFixturesFail(t *testing.T) {
	for name, spoil := range map[string]func(dir string, cases map[string]any){
		"a case left out": func(_ string, c map[string]any) { c["cases"] = c["cases"].([]any)[1:] },
		"other bits":      func(_ string, c map[string]any) { c["cases"].([]any)[0].(map[string]any)["bits"] = 5 },
		"a tensor that isn't there": func(_ string, c map[string]any) {
			c["cases"].([]any)[0].(map[string]any)["id"] = "mbq_sym_pc_b9"
		},
		"other columns": func(_ string, c map[string]any) { c["columns"] = 100 },
		"no tensors": func(dir string, _ map[string]any) {
			if err := os.Remove(filepath.Join(dir, "rtn.safetensors")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := copyFixture(t, "rtn")
		path := filepath.Join(dir, caseFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var cases map[string]any
		if err := json.Unmarshal(data, &cases); err != nil {
			t.Fatal(err)
		}
		spoil(dir, cases)
		if data, err = json.Marshal(cases); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		res, err := Run(context.Background(), []string{dir}, func(Check) {})
		if err != nil || res.Failed == 0 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}

// What cannot be compared at all is an error; known kinds that are not built are
// listed.
func TestRunErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, caseFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func() (Result, error) { return Run(context.Background(), []string{dir}, func(Check) {}) }
	if _, err := run(); err == nil || !strings.Contains(err.Error(), "no fixtures below") {
		t.Errorf("got %v", err)
	}
	for text, want := range map[string]string{`{"method":"mbqq"}`: "unknown method", `[]`: "expected an object", `{`: "expected an object"} {
		write(text)
		if _, err := run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	write(`{"method":"bpdq"}`)
	if res, err := run(); err != nil || len(res.NotBuilt) != 1 || res.Checks != 0 {
		t.Errorf("got %+v, %v", res, err)
	}
	if _, err := Run(context.Background(), []string{filepath.Join(dir, "gone")}, func(Check) {}); err == nil {
		t.Error("a folder that isn't there was taken")
	}
}
