package harness

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// writeTiny quantizes the random model into a folder.
func writeTiny(t *testing.T, m *Model, method, format string) (string, *Quantized) {
	t.Helper()
	c := mustSamples(t, m, 2, 0)
	q, err := m.Quantize(c, mustQuantization(t, method, format))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out", "model")
	if _, err := m.WriteQuantized(dir, c, q); err != nil {
		t.Fatal(err)
	}
	return dir, q
}

// TestWrittenModelIsTheQuantizedOne reads a folder back, weights and activation
// quantizer, and expects the answers that were given from memory.
func TestWrittenModelIsTheQuantizedOne(t *testing.T) {
	s, m := tinySession(t)
	dir, q := writeTiny(t, m, "tlq", "w4a8")
	back, err := s.Model(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.WeightsSHA256 != q.WeightsSHA256 || back.Manifest.WeightsSHA256 != q.WeightsSHA256 || back.Manifest.SourceSHA256 != m.WeightsSHA256 {
		t.Errorf("hashes: folder %s, manifest %s, memory %s", back.WeightsSHA256, back.Manifest.WeightsSHA256, q.WeightsSHA256)
	}
	asked := Questions{Task: "scene", Split: "test", N: 4}
	want, err := m.Evaluate(q, asked)
	if err != nil {
		t.Fatal(err)
	}
	got, err := back.EvaluateAgainst(m, asked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := back.Quantize(mustSamples(t, back, 2, 0), mustQuantization(t, "rtn", "w4a8")); err == nil || !strings.Contains(err.Error(), "quantized already") {
		t.Errorf("quantized twice: %v", err)
	}
	checkOnGrid(t, dir)
}

// checkOnGrid recomputes a weight's codes from its grid.
func checkOnGrid(t *testing.T, dir string) {
	t.Helper()
	weights, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	grids, err := safetensors.Open(filepath.Join(dir, GridsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer grids.Close()
	n := 0
	for _, name := range grids.Names() {
		base, ok := strings.CutSuffix(name, ".step")
		if !ok {
			continue
		}
		n++
		step := mustFloats(t, grids, name)
		w := mustFloats(t, weights, base+".weight")
		group := len(w) / len(step)
		for i, v := range w {
			code := float64(v) / float64(step[i/group])
			if math.Abs(code-math.Round(code)) > 1e-4 || math.Abs(code) > 8 {
				t.Fatalf("%s[%d] is %v steps, not a 4-bit code", base, i, code)
			}
		}
	}
	if n != 3*7 {
		t.Errorf("grids of %d weights, want 7 in each of 3 layers", n)
	}
}

func mustFloats(t *testing.T, f *safetensors.File, name string) []float32 {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWriteQuantizedLeavesNothingBehind(t *testing.T) {
	_, m := tinySession(t)
	c := mustSamples(t, m, 2, 0)
	q, err := m.Quantize(c, mustQuantization(t, "rtn", "w4a8"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(full, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.WriteQuantized(full, c, q); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("error %v", err)
	}
	if err := writeFolder(filepath.Join(dir, "new"), func(tmp string) error {
		return os.WriteFile(filepath.Join(tmp, "missing", "x"), nil, 0o644)
	}); err == nil {
		t.Error("no error from a failing write")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestEvaluationComparesTwoModels(t *testing.T) {
	s, m := tinySession(t)
	dir, _ := writeTiny(t, m, "rtn", "w3a16g16")
	spec := EvaluationSpec{Models: []string{m.Name, dir}, Tasks: []string{"emoji"}, Split: "test", Limit: 5, Generate: true}
	spec.Stats.Bootstrap.Resamples = 2000
	e, err := NewEvaluation(s, spec)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	records, err := e.Run(t.Context(), RunOptions{Dir: out})
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadRun(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := SameRun(records, read); err != nil {
		t.Error(err)
	}
	first, second := records[0], records[1]
	if first.Metrics.KL != 0 || !(second.Metrics.KL > 0) || second.Format != "w3a16g16" || second.Compared == nil || first.AvgBits != 16 {
		t.Errorf("%+v\n%+v", first, second)
	}
	samples, err := ReadSamples(out, second.Samples)
	if err != nil || len(samples) != 5 || samples[0].Generated == nil {
		t.Errorf("samples %+v, %v", samples, err)
	}
	for _, bad := range []EvaluationSpec{
		{Models: []string{"zoo:nothing"}, Split: "test"},
		{Models: []string{m.Name}, Tasks: []string{"emojo"}, Split: "test"},
		{Models: []string{m.Name}, Split: "exam"},
		{Split: "test"},
	} {
		if _, err := NewEvaluation(s, bad); err == nil {
			t.Errorf("%+v: accepted", bad)
		}
	}
}

func TestLossOfStreams(t *testing.T) {
	_, m := tinySession(t)
	path := filepath.Join(t.TempDir(), "tokens.safetensors")
	ids := []int64{1, 2, 3, 4, 5, 6, 7, 8}
	if err := safetensors.WriteFile(path, nil, safetensors.FromInts("a", []int{2, 4}, ids), safetensors.FromInts("b", []int{8}, ids)); err != nil {
		t.Fatal(err)
	}
	streams, err := ReadStreams(path + ":a")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Loss(streams)
	if err != nil {
		t.Fatal(err)
	}
	if got.Streams != 2 || got.Tokens != 6 || math.Abs(got.Perplexity-math.Exp(got.Loss)) > 1e-9 {
		t.Errorf("%+v", got)
	}
	var sum float64 // each stream alone
	for _, s := range streams {
		one, err := m.Loss([][]int32{s})
		if err != nil {
			t.Fatal(err)
		}
		sum += one.Loss / 2
	}
	if math.Abs(sum-got.Loss) > 1e-12 {
		t.Errorf("streams alone %v, together %v", sum, got.Loss)
	}
	for text, want := range map[string]string{
		path: "name one", path + ":c": "c", filepath.Join(t.TempDir(), "no.safetensors"): "no.safetensors",
	} {
		if _, err := ReadStreams(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := m.Loss([][]int32{{1, 100000}}); err == nil {
		t.Error("a token outside the vocabulary was accepted")
	}
}

func TestInspect(t *testing.T) {
	_, m := tinySession(t)
	info, err := m.Inspect(16)
	if err != nil {
		t.Fatal(err)
	}
	// Per layer: q 32·32, k and v 16·32, o 32·32, gate, up and down 64·32.
	if want := int64(3 * (2*32*32 + 2*16*32 + 3*64*32)); info.Quantized != want {
		t.Errorf("%d quantized parameters, want %d", info.Quantized, want)
	}
	if info.PerImage != 16 || info.Bytes != 2*info.Parameters || info.Memory.Total <= info.Memory.Layer {
		t.Errorf("%+v", info)
	}
}
