package report

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// realQuestions gives the small world's cells the IDs of questions that exist.
func realQuestions(t *testing.T) (string, []harness.Record) {
	t.Helper()
	dir := t.TempDir()
	w := smallWorld()
	w.models, w.seeds = w.models[:1], w.seeds[:1]
	records := w.write(t, dir)
	hash, err := datasets.Hash()
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		rec := &records[i]
		rec.DataSHA256 = hash
		samples, err := harness.ReadSamples(dir, rec.Samples)
		if err != nil {
			t.Fatal(err)
		}
		for k := range samples {
			_, number, _ := strings.Cut(samples[k].ID, "-")
			samples[k].ID = fmt.Sprintf("%s-test-0-%s", samples[k].Task, number)
		}
		var b strings.Builder
		if err := eval.WriteSamples(&b, samples); err != nil {
			t.Fatal(err)
		}
		put(t, dir, rec.Samples, []byte(b.String()))
	}
	if err := harness.WriteRecords(filepath.Join(dir, harness.RecordsFile), records); err != nil {
		t.Fatal(err)
	}
	return dir, records
}

func TestFlips(t *testing.T) {
	dir, records := realQuestions(t)
	r, err := newRun(records, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range r.settings {
		f, err := r.flips(st, r.focus())
		if err != nil {
			t.Fatal(err)
		}
		rtn, tlq := r.answers[st.scores[0].records[0].Cell()], r.answers[st.scores[1].records[0].Cell()]
		var onlyRTN, onlyTLQ int
		for i := range rtn.correct {
			switch rtn.correct[i] - tlq.correct[i] {
			case 1:
				onlyRTN++
			case -1:
				onlyTLQ++
			}
		}
		if f.a != "rtn" || f.b != "tlq" || f.numA != onlyRTN || f.numB != onlyTLQ || onlyRTN == 0 {
			t.Errorf("%s: %d and %d flips of %s and %s, want %d and %d", st.format, f.numA, f.numB, f.a, f.b, onlyRTN, onlyTLQ)
		}
		for _, q := range append(f.onlyA, f.onlyB...) {
			if q.picture == nil || q.picture.Bounds().Dx() != 128 {
				t.Errorf("%s has no picture", q.question.ID)
			}
		}
		figure, err := r.gallery(st, r.focus())
		if err != nil {
			t.Fatal(err)
		}
		svg, err := figure.SVG()
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(svg), "<image "); n != len(f.onlyA)+len(f.onlyB) {
			t.Errorf("%d pictures in the gallery, want %d", n, len(f.onlyA)+len(f.onlyB))
		}
	}
}

func TestFlipsOfOtherData(t *testing.T) {
	dir, records := realQuestions(t)
	for i := range records {
		records[i].DataSHA256 = "another"
	}
	r, err := newRun(records, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.gallery(r.settings[0], r.focus()); err == nil || !strings.Contains(err.Error(), "another version of the data") {
		t.Errorf("pictures of other data were drawn: %v", err)
	}
}

// The method with the least KL is compared with the baseline beside the focus.
func TestRivals(t *testing.T) {
	r := &run{methods: []string{"rtn", "gptq", "tlq"}}
	st := &setting{}
	for _, m := range []struct {
		name string
		kl   float64
	}{{"rtn", 0.3}, {"gptq", 0.1}, {"tlq", 0.2}} {
		st.scores = append(st.scores, &score{method: m.name, kl: estimate{mean: m.kl}, records: []*harness.Record{{}}})
	}
	if got := fmt.Sprint(r.rivals(st)); got != "[tlq gptq]" {
		t.Errorf("rivals are %s", got)
	}
	st.scores[2].kl.mean = 0.05
	if got := fmt.Sprint(r.rivals(st)); got != "[tlq]" {
		t.Errorf("where the focus is best, rivals are %s", got)
	}
}

func TestTaskByTask(t *testing.T) {
	var list []flip
	for _, task := range []string{"a", "a", "a", "b", "a", "c"} {
		list = append(list, flip{question: eval.Sample{Task: task, ID: fmt.Sprint(len(list))}})
	}
	var got []string
	for _, f := range taskByTask(list, 5) {
		got = append(got, f.question.Task+f.question.ID)
	}
	if want := "[a0 b3 c5 a1 a2]"; fmt.Sprint(got) != want {
		t.Errorf("picked %v, want %s", got, want)
	}
}

func TestWrapped(t *testing.T) {
	s := style(smallSize, ink, draw.XLeft)
	lines := wrapped(s, strings.Repeat("how many words ", 20), 100, 3)
	if len(lines) != 3 || !strings.HasSuffix(lines[2], "…") {
		t.Errorf("%q", lines)
	}
	for _, l := range lines {
		if s.Width(l) > 100 {
			t.Errorf("%q is too wide", l)
		}
	}
	if got := wrapped(s, "short", 100, 3); len(got) != 1 || got[0] != "short" {
		t.Errorf("%q", got)
	}
}
