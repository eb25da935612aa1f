package ptq

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	tinydir "github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models"
)

// rotatedTolerance bounds what float32 arithmetic in another basis does to logits,
// relative to the largest.
const rotatedTolerance = 2e-5

// edgeModels are models of every family: pictures, grouped-query attention, norms with gains,
// biases everywhere a family can have them.
func edgeModels(t *testing.T) map[string]*models.Model {
	t.Helper()
	out := map[string]*models.Model{}
	for name, write := range map[string]func(dir string, seed uint64) error{"qwen2vl": tinydir.Write, "llavaov": tinydir.WriteLlavaOV} {
		dir := t.TempDir()
		if err := write(dir, 3); err != nil {
			t.Fatal(err)
		}
		m, err := models.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		w, err := m.Weights()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = models.New(m.Processor, roughen(w, m.Config))
	}
	for _, name := range []string{"qwen2", "llama", "odd sizes"} {
		family := models.Family(name)
		c := &models.Config{Family: family, ImageToken: -1, EOSToken: -1, Text: tinyConfig(2).Text}
		c.Text.MRopeSection = [3]int{}
		if name == "odd sizes" { // a base of order 12; heads in blocks of 2; a wide input in two steps
			c.Family, family = models.Llama, models.Llama
			c.Text.Hidden, c.Text.Heads, c.Text.KVHeads, c.Text.HeadDim, c.Text.Intermediate = 48, 14, 7, 6, 352
		}
		c.Text.OutBias, c.Text.MLPBias = family == models.Llama, family == models.Llama
		c.Text.TiedHead = family == models.Qwen2
		w := models.NewWeights(c)
		w.Randomize(c, rand.New(rand.NewPCG(4, 4)))
		out[name] = models.New(&models.Processor{Config: c}, roughen(w, c))
	}
	return out
}

// roughen gives norms gains and biases values.
func roughen(w *models.Weights, c *models.Config) *models.Weights {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, p := range w.Params(c) {
		switch {
		case strings.HasSuffix(p.Name, "norm.weight"):
			for i := range p.Data {
				p.Data[i] = float32(math.Exp(0.7 * rng.NormFloat64()))
			}
		case strings.HasSuffix(p.Name, ".bias"):
			for i := range p.Data {
				p.Data[i] += float32(0.3 * rng.NormFloat64())
			}
		}
	}
	return w
}

// edgeSequence is a prompt with a picture where the model reads one; every token is scored.
func edgeSequence(t *testing.T, m *models.Model) *models.Sequence {
	t.Helper()
	var s *models.Sequence
	if m.Tokenizer == nil {
		s = models.TextSequence([]int32{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5})
	} else {
		img := image.NewRGBA(image.Rect(0, 0, 96, 64))
		for i := range img.Pix {
			img.Pix[i] = uint8(i * 7)
		}
		img.Set(1, 1, color.White)
		var err error
		if s, err = m.Prompt([]image.Image{img}, "What is this?", "cat"); err != nil {
			t.Fatal(err)
		}
	}
	s.Scored = nil
	for p := range s.Len() {
		s.Scored = append(s.Scored, models.Scored{Pos: int32(p)})
	}
	return s
}

// edgeLogits are the logits of all tokens, one after another.
func edgeLogits(t *testing.T, m *models.Model, s *models.Sequence, aq *models.ActQuant) []float32 {
	t.Helper()
	r, err := models.NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	batches, err := r.Embed([]*models.Sequence{s})
	if err != nil {
		t.Fatal(err)
	}
	x, err := r.Forward(batches[0], aq)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.Logits(batches[0], x)
	if err != nil {
		t.Fatal(err)
	}
	var flat []float32
	for _, row := range rows {
		flat = append(flat, row...)
	}
	return flat
}

// furthest is max|a − b| / max|b|.
func furthest(a, b []float32) float64 {
	var worst, most float64
	for i := range b {
		worst, most = max(worst, math.Abs(float64(a[i])-float64(b[i]))), max(most, abs(b[i]))
	}
	return worst / most
}

// Rotation leaves the function of every family as it is, pictures included, and
// changes the weights.
func TestRotationIsTheSameFunction(t *testing.T) {
	for name, m := range edgeModels(t) {
		s := edgeSequence(t, m)
		want := edgeLogits(t, m, s, nil)
		for _, kind := range []Rotate{RotateHadamard, RotateFolded} {
			r, err := NewRotation(m.Config, kind, rand.New(rand.NewPCG(1, 2)))
			if err != nil {
				t.Fatal(err)
			}
			rotated := m.Edited(r.Edit())
			if d := furthest(edgeLogits(t, rotated, s, nil), want); d > rotatedTolerance || math.IsNaN(d) {
				t.Errorf("%s, %s: logits differ by %g of the largest", name, kind, d)
			} else {
				t.Logf("%s, %s: logits differ by %.1e of the largest", name, kind, d)
			}
			exact, err := m.Layer(1)
			if err != nil {
				t.Fatal(err)
			}
			l, err := rotated.Layer(1)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range l.Params() {
				if !strings.HasSuffix(p.Name, ".bias") && furthest(p.Data, exact.Params()[i].Data) < 0.1 {
					t.Errorf("%s, %s: %s is not rotated", name, kind, p.Name)
				}
			}
			if on := rotated.Config.Text.Online; (on == models.OnlineHadamard{Heads: true, Down: true}) != (kind == RotateHadamard) {
				t.Errorf("%s: online transforms %+v", kind, on)
			}
		}
	}
}

// Each weight is what the equations of [Rotation] say, with dense matrices.
func TestRotationAgainstDenseMatrices(t *testing.T) {
	m := edgeModels(t)["llama"]
	c := &m.Config.Text
	r, err := NewRotation(m.Config, RotateHadamard, rand.New(rand.NewPCG(5, 6)))
	if err != nil {
		t.Fatal(err)
	}
	q := sylvester(c.Hidden)
	for i, row := range q {
		for j := range row {
			row[j] *= r.signs[i]
		}
	}
	values := kron(identity(c.KVHeads), sylvester(c.HeadDim))
	mixed := kron(sylvester(c.Heads), sylvester(c.HeadDim))
	w, err := m.Layer(0)
	if err != nil {
		t.Fatal(err)
	}
	got := w.Clone()
	r.Layer(got)
	gain := func(lin *models.Linear, g []float32) [][]float64 { return times(denseOf(lin.W, lin.In), diagonal(g)) }
	for _, check := range []struct {
		name string
		got  []float32
		want [][]float64
	}{
		{"q", got.Q.W, times(gain(&w.Q, w.InputNorm), q)},
		{"k", got.K.W, times(gain(&w.K, w.InputNorm), q)},
		{"v", got.V.W, times(transposed(values), times(gain(&w.V, w.InputNorm), q))},
		{"o", got.O.W, times(transposed(q), times(denseOf(w.O.W, w.O.In), mixed))},
		{"gate", got.Gate.W, times(gain(&w.Gate, w.PostNorm), q)},
		{"up", got.Up.W, times(gain(&w.Up, w.PostNorm), q)},
		{"down", got.Down.W, times(transposed(q), times(denseOf(w.Down.W, w.Down.In), sylvester(c.Intermediate)))},
		{"v bias", got.V.B, times(denseOf(w.V.B, len(w.V.B)), values)},
		{"o bias", got.O.B, times(denseOf(w.O.B, len(w.O.B)), q)},
		{"down bias", got.Down.B, times(denseOf(w.Down.B, len(w.Down.B)), q)},
		{"q bias", got.Q.B, denseOf(w.Q.B, len(w.Q.B))},
		{"up bias", got.Up.B, denseOf(w.Up.B, len(w.Up.B))},
	} {
		for i, row := range check.want {
			for j, v := range row {
				if d := math.Abs(float64(check.got[i*len(row)+j]) - v); d > 1e-6 {
					t.Fatalf("%s[%d, %d] is off by %g", check.name, i, j, d)
				}
			}
		}
	}
}

func sylvester(n int) [][]float64 {
	h := [][]float64{{1}}
	for len(h) < n {
		h = kron([][]float64{{1, 1}, {1, -1}}, h)
	}
	for _, row := range h {
		for j := range row {
			row[j] /= math.Sqrt(float64(n))
		}
	}
	return h
}

func kron(a, b [][]float64) [][]float64 {
	out := make([][]float64, len(a)*len(b))
	for i := range out {
		out[i] = make([]float64, len(a)*len(b))
		for j := range out[i] {
			out[i][j] = a[i/len(b)][j/len(b)] * b[i%len(b)][j%len(b)]
		}
	}
	return out
}

func identity(n int) [][]float64 { return diagonal(onesOf(n)) }

func onesOf(n int) []float32 {
	v := make([]float32, n)
	ones(v)
	return v
}

func diagonal(v []float32) [][]float64 {
	out := make([][]float64, len(v))
	for i := range out {
		out[i] = make([]float64, len(v))
		out[i][i] = float64(v[i])
	}
	return out
}

func denseOf(w []float32, columns int) [][]float64 {
	var out [][]float64
	for at := 0; at < len(w); at += columns {
		row := make([]float64, columns)
		for i := range row {
			row[i] = float64(w[at+i])
		}
		out = append(out, row)
	}
	return out
}

func transposed(a [][]float64) [][]float64 {
	out := make([][]float64, len(a[0]))
	for i := range out {
		for _, row := range a {
			out[i] = append(out[i], row[i])
		}
	}
	return out
}

func times(a, b [][]float64) [][]float64 {
	out := make([][]float64, len(a))
	for i := range a {
		out[i] = make([]float64, len(b[0]))
		for k, v := range a[i] {
			for j, w := range b[k] {
				out[i][j] += v * w
			}
		}
	}
	return out
}

func TestRotationRefuses(t *testing.T) {
	c := tinyConfig(2)
	if _, err := NewRotation(c, "spin", rand.New(rand.NewPCG(1, 1))); err == nil || !strings.Contains(err.Error(), "hadamard-folded") {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := RotationOf(c, RotateHadamard, make([]float64, 32)); err == nil || !strings.Contains(err.Error(), "expected 1 or -1") {
		t.Errorf("zero signs: %v", err)
	}
	r, err := NewRotation(c, RotateHadamard, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewRotation(r.Config(), RotateHadamard, rand.New(rand.NewPCG(1, 1))); err == nil || !strings.Contains(err.Error(), "rotated already") {
		t.Errorf("twice: %v", err)
	}
	m := roundToNearest()
	m.Rotate = RotateHadamard
	tm := getTiny(t, 2)
	calibration := &Calibration{Model: tm.model, Runner: tm.runner, Batches: tm.batches, Method: m, Format: Format{Bits: 4, Activation: 8, Symmetric: true}}
	if err := calibration.Check(); err == nil || !strings.Contains(err.Error(), "expected the rotated model") {
		t.Errorf("a model with gains: %v", err)
	}
}
