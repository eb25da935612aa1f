package eval

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func twoSamples() []Sample {
	return []Sample{
		{
			ID: "1", Task: "emoji", Source: "cat", Question: "What is this?", Answer: "cat", Choices: []string{"dog", "cat"},
			LogLikelihoods: []float64{-2, -0.5}, Prediction: "cat", Correct: true, Tokens: 2, LogProbs: []float64{-0.25, -0.75},
			NLL: 0.5, KL: ptr(0.0), Agreement: ptr(1.0),
		},
		{
			ID: "2", Task: "scene", Question: "How many \"cats\"\n?", Answer: "3", Prediction: "tree", Generated: ptr("tree"),
			ExactMatch: ptr(false), Tokens: 1, LogProbs: []float64{-1}, NLL: 1,
		},
	}
}

func TestSamplesRoundTrip(t *testing.T) {
	want := twoSamples()
	var buf bytes.Buffer
	if err := WriteSamples(&buf, want); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(buf.String(), "\n"); lines != 2 {
		t.Errorf("%d lines for 2 samples", lines)
	}
	// A KL of 0 was measured and must not vanish like one that was not.
	if !strings.Contains(buf.String(), `"kl":0`) || strings.Count(buf.String(), `"kl"`) != 1 {
		t.Errorf("kl of the first sample only expected in:\n%s", buf.String())
	}
	got, err := ReadSamples(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSamplesRejected(t *testing.T) {
	good := `{"id":"1","task":"emoji"}` + "\n\n"
	for _, c := range []struct{ in, want string }{
		{good + `{"id":"2","task":"emoji","colour":1}`, "line 3: not a sample"},
		{good + `{"id":"2","task":"emoji"} {}`, "line 3: expected one JSON object"},
		{good + `{"id":"2"`, "line 3"},
		{good + `{"id":"2"}`, `id "2" and task ""`},
		{`[]`, "line 1"},
	} {
		if _, err := ReadSamples(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.in, err, c.want)
		}
	}
	bad := twoSamples()
	bad[1].NLL = math.NaN()
	if err := WriteSamples(&bytes.Buffer{}, bad); err == nil || !strings.Contains(err.Error(), "scene/2") {
		t.Errorf("NaN in a sample: error %v, want one that names scene/2", err)
	}
}

func FuzzReadSamples(f *testing.F) {
	var buf bytes.Buffer
	if err := WriteSamples(&buf, twoSamples()); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte(`{"id":"","task":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, err := ReadSamples(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteSamples(&out, samples); err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		again, err := ReadSamples(&out)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		var second bytes.Buffer
		if err := WriteSamples(&second, again); err != nil {
			t.Fatal(err)
		}
		if len(samples) != len(again) {
			t.Fatalf("%d samples became %d", len(samples), len(again))
		}
	})
}

func TestSummarize(t *testing.T) {
	samples := []Sample{
		{ID: "1", Task: "emoji", Source: "cat", Correct: true, NLL: 1, KL: ptr(0.1), Tied: true},
		{ID: "2", Task: "emoji", Source: "cat", Correct: false, NLL: 3, KL: ptr(0.3)},
		{ID: "3", Task: "emoji", Source: "dog", Correct: true, NLL: 2, KL: ptr(0.2)},
		{ID: "1", Task: "scene", Correct: true, NLL: 6, ExactMatch: ptr(true)},
	}
	s, err := Summarize(samples)
	if err != nil {
		t.Fatal(err)
	}
	if s.N != 4 || s.Clusters != 3 || s.Accuracy != 0.75 || s.NLL != 3 || s.Tied != 1 {
		t.Errorf("overall %+v", s.TaskScore)
	}
	if s.KL != nil || s.ExactMatch != nil {
		t.Errorf("KL %v, exact match %v over samples of which some have none, want nil", s.KL, s.ExactMatch)
	}
	emoji, scene := s.Tasks["emoji"], s.Tasks["scene"]
	if emoji.N != 3 || emoji.KL == nil || math.Abs(*emoji.KL-0.2) > 1e-15 {
		t.Errorf("emoji %+v", emoji)
	}
	// accuracy 2/3; residuals of cat: 1/3 − 2/3, of dog: 1/3; √(2·(1/9+1/9))/3
	if want := math.Sqrt(4.0/9) / 3; math.Abs(emoji.StdErr-want) > 1e-15 {
		t.Errorf("standard error %v, want %v", emoji.StdErr, want)
	}
	if scene.ExactMatch == nil || *scene.ExactMatch != 1 || scene.StdErr != 0 {
		t.Errorf("scene %+v", scene)
	}
	if _, err := Summarize(append(samples, samples[0])); err == nil || !strings.Contains(err.Error(), "emoji/1 was scored twice") {
		t.Errorf("a question twice: error %v", err)
	}
	if _, err := Summarize(nil); err == nil {
		t.Error("no samples gave no error")
	}
}

func TestCompare(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	first, second := make([]Sample, 50), make([]Sample, 50)
	for i := range first {
		first[i] = Sample{ID: fmt.Sprint(i), Task: "emoji", Correct: i < 30, NLL: 1, KL: ptr(0.0)}
		// loses 0..9, gains 30, 31; NLL + 0.5 on average 0.5
		second[i] = Sample{ID: fmt.Sprint(i), Task: "emoji", Correct: i >= 10 && i < 32, NLL: 1.5 + 0.1*float64(i%3-1), KL: ptr(0.25)}
	}
	rng.Shuffle(len(second), func(i, j int) { second[i], second[j] = second[j], second[i] })
	c, err := Compare(first, second, BootstrapConfig{}, rng)
	if err != nil {
		t.Fatal(err)
	}
	if c.OnlyFirst != 10 || c.OnlySecond != 2 || math.Abs(c.Accuracy.Mean+8.0/50) > 1e-15 {
		t.Errorf("lost %d, won %d, difference %v, want 10, 2, −0.16", c.OnlyFirst, c.OnlySecond, c.Accuracy.Mean)
	}
	// 2·(1 + 12 + 66)/2¹²
	if want := 2 * 79.0 / 4096; math.Abs(c.P-want) > 1e-12 {
		t.Errorf("p = %v, want %v", c.P, want)
	}
	if c.KL == nil || c.KL.Low != 0.25 || c.KL.High != 0.25 {
		t.Errorf("KL %+v, want 0.25 in every sample", c.KL)
	}
	if c.NLL.Low <= 0.4 || c.NLL.High >= 0.6 {
		t.Errorf("NLL %+v, want about 0.5", c.NLL)
	}

	same, err := Compare(first, first, BootstrapConfig{}, rng)
	if err != nil || same.P != 1 || same.Accuracy.Low != 0 || same.Accuracy.High != 0 {
		t.Errorf("a model against itself: %+v, %v, want 0 and p = 1", same, err)
	}
	second[3].KL = nil
	if c, err := Compare(first, second, BootstrapConfig{}, rng); err != nil || c.KL != nil {
		t.Errorf("KL %v, %v although one sample has none", c.KL, err)
	}
	if _, err := Compare(first, second[:49], BootstrapConfig{}, rng); err == nil || !strings.Contains(err.Error(), "50 questions with 49") {
		t.Errorf("different numbers: error %v", err)
	}
	second[0].ID = "other"
	if _, err := Compare(first, second, BootstrapConfig{}, rng); err == nil || !strings.Contains(err.Error(), "first model only") {
		t.Errorf("different questions: error %v", err)
	}
}
