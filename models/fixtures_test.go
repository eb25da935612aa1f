package models

import (
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// fixtureDirs are checkpoints with the numbers of the public Hugging Face code
// (testdata/README.md); more of them lie in ../shared where that is there.
func fixtureDirs(t *testing.T) []string {
	dirs := []string{"testdata/qwen2vl-f32", "testdata/llava-onevision-bf16-anyres"}
	more, err := filepath.Glob("../../shared/fixtures/models/*-*")
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

// compare checks an expected tensor of numbers. Copies in testdata lack some.
func (f *fixture) compare(name string, got []float32, tolerance float64) {
	f.t.Helper()
	if f.expected.Has(name) {
		closeTo(f.t, name, got, f.floats(name), tolerance)
	}
}

// leftOver are expected tensors whose numbers others contain.
var leftOver = []string{"rope_deltas", "answer_logprobs", "generated_margin", "vision.rotary_angles"}

// allCompared reports expected tensors that no check has read.
func (f *fixture) allCompared() {
	f.t.Helper()
	for _, name := range f.expected.Names() {
		if !f.used[name] && !slices.Contains(leftOver, name) {
			f.t.Errorf("%s was not compared", name)
		}
	}
}

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
	used             map[string]bool
}

func openFixture(t *testing.T, dir, suffix string) *fixture {
	f := &fixture{t: t, used: map[string]bool{}}
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
	f.used[name] = true
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
	f.used[name] = true
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
		want := f.ints(f.expected, "position_ids")
		if len(want) == 3*n { // else one row for all axes
			want = want[axis*n:]
		}
		for i, v := range want[:n] {
			if int64(p[i]) != v {
				t.Fatalf("position %d of axis %d: %d, want %d", i, axis, p[i], v)
			}
		}
	}
	if len(s.Images) > 0 {
		testVision(t, f, r, s)
	}
	batches, err := r.Embed([]*Sequence{s})
	if err != nil {
		t.Fatal(err)
	}
	b := batches[0]
	f.compare("inputs_embeds", b.X[:n*c], visionTolerance)
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
		f.compare(fmt.Sprintf("lm.hidden.%d", i+1), x[:n*c], languageTolerance)
		f.compare(fmt.Sprintf("lm.layers.%d.self_attn.o_proj", i), res.OOut[:n*c], languageTolerance)
	}
	testLogits(t, f, r, b, x)
	testGradients(t, f, r, b)
	testGeneration(t, f, r)
	f.allCompared()
}

// testVision compares every step of the vision tower; the fixtures lay all pictures
// one behind the other.
func testVision(t *testing.T, f *fixture, r *Runner, s *Sequence) {
	results, err := r.Vision(s.Images)
	if err != nil {
		t.Fatal(err)
	}
	var output, rows, features []float32
	hidden := make([][]float32, len(results[0].Hidden))
	for _, res := range results {
		output, rows, features = append(output, res.Output...), append(rows, res.Rows...), append(features, res.Features...)
		for i, h := range res.Hidden {
			hidden[i] = append(hidden[i], h...)
		}
	}
	for i, h := range hidden {
		f.compare(fmt.Sprintf("vision.hidden.%d", i), h, visionTolerance)
	}
	f.compare("vision_tower.output", output, visionTolerance)
	f.compare("projector.output", rows, visionTolerance)
	f.compare("image_features", features, visionTolerance)
	alone, err := r.Features([]*Sequence{s})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(alone[0], features) {
		t.Error("Features and Vision differ")
	}
}

func testLogits(t *testing.T, f *fixture, r *Runner, b *Batch, x []float32) {
	var rows []int32
	for i, v := range f.ints(f.expected, "logits_at") {
		if i%2 == 1 {
			rows = append(rows, int32(v))
		}
	}
	head, err := r.Head()
	if err != nil {
		t.Fatal(err)
	}
	logits, err := r.logitsAt(b, x, rows, len(rows), head)
	if err != nil {
		t.Fatal(err)
	}
	var flat []float32
	for _, l := range logits {
		flat = append(flat, l...)
	}
	f.compare("logits", flat, languageTolerance)
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
		f.compare(fmt.Sprintf("grad.layers.%d.self_attn.o_proj", layer), o[:n*c], gradientTolerance)
		f.compare(fmt.Sprintf("grad.layers.%d.mlp.down_proj", layer), down[:n*c], gradientTolerance)
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
	var got []int32 // the fixtures go on after end-of-text
	err = r.Continue(prompt, len(want), nil, func(id int32, _ []float32) bool {
		got = append(got, id)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("generated %v, want %v", got, want)
	}
}
