package train

import (
	"bytes"
	"context"
	"image"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/models"
)

// small is a recipe that trains in a second.
func small() Recipe { return smallOf(models.Qwen2VL) }

func smallOf(family models.Family) Recipe {
	r := scales[0].recipe(family)
	r.Name, r.Steps, r.Batch = string(family)+"-small", 4, []Portion{{"emoji", 1}, {"scene", 1}}
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
	b, err := (stream{&lost.recipe, lost.model}).batch(Portion{"scene", 1}, 1)
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

// The card of a finished folder holds the scores and the premise, and training the
// folder again does nothing.
func TestCard(t *testing.T) {
	dir, r := t.TempDir(), small()
	if err := start(t, r, dir).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s, err := harness.NewSession(root, t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	settings := DefaultCard()
	settings.Questions, settings.Premise.Prompts.N, settings.Premise.Formats = 4, 8, []string{"w4a8"}
	if err := WriteCard(t.Context(), s, dir, settings); err != nil {
		t.Fatal(err)
	}
	card := string(readFile(t, dir, "README.md"))
	for _, want := range []string{"| emoji | ", "| scene | ", "| average | ", "w4a8", "`./tlq train qwen2vl-small --seed 1`, 4 steps, 8 pictures"} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %q:\n%s", want, card)
		}
	}
	record, err := readRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := record.Scores["scene"].N; n != 4 {
		t.Errorf("the record's score is of %d questions, want 4", n)
	}
	before := readFile(t, dir, "training.json")
	if err := start(t, r, dir).run(t.Context()); err != nil || !bytes.Equal(before, readFile(t, dir, "training.json")) {
		t.Errorf("training a finished folder again: error %v, or its record changed", err)
	}
	r.Seed++
	if err := start(t, r, dir).run(t.Context()); err == nil || !strings.Contains(err.Error(), "another recipe") {
		t.Errorf("training another recipe into a finished folder: error %v", err)
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

// A vision token is asked for what stands at its centre: the whole picture is one
// grid of 8 × 8 tokens of 16 pixels, which LLaVA-OneVision sees twice.
func TestLabels(t *testing.T) {
	for family, views := range map[models.Family]int{models.Qwen2VL: 1, models.LlavaOV: 2} {
		tr := start(t, smallOf(family), t.TempDir())
		p, err := tr.model.Dialog([]image.Image{image.NewRGBA(image.Rect(0, 0, pictureSize, pictureSize))}, []models.Turn{{Question: "?", Answer: "!"}})
		if err != nil {
			t.Fatal(err)
		}
		labels := []datasets.Label{{Area: image.Rect(17, 33, 47, 47), Text: "cat"}}
		cat := tr.model.Tokenizer.Encode("cat")[0]
		got := (stream{&tr.recipe, tr.model}).labels(p.Images[0], labels)
		named, where := 0, map[int]bool{}
		for k, label := range got {
			if label == cat {
				named++
				where[k] = true
			} else if label != -1 {
				t.Errorf("%s: token %d has label %d, want %d or none", family, k, label, cat)
			}
		}
		if named != 2*views || !where[2*8+1] || !where[2*8+2] {
			t.Errorf("%s: the tokens %v name the cat, want 17 and 18 of each view", family, where)
		}
	}
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
