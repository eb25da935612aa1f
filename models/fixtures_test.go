package models

import (
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// fixtureDirs are checkpoints with the numbers of the public Hugging Face code
// (testdata/README.md); more of them lie in ../shared where that is there.
func fixtureDirs(t *testing.T) []string {
	dirs := []string{"testdata/qwen2vl-f32"}
	more, err := filepath.Glob("../../shared/fixtures/models/qwen2vl*")
	if err != nil {
		t.Fatal(err)
	}
	return append(dirs, more...)
}

// Tolerances as the fixtures state them: |got − want| ≤ t·(|want| + rms(want)).
const (
	visionTolerance   = 5e-5
	languageTolerance = 2e-4
	gradientTolerance = 1e-3
)

func closeTo(t *testing.T, name string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	ms := 0.0
	for _, v := range want {
		ms += float64(v) * float64(v)
	}
	rms := math.Sqrt(ms / float64(len(want)))
	worst, at := 0.0, 0
	for i, v := range want {
		if e := math.Abs(float64(got[i])-float64(v)) / (math.Abs(float64(v)) + rms); e > worst || e != e {
			worst, at = e, i
		}
	}
	if !(worst <= tolerance) {
		t.Errorf("%s: error %.2g at %d (got %g, want %g), tolerance %g", name, worst, at, got[at], want[at], tolerance)
	}
}

type fixture struct {
	t                *testing.T
	m                *Model
	inputs, expected *safetensors.File
}

func openFixture(t *testing.T, dir, suffix string) *fixture {
	f := &fixture{t: t}
	var err error
	if f.m, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	if f.inputs, err = safetensors.Open(filepath.Join(dir, "inputs"+suffix+".safetensors")); err != nil {
		t.Fatal(err)
	}
	if f.expected, err = safetensors.Open(filepath.Join(dir, "expected"+suffix+".safetensors")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.m.Close(); f.inputs.Close(); f.expected.Close() })
	return f
}

func (f *fixture) floats(name string) []float32 {
	f.t.Helper()
	tensor, err := f.expected.Tensor(name)
	if err != nil {
		f.t.Fatal(err)
	}
	v, err := tensor.Float32s()
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func (f *fixture) ints(file *safetensors.File, name string) []int64 {
	f.t.Helper()
	tensor, err := file.Tensor(name)
	if err != nil {
		f.t.Fatal(err)
	}
	v, err := tensor.Int64s()
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// images preprocesses the raw pictures of the main case.
func (f *fixture) images() []*pixels.Patches {
	var list []image.Image
	for i := 0; f.inputs.Has(fmt.Sprintf("image.%d", i)); i++ {
		raw, err := f.inputs.Tensor(fmt.Sprintf("image.%d", i))
		if err != nil {
			f.t.Fatal(err)
		}
		img := pixels.NewRGB(raw.Shape[1], raw.Shape[0])
		copy(img.Pix, raw.Data)
		list = append(list, img)
	}
	patches, err := f.m.Pictures(list)
	if err != nil {
		f.t.Fatal(err)
	}
	return patches
}

// sequence builds the fixture's only row, with the labels as scored predictions.
func (f *fixture) sequence() *Sequence {
	ids := f.ints(f.inputs, "input_ids")
	labels := f.ints(f.inputs, "labels")
	s, err := f.m.FromIDs(toInt32(ids), f.images())
	if err != nil {
		f.t.Fatal(err)
	}
	for i, l := range labels {
		if l >= 0 {
			s.Scored = append(s.Scored, Scored{Pos: int32(i - 1), Target: int32(l)})
			s.Modality[i-1] = Answer
		}
	}
	return s
}

func toInt32(x []int64) []int32 {
	out := make([]int32, len(x))
	for i, v := range x {
		out[i] = int32(v)
	}
	return out
}

// TestFixtures follows a prompt from pixels to logits, gradients and generated
// tokens and compares every step with the Hugging Face code's numbers.
func TestFixtures(t *testing.T) {
	for _, dir := range fixtureDirs(t) {
		for _, suffix := range []string{"", "_text_only"} {
			if _, err := os.Stat(filepath.Join(dir, "inputs"+suffix+".safetensors")); err != nil {
				continue
			}
			t.Run(filepath.Base(filepath.Dir(dir))+"/"+filepath.Base(dir)+suffix, func(t *testing.T) { testFixture(t, openFixture(t, dir, suffix)) })
		}
	}
}

func testFixture(t *testing.T, f *fixture) {
	r, err := NewRunner(f.m)
	if err != nil {
		t.Fatal(err)
	}
	s := f.sequence()
	n, c := s.Len(), f.m.Config.Text.Hidden
	for axis, p := range s.Positions {
		for i, v := range f.ints(f.expected, "position_ids")[axis*n : (axis+1)*n] {
			if int64(p[i]) != v {
				t.Fatalf("position %d of axis %d: %d, want %d", i, axis, p[i], v)
			}
		}
	}
	if len(s.Images) > 0 {
		features, err := r.Features([]*Sequence{s})
		if err != nil {
			t.Fatal(err)
		}
		closeTo(t, "image_features", features[0], f.floats("image_features"), visionTolerance)
	}
	batches, err := r.Embed([]*Sequence{s})
	if err != nil {
		t.Fatal(err)
	}
	b := batches[0]
	closeTo(t, "inputs_embeds", b.X[:n*c], f.floats("inputs_embeds"), visionTolerance)
	x := b.X
	for i := range f.m.NumLayers() {
		l, err := f.m.Layer(i)
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.Block(b, x, l, BlockOptions{Outputs: true})
		if err != nil {
			t.Fatal(err)
		}
		x = res.Y
		closeTo(t, fmt.Sprintf("lm.hidden.%d", i+1), x[:n*c], f.floats(fmt.Sprintf("lm.hidden.%d", i+1)), languageTolerance)
		if i == 0 {
			closeTo(t, "o_proj", res.OOut[:n*c], f.floats("lm.layers.0.self_attn.o_proj"), languageTolerance)
		}
	}
	testLogits(t, f, r, b, x)
	testGradients(t, f, r, b)
	testGeneration(t, f, r)
}

func testLogits(t *testing.T, f *fixture, r *Runner, b *Batch, x []float32) {
	var rows []int32
	for i, v := range f.ints(f.expected, "logits_at") {
		if i%2 == 1 {
			rows = append(rows, int32(v))
		}
	}
	logits, err := r.logitsAt(b, x, rows, len(rows))
	if err != nil {
		t.Fatal(err)
	}
	var flat []float32
	for _, l := range logits {
		flat = append(flat, l...)
	}
	closeTo(t, "logits", flat, f.floats("logits"), languageTolerance)
	scored, err := r.Logits(b, x)
	if err != nil {
		t.Fatal(err)
	}
	loss := 0.0
	for i, l := range scored {
		loss -= logProb(l, b.Seqs[0].Scored[i].Target) / float64(len(scored))
	}
	if want := float64(f.floats("loss")[0]); math.Abs(loss-want) > 1e-4 {
		t.Errorf("loss %v, want %v", loss, want)
	}
}

func logProb(logits []float32, target int32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range logits {
		top = math.Max(top, float64(v))
	}
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return float64(logits[target]) - top - math.Log(sum)
}

func testGradients(t *testing.T, f *fixture, r *Runner, b *Batch) {
	n, c := b.Seqs[0].Len(), f.m.Config.Text.Hidden
	err := r.Gradients(b, func(layer int, o, down []float32) error {
		closeTo(t, fmt.Sprintf("grad.%d.o", layer), o[:n*c], f.floats(fmt.Sprintf("grad.layers.%d.self_attn.o_proj", layer)), gradientTolerance)
		closeTo(t, fmt.Sprintf("grad.%d.down", layer), down[:n*c], f.floats(fmt.Sprintf("grad.layers.%d.mlp.down_proj", layer)), gradientTolerance)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testGeneration(t *testing.T, f *fixture, r *Runner) {
	want := f.ints(f.expected, "generated_ids")
	prompt, err := f.m.FromIDs(toInt32(f.ints(f.inputs, "generate_input_ids")), f.images())
	if err != nil {
		t.Fatal(err)
	}
	config := *f.m.Config
	config.EOSToken = -1 // the fixtures go on after end-of-text
	m := *f.m
	p := *m.Processor
	p.Config, m.Processor = &config, &p
	got, err := r.With(&m).Generate(prompt, len(want), nil)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("generated %v, want %v", got, want)
	}
}
