package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness"
)

// write makes a file, and its folders.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree lists all files and folders below the working folder.
func tree(t *testing.T) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

// damage copies a model's folder and changes one of its files.
func damage(t *testing.T, model, name string, change func([]byte) []byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "damaged")
	if err := os.CopyFS(dir, os.DirFS(model)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), change(data), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRefusals gives commands what they can't work with: one line says so, at once, and
// nothing is written.
func TestRefusals(t *testing.T) {
	model := workplace(t)
	write(t, "file", "text")
	write(t, "full/other.txt", "mine")
	write(t, "run/records.jsonl", "{\"model\": \n")
	write(t, "qa/qa.jsonl", `{"image": "a.png", "question": "What?", "answers": ["x"], "choices": ["x", "y"]}`+"\n")
	write(t, "qa/a.png", "\x89PNG\r\n\x1a\n, and no more")
	write(t, "list.json", "[]")
	write(t, "spec.json", `{"models": [`)
	cut := damage(t, model, "model.safetensors", func(b []byte) []byte { return b[:len(b)-100] })
	lying := damage(t, model, "model.safetensors", func(b []byte) []byte { b[7] = 0x7f; return b })
	config := damage(t, model, "config.json", func(b []byte) []byte { return b[:len(b)/2] })
	quantize := func(more ...string) []string {
		return append([]string{"quantize", "--model", model, "--method", "tlq", "--format", "w4a8", "-o", "out"}, more...)
	}
	before := tree(t)
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"samples":               {quantize("--samples", "100000000"), exitFailed, []string{"100000000", "10000"}},
		"no samples":            {quantize("--samples", "-1"), exitUsage, []string{"--samples -1", "10000"}},
		"fidelity samples":      {[]string{"fidelity", model, "--samples", "100000000"}, exitFailed, []string{"100000000", "10000"}},
		"fidelity prompts":      {[]string{"fidelity", model, "--limit", "100000000"}, exitFailed, []string{"100000000", "10000"}},
		"premise prompts":       {[]string{"inspect", "--premise", model, "--limit", "100000000"}, exitFailed, []string{"100000000", "10000"}},
		"claims samples":        {[]string{"claims", "--models", model, "--samples", "100000000"}, exitFailed, []string{"100000000", "10000"}},
		"inspect samples":       {[]string{"inspect", model, "--samples", "9000000000000000000"}, exitUsage, []string{"--samples", "10000"}},
		"ablate samples":        {[]string{"ablate", specOf(t, model, `"calibration": {"name": "default", "samples": 100000000}`)}, exitFailed, []string{"100000000", "10000"}},
		"ablate limit":          {[]string{"ablate", specOf(t, model, `"limit": 100000000`)}, exitFailed, []string{"limit 100000000", "100000"}},
		"eval limit":            {[]string{"eval", "--model", model, "--limit", "100000000", "-o", "out"}, exitFailed, []string{"limit 100000000", "100000"}},
		"examples":              {[]string{"data", "show", "-n", "100000000"}, exitUsage, []string{"-n 100000000", "1000"}},
		"group":                 {quantize("--format", "w4a16g24"), exitFailed, []string{"24", "32"}},
		"picture, eval":         {[]string{"eval", "--model", model, "--tasks", "emoji,qa", "-o", "out"}, exitFailed, []string{"qa.jsonl:1", "a.png"}},
		"picture, calibration":  {quantize("--calib", "qa"), exitFailed, []string{"qa.jsonl:1", "a.png"}},
		"output is a file":      {quantize("-o", "file"), exitFailed, []string{"file is a file"}},
		"output below a file":   {quantize("-o", "file/a/b"), exitFailed, []string{"file/a/b", "file is a file"}},
		"output is full":        {quantize("-o", "full"), exitFailed, []string{"full is not empty"}},
		"output is here":        {quantize("-o", "."), exitFailed, []string{"working folder"}},
		"eval into a file":      {[]string{"eval", "--model", model, "-o", "file"}, exitFailed, []string{"file is a file"}},
		"eval into a full":      {[]string{"eval", "--model", model, "-o", "full"}, exitFailed, []string{"full is not empty"}},
		"fidelity into a file":  {[]string{"fidelity", model, "-o", "file"}, exitFailed, []string{"file is a file"}},
		"premise into a file":   {[]string{"inspect", "--premise", model, "-o", "file"}, exitFailed, []string{"file is a file"}},
		"sheet below a file":    {[]string{"data", "show", "emoji", "-n", "1", "-o", "file/a.png"}, exitFailed, []string{"file is a file"}},
		"sheet is a folder":     {[]string{"data", "show", "emoji", "-n", "1", "-o", "full"}, exitFailed, []string{"full is a folder"}},
		"notebooks into a file": {[]string{"notebook", "run", "-o", "file"}, exitFailed, []string{"file is a file"}},
		"no notebook":           {[]string{"notebook", "run", "none.ipynb"}, exitFailed, []string{"none.ipynb"}},
		"broken notebook":       {[]string{"notebook", "run", "file"}, exitFailed, []string{"file: not a notebook"}},
		"spec is a list":        {[]string{"ablate", "list.json"}, exitFailed, []string{"list.json: expected a JSON object: got array"}},
		"no name":               {[]string{"report", ""}, exitUsage, []string{"argument 1 is empty"}},
		"no notebook to open":   {[]string{"notebook", "open", "none.ipynb"}, exitFailed, []string{"none.ipynb"}},
		"model is a file":       {[]string{"eval", "--model", "file"}, exitFailed, []string{`"file"`, "folder in the Hugging Face layout"}},
		"no model":              {[]string{"inspect", "full"}, exitFailed, []string{"full", "config.json"}},
		"cut weights":           {[]string{"eval", "--model", cut, "-o", "out"}, exitFailed, []string{"model.safetensors"}},
		"cut weights, inspect":  {[]string{"inspect", cut}, exitFailed, []string{"model.safetensors"}},
		"lying header":          {[]string{"quantize", "--model", lying, "--method", "rtn", "--format", "w4a8", "-o", "out"}, exitFailed, []string{"model.safetensors"}},
		"cut configuration":     {[]string{"loss", "--model", config, "--tokens", "t.safetensors"}, exitFailed, []string{"config.json"}},
		"cut records":           {[]string{"report", "run"}, exitFailed, []string{"records.jsonl", "line 1"}},
		"cut records, diff":     {[]string{"diff", "run", "run"}, exitFailed, []string{"records.jsonl", "line 1"}},
		"run is a file":         {[]string{"diff", "file", "run"}, exitFailed, []string{"file", "run's folder"}},
		"cut spec":              {[]string{"ablate", "spec.json"}, exitFailed, []string{"spec.json", "JSON"}},
		"fixtures are a file":   {[]string{"conform", "models", "file"}, exitFailed, []string{"file"}},
		"split":                 {[]string{"eval", "--model", model, "--split", "exam"}, exitFailed, []string{"exam", "tuning"}},
		"site":                  {[]string{"fidelity", model, "--sites", "qvk"}, exitFailed, []string{"qvk", "qkv"}},
		"fallback":              {quantize("--group-fallback", "half"), exitFailed, []string{"half", "halve"}},
		"outliers":              {quantize("--outliers", "chanel"), exitFailed, []string{"chanel", "channel"}},
		"empty task":            {[]string{"eval", "--model", model, "--tasks", "emoji,,scene"}, exitUsage, []string{"empty value"}},
		"streams of text":       {[]string{"loss", "--model", model, "--tokens", "file.safetensors"}, exitFailed, []string{"file.safetensors"}},
		"picture is missing":    {[]string{"generate", "--model", model, "--image", "none.png", "--prompt", "x"}, exitFailed, []string{"none.png"}},
		"nothing to say":        {[]string{"generate", "--model", model, "--prompt", "x", "--max-tokens", "0"}, exitUsage, []string{"--max-tokens 0"}},
		"sources":               {[]string{"data", "build", "-o", "full", "file", "file", "file", "file"}, exitFailed, []string{"file"}},
		"schema":                {[]string{"report", "run", "--results", "lm-evil"}, exitUsage, []string{"lm-evil", "lm-eval"}},
		"recipe":                {[]string{"methods", "tql"}, exitFailed, []string{"tql", "tlq"}},
	} {
		got := tlqRun(c.args...)
		line := firstLine(got.err)
		if got.code != c.code || got.out != "" || (c.code == exitFailed && strings.Count(got.err, "\n") != 1) {
			t.Errorf("%s: exit %d, want %d; standard output %q, standard error:\n%s", name, got.code, c.code, got.out, got.err)
		}
		if strings.Contains(got.err, "internal error") {
			t.Errorf("%s: a panic: %s", name, line)
		}
		for _, w := range c.want {
			if !strings.Contains(line, w) {
				t.Errorf("%s: no %q in %s", name, w, line)
			}
		}
	}
	if after := tree(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// specOf writes an experiment with one more field, and returns its path.
func specOf(t *testing.T, model, field string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spec.json")
	write(t, path, `{"models": ["`+model+`"], `+field+`}`)
	return path
}

// TestEvalQuantizedFolder asks folders that quantize wrote: they are recorded as what their
// manifests say, so that two runs pair.
func TestEvalQuantizedFolder(t *testing.T) {
	model := workplace(t)
	for _, q := range [][]string{{"q1", "w4a8", "rtn"}, {"q2", "w4a8", "rtn", "--vision-tower"}, {"q3", "w4a16g16", "rtn"}} {
		args := append([]string{"quantize", "--model", model, "-o", q[0], "--format", q[1], "--method", q[2]}, q[3:]...)
		if got := tlqRun(args...); got.code != exitOK {
			t.Fatalf("quantize: exit %d, %s", got.code, got.err)
		}
	}
	eval := func(out string, models ...string) []harness.Record {
		args := []string{"eval", "--tasks", "emoji", "--limit", "3", "-o", out}
		for _, m := range models {
			args = append(args, "--model", m)
		}
		if got := tlqRun(args...); got.code != exitOK {
			t.Fatalf("eval: exit %d, %s", got.code, got.err)
		}
		records, err := harness.ReadRun(out)
		if err != nil || len(records) != len(models) {
			t.Fatalf("%d records, %v", len(records), err)
		}
		return records
	}
	base, q1 := eval("base", model)[0], eval("e1", "q1")[0]
	if base.Method != harness.MethodFP || base.Format != "" || base.Folder != "" {
		t.Errorf("the unquantized model: %+v", base)
	}
	if q1.Model != model || q1.Folder != "q1" || q1.Method != "rtn" || q1.Format != "w4a8" || q1.Outliers != "none" || q1.AvgBits >= 8 ||
		q1.SourceSHA256 != base.WeightsSHA256 || q1.WeightsSHA256 == base.WeightsSHA256 || len(q1.Events) == 0 {
		t.Errorf("a quantized folder: %+v", q1)
	}
	if samples, err := harness.ReadSamples("e1", q1.Samples); err != nil || samples[0].KL != nil {
		t.Errorf("KL of a quantized model that nothing was compared with: %+v, %v", samples, err)
	}
	eval("e2", "q2")
	got := tlqRun("diff", "e1", "e2", "--json")
	var d struct {
		Cells []struct{ Shared int }
	}
	if err := json.Unmarshal([]byte(got.out), &d); err != nil || len(d.Cells) != 1 || d.Cells[0].Shared != 3 {
		t.Errorf("diff: %v, %s%s", err, got.out, got.err)
	}
	if both := eval("both", model, "q3"); both[0].Method != harness.MethodFP || both[1].Cell() != model+" w4a16g16 rtn seed 0" || !(both[1].Metrics.KL > 0) {
		t.Errorf("beside the model that it was made from: %+v", both)
	}
	// Two folders of one cell are told apart by their own names.
	if both := eval("both", "q1", "q2"); both[0].Model != "q1" || both[1].Model != "q2" || both[1].Method != "rtn" {
		t.Errorf("two folders of one cell: %+v", both)
	}
	if got := tlqRun("report", "both"); got.code != exitOK {
		t.Errorf("report: exit %d, %s", got.code, got.err)
	}
	if left, err := filepath.Glob(".tmp-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
