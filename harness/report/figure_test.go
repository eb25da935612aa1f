package report

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// drawn renders a figure and returns its SVG.
func drawn(t *testing.T, f *display.Figure, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	svg, err := f.SVG()
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, f.Name, svg)
	return string(svg)
}

// texts wants each string as a text of its own in an SVG.
func texts(t *testing.T, svg string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(svg, ">"+want+"</text>") {
			t.Errorf("the figure has no text %q", want)
		}
	}
}

// TestFiguresOfRecords draws what notebook cells draw, from records alone.
func TestFiguresOfRecords(t *testing.T) {
	_, records := smallBuilt(t)
	kept, err := AccuracyKept(records)
	svg := drawn(t, kept, err)
	texts(t, svg, "of 67.5%", "TLQ (reconstruction)", "RTN", "qwen2vl, w4a8", "qwen2vl-nano", "llavaov-nano", "accuracy kept, % of the unquantized model (95% interval)")
	kl, err := Divergence(records)
	texts(t, drawn(t, kl, err), "KL to the unquantized model, nats per answer token (95% interval)")
	if !strings.Contains(kl.Caption, "TLQ (reconstruction) 0.13") {
		t.Errorf("caption %q", kl.Caption)
	}
	table, err := Summary(records)
	if err != nil || len(table.Rows) != 10 {
		t.Errorf("summary with %d rows, %v", len(table.Rows), err)
	}
	if _, err := AccuracyKept(records[:1]); !errors.Is(err, errNothingToDraw) {
		t.Errorf("the unquantized model alone: %v", err)
	}
	if _, err := Divergence(append(records[:2:2], records[1])); err == nil || !strings.Contains(err.Error(), "repeats the cell") {
		t.Errorf("a cell twice: %v", err)
	}
}

// TestDivergenceAxis wants a logarithmic axis where a linear one would hide
// the small values, and never with a zero.
func TestDivergenceAxis(t *testing.T) {
	rec := func(method string, kl float64) harness.Record {
		return harness.Record{Model: "m", Format: "w4a8", Method: method, Status: harness.StatusOK, Metrics: harness.Metrics{KL: kl}}
	}
	for _, tc := range []struct {
		kl  []float64
		log bool
	}{{[]float64{0.1, 0.2}, false}, {[]float64{0.001, 0.2}, true}, {[]float64{0, 0.2}, false}, {[]float64{0, 0}, false}, {[]float64{1e-5, 12}, true}} {
		f, err := Divergence([]harness.Record{rec("rtn", tc.kl[0]), rec("tlq", tc.kl[1])})
		if got := strings.Contains(drawn(t, f, err), "logarithmic"); got != tc.log {
			t.Errorf("KL %v: logarithmic %v, want %v", tc.kl, got, tc.log)
		}
	}
}

func TestManyMethods(t *testing.T) {
	w := smallWorld()
	w.models, w.formats, w.questions, w.seeds = w.models[:1], w.formats[:1], 20, w.seeds[:1]
	w.methods = []string{"rtn", "a", "b", "c", "d", "e", "f", "a-method-with-quite-a-long-name-that-must-not-run-into-the-plot", "tlq"}
	w.damage = func(_, _, m string) float64 { return 0.01 * float64(len(m)*len(m)) }
	files, _ := built(t, w)
	if md := string(files["report.md"]); !strings.Contains(md, "Of 16 paired differences between methods") { // 2·9 − 3, and the first against the next
		t.Errorf("report.md:\n%.3000s", md)
	}
	looks := map[look]bool{}
	for i := range 24 {
		looks[lookOf(i)] = true
	}
	if len(looks) != 24 {
		t.Errorf("24 methods have %d looks", len(looks))
	}
}

func TestAlphaCurves(t *testing.T) {
	trace := syntheticTrace(&harness.Record{Model: "zoo:qwen2vl-nano", Format: "w4a8", Method: "tlq"})
	f, err := AlphaCurves(trace)
	texts(t, drawn(t, f, err), "qkv", "gate_up", "down", "layer 0", "layer 4", "layer 7", "α", "J(α) / J(0), %")
	searches, better := 0, 0
	for _, l := range trace.Layers {
		for _, s := range l.Sites {
			searches++
			if s.J[s.Chosen] < s.J[0] {
				better++
			}
		}
	}
	if searches != 32 || better != 32 || !strings.Contains(f.Caption, "in 32 of 32 searches") || !strings.Contains(f.Caption, "TLQ (reconstruction) at w4a8 on qwen2vl-nano") {
		t.Errorf("%d of %d searches, caption %q", better, searches, f.Caption)
	}
	for _, tc := range []struct {
		want  string
		spoil func(*harness.Trace)
	}{
		{"no α-curves", func(t *harness.Trace) {
			for i := range t.Layers {
				t.Layers[i].Sites = nil
			}
		}},
		{"chosen candidate 20 of 20", func(t *harness.Trace) { edit(t, func(s *harness.TraceSite) { s.Chosen = 20 }) }},
		{"20 candidates with 3 values", func(t *harness.Trace) { edit(t, func(s *harness.TraceSite) { s.J = s.J[:3] }) }},
		{"expected a positive number", func(t *harness.Trace) { edit(t, func(s *harness.TraceSite) { s.J[0] = 0 }) }},
		{"expected a positive number", func(t *harness.Trace) { edit(t, func(s *harness.TraceSite) { s.J[0] = math.NaN() }) }},
	} {
		trace := syntheticTrace(&harness.Record{Method: "tlq"})
		tc.spoil(trace)
		if _, err := AlphaCurves(trace); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want one with %q", err, tc.want)
		}
	}
	if _, err := AlphaCurves(nil); err == nil {
		t.Error("no trace, no error")
	}
}

// edit changes one search.
func edit(t *harness.Trace, f func(*harness.TraceSite)) {
	s := t.Layers[3].Sites["o"]
	f(&s)
	t.Layers[3].Sites["o"] = s
}

func TestErrorGrowth(t *testing.T) {
	rtn := syntheticTrace(&harness.Record{Model: "m", Format: "w4a8", Method: "rtn"})
	tlq := syntheticTrace(&harness.Record{Model: "m", Format: "w4a8", Method: "tlq"})
	again := syntheticTrace(&harness.Record{Model: "m", Format: "w4a8", Method: "tlq", Seed: 1})
	f, err := ErrorGrowth(rtn, tlq, again)
	texts(t, drawn(t, f, err), "vision tokens", "answer tokens", "decoder layer", "relative error, %", "exposed", "layer alone", "TLQ (reconstruction)")
	first := percent((tlq.Layers[0].Exposed.Vision + again.Layers[0].Exposed.Vision) / 2)
	last := percent((tlq.Layers[7].Exposed.Vision + again.Layers[7].Exposed.Vision) / 2)
	if want := "from " + first + " to " + last + " with TLQ (reconstruction)"; !strings.Contains(f.Caption, want) {
		t.Errorf("caption %q lacks %q", f.Caption, want)
	}
	text := syntheticTrace(&harness.Record{Model: "m", Format: "w4a8", Method: "rtn"}) // a language model
	for i := range text.Layers {
		text.Layers[i].Exposed.Vision = 0
	}
	text.Layers = text.Layers[:1]
	f, err = ErrorGrowth(text)
	texts(t, drawn(t, f, err), "all tokens")

	other := syntheticTrace(&harness.Record{Model: "m", Format: "w3a16", Method: "rtn"})
	for _, traces := range [][]*harness.Trace{{}, {nil}, {{}}, {rtn, other}, {rtn, text}} {
		if _, err := ErrorGrowth(traces...); err == nil {
			t.Errorf("%d traces that don't belong together: no error", len(traces))
		}
	}
}

func TestImportance(t *testing.T) {
	tokens := syntheticTokens(&harness.Record{Model: "m", Format: "w4a8", Method: "tlq"})
	picture, err := png.Decode(bytes.NewReader(syntheticPicture(t, 64)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Importance(tokens, picture)
	svg := drawn(t, f, err)
	texts(t, svg, "picture", "importance of its 48 vision tokens", "·at", "cheese → &lt;|im_end|&gt;", "48 vision tokens")
	var vision, sum, top float64
	for _, tok := range tokens.Tokens {
		sum += tok.Importance
		if tok.Modality == "vision" {
			vision += tok.Importance
			top = max(top, tok.Importance)
		}
	}
	if want := "vision tokens " + percent(vision/sum); !strings.Contains(f.Caption, want) {
		t.Errorf("caption %q lacks %q", f.Caption, want)
	}
	texts(t, svg, percent(top/vision), percent(vision/sum))
	if !strings.Contains(f.Caption, "keep 21 of 48") { // points with d² < 6 around (2, 3) on the grid
		t.Errorf("caption %q", f.Caption)
	}

	f, err = Importance(tokens, nil) // without the picture
	drawn(t, f, err)
	text := &harness.TokenMap{Method: "tlq"} // a long text, no picture
	for range 80 {
		text.Tokens = append(text.Tokens, harness.MapToken{Text: " word", Modality: "answer", Importance: 1})
	}
	f, err = Importance(text, nil)
	texts(t, drawn(t, f, err), "33 others")

	tokens.Tokens[5].Row = 6
	for _, bad := range []*harness.TokenMap{nil, {}, tokens, {Rows: 1 << 20, Cols: 1 << 20, Tokens: tokens.Tokens}} {
		if _, err := Importance(bad, nil); err == nil {
			t.Errorf("a token map that cannot be drawn: no error")
		}
	}
}

// TestHeatColor wants the colour scale to darken all the way, so that it reads
// in grey and with any colour blindness.
func TestHeatColor(t *testing.T) {
	last := math.Inf(1)
	for i := range 101 {
		c := heatColor(float64(i) / 100)
		light := 0.2126*float64(c.R) + 0.7152*float64(c.G) + 0.0722*float64(c.B)
		if light >= last {
			t.Fatalf("at %d%% the lightness is %v after %v", i, light, last)
		}
		last = light
	}
}

func TestSample(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 5, 7, 6)) // not at the origin
	img.SetNRGBA(5, 5, color.NRGBA{0, 0, 0, 255})
	img.SetNRGBA(6, 5, color.NRGBA{200, 0, 0, 0}) // transparent: white
	for u, want := range map[float64]uint8{0.25: 0, 0.5: 128, 0.75: 255, 0: 0, 1: 255} {
		if got := sample(img, u, 0.5); got.R != want || got.G != want {
			t.Errorf("at %v: %v, want %d", u, got, want)
		}
	}
}

// TestTicks wants round, distinct labels, not too many.
func TestTicks(t *testing.T) {
	for _, r := range [][2]float64{{0, 1}, {58, 127}, {0.0021, 0.0109}, {-3, 1e6}, {99.9, 100.1}, {0, 1e-5}} {
		ticks := steps{most: 6}.Ticks(r[0], r[1])
		seen := map[string]bool{}
		for _, tick := range ticks {
			if seen[tick.Label] || tick.Value < r[0]-1e-9 || tick.Value > r[1]*(1+1e-9) {
				t.Errorf("%v: tick %v %q", r, tick.Value, tick.Label)
			}
			seen[tick.Label] = true
		}
		if len(ticks) < 2 || len(ticks) > 6 {
			t.Errorf("%v: %d ticks", r, len(ticks))
		}
	}
	for _, r := range [][2]float64{{0.001, 0.02}, {1e-5, 10}, {0.3, 5}} {
		ticks := decades{}.Ticks(r[0], r[1])
		if len(ticks) < 2 || len(ticks) > 10 {
			t.Errorf("%v: %d ticks on a logarithmic axis", r, len(ticks))
		}
	}
}

func TestDrawingFormats(t *testing.T) {
	d := (&forest{rows: []forestRow{{label: "x", at: estimate{mean: 1}, look: lookOf(0)}}, ticks: steps{most: 3}}).drawing()
	if err := d.Draw(&bytes.Buffer{}, "pdf"); err == nil || !strings.Contains(err.Error(), "png or svg") {
		t.Errorf("unknown format: %v", err)
	}
}
