package models_test

import (
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models"
)

// The tests here compare two float32 computations of the same numbers in another
// order of summation.
const sameNumbers = 2e-5

// tinyFamilies write a tiny model of each family that reads pictures.
var tinyFamilies = map[string]func(dir string, seed uint64) error{"qwen2vl": tiny.Write, "llavaov": tiny.WriteLlavaOV}

// forEachFamily runs a test on a tiny model of each family that reads pictures.
func forEachFamily(t *testing.T, test func(t *testing.T, m *models.Model, r *models.Runner)) {
	for name, write := range tinyFamilies {
		t.Run(name, func(t *testing.T) {
			m, r := loadTiny(t, write)
			test(t, m, r)
		})
	}
}

func loadTiny(t *testing.T, write func(dir string, seed uint64) error) (*models.Model, *models.Runner) {
	t.Helper()
	dir := t.TempDir()
	if err := write(dir, 1); err != nil {
		t.Fatal(err)
	}
	m, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	r, err := models.NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, r
}

func picture(seed int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, 128, 128))
	for y := range 128 {
		for x := range 128 {
			img.Set(x, y, color.RGBA{uint8(x * (seed + 1)), uint8(y * 3), uint8((x ^ y) + seed), 255})
		}
	}
	return img
}

// logits runs sequences through a model, one row per scored prediction.
func logits(t *testing.T, r *models.Runner, seqs ...*models.Sequence) [][]float32 {
	t.Helper()
	batches, err := r.Embed(seqs)
	if err != nil {
		t.Fatal(err)
	}
	bySeq := make([][][]float32, len(seqs))
	for _, b := range batches {
		x, err := r.Forward(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := r.Logits(b, x)
		if err != nil {
			t.Fatal(err)
		}
		for k, i := range b.Index {
			n := len(b.Seqs[k].Scored)
			bySeq[i], rows = rows[:n], rows[n:]
		}
	}
	return slices.Concat(bySeq...)
}

func compare(t *testing.T, name string, got, want [][]float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", name, len(got), len(want))
	}
	for i := range want {
		for j, v := range want[i] {
			if d := math.Abs(float64(got[i][j] - v)); !(d <= sameNumbers*(1+math.Abs(float64(v)))) {
				t.Fatalf("%s: row %d, token %d: %v, want %v", name, i, j, got[i][j], v)
			}
		}
	}
}

// Answers that share a prompt as branches have the numbers of separate prompts,
// and so have questions that share a picture.
func TestBranchesEqualSeparatePrompts(t *testing.T) { forEachFamily(t, testBranches) }

func testBranches(t *testing.T, m *models.Model, r *models.Runner) {
	images := []image.Image{picture(0)}
	answers := []string{"cat", "a big dog", "B3"}
	shared, err := m.Prompt(images, "What is this?", answers...)
	if err != nil {
		t.Fatal(err)
	}
	var separate [][]float32
	for _, a := range answers {
		s, err := m.Prompt(images, "What is this?", a)
		if err != nil {
			t.Fatal(err)
		}
		separate = append(separate, logits(t, r, s)...)
	}
	compare(t, "answers", logits(t, r, shared), separate)

	turns := []models.Turn{{Question: "What is at A1?", Answer: "cat"}, {Question: "Where is the tree?", Answer: "C2"}}
	dialog, err := m.Dialog(images, turns)
	if err != nil {
		t.Fatal(err)
	}
	separate = nil
	for _, turn := range turns {
		s, err := m.Prompt(images, turn.Question, turn.Answer)
		if err != nil {
			t.Fatal(err)
		}
		separate = append(separate, logits(t, r, s)...)
	}
	compare(t, "questions", logits(t, r, dialog), separate)
}

// Neighbours in a batch and padding change nothing.
func TestBatchesChangeNothing(t *testing.T) { forEachFamily(t, testBatches) }

func testBatches(t *testing.T, m *models.Model, r *models.Runner) {
	var seqs []*models.Sequence
	var alone [][]float32
	for i, q := range []string{"What?", "What is this?", "What is at B3, in the picture of many things?", "Count: cat", "Where?", "Who?"} {
		s, err := m.Prompt([]image.Image{picture(i)}, q, "cat")
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, s)
		alone = append(alone, logits(t, r, s)...)
	}
	compare(t, "batch", logits(t, r, seqs...), alone)
}

// Generation with cached keys and values gives the tokens of a pass over
// everything from the beginning for each token.
func TestGenerationEqualsUncached(t *testing.T) { forEachFamily(t, testUncached) }

func testUncached(t *testing.T, m *models.Model, r *models.Runner) {
	prompt, err := m.Prompt([]image.Image{picture(3)}, "What is this?")
	if err != nil {
		t.Fatal(err)
	}
	const n = 6
	got, err := r.Generate(prompt, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Clone(prompt.IDs)
	var want []int32
	for range n {
		s, err := m.FromIDs(ids, prompt.Images)
		if err != nil {
			t.Fatal(err)
		}
		s.Scored = []models.Scored{{Pos: int32(len(ids) - 1)}}
		row := logits(t, r, s)[0]
		best := slices.Index(row, slices.Max(row))
		if int32(best) == m.Config.EOSToken {
			break
		}
		want = append(want, int32(best))
		ids = append(ids, int32(best))
	}
	if !slices.Equal(got, want) {
		t.Errorf("cached %v, uncached %v", got, want)
	}
}

// Every token of a picture lies on the grid over it, in order within a row.
func TestPlaces(t *testing.T) { forEachFamily(t, testPlaces) }

func testPlaces(t *testing.T, m *models.Model, _ *models.Runner) {
	for _, images := range [][]image.Image{{picture(0)}, {picture(0), picture(1)}} {
		list, err := m.Pictures(images)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			rows, cols, at := m.Config.Places(p)
			if len(at) != m.Config.Tokens(p) {
				t.Errorf("%d places for %d tokens", len(at), m.Config.Tokens(p))
			}
			covered := map[[2]int]bool{}
			for _, place := range at {
				covered[place] = true
				if place[0] < 0 || place[0] >= rows || place[1] < 0 || place[1] >= cols {
					t.Errorf("place %v of %d × %d", place, rows, cols)
				}
			}
			if len(covered) != rows*cols {
				t.Errorf("%d places covered of %d × %d", len(covered), rows, cols)
			}
		}
	}
}

// The taps of a block are what its linears read: the outputs follow from them.
func TestTapsGiveTheOutputs(t *testing.T) { forEachFamily(t, testTaps) }

func testTaps(t *testing.T, m *models.Model, r *models.Runner) {
	s, err := m.Prompt([]image.Image{picture(2)}, "What is this?", "cat")
	if err != nil {
		t.Fatal(err)
	}
	batches, err := r.Embed([]*models.Sequence{s})
	if err != nil {
		t.Fatal(err)
	}
	b := batches[0]
	x, c := b.X, m.Config.Text.Hidden
	for i := range m.NumLayers() {
		l, err := m.Layer(i)
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.Block(b, x, l, models.BlockOptions{Taps: true, Outputs: true})
		if err != nil {
			t.Fatal(err)
		}
		ref := reference{t: &m.Config.Text}
		for token := range s.Len() {
			row := func(v []float32, width int) []float32 { return v[token*width : (token+1)*width] }
			out := toFloat64(row(x, c))
			closeRow(t, "qkv", row(res.Inputs[models.QKV], c), ref.norm(l.InputNorm, out))
			attended := apply(&l.O, toFloat64(row(res.Inputs[models.O], l.O.In)))
			closeRow(t, "o_proj", row(res.OOut, c), attended)
			add(out, attended)
			h := ref.norm(l.PostNorm, out)
			closeRow(t, "gate_up", row(res.Inputs[models.GateUp], c), h)
			gate, up := apply(&l.Gate, h), apply(&l.Up, h)
			for k, g := range gate {
				up[k] *= g / (1 + math.Exp(-g))
			}
			closeRow(t, "down", row(res.Inputs[models.Down], l.Down.In), up)
			closeRow(t, "down_proj", row(res.Down, c), apply(&l.Down, up))
			add(out, apply(&l.Down, up))
			closeRow(t, "output", row(res.Y, c), out)
		}
		x = res.Y
	}
}

func closeRow(t *testing.T, name string, got []float32, want []float64) {
	t.Helper()
	for i, v := range want {
		if d := math.Abs(float64(got[i]) - v); !(d <= sameNumbers*(1+math.Abs(v))) {
			t.Fatalf("%s %d: %v, want %v", name, i, got[i], v)
		}
	}
}

// A saved model loads back with the same values, and its hash doesn't depend on
// where it is held.
func TestSaveLoad(t *testing.T) { forEachFamily(t, testSaveLoad) }

func testSaveLoad(t *testing.T, m *models.Model, _ *models.Runner) {
	w, err := m.Weights()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := models.New(m.Processor, w).Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	again, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	first, err := m.Hash()
	if err != nil {
		t.Fatal(err)
	}
	second, err := again.Hash()
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Errorf("hash %s after saving as F32, %s before", second, first)
	}
	w.Layers[1].Gate.W[3] += 1e-3
	if changed, _ := models.New(m.Processor, w).Hash(); changed == first {
		t.Error("the hash did not see a changed weight")
	}
}

// The gradient that training takes agrees with the one that calibration takes
// block by block: bumping a weight of o_proj's bias-free output is the same as
// bumping the tapped output.
func TestTrainingGradientEqualsDifference(t *testing.T) { forEachFamily(t, testTrainingGradient) }

func testTrainingGradient(t *testing.T, m *models.Model, r *models.Runner) {
	s, err := m.Dialog([]image.Image{picture(1)}, []models.Turn{{Question: "What is this?", Answer: "a cat"}, {Question: "Where?", Answer: "B2"}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Weights()
	if err != nil {
		t.Fatal(err)
	}
	_, _, places := m.Config.Places(s.Images[0])
	labels := make([]int32, len(places))
	for i := range labels {
		labels[i] = int32(i%4) - 1
	}
	const labelWeight = 0.5
	b, err := m.NewTrainingBatch([]*models.Sequence{s}, [][]int32{labels}, models.TrainingRoom{Tokens: models.Bucket(s.Len()), Scored: 32, Labels: 256})
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.LossAndGradients(b, w, labelWeight)
	if err != nil {
		t.Fatal(err)
	}
	if first.LabelLoss == 0 || b.Labels == 0 {
		t.Fatalf("%d labelled tokens, loss %v: want some", b.Labels, first.LabelLoss)
	}
	grads := first.Gradients
	// One central difference per tensor, along the gradient itself, which is where
	// float32 sees it best.
	const share = 1e-2 // of the loss that a step changes, about
	for i, p := range w.Params(m.Config) {
		norm := 0.0
		for _, g := range grads[i] {
			norm += float64(g) * float64(g)
		}
		if norm < 1e-8 {
			continue
		}
		step := share / norm
		move := func(by float64) float64 {
			for k, g := range grads[i] {
				p.Data[k] += float32(by * step * float64(g))
			}
			got, err := r.LossAndGradients(b, w, labelWeight)
			if err != nil {
				t.Fatal(err)
			}
			return got.Loss + labelWeight*got.LabelLoss
		}
		saved := slices.Clone(p.Data)
		up := move(1)
		copy(p.Data, saved)
		down := move(-1)
		copy(p.Data, saved)
		if got := (up - down) / (2 * share); math.Abs(got-1) > 0.1 {
			t.Errorf("%s: the loss moves %.3f times what the gradient says", p.Name, got)
		}
	}
}

func TestBadFolders(t *testing.T) {
	m, _ := loadTiny(t, tiny.Write)
	for name, c := range map[string]struct {
		change func(dir string)
		want   []string
	}{
		"no folder":  {func(dir string) { os.RemoveAll(dir) }, []string{"config.json", "Hugging Face layout"}},
		"other type": {edit("config.json", `"qwen2_vl"`, `"bert"`), []string{`"bert"`, "qwen2_vl"}},
		"window":     {edit("config.json", `"use_sliding_window": false`, `"use_sliding_window": true`), []string{"use_sliding_window"}},
		"activation": {edit("config.json", `"hidden_act": "silu"`, `"hidden_act": "relu"`), []string{"hidden_act", "relu", "silu"}},
		"shape":      {edit("config.json", `"intermediate_size": 64`, `"intermediate_size": 96`), []string{"mlp", "[64 32]", "[96 32]"}},
		"layers":     {edit("config.json", `"num_hidden_layers": 3`, `"num_hidden_layers": 4`), []string{"model.layers.3"}},
		"extra":      {edit("config.json", `"num_hidden_layers": 3`, `"num_hidden_layers": 2`), []string{"model.layers.2", "not part"}},
		"patches":    {edit("preprocessor_config.json", `"patch_size": 16`, `"patch_size": 8`), []string{"preprocessor_config.json", "8", "16"}},
		"truncated":  {truncate("model.safetensors"), []string{"model.safetensors"}},
		"shard":      {shardIndex, []string{"model-00002-of-00002.safetensors", "missing"}},
		"template":   {edit("chat_template.json", `vision_start`, `start_of_vision`), nil}, // loads; prompts don't
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "model")
			if err := m.Save(dir, "BF16"); err != nil {
				t.Fatal(err)
			}
			c.change(dir)
			loaded, err := models.Load(dir)
			if c.want == nil && err == nil {
				_, err = loaded.Prompt(nil, "Hello")
			}
			if err == nil {
				t.Fatal("loaded")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not name %q", err, w)
				}
			}
		})
	}
}

func edit(file, from, to string) func(dir string) {
	return func(dir string) {
		path := filepath.Join(dir, file)
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), from) {
			panic("no " + from + " in " + path)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(data), from, to, 1)), 0o644); err != nil {
			panic(err)
		}
	}
}

// shardIndex names a shard that isn't there.
func shardIndex(dir string) {
	if err := os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "model-00001-of-00002.safetensors")); err != nil {
		panic(err)
	}
	text := `{"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors","x":"model-00002-of-00002.safetensors"}}`
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(text), 0o644); err != nil {
		panic(err)
	}
}

func truncate(file string) func(dir string) {
	return func(dir string) {
		if err := os.Truncate(filepath.Join(dir, file), 5000); err != nil {
			panic(err)
		}
	}
}
