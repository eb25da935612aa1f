package diff

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// cell is one made-up cell of a run: its answers follow from shift.
type cell struct {
	method, weights string
	shift           float64 // added to every answer's KL
	failed          bool
}

// questions are 40 answers about 20 pictures; every fourth is wrong, and
// wrong in another place where shift is not 0.
func questions(shift float64, reworded bool) []eval.Sample {
	out := make([]eval.Sample, 40)
	for i := range out {
		kl := 0.1 + 0.01*float64(i%7) + shift*(1+0.1*float64(i%3))
		question := fmt.Sprintf("Question %d?", i)
		if reworded && i < 10 {
			question += " Please."
		}
		out[i] = eval.Sample{
			ID: fmt.Sprint(i), Task: "emoji", Source: fmt.Sprint("picture ", i/2), Question: question, Answer: "cat",
			Correct: i%4 != 0 || (shift != 0 && i == 0), Prediction: "cat", Tokens: 2, LogProbs: []float64{-1, -1}, NLL: 1 + kl, KL: &kl,
		}
	}
	return out
}

func write(t *testing.T, spec harness.Spec, reworded bool, cells ...cell) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "samples"), 0o755); err != nil {
		t.Fatal(err)
	}
	var records []harness.Record
	for _, c := range cells {
		r := harness.Record{
			Model: "zoo:a", Family: "qwen2vl", Scale: "nano", Format: "w4a8", Method: c.method, AvgBits: 4.5, Status: harness.StatusOK,
			WeightsSHA256: c.weights, Tasks: map[string]harness.TaskScore{}, Events: []harness.Event{}, Spec: &spec,
			Samples: "samples/" + c.method + ".jsonl", SpecSHA256: spec.Hash(), DataSHA256: "d", N: 40,
		}
		if c.failed {
			r.Status = harness.StatusFailed
		}
		samples := questions(c.shift, reworded)
		summary, err := eval.Summarize(samples)
		if err != nil {
			t.Fatal(err)
		}
		r.Metrics = harness.Metrics{Accuracy: summary.Accuracy, NLL: summary.NLL, KL: *summary.KL}
		var b bytes.Buffer
		if err := eval.WriteSamples(&b, samples); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(r.Samples)), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	if err := harness.WriteRecords(filepath.Join(dir, harness.RecordsFile), records); err != nil {
		t.Fatal(err)
	}
	return dir
}

func runs(t *testing.T, a, b string) *Diff {
	t.Helper()
	d, err := Runs(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSameRun(t *testing.T) {
	spec := harness.DefaultSpec()
	a := write(t, spec, false, cell{method: "rtn", weights: "1"}, cell{method: "tlq", weights: "2"})
	d := runs(t, a, write(t, spec, false, cell{method: "rtn", weights: "1"}, cell{method: "tlq", weights: "2"}))
	if !d.Same || len(d.Settings) != 0 || len(d.Cells) != 2 || !d.Cells[1].IdenticalWeights {
		t.Errorf("two equal runs differ: %+v", d)
	}
	if x := d.Cells[0].Compared; x == nil || x.KL.Mean != 0 || x.KL.Low != 0 || x.KL.High != 0 || x.P != 1 {
		t.Errorf("equal answers differ: %+v", x)
	}
	if !strings.HasPrefix(d.Finding(), "The same run: 2 cells") {
		t.Error(d.Finding())
	}
}

// TestChangedRun changes a setting, the weights and answers of one cell, and
// the list of cells.
func TestChangedRun(t *testing.T) {
	before, after := harness.DefaultSpec(), harness.DefaultSpec()
	after.Calibration.Samples *= 2
	a := write(t, before, false, cell{method: "rtn", weights: "1"}, cell{method: "tlq", weights: "2"}, cell{method: "awq", weights: "3"})
	b := write(t, after, false, cell{method: "rtn", weights: "1"}, cell{method: "tlq", weights: "9", shift: 0.05}, cell{method: "mbq", weights: "4"})
	d := runs(t, a, b)
	want := Change{"spec.calibration.samples", fmt.Sprint(before.Calibration.Samples), fmt.Sprint(after.Calibration.Samples)}
	if d.Same || len(d.Settings) != 1 || d.Settings[0] != want {
		t.Errorf("settings: %+v, want only %+v", d.Settings, want)
	}
	if fmt.Sprint(d.OnlyA, d.OnlyB) != "[zoo:a w4a8 awq seed 0] [zoo:a w4a8 mbq seed 0]" {
		t.Errorf("cells of one run only: %v, %v", d.OnlyA, d.OnlyB)
	}
	tlq := d.Cells[1]
	if tlq.IdenticalWeights || tlq.Shared != 40 || tlq.Compared == nil {
		t.Fatalf("%+v", tlq)
	}
	// The mean of 0.05·(1 + 0.1·(i mod 3)) over i < 40: 13 and a third rounds.
	mean := 0.05 * (1 + 0.1*39/40)
	if got := tlq.Compared.KL.Mean; math.Abs(got-mean) > 1e-12 || tlq.Compared.KL.Low <= 0 {
		t.Errorf("KL changed by %v, want %v and beyond noise: %+v", got, mean, tlq.Compared.KL)
	}
	if tlq.Compared.OnlyFirst != 0 || tlq.Compared.OnlySecond != 1 {
		t.Errorf("flips %d and %d, want 0 and 1", tlq.Compared.OnlyFirst, tlq.Compared.OnlySecond)
	}
	if text := d.Finding(); !strings.Contains(text, "1 have other weights; KL changed beyond noise in 1, accuracy in 0") {
		t.Error(text)
	}
	for _, table := range []string{d.SettingsTable().Text(), d.CellsTable().Text()} {
		if !strings.Contains(table, "B") {
			t.Error(table)
		}
	}
	if err := d.CellsTable().Validate(); err != nil {
		t.Error(err)
	}
}

// TestOnlySameQuestionsAreCompared rewords ten questions, keeping their ids.
func TestOnlySameQuestionsAreCompared(t *testing.T) {
	spec := harness.DefaultSpec()
	d := runs(t, write(t, spec, false, cell{method: "rtn"}), write(t, spec, true, cell{method: "rtn"}))
	if c := d.Cells[0]; c.Shared != 30 || c.Compared.N != 30 || c.Note != "30 of 40 and 40 questions are the same" {
		t.Errorf("%+v", c)
	}
	if d.Cells[0].IdenticalWeights {
		t.Error("weights without a hash count as identical")
	}
}

func TestFailedAndMissing(t *testing.T) {
	spec := harness.DefaultSpec()
	a, b := write(t, spec, false, cell{method: "rtn"}, cell{method: "tlq"}), write(t, spec, false, cell{method: "rtn", failed: true}, cell{method: "tlq"})
	if err := os.Remove(filepath.Join(b, "samples", "tlq.jsonl")); err != nil {
		t.Fatal(err)
	}
	d := runs(t, a, b)
	if c := d.Cells[0]; c.Status != "failed in B" || c.Compared != nil {
		t.Errorf("%+v", c)
	}
	if c := d.Cells[1]; c.Compared != nil || !strings.Contains(c.Note, "not compared question by question") {
		t.Errorf("%+v", c)
	}
	if _, err := Runs(a, t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a run's folder") {
		t.Errorf("an empty folder: %v", err)
	}
}
