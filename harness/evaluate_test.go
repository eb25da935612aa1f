package harness

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models"
)

// tinySession opens a session whose zoo holds a random model, "zoo:tiny-nano".
func tinySession(t *testing.T) (*Session, *Model) {
	t.Helper()
	root := t.TempDir()
	if err := tiny.Write(filepath.Join(ZooDir(root), "tiny-nano"), 1); err != nil {
		t.Fatal(err)
	}
	s, err := NewSession(root, t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	s = s.WithContext(WithEvents(t.Context(), &EventLog{}))
	m, err := s.Model("zoo:tiny-nano")
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

func TestEvaluateUnquantized(t *testing.T) {
	s, m := tinySession(t)
	asked := []Questions{{Task: "emoji", Split: "test", N: 7}, {Task: "scene", Split: "test", N: 5}}
	got, err := m.Evaluate(nil, asked...)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 12 || got[0].Task != "emoji" || got[11].Task != "scene" {
		t.Fatalf("%d samples", len(got))
	}
	for _, x := range got {
		if x.KL == nil || *x.KL != 0 || !(x.NLL > 0) || len(x.LogLikelihoods) != 4 || x.Tokens != len(x.LogProbs) {
			t.Errorf("sample %+v", x)
		}
	}
	again, err := m.in(s).Evaluate(nil, asked...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Error("from the store:", diff)
	}
}

// TestBranchesScoreAsSeparatePrompts asks every choice in a sequence of its own
// and expects the likelihoods that the shared prefix gives.
func TestBranchesScoreAsSeparatePrompts(t *testing.T) {
	_, m := tinySession(t)
	got, err := m.Evaluate(nil, Questions{Task: "scene", Split: "test", N: 2})
	if err != nil {
		t.Fatal(err)
	}
	task, err := datasets.FindTask("scene")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Runner()
	if err != nil {
		t.Fatal(err)
	}
	const tolerance = 1e-4 // nats per token; other padded lengths, so other sums in attention
	for i, sample := range got {
		e, err := task.Example(datasets.Test, questionSeed, i)
		if err != nil {
			t.Fatal(err)
		}
		for k, choice := range e.Choices {
			seq, err := m.Prompt(e.Images, e.Question, choice)
			if err != nil {
				t.Fatal(err)
			}
			batches, err := r.Embed([]*models.Sequence{seq})
			if err != nil {
				t.Fatal(err)
			}
			y, err := r.Forward(batches[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			logits, err := r.Logits(batches[0], y)
			if err != nil {
				t.Fatal(err)
			}
			var logProbs []float64
			for row, scored := range seq.Scored {
				p, err := eval.LogProb(logits[row], scored.Target)
				if err != nil {
					t.Fatal(err)
				}
				logProbs = append(logProbs, p)
			}
			if d := eval.Mean(logProbs) - sample.LogLikelihoods[k]; d > tolerance || d < -tolerance {
				t.Errorf("question %d, choice %q: %v alone, %v as a branch", i, choice, eval.Mean(logProbs), sample.LogLikelihoods[k])
			}
		}
	}
}

func TestQuestionsChunks(t *testing.T) {
	var starts []int
	total := 0
	for _, c := range (Questions{Task: "emoji", N: 120}).chunks() {
		starts = append(starts, c.Start)
		total += c.N
	}
	if !slices.Equal(starts, []int{0, 50, 100}) || total != 120 {
		t.Errorf("starts %v, %d questions", starts, total)
	}
}
