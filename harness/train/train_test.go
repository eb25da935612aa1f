package train

import (
	"bytes"
	"context"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// small is a recipe that trains in a second.
func small() Recipe { return smallOf(models.Qwen2VL) }

func smallOf(family models.Family) Recipe {
	r := scales[0].recipe(family)
	r.Name, r.Steps, r.PicturesPerTask = string(family)+"-small", 4, 1
	r.Config.Text.Layers, r.Config.Vision.Depth, r.Config.Text.Vocab = 1, 1, 400
	if family == models.LlavaOV {
		r.Config.Vision.FeatureLayer = 1
	}
	r.CheckpointEvery, r.EvaluateEvery, r.Questions, r.Warmup = 3, 2, 4, 2
	return r
}

func start(t *testing.T, r Recipe, dir string) *trainer {
	t.Helper()
	tr, err := open(r, dir)
	if err != nil {
		t.Fatal(err)
	}
	tr.testQuestions = 4
	return tr
}

// stopAt is a context that ends once the trainer has done n steps.
type stopAt struct {
	context.Context
	t *trainer
	n int
}

func (s stopAt) Err() error {
	if s.t.step >= s.n {
		return context.Canceled
	}
	return nil
}

// A run that was stopped, or killed behind its last checkpoint, and continued
// ends with the same bytes as one that was not.
func TestResumeGivesTheSameBytes(t *testing.T) {
	for _, family := range []models.Family{models.Qwen2VL, models.LlavaOV} {
		t.Run(string(family), func(t *testing.T) { resumeGivesTheSameBytes(t, smallOf(family)) })
	}
}

func resumeGivesTheSameBytes(t *testing.T, r Recipe) {
	whole, stopped, killed := t.TempDir(), t.TempDir(), t.TempDir()
	if err := start(t, r, whole).run(t.Context()); err != nil {
		t.Fatal(err)
	}

	tr := start(t, r, stopped)
	if err := tr.run(stopAt{t.Context(), tr, 1}); err == nil {
		t.Fatal("the run did not stop")
	}
	if err := start(t, r, stopped).run(t.Context()); err != nil {
		t.Fatal(err)
	}

	// A killed process leaves the checkpoint of step 1 behind and loses step 2.
	tr = start(t, r, killed)
	if err := tr.run(stopAt{t.Context(), tr, 1}); err == nil {
		t.Fatal("the run did not stop")
	}
	lost := start(t, r, killed)
	if _, err := lost.restore(); err != nil {
		t.Fatal(err)
	}
	if lost.step != 1 {
		t.Fatalf("restored at step %d, want 1", lost.step)
	}
	b, err := (stream{&lost.recipe, lost.model}).batch("scene", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lost.one([]*models.TrainingBatch{b}); err != nil { // never saved
		t.Fatal(err)
	}
	if err := start(t, r, killed).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{stopped, killed} {
		for _, file := range []string{"model.safetensors", "tokenizer.json", "loss.svg", "accuracy.svg"} {
			if !bytes.Equal(readFile(t, whole, file), readFile(t, dir, file)) {
				t.Errorf("%s differs after a break", file)
			}
		}
	}
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCheckpointOfAnotherRecipe(t *testing.T) {
	dir := t.TempDir()
	tr := start(t, small(), dir)
	if err := tr.save(); err != nil {
		t.Fatal(err)
	}
	r := small()
	r.Seed = 2
	if _, err := start(t, r, dir).restore(); err == nil || !strings.Contains(err.Error(), "another recipe") {
		t.Errorf("restored with error %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, checkpointFile), 999); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, small(), dir).restore(); err == nil || !strings.Contains(err.Error(), "delete the file") {
		t.Errorf("restored a torn file with error %v", err)
	}
}

// The optimizer against the paper's formulas in float64.
func TestAdamW(t *testing.T) {
	r := small()
	rng := rand.New(rand.NewPCG(7, 7))
	w := models.Param{Name: "w", Shape: []int{3, 5}, Data: make([]float32, 15)}
	gain := models.Param{Name: "gain", Shape: []int{4}, Data: make([]float32, 4)}
	params := []models.Param{w, gain}
	a := newAdamW(&r, params)
	var ref [][]float64
	var m, v [][]float64
	for _, p := range params {
		x := make([]float64, len(p.Data))
		for i := range x {
			p.Data[i] = float32(rng.NormFloat64())
			x[i] = float64(p.Data[i])
		}
		ref, m, v = append(ref, x), append(m, make([]float64, len(x))), append(v, make([]float64, len(x)))
	}
	for step := 1; step <= 4; step++ {
		var grads [][]float32
		sum := 0.0
		for _, p := range params {
			g := make([]float32, len(p.Data))
			for i := range g {
				g[i] = float32(rng.NormFloat64())
				sum += float64(g[i]) * float64(g[i])
			}
			grads = append(grads, g)
		}
		norm := math.Sqrt(sum)
		if got := a.step(step, grads); math.Abs(got-norm) > 1e-9*norm {
			t.Fatalf("norm %v, want %v", got, norm)
		}
		for k := range params {
			for i, g32 := range grads[k] {
				g := float64(g32) * min(1, r.Clip/norm)
				m[k][i] = r.Beta1*m[k][i] + (1-r.Beta1)*g
				v[k][i] = r.Beta2*v[k][i] + (1-r.Beta2)*g*g
				mHat := m[k][i] / (1 - math.Pow(r.Beta1, float64(step)))
				vHat := v[k][i] / (1 - math.Pow(r.Beta2, float64(step)))
				decay := r.Decay
				if k == 1 {
					decay = 0
				}
				ref[k][i] -= r.rate(step) * (mHat/(math.Sqrt(vHat)+adamEpsilon) + decay*ref[k][i])
				if got := float64(params[k].Data[i]); math.Abs(got-ref[k][i]) > 1e-5*(1+math.Abs(ref[k][i])) {
					t.Fatalf("step %d, %s[%d]: %v, want %v", step, params[k].Name, i, got, ref[k][i])
				}
			}
		}
	}
}

func TestRate(t *testing.T) {
	r := scales[0].recipe(models.Qwen2VL)
	if got := r.rate(r.Warmup); got != r.Peak {
		t.Errorf("rate after warmup %v, want %v", got, r.Peak)
	}
	if got, want := r.rate(r.Steps), r.Peak*r.Final; math.Abs(got-want) > 1e-12 {
		t.Errorf("last rate %v, want %v", got, want)
	}
	for s := 2; s <= r.Steps; s++ {
		if s <= r.Warmup != (r.rate(s) > r.rate(s-1)) {
			t.Fatalf("rate turns at step %d", s)
		}
	}
}

func TestUnknownRecipe(t *testing.T) {
	if _, err := FindRecipe("qwen2vl-nan"); err == nil || !strings.Contains(err.Error(), "qwen2vl-nano") {
		t.Errorf("error %v does not list the valid names", err)
	}
}

// Every recipe is valid, of the size that its scale promises, and the card knows how
// many tokens a picture takes.
func TestRecipes(t *testing.T) {
	sizes := map[string][2]int{"nano": {400_000, 800_000}, "micro": {1_200_000, 2_000_000}, "mini": {4_500_000, 6_000_000}}
	recipes := Recipes()
	if len(recipes) != 6 {
		t.Fatalf("%d recipes, want two families at three scales", len(recipes))
	}
	for _, r := range recipes {
		p, err := newProcessor(&r.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		w := models.NewWeights(&r.Config)
		n := countValues(w, &r.Config)
		t.Logf("%s: %d parameters", r.Name, n)
		if want := sizes[r.Scale]; n < want[0] || n > want[1] {
			t.Errorf("%s has %d parameters, want %d to %d", r.Name, n, want[0], want[1])
		}
		for _, layer := range []int{r.Config.Text.Hidden, r.Config.Text.Intermediate, r.Config.Vision.Hidden, r.Config.Vision.Intermediate} {
			if layer%64 != 0 {
				t.Errorf("%s: width %d is not a multiple of 64", r.Name, layer)
			}
		}
		s, err := models.New(p, w).Prompt([]image.Image{image.NewRGBA(image.Rect(0, 0, pictureSize, pictureSize))}, "?", "!")
		if err != nil {
			t.Fatal(err)
		}
		vision := 0
		for _, m := range s.Modality {
			if m == models.Vision {
				vision++
			}
		}
		if want := visionTokens(&r.Config); vision != want {
			t.Errorf("%s: a picture takes %d tokens, the card says %d", r.Name, vision, want)
		}
	}
}
