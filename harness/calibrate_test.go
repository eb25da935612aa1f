package harness

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

func mustQuantization(t *testing.T, method, format string) Quantization {
	t.Helper()
	q, err := NewQuantization(method, format)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func mustSamples(t *testing.T, m *Model, n int, seed uint64) *Samples {
	t.Helper()
	c, err := m.Calibration("default", n, seed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCalibrationResumesToTheSameBytes forgets the last layers and the streams
// and expects the artifacts that an uninterrupted calibration wrote.
func TestCalibrationResumesToTheSameBytes(t *testing.T) {
	s, m := tinySession(t)
	c, q := mustSamples(t, m, 3, 0), mustQuantization(t, "tlq", "w4a8")
	if _, err := m.Quantize(c, q); err != nil {
		t.Fatal(err)
	}
	keys := layerKeys(m, c, q)
	want := make([][]byte, len(keys))
	for i, k := range keys {
		var err error
		if want[i], err = os.ReadFile(s.Store.Path(k)); err != nil {
			t.Fatal(err)
		}
	}
	for from := range keys {
		for _, k := range keys[from:] {
			if err := s.Store.Remove(k); err != nil {
				t.Fatal(err)
			}
		}
		again := mustSamples(t, m, 3, 0)
		if _, err := m.calibrate(again, q); err != nil {
			t.Fatal(err)
		}
		for i, k := range keys {
			if got, err := os.ReadFile(s.Store.Path(k)); err != nil || !bytes.Equal(got, want[i]) {
				t.Errorf("resumed at layer %d: layer %d has other bytes (%v)", from, i, err)
			}
		}
	}
}

func TestRoundingAloneNeedsNoSamples(t *testing.T) {
	_, m := tinySession(t)
	q := mustQuantization(t, "rtn", "w3a16g16")
	a, err := m.Quantize(mustSamples(t, m, 2, 0), q)
	if err != nil {
		t.Fatal(err)
	}
	other := mustSamples(t, m, 3, 9)
	b, err := m.Quantize(other, q)
	if err != nil {
		t.Fatal(err)
	}
	if a.Key() != b.Key() || a.WeightsSHA256 != b.WeightsSHA256 || a.WeightsSHA256 == m.WeightsSHA256 {
		t.Errorf("keys %s %s, weights %s %s, unquantized %s", a.Key(), b.Key(), a.WeightsSHA256, b.WeightsSHA256, m.WeightsSHA256)
	}
	if want := 3 + 19.0/16; a.AvgBits != want {
		t.Errorf("average bits %v, want %v", a.AvgBits, want)
	}
	calibrated, err := m.calibrate(other, q)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := a.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i := range layers {
		l, err := calibrated.weights(i)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(layers[i], l); diff != "" {
			t.Errorf("layer %d: rounding differs from calibrating without a search: %s", i, diff)
		}
	}
}

// TestNamesAndTitlesAreNotSettings checks that a method under another name
// takes its result from the store, and that any setting makes another key.
func TestNamesAndTitlesAreNotSettings(t *testing.T) {
	_, m := tinySession(t)
	c, q := mustSamples(t, m, 2, 0), mustQuantization(t, "tlq", "w4a8")
	base := quantizeKey(m, c, q)
	renamed := q
	renamed.Method.Name, renamed.Method.Title, renamed.Method.Paper = "mine", "Mine", "none"
	if quantizeKey(m, c, renamed) != base {
		t.Error("another name makes another key")
	}
	for _, change := range []string{"tokens.keep=0.5", "tokens.clip=none", "path.expose=layer", "search.points=10", "search.metric=mse", "tokens.means=kept"} {
		other := q
		if err := other.Method.Set(change); err != nil {
			t.Fatal(err)
		}
		if quantizeKey(m, c, other) == base {
			t.Errorf("%s keeps the key", change)
		}
	}
	other := q
	other.Fallback = ptq.HalveGroup
	if quantizeKey(m, c, other) == base || quantizeKey(m, mustSamples(t, m, 3, 0), q) == base || quantizeKey(m, mustSamples(t, m, 2, 1), q) == base {
		t.Error("fallback, number or seed of samples keep the key")
	}
}

func TestTraceAndTokenMap(t *testing.T) {
	_, m := tinySession(t)
	c, q := mustSamples(t, m, 3, 0), mustQuantization(t, "tlq", "w3a16g16")
	trace, err := m.Trace(c, q)
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Layers) != m.NumLayers() {
		t.Fatalf("%d layers", len(trace.Layers))
	}
	for _, l := range trace.Layers {
		qkv, ok := l.Sites["qkv"]
		if !ok || len(qkv.Alphas) != 20 || len(qkv.J) != 20 || qkv.Chosen < 0 || qkv.J[qkv.Chosen] != slices.Min(qkv.J) || qkv.Tokens == 0 {
			t.Errorf("layer %d: %+v", l.Index, qkv)
		}
		if _, ok := l.Sites["o"]; ok {
			t.Errorf("layer %d: o was searched under grouped-query attention", l.Index)
		}
		if !(l.FPNorm > 0) || !(l.Exposed.All > 0) || !(l.Local.All > 0) {
			t.Errorf("layer %d: norm %v, errors %+v %+v", l.Index, l.FPNorm, l.Exposed, l.Local)
		}
	}
	const sumOrder = 1e-12 // the two add the same float64 terms in another order
	if first := trace.Layers[0]; math.Abs(first.Exposed.All-first.Local.All) > sumOrder {
		t.Errorf("nothing is exposed before the first layer: %+v against %+v", first.Exposed, first.Local)
	}
	tokens, err := m.TokenMap(c, q, 1)
	if err != nil {
		t.Fatal(err)
	}
	checkTokenMap(t, tokens, 2*m.NumLayers())
}

// Methods whose tokens are selected while layers are calibrated have a map too, one site at a
// time, from the layers or from the store.
func TestLateTokenMap(t *testing.T) {
	_, m := tinySession(t)
	for method, sites := range map[string]int{"rsq": 4, "vlmq": 4} {
		c, q := mustSamples(t, m, 3, 0), mustQuantization(t, method, "w4a8")
		for range 2 {
			tokens, err := m.TokenMap(c, q, 1)
			if err != nil {
				t.Fatal(err)
			}
			checkTokenMap(t, tokens, sites*m.NumLayers())
		}
	}
}

func checkTokenMap(t *testing.T, m *TokenMap, layers int) {
	t.Helper()
	vision, sum := 0, 0.0
	for _, token := range m.Tokens {
		if token.Modality == "vision" {
			if token.Row != vision/m.Cols || token.Col != vision%m.Cols {
				t.Errorf("vision token %d at %d, %d", vision, token.Row, token.Col)
			}
			vision++
		}
		sum += token.Importance
	}
	if vision != m.Rows*m.Cols || vision == 0 {
		t.Errorf("%d vision tokens in a grid of %d×%d", vision, m.Rows, m.Cols)
	}
	if sum < 0.999 || sum > 1.001 {
		t.Errorf("importance adds up to %v", sum)
	}
	if len(m.Layers) != layers || len(m.Layers[0].Importance) != len(m.Tokens) {
		t.Errorf("%d layers", len(m.Layers))
	}
}

// An overflow in the middle of the model is refused by the layer's name, whatever
// notices it first: the choice of tokens, a search, or the streams.
func TestOverflowIsNamed(t *testing.T) {
	_, m := tinySession(t)
	sane := m.Model
	huge := sane.WithSource(func(i int) (*models.Layer, error) {
		l, err := sane.Layer(i)
		if err == nil && i == 1 {
			for k := range l.Down.W {
				l.Down.W[k] = 3e38
			}
		}
		return l, err
	})
	m.Model, m.lazy.model = huge, huge
	c := mustSamples(t, m, 2, 0)
	for method, want := range map[string]string{
		"tlq": "is NaN at layer", "mbq": "mean gradient", "awq": "search objective is NaN",
		"smoothquant": "layer 1: the unquantized model's stream is not finite", "gptq": "layer 1: the unquantized model's stream is not finite",
	} {
		_, err := m.Quantize(c, mustQuantization(t, method, "w4a8"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", method, err, want)
		}
	}
}

// An interrupt before the first layer leaves nothing to give back, and says what it is.
func TestInterruptWhileTokensAreChosen(t *testing.T) {
	_, m := tinySession(t)
	c, q := mustSamples(t, m, 2, 0), mustQuantization(t, "tlq", "w4a8")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &walk{c: c, q: q}
	if _, err := w.layer(m.in(m.s.WithContext(ctx)), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.close()
}
