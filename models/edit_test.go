package models_test

import (
	"errors"
	"image"
	"math"
	"math/bits"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

func mustHash(t *testing.T, m *models.Model) string {
	t.Helper()
	h, err := m.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// An edited model reads, saves and hashes as the model whose weights were changed in
// memory.
func TestEditedEqualsChangedWeights(t *testing.T) { forEachFamily(t, testEdited) }

func testEdited(t *testing.T, m *models.Model, _ *models.Runner) {
	if got := mustHash(t, m.Edited(models.Edit{})); got != mustHash(t, m) {
		t.Errorf("an edit of nothing has hash %s", got)
	}
	untied := *m.Config
	untied.Text.TiedHead = false
	double := func(v []float32) {
		for i := range v {
			v[i] *= 2
		}
	}
	e := m.Edited(models.Edit{
		Config: &untied,
		Layer:  func(l *models.Layer) error { double(l.Down.W); return nil },
		Embed:  func(rows []float32) error { double(rows); return nil },
		Ends:   func(norm, head []float32) error { double(norm); double(head[:len(norm)]); return nil },
		Vision: func(v *models.VisionWeights) error { double(v.Project[1].B); return nil },
	})
	w, err := m.Weights()
	if err != nil {
		t.Fatal(err)
	}
	w.Head = append([]float32(nil), w.Embed...)
	double(w.Embed)
	double(w.FinalNorm)
	double(w.Head[:len(w.FinalNorm)])
	double(w.Vision.Project[1].B)
	for _, l := range w.Layers {
		double(l.Down.W)
	}
	p := *m.Processor
	p.Config = &untied
	want := models.New(&p, w)
	hash := mustHash(t, want)
	if got := mustHash(t, e); got != hash {
		t.Errorf("edited hash %s, changed in memory %s", got, hash)
	}
	again, err := e.Weights()
	if err != nil {
		t.Fatal(err)
	}
	if got := mustHash(t, models.New(&p, again)); got != hash {
		t.Errorf("hash of the weights in memory %s, want %s", got, hash)
	}
	dir := t.TempDir()
	if err := e.Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	back, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if got := mustHash(t, back); got != hash {
		t.Errorf("hash after saving %s, want %s", got, hash)
	}
	layers := append([]*models.Layer(nil), w.Layers...)
	layers[1] = layers[1].Clone()
	layers[1].Up.W[5] = 7
	if got, want := mustHash(t, e.WithLayers(layers)), mustHash(t, want.WithLayers(layers)); got != want {
		t.Errorf("hash with other layers %s, want %s", got, want)
	}
}

// An edit's error reaches the caller with the place.
func TestEditFails(t *testing.T) {
	m, _ := loadTiny(t, tinyFamilies["qwen2vl"])
	e := m.Edited(models.Edit{Layer: func(*models.Layer) error { return errors.New("no luck") }})
	if _, err := e.Layer(2); err == nil || !strings.Contains(err.Error(), "layer 2: no luck") {
		t.Errorf("got %v", err)
	}
	if _, err := e.Hash(); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("hash: %v", err)
	}
}

// sylvester is the entry of the orthogonal Hadamard matrix of a power of two.
func sylvester(i, j, n int) float64 {
	return float64(1-2*(bits.OnesCount(uint(i&j))%2)) / math.Sqrt(float64(n))
}

// Online transforms are undone by weights that hold their inverse: forward, cached
// generation and a written folder compute the same function.
func TestOnlineHadamard(t *testing.T) { forEachFamily(t, testOnline) }

func testOnline(t *testing.T, m *models.Model, r *models.Runner) {
	online := *m.Config
	online.Text.Online = models.OnlineHadamard{Heads: true, Down: true}
	d, heads, inter := online.Text.HeadDim, online.Text.Heads, online.Text.Intermediate
	inverse := func(lin *models.Linear, entry func(i, j int) float64) { // W·M, row by row
		for o := range lin.Out {
			row := toFloat64(lin.W[o*lin.In : (o+1)*lin.In])
			for j := range lin.In {
				var sum float64
				for i, v := range row {
					sum += v * entry(i, j)
				}
				lin.W[o*lin.In+j] = float32(sum)
			}
		}
	}
	e := m.Edited(models.Edit{Config: &online, Layer: func(l *models.Layer) error {
		inverse(&l.O, func(i, j int) float64 {
			if i%d != j%d {
				return 0
			}
			return sylvester(i/d, j/d, heads)
		})
		inverse(&l.Down, func(i, j int) float64 { return sylvester(i, j, inter) })
		return nil
	}})
	dir := t.TempDir()
	if err := e.Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	back, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if back.Config.Text.Online != online.Text.Online {
		t.Fatalf("config.json keeps %+v", back.Config.Text.Online)
	}
	s, err := m.Prompt([]image.Image{picture(0)}, "What is this?", "cat")
	if err != nil {
		t.Fatal(err)
	}
	want := logits(t, r, s)
	compare(t, "edited", logits(t, r.With(e), s), want)
	compare(t, "written", logits(t, r.With(back), s), logits(t, r.With(e), s))
	testUncached(t, back, r.With(back))
}
