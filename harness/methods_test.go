package harness

import (
	"math"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/ptq"
)

// Every method's written folder gives the answers that were given from memory,
// to the last bit: weights, activation quantizer and online transforms.
func TestEveryMethodReadsBack(t *testing.T) {
	s, m := tinySession(t)
	c := mustSamples(t, m, 2, 0)
	asked := Questions{Task: "scene", Split: "test", N: 2}
	for i, method := range ptq.Methods() {
		format := []string{"w4a8", "w3a16g16", "w4a4"}[i%3]
		q, err := m.Quantize(c, mustQuantization(t, method.Name, format))
		if err != nil {
			t.Errorf("%s at %s: %v", method.Name, format, err)
			continue
		}
		want, err := m.Evaluate(q, asked)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), method.Name)
		manifest, err := m.WriteQuantized(dir, c, q)
		if err != nil {
			t.Fatal(err)
		}
		checkManifest(t, m, manifest, q)
		back, err := s.Model(dir)
		if err != nil {
			t.Fatal(err)
		}
		if back.WeightsSHA256 != q.WeightsSHA256 {
			t.Errorf("%s at %s: hash %s in the folder, %s in memory", method.Name, format, back.WeightsSHA256, q.WeightsSHA256)
		}
		got, err := back.EvaluateAgainst(m, asked)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s at %s:\n%s", method.Name, format, diff)
		}
	}
}

// Kinds of format that methods must run at: activations of every width, and weights
// alone from 2 to 8 bits, in groups and per channel, of both symmetries.
var (
	roundedActivations = []string{"w4a8", "w4a6", "w4a4", "w8a8", "w4a8g32"}
	weightsAlone       = []string{"w2a16g16", "w3a16g32", "w5a16", "w8a16g16", "w3a16g16sym"}
)

// Every method runs at formats of every kind, two of the lists each in turn, and a third of them again
// to the same weights on one processor from an empty store.
func TestEveryMethodAtFormats(t *testing.T) {
	_, m := tinySession(t)
	_, again := tinySession(t)
	c, other := mustSamples(t, m, 1, 0), mustSamples(t, again, 1, 0)
	for i, method := range ptq.Methods() {
		for k, format := range []string{roundedActivations[i%5], weightsAlone[i%5]} {
			q, err := m.Quantize(c, mustQuantization(t, method.Name, format))
			if err != nil {
				t.Errorf("%s at %s: %v", method.Name, format, err)
				continue
			}
			checkFinite(t, method.Name+" at "+format, q)
			if k != i/5%2 || i%3 != 0 {
				continue
			}
			procs := runtime.GOMAXPROCS(1)
			b, err := again.Quantize(other, mustQuantization(t, method.Name, format))
			runtime.GOMAXPROCS(procs)
			if err != nil || b.WeightsSHA256 != q.WeightsSHA256 {
				t.Errorf("%s at %s: hash %s, the first time %s, %v", method.Name, format, b.WeightsSHA256, q.WeightsSHA256, err)
			}
		}
	}
}

func checkFinite(t *testing.T, name string, q *Quantized) {
	t.Helper()
	layers, err := q.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		for _, p := range l.Params() {
			for i, v := range p.Data {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					t.Fatalf("%s: %s[%d] is %v", name, p.Name, i, v)
				}
			}
		}
	}
}

// Without a ratio between tokens RSQ is QuaRot, to the last bit.
func TestRSQWithoutWeightsIsQuaRot(t *testing.T) {
	_, m := tinySession(t)
	c := mustSamples(t, m, 2, 0)
	want, err := m.Quantize(c, mustQuantization(t, "quarot", "w3a16g16"))
	if err != nil {
		t.Fatal(err)
	}
	q := mustQuantization(t, "rsq", "w3a16g16")
	if err := q.Method.Set("tokens.map.low=1"); err != nil {
		t.Fatal(err)
	}
	got, err := m.Quantize(c, q)
	if err != nil {
		t.Fatal(err)
	}
	if got.WeightsSHA256 != want.WeightsSHA256 {
		t.Errorf("hash %s, QuaRot's %s", got.WeightsSHA256, want.WeightsSHA256)
	}
}

// checkManifest expects everything that says what a folder holds.
func checkManifest(t *testing.T, m *Model, x *Manifest, q *Quantized) {
	t.Helper()
	name := q.String()
	if x.Model != m.Name || x.Format != q.Format || x.Method.Name != q.Method.Name || x.Calibration != (Calibration{"default", 2}) || x.Seed != 0 ||
		x.AvgBits != q.AvgBits || x.AvgBits < float64(q.Format.Bits) || x.SourceSHA256 != m.WeightsSHA256 || x.WeightsSHA256 != q.WeightsSHA256 || len(x.DataSHA256) != 64 ||
		x.Activations.Bits != q.Format.Activation {
		t.Errorf("%s: manifest %+v", name, x)
	}
	if (x.Rotation != nil) != (q.Method.Rotate != ptq.RotateNone) || x.Rotation != nil && !(x.Rotation.Online.Down && x.Rotation.Online.Heads && x.Rotation.UntiedHead == m.Config.Text.TiedHead) {
		t.Errorf("%s: rotation %+v", name, x.Rotation)
	}
	if len(x.Layers) != m.NumLayers() {
		t.Fatalf("%s: %d layers", name, len(x.Layers))
	}
	for i, l := range x.Layers {
		if !q.Method.NeedsSamples() {
			if l.Weights == nil || *l.Weights < 1e-3 || *l.Weights > 1 {
				t.Errorf("%s, layer %d: weight error %v", name, i, l.Weights)
			}
			continue
		}
		if len(l.Sites) != 4 || l.Local == nil || l.Local.All <= 0 || l.Exposed.All <= 0 {
			t.Errorf("%s, layer %d: %+v", name, i, l)
		}
		for _, s := range l.Sites {
			if searched := q.Method.Search.Kind != ptq.SearchNone; !searched && s.Skipped == "" || s.Alpha < 0 || s.Alpha > 1 {
				t.Errorf("%s, layer %d: %+v", name, i, s)
			}
		}
	}
}
