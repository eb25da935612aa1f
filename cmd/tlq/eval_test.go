package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness"
)

// TestEvalFolder asks a folder of questions, beside a built-in task.
func TestEvalFolder(t *testing.T) {
	model := workplace(t)
	if err := os.MkdirAll("mine/pictures", 0o755); err != nil {
		t.Fatal(err)
	}
	writePNG(t, "mine/pictures/a.png")
	const questions = `{"image": "pictures/a.png", "question": "What colour is this?", "answers": ["black"], "choices": ["black", "white"]}
{"image": "pictures/a.png", "question": "How many?", "answers": ["1", "one"], "scoring": "relaxed"}
`
	if err := os.WriteFile("mine/qa.jsonl", []byte(questions), 0o644); err != nil {
		t.Fatal(err)
	}
	got := tlqRun("eval", "--model", model, "--tasks", "mine,emoji", "--limit", "2", "-o", "out")
	if got.code != exitOK {
		t.Fatalf("exit %d, %s%s", got.code, got.out, got.err)
	}
	records, err := harness.ReadRun("out")
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	mine := records[0].Tasks["mine"]
	if mine.N != 2 || mine.Chance != 0.25 || records[0].Tasks["emoji"].N != 2 { // one of two choices, and one open question
		t.Errorf("tasks %+v", records[0].Tasks)
	}
	if !strings.Contains(got.out, "mine") {
		t.Errorf("the table doesn't show the folder:\n%s", got.out)
	}
	if err := os.WriteFile("mine/qa.jsonl", []byte(strings.ReplaceAll(questions, "a.png", "b.png")), 0o644); err != nil {
		t.Fatal(err)
	}
	got = tlqRun("eval", "--model", model, "--tasks", "mine")
	if got.code != exitFailed || !strings.Contains(got.err, filepath.Join("mine", "qa.jsonl")+":1") || !strings.Contains(got.err, "b.png") {
		t.Errorf("a missing picture: exit %d, %s", got.code, got.err)
	}
}

// TestEvalBenchmark asks a benchmark's questions in a local file, in the model's own words.
func TestEvalBenchmark(t *testing.T) {
	model := workplace(t)
	write(t, "hub/test.jsonl", `{"type": "human_test", "question": "How many?", "answer": "14", "image": "a.png"}`)
	writePNG(t, "hub/a.png")
	got := tlqRun("eval", "--model", model, "--tasks", "chartqa:hub", "-o", "out")
	if got.code != exitOK {
		t.Fatalf("exit %d, %s%s", got.code, got.out, got.err)
	}
	records, err := harness.ReadRun("out")
	if err != nil || len(records) != 1 || records[0].Tasks["chartqa"].N != 1 || records[0].Tasks["chartqa"].Chance != 0 {
		t.Errorf("%+v, %v", records, err)
	}
	for _, c := range []struct{ task, want string }{{"chartqb:hub", "did you mean"}, {"chartqa:nowhere", "nowhere"}, {"mmmu:hub", "row 0"}} {
		if got := tlqRun("eval", "--model", model, "--tasks", c.task); got.code != exitFailed || !strings.Contains(got.err, c.want) {
			t.Errorf("%s: exit %d, %s", c.task, got.code, got.err)
		}
	}
}
