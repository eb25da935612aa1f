package models_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// textConfig is a small language model whose widths all differ.
func textConfig(family models.Family) *models.Config {
	return &models.Config{Family: family, ImageToken: -1, EOSToken: 2, Text: models.TextConfig{
		Hidden: 48, Layers: 2, Heads: 6, KVHeads: 2, HeadDim: 8, Intermediate: 80, Vocab: 101,
		Eps: 1e-5, RopeTheta: 1e4, QKVBias: family == models.Qwen2,
	}}
}

// randomText fills biases too, which training starts at zero.
func randomText(t *testing.T, c *models.Config) *models.Weights {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	w := models.NewWeights(c)
	w.Randomize(c, rng)
	for _, p := range w.Params(c) {
		if len(p.Shape) == 1 {
			for i := range p.Data {
				p.Data[i] += float32(0.2 * rng.NormFloat64())
			}
		}
	}
	return w
}

var textVariants = map[string]*models.Config{
	"qwen2":        textConfig(models.Qwen2),
	"llama":        textConfig(models.Llama),
	"llama biases": with(models.Llama, func(t *models.TextConfig) { t.QKVBias, t.OutBias, t.MLPBias = true, true, true }),
	"tied":         with(models.Qwen2, func(t *models.TextConfig) { t.TiedHead = true }),
	"one KV head":  with(models.Qwen2, func(t *models.TextConfig) { t.KVHeads = 1 }),
	"all KV heads": with(models.Llama, func(t *models.TextConfig) { t.KVHeads = 6 }),
	"wide heads":   with(models.Llama, func(t *models.TextConfig) { t.HeadDim = 12 }),
	"rope_theta":   with(models.Llama, func(t *models.TextConfig) { t.RopeTheta = 5e5 }),
}

func with(f models.Family, change func(t *models.TextConfig)) *models.Config {
	c := textConfig(f)
	change(&c.Text)
	return c
}

// The graphs compute what the equations say, whatever the family, and a model
// comes back from the hub's layout as it was saved.
func TestLanguageModelsAgainstEquations(t *testing.T) {
	ids := make([]int32, 21)
	for i := range ids {
		ids[i] = int32(i * 37 % 101)
	}
	for name, c := range textVariants {
		t.Run(name, func(t *testing.T) {
			w := randomText(t, c)
			dir := t.TempDir()
			if err := models.New(&models.Processor{Config: c}, w).Save(dir, "F32"); err != nil {
				t.Fatal(err)
			}
			m, err := models.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if fmt.Sprint(*m.Config) != fmt.Sprint(*c) {
				t.Errorf("config came back as %v, want %v", *m.Config, *c)
			}
			r, err := models.NewRunner(m)
			if err != nil {
				t.Fatal(err)
			}
			got := logits(t, r, models.TextSequence(ids))
			want := reference{&c.Text, w}.logits(ids)
			for i := range got {
				for j, v := range want[i] {
					if d := math.Abs(float64(got[i][j]) - v); !(d <= sameNumbers*(1+math.Abs(v))) {
						t.Fatalf("token %d, score %d: %v, want %v", i, j, got[i][j], v)
					}
				}
			}
		})
	}
}

// Names with the prefixes that other releases wrote load as well.
func TestOtherPrefixesLoad(t *testing.T) {
	c := textConfig(models.Qwen2)
	w := randomText(t, c)
	m := models.New(&models.Processor{Config: c}, w)
	want, err := m.Hash()
	if err != nil {
		t.Fatal(err)
	}
	for name, rename := range map[string]func(string) string{
		"language_model.": func(n string) string { return "language_model." + n },
		"bare": func(n string) string {
			return strings.TrimPrefix(n, "model.")
		},
		"model.language_model.": func(n string) string {
			if rest, ok := strings.CutPrefix(n, "model."); ok {
				return "model.language_model." + rest
			}
			return n
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := m.Save(dir, "F32"); err != nil {
				t.Fatal(err)
			}
			renameTensors(t, filepath.Join(dir, "model.safetensors"), rename)
			again, err := models.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if got, err := again.Hash(); err != nil || got != want {
				t.Errorf("hash %s (%v), want %s", got, err, want)
			}
		})
	}
}

func renameTensors(t *testing.T, path string, rename func(string) string) {
	t.Helper()
	editTensors(t, path, func(all map[string]safetensors.Tensor) {
		for name, x := range maps.Clone(all) {
			delete(all, name)
			x.Name = rename(name)
			all[x.Name] = x
		}
	})
}

// A folder without tokenizer.json takes token streams and says so where text comes.
func TestNoTokenizer(t *testing.T) {
	c := textConfig(models.Llama)
	dir := t.TempDir()
	if err := models.New(&models.Processor{Config: c}, randomText(t, c)).Save(dir, "BF16"); err != nil {
		t.Fatal(err)
	}
	m, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Tokenizer != nil {
		t.Error("a tokenizer from nowhere")
	}
	_, err = m.Prompt(nil, "Hello")
	if err == nil || !strings.Contains(err.Error(), "tokenizer.json") {
		t.Errorf("error %v does not name tokenizer.json", err)
	}
	if _, err := m.FromIDs([]int32{1, 2}, nil); err != nil {
		t.Error(err)
	}
}

// stories260K is a real language model: its loss on 150 stories and its greedy
// continuation are known from an independent float32 implementation.
func TestStories260K(t *testing.T) {
	dir := "../../shared/weights/stories260k"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs ../shared/weights/stories260k")
	}
	var golden struct {
		FP32 struct {
			Loss   float64
			Tokens int
		}
		Greedy []int32 `json:"greedy_ids"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	m, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := models.NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	start, err := m.FromIDs(golden.Greedy[:1], nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Generate(start, len(golden.Greedy)-1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, golden.Greedy[1:]) {
		t.Errorf("greedy %v, want %v", got, golden.Greedy[1:])
	}
	if testing.Short() {
		t.Skip("the loss takes seconds")
	}
	streams := readStreams(t, filepath.Join(dir, "tokens.safetensors"), "eval")
	loss, n := 0.0, 0
	for _, s := range streams {
		for i, row := range logits(t, r, models.TextSequence(s)) {
			loss -= logProb(row, s[i+1])
			n++
		}
	}
	if n != golden.FP32.Tokens || math.Abs(loss/float64(n)-golden.FP32.Loss) > 1e-5 {
		t.Errorf("loss %.7f over %d tokens, want %.7f over %d", loss/float64(n), n, golden.FP32.Loss, golden.FP32.Tokens)
	}
}

func readStreams(t *testing.T, path, name string) (streams [][]int32) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := x.Int64s()
	if err != nil {
		t.Fatal(err)
	}
	for row := range slices.Chunk(ids, x.Shape[1]) {
		var s []int32
		for _, id := range row {
			if id >= 0 {
				s = append(s, int32(id))
			}
		}
		streams = append(streams, s)
	}
	return streams
}

func logProb(scores []float32, target int32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range scores {
		top = math.Max(top, float64(v))
	}
	for _, v := range scores {
		sum += math.Exp(float64(v) - top)
	}
	return float64(scores[target]) - top - math.Log(sum)
}
