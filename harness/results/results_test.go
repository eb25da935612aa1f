package results

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// makeRun writes a run of an unquantized model and one quantized cell: four questions
// of which the first model answers three, the second two.
func makeRun(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "samples"), 0o755); err != nil {
		t.Fatal(err)
	}
	sample := func(id string, correct bool) eval.Sample {
		return eval.Sample{
			ID: id, Task: "emoji", Source: "cat", Question: "What is this?", Answer: "cat", Choices: []string{"dog", "cat"},
			LogLikelihoods: []float64{-2, -1}, Prediction: map[bool]string{true: "cat", false: "dog"}[correct], Correct: correct,
			Tokens: 1, LogProbs: []float64{-1}, NLL: 1,
		}
	}
	half := 0.5
	open := eval.Sample{ID: "o", Task: "open", Question: "What?", Answer: "x", Prediction: "y", Fraction: &half, Correct: true, Tokens: 1, LogProbs: []float64{-1}, NLL: 1}
	var records []harness.Record
	for i, rights := range [][]bool{{true, true, true, false}, {true, true, false, false}} {
		r := harness.Record{
			Model: "zoo:tiny", Method: harness.MethodFP, DataSHA256: "data", WeightsSHA256: "weights", Code: "code", Seconds: 1.5, Events: []harness.Event{},
			Tasks: map[string]harness.TaskScore{"emoji": {N: 4, Accuracy: 0.75, StdErr: 0.2, NLL: 1, KL: 0.25}}, Status: harness.StatusOK,
			Samples: "samples/0.jsonl",
		}
		if i == 1 {
			r.Method, r.Format, r.AvgBits, r.Samples = "rtn", "w4a8", 4.5, "samples/1.jsonl"
		}
		var samples []eval.Sample
		for k, right := range rights {
			samples = append(samples, sample(string(rune('a'+k)), right))
		}
		var out bytes.Buffer
		if err := eval.WriteSamples(&out, append(samples, open)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, r.Samples), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	failed := records[1]
	failed.Status, failed.Samples, failed.Method = harness.StatusFailed, "", "tlq"
	if err := harness.WriteRecords(filepath.Join(dir, harness.RecordsFile), append(records, failed)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// read decodes a JSON file.
func read(t *testing.T, path string) object {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v object
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// lines decodes the lines of a file.
func lines(t *testing.T, path string) []object {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []object
	for line := range bytes.Lines(data) {
		var v object
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// The keys that the two harnesses' own files have, without what only their machines know.
var (
	commonKeys = strings.Fields(`results group_subtasks configs versions n-shot higher_is_better n-samples config git_hash date task_hashes model_source model_name
		model_name_sanitized system_instruction chat_template start_time end_time total_evaluation_time_seconds`)
	configKeys = strings.Fields(`model model_args batch_size batch_sizes device use_cache limit bootstrap_iters gen_kwargs random_seed numpy_seed torch_seed fewshot_seed`)
)

func wantKeys(t *testing.T, what string, v any, keys ...string) {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s is %T, want an object", what, v)
	}
	for _, k := range keys {
		if _, ok := m[k]; !ok {
			t.Errorf("%s lacks %q", what, k)
		}
	}
}

var date = time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)

func TestLMMsEval(t *testing.T) {
	out := t.TempDir()
	files, err := Write(out, makeRun(t), Config{LMMsEval, date})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"zoo__tiny/20260304_050607_samples_emoji.jsonl", "zoo__tiny/20260304_050607_samples_open.jsonl", "zoo__tiny/20260304_050607_results.json",
		"zoo__tiny,rtn,w4a8,0/20260304_050607_samples_emoji.jsonl", "zoo__tiny,rtn,w4a8,0/20260304_050607_samples_open.jsonl", "zoo__tiny,rtn,w4a8,0/20260304_050607_results.json",
	}
	for i := range want {
		want[i] = filepath.Join(out, want[i])
	}
	if !slices.Equal(files, want) {
		t.Fatalf("files %q, want %q", files, want)
	}
	head := read(t, files[5])
	wantKeys(t, "the file", head, commonKeys...)
	wantKeys(t, "config", head["config"], configKeys...)
	task := head["results"].(map[string]any)["emoji"].(map[string]any)
	wantKeys(t, "the task", task, "alias", "acc,none", "acc_stderr,none", "acc_stderr_clt,none", "acc_stderr_clustered,none", "paired_baseline", "paired_pvalue")
	// Points 1, 1, 0, 0: mean 0.5, standard deviation √(1/3), over √4. Differences 0, 0, −1, 0:
	// mean −0.25, standard deviation 0.5, error 0.25, so z = −1.
	for key, want := range map[string]float64{
		"acc,none": 0.5, "acc_stderr_clt,none": math.Sqrt(1.0/3) / 2, "acc_stderr_clustered,none": 0.2, "paired_baseline_score": 75,
		"paired_ci_lower": 100 * (-0.25 - 1.96*0.25), "paired_ci_upper": 100 * (-0.25 + 1.96*0.25), "paired_pvalue": 0.3173105,
	} {
		if got, ok := task[key].(float64); !ok || math.Abs(got-want) > 1e-6 {
			t.Errorf("%s is %v, want %v", key, task[key], want)
		}
	}
	if n := head["n-samples"].(map[string]any)["emoji"].(map[string]any); n["original"] != 4.0 || n["effective"] != 4.0 {
		t.Errorf("n-samples %v", n)
	}
	if fp := read(t, files[2])["results"].(map[string]any)["emoji"].(map[string]any); fp["paired_baseline"] != nil {
		t.Errorf("the unquantized model is compared with itself: %v", fp)
	}
	all := lines(t, files[3])
	if len(all) != 4 || all[2]["doc_id"] != 2.0 || all[2]["target"] != "cat" || all[2]["acc"] != 0.0 {
		t.Errorf("samples %v", all)
	}
	wantKeys(t, "a sample", all[0], "doc_id", "target", "resps", "filtered_resps", "token_counts", "doc_hash", "input", "input_media", "acc")
	if open := lines(t, files[4])[0]; open["acc"] != 0.5 {
		t.Errorf("a partly right answer scores %v, want its fraction", open["acc"])
	}
}

func TestLMEval(t *testing.T) {
	out := t.TempDir()
	files, err := Write(out, makeRun(t), Config{LMEval, date})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(out, "zoo__tiny", "results_2026-03-04T05-06-07.000008.json"); files[2] != want {
		t.Fatalf("file %s, want %s", files[2], want)
	}
	head := read(t, files[2])
	wantKeys(t, "the file", head, append(commonKeys, "groups", "fewshot_as_multiturn")...)
	if head["date"] != 1772600767.000008 {
		t.Errorf("date %v", head["date"])
	}
	wantKeys(t, "the task", head["results"].(map[string]any)["emoji"], "name", "alias", "sample_len", "acc,none", "acc_stderr,none")
	all := lines(t, files[0])
	wantKeys(t, "a sample", all[0], "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash", "target_hash", "acc")
	text := ""
	for _, s := range all {
		text += s["doc_hash"].(string) + s["prompt_hash"].(string) + s["target_hash"].(string)
	}
	if got := head["task_hashes"].(map[string]any)["emoji"]; got != sha(text) {
		t.Errorf("task hash %v, want that of the samples' hashes", got)
	}
	if got := all[0]["target_hash"]; got != sha("cat") {
		t.Errorf("target hash %v", got)
	}
}

func TestWriteRefuses(t *testing.T) {
	run := makeRun(t)
	if _, err := Write(t.TempDir(), run, Config{Schema: "lmeval"}); err == nil || !strings.Contains(err.Error(), "lm-eval") {
		t.Errorf("an unknown schema gave %v", err)
	}
	if _, err := Write(t.TempDir(), t.TempDir(), Config{Schema: LMEval}); err == nil {
		t.Error("a folder without records gave no error")
	}
	if err := os.WriteFile(filepath.Join(run, "samples", "1.jsonl"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.TempDir(), run, Config{Schema: LMEval}); err == nil || !strings.Contains(err.Error(), "1.jsonl") {
		t.Errorf("broken samples gave %v", err)
	}
}

// TestWriteBeside wants the same files from the same records, in place of earlier ones,
// and those kept where the new ones can't be written.
func TestWriteBeside(t *testing.T) {
	run := makeRun(t)
	if err := os.Chtimes(filepath.Join(run, harness.RecordsFile), date, date); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(run, harness.ResultsDir, "lmms-eval")
	stale := filepath.Join(want, "zoo__tiny", "20200101_000000_results.json")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	folder, err := WriteBeside(run, LMMsEval)
	if err != nil || folder != want {
		t.Fatalf("folder %s, %v; want %s", folder, err, want)
	}
	result := filepath.Join(want, "zoo__tiny,rtn,w4a8,0", "20260304_050607_results.json")
	first, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("an earlier run's file is still there")
	}
	if _, err := WriteBeside(run, LMMsEval); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(result); err != nil || !bytes.Equal(first, again) {
		t.Errorf("written again: %v, equal %v", err, bytes.Equal(first, again))
	}
	if err := os.WriteFile(filepath.Join(run, "samples", "1.jsonl"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteBeside(run, LMMsEval); err == nil {
		t.Error("broken samples gave no error")
	}
	if again, err := os.ReadFile(result); err != nil || !bytes.Equal(first, again) {
		t.Errorf("after a failure: %v, equal %v", err, bytes.Equal(first, again))
	}
	if _, err := os.Stat(want + ".new"); err == nil {
		t.Error("a failure left files behind")
	}
}
