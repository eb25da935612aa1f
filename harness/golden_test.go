package harness

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tlqlab/tlqlab/eval"
)

var update = flag.Bool("update", false, "write testdata/stages.json anew")

// goldenStage is what one stage gave for the random model when its version was
// set.
type goldenStage struct {
	Version int                `json:"version"`
	Numbers map[string]float64 `json:"numbers"`
}

type golden struct {
	Data   string                 `json:"data_sha256"` // other data give other numbers
	Stages map[string]goldenStage `json:"stages"`
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
	var want golden
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if got.Data != want.Data {
		t.Fatalf("the data changed (%s, was %s): run with -update; stages keep their versions, since keys name the data", got.Data, want.Data)
	}
	for name, g := range got.Stages {
		w, ok := want.Stages[name]
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

func measureStages(t *testing.T) golden {
	t.Helper()
	_, m := tinySession(t)
	data, err := dataHash()
	if err != nil {
		t.Fatal(err)
	}
	out := golden{Data: data, Stages: map[string]goldenStage{}}
	note := func(stage StageID, numbers map[string]float64) {
		out.Stages[stage.Name] = goldenStage{stage.Version, numbers}
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	c, q := mustSamples(t, m, 3, 0), mustQuantization(t, "tlq", "w3a16g16")
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
	rounded, err := m.Quantize(c, mustQuantization(t, "rtn", "w4a8"))
	check(err)
	note(quantizeStage, map[string]float64{"bits": rounded.AvgBits})
	samples, err := m.Evaluate(rounded, Questions{Task: "emoji", Split: "test", N: 6})
	check(err)
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
