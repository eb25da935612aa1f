package datasets

import (
	"strings"
	"testing"
)

func TestFindExample(t *testing.T) {
	for _, task := range Tasks() {
		want, err := task.Example(Tuning, 3, 5)
		if err != nil {
			t.Fatal(err)
		}
		got, err := FindExample(want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != want.ID || got.Question != want.Question || got.Answers[0] != want.Answers[0] {
			t.Errorf("%s: found %q, %q", want.ID, got.ID, got.Question)
		}
	}
	for id, want := range map[string]string{
		"emoji": "expected TASK-SPLIT", "emojis-test-0-1": `did you mean "emoji"`, "emoji-tests-0-1": "tests", "emoji-test-x-1": "two numbers", "emoji-test-0--1": "expected TASK-SPLIT",
	} {
		if _, err := FindExample(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", id, err, want)
		}
	}
}
