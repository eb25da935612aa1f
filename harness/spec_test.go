package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlqlab/tlqlab/ptq"
)

// testRoot makes a project folder whose zoo has the named models, as far as
// names go.
func testRoot(t *testing.T, models ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, m := range models {
		dir := filepath.Join(ZooDir(root), m)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSpecRoundTrip(t *testing.T) {
	s := DefaultSpec()
	s.Models = []string{"zoo:a"}
	own, err := ptq.FindMethod("tlq")
	if err != nil {
		t.Fatal(err)
	}
	own.Name = "mine"
	s.Methods = append(s.Methods, MethodRef{Inline: &own})
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSpec(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, got, cmpopts.IgnoreUnexported(ptq.Tokens{})); diff != "" {
		t.Error(diff)
	}
	if s.Hash() != got.Hash() || s.Hash() == DefaultSpec().Hash() {
		t.Error("the hash doesn't follow the content")
	}
}

func TestParseSpecFillsDefaults(t *testing.T) {
	s, err := ParseSpec([]byte(`{"models": ["zoo:a"], "methods": ["tlq"], "limit": 0}`))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultSpec()
	want.Models, want.Methods, want.Limit = []string{"zoo:a"}, []MethodRef{{Name: "tlq"}}, 0
	if diff := cmp.Diff(want, s, cmpopts.IgnoreUnexported(ptq.Tokens{})); diff != "" {
		t.Error(diff)
	}
	if s.questions() != AllQuestions {
		t.Errorf("limit 0 asks %d questions", s.questions())
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"modles": []}`:          "modles",
		`{"models": "a"}`:         "models",
		`[]`:                      "object",
		`{} {}`:                   "",
		`{"methods": [3]}`:        "method is a name or an object",
		`{"methods": [{"x": 1}]}`: "x",
	} {
		if _, err := ParseSpec([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want it to name %q", text, err, want)
		}
	}
}

func TestSpecValidateNamesWhatIsWrong(t *testing.T) {
	root := testRoot(t, "qwen2vl-nano")
	good := DefaultSpec()
	good.Models = []string{"zoo:qwen2vl-nano"}
	if err := good.Validate(root); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Spec)
		want   []string
	}{
		"model":      {func(s *Spec) { s.Models = []string{"zoo:qwen2vl-nanoo"} }, []string{"zoo:qwen2vl-nanoo", `did you mean "zoo:qwen2vl-nano"`}},
		"folder":     {func(s *Spec) { s.Models = []string{"/nowhere"} }, []string{"/nowhere", "zoo:qwen2vl-nano"}},
		"escape":     {func(s *Spec) { s.Models = []string{"zoo:../zoo/qwen2vl-nano"} }, []string{"unknown model"}},
		"format":     {func(s *Spec) { s.Formats = []string{"w4a7"} }, []string{"w4a7", "w4a8"}},
		"method":     {func(s *Spec) { s.Methods = []MethodRef{{Name: "tql"}} }, []string{"tql", "rtn", `did you mean "tlq"`}},
		"task":       {func(s *Spec) { s.Tasks = []string{"emojis"} }, []string{"emojis", "emoji", "scene"}},
		"split":      {func(s *Spec) { s.Split = "tests" }, []string{"tests", "tuning"}},
		"set":        {func(s *Spec) { s.Calibration.Name = "coco" }, []string{"coco", "default", "emoji+scene"}},
		"premise":    {func(s *Spec) { s.Premise = 1 }, []string{"premise 1", "at least 2"}},
		"samples":    {func(s *Spec) { s.Calibration.Samples = 0 }, []string{"calibration.samples 0"}},
		"limit":      {func(s *Spec) { s.Limit = -1 }, []string{"limit -1"}},
		"twice":      {func(s *Spec) { s.Formats = []string{"w4a8", "w4a8"} }, []string{"twice"}},
		"empty":      {func(s *Spec) { s.Seeds = nil }, []string{"seeds is empty"}},
		"no task":    {func(s *Spec) { s.Tasks = []string{} }, []string{"tasks is empty"}},
		"name":       {func(s *Spec) { s.Name = "../x" }, []string{"../x"}},
		"resamples":  {func(s *Spec) { s.Stats.Bootstrap.Resamples = 3 }, []string{"3 bootstrap"}},
		"fallback":   {func(s *Spec) { s.GroupFallback = "third" }, []string{"third", "halve"}},
		"two values": {func(s *Spec) { s.Methods = append(s.Methods, s.Methods[0]) }, []string{"twice"}},
	} {
		s := good
		c.change(&s)
		err := s.Validate(root)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q doesn't name %q", name, err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", name, err)
		}
	}
}

func TestLoadSpec(t *testing.T) {
	root := testRoot(t, "a-nano", "b-mini")
	paper, err := LoadSpec(root, "paper")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"zoo:a-nano", "zoo:b-mini"}, paper.Models); diff != "" || paper.Calibration.Name != "default" || len(paper.Tasks) != 5 {
		t.Error(diff)
	}
	smoke := paper.Smoke()
	if smoke.Name != "paper-smoke" || len(smoke.Models) != 1 || smoke.Limit != smokeQuestions || smoke.Calibration.Samples != smokeSamples {
		t.Errorf("smoke form: %+v", smoke)
	}
	if err := smoke.Validate(root); err != nil {
		t.Error(err)
	}
	if _, err := LoadSpec(root, "papper"); err == nil || !strings.Contains(err.Error(), `did you mean "paper"`) {
		t.Errorf("unknown spec: %v", err)
	}
	if _, err := LoadSpec(t.TempDir(), "paper"); err == nil || !strings.Contains(err.Error(), "train") {
		t.Errorf("empty zoo: %v", err)
	}
	file := filepath.Join(root, "mine.json")
	if err := os.WriteFile(file, []byte(`{"models": ["zoo:a-nano"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := LoadSpec(root, file); err != nil || s.Name != "mine" {
		t.Errorf("file: %+v, %v", s, err)
	}
}

// TestSpecIsFilledFromItsModels takes tasks and calibration pictures from what the models
// say they were trained on, in both forms of a recipe, and leaves alone what is named.
func TestSpecIsFilledFromItsModels(t *testing.T) {
	root := testRoot(t, "old-nano", "new-nano", "hub-nano", "broken-nano")
	for model, text := range map[string]string{
		"old-nano":    `{"recipe": {"tasks": ["scene", "emoji"]}}`,
		"new-nano":    `{"recipe": {"batch": [{"task": "text", "pictures": 4}, {"task": "scene", "pictures": 12}, {"task": "chart", "pictures": 0}, {"task": "maps", "pictures": 1}]}}`,
		"broken-nano": `{"recipe": []}`,
	} {
		if err := os.WriteFile(filepath.Join(ZooDir(root), model, trainingFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for models, want := range map[string]string{
		"old-nano": "emoji+scene", "new-nano": "scene+text", "old-nano new-nano hub-nano": "scene", "hub-nano broken-nano": "default", "nothing": "default",
	} {
		s := DefaultSpec()
		for _, m := range strings.Fields(models) {
			s.Models = append(s.Models, "zoo:"+m)
		}
		got := s.Filled(root)
		tasks := strings.Join(got.Tasks, "+")
		if want == "default" && tasks == "emoji+scene+chart+text+blur" {
			tasks = want
		}
		if got.Calibration.Name != want || tasks != want {
			t.Errorf("%s: calibration %s, tasks %v; want %s", models, got.Calibration.Name, got.Tasks, want)
		}
		if diff := cmp.Diff(got, got.Filled(root)); diff != "" {
			t.Error(diff)
		}
		s.Tasks, s.Calibration.Name = []string{"blur"}, "chart"
		if got := s.Filled(root); got.Tasks[0] != "blur" || got.Calibration.Name != "chart" {
			t.Errorf("%s: what was named was replaced: %+v", models, got)
		}
	}
}

func TestZooOrder(t *testing.T) {
	root := testRoot(t, "llavaov-mini", "llavaov-nano", "qwen2vl-micro", "qwen2vl-mini", "qwen2vl-nano", "own", "qwen2vl-nano-seed2")
	want := []string{"zoo:qwen2vl-nano", "zoo:qwen2vl-micro", "zoo:qwen2vl-mini", "zoo:llavaov-nano", "zoo:llavaov-mini", "zoo:own", "zoo:qwen2vl-nano-seed2"}
	if diff := cmp.Diff(want, Zoo(root)); diff != "" {
		t.Error(diff)
	}
}

func TestModelScale(t *testing.T) {
	for name, want := range map[string]string{"zoo:qwen2vl-nano": "nano", "/a/b/llavaov-mini": "mini", "/a/b": "", "zoo:nano": "nano"} {
		if got := modelScale(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(`{"models": ["zoo:a"], "methods": ["tlq", {"name": "x"}], "seeds": [1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSpec(data)
		if err != nil {
			return
		}
		_ = s.Validate(".")
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseSpec(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
