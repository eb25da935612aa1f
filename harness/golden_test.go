package harness

import (
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
)

var update = flag.Bool("update", false, "write testdata/stages.json anew")

// goldenStage is what one stage gave for the random model when its version was
// set.
type goldenStage struct {
	Version int                `json:"version"`
	Numbers map[string]float64 `json:"numbers"`
}

// goldenExamples are pictures and questions that no change of the packs
// touches.
func goldenExamples() []datasets.Example {
	var out []datasets.Example
	for i := range 4 {
		img := image.NewRGBA(image.Rect(0, 0, 128, 128))
		for y := range 128 {
			for x := range 128 {
				img.SetRGBA(x, y, color.RGBA{uint8(x * (i + 1)), uint8(y * (i + 2)), uint8((x ^ y) * (i + 3)), 0xff})
			}
		}
		choices := []string{"red", "blue cat", "seven", "no"}
		out = append(out, datasets.Example{
			ID: fmt.Sprint(i), Task: "golden", Images: []image.Image{img}, Question: "What is picture " + strings.Repeat("so ", i) + "?",
			Answers: choices[i : i+1], Choices: choices, Source: fmt.Sprint("picture ", i),
		})
	}
	return out
}

// goldenSamples are goldenExamples as calibration samples.
func goldenSamples(t *testing.T, m *Model, examples []datasets.Example) *Samples {
	t.Helper()
	c := mustSamples(t, m, len(examples), 0)
	c.seqs = sync.OnceValues(func() ([]*models.Sequence, error) { return m.tokenize(examples) })
	return c
}

// goldenAnswers puts the questions to a model.
func goldenAnswers(m *Model, q *Quantized, examples []datasets.Example, reference *answers) (*answers, error) {
	var questions []*eval.Question
	for _, e := range examples {
		question, err := eval.NewQuestion(m, e, false)
		if err != nil {
			return nil, err
		}
		questions = append(questions, question)
	}
	r, err := m.Runner()
	if err != nil {
		return nil, err
	}
	x, err := r.Embeddings(sequences(questions))
	if err != nil {
		return nil, err
	}
	return m.score(q, questions, x, reference)
}

// goldenTolerance separates another algorithm from another order of sums:
// backends and processors differ by about 1e-6 on these numbers.
const goldenTolerance = 1e-3

// TestStageVersions fails when a stage's results change and its version number
// doesn't: stored results of the old code would be taken for the new one's.
// Raise the version of the stage, then run the test with -update.
func TestStageVersions(t *testing.T) {
	got := measureStages(t)
	path := filepath.Join("testdata", "stages.json")
	if *update {
		if err := writeJSON(path, got); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]goldenStage
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	for name, g := range got {
		w, ok := want[name]
		if !ok || w.Version != g.Version {
			t.Errorf("stage %s has version %d, the golden file %d: run with -update", name, g.Version, w.Version)
			continue
		}
		for number, v := range g.Numbers {
			if old, ok := w.Numbers[number]; !ok || math.Abs(v-old) > goldenTolerance*math.Abs(old) {
				t.Errorf("stage %s: %s is %v, was %v: raise the stage's version and run with -update", name, number, v, old)
			}
		}
	}
}

func measureStages(t *testing.T) map[string]goldenStage {
	t.Helper()
	_, m := tinySession(t)
	out := map[string]goldenStage{}
	note := func(stage StageID, numbers map[string]float64) { out[stage.Name] = goldenStage{stage.Version, numbers} }
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	examples := goldenExamples()
	c, q := goldenSamples(t, m, examples), mustQuantization(t, "tlq", "w3a16g16")
	x, err := c.Embeddings()
	check(err)
	note(embedStage, map[string]float64{"mean |x|": meanAbs(x...)})
	gradients, err := m.Gradients(c)
	check(err)
	note(gradientsStage, map[string]float64{"layer 0, o": meanAbs(gradients.Layers[0].O...), "layer 1, down": meanAbs(gradients.Layers[1].Down...)})
	importance, err := m.Importance(c, q)
	check(err)
	note(importanceStage, map[string]float64{"layer 0, o": meanAbs(importance.Layers[0].O...), "layer 1, down": meanAbs(importance.Layers[1].Down...)})
	tokens, err := m.Tokens(c, q)
	check(err)
	kept := tokens.Layers[1].Down[1]
	note(tokensStage, map[string]float64{"kept": float64(len(kept.Index)), "mean weight": meanAbs(kept.Weight)})
	trace, err := m.Trace(c, q)
	check(err)
	curve := trace.Layers[1].Sites["gate_up"].J
	note(calibrateStage, map[string]float64{
		"J(0)": trace.Layers[0].Sites["qkv"].J[0], "mean J": eval.Mean(curve), "local error": trace.Layers[0].Local.Vision, "norm": trace.Layers[2].FPNorm,
	})
	// Weights alone: rounded activations would answer to the last bit of a sum.
	rounded, err := m.Quantize(c, mustQuantization(t, "rtn", "w3a16g16"))
	check(err)
	note(quantizeStage, map[string]float64{"bits": rounded.AvgBits})
	fp, err := goldenAnswers(m, nil, examples, nil)
	check(err)
	scored, err := goldenAnswers(m, rounded, examples, fp)
	check(err)
	samples := scored.samples
	nll, kl := 0.0, 0.0
	for _, s := range samples {
		nll, kl = nll+s.NLL, kl+*s.KL
	}
	note(evaluateStage, map[string]float64{"NLL": nll, "KL": kl})
	statistics, err := resample(Stats{}, nil, samples)
	check(err)
	note(statisticsStage, map[string]float64{"low": statistics.Intervals["nll"].Low, "high": statistics.Intervals["nll"].High})
	return out
}

// meanAbs is the mean magnitude over all rows.
func meanAbs(rows ...[]float32) float64 {
	sum, n := 0.0, 0
	for _, row := range rows {
		for _, v := range row {
			sum += math.Abs(float64(v))
			n++
		}
	}
	return sum / float64(n)
}
