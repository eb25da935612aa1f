package report

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// said writes a world and returns its headline and cautions.
func said(t *testing.T, w *world, spoil func(dir string, records []harness.Record) []harness.Record) (string, string) {
	t.Helper()
	dir := t.TempDir()
	records := w.write(t, dir)
	if spoil != nil {
		records = spoil(dir, records)
	}
	r, err := newRun(records, dir)
	if err != nil {
		t.Fatal(err)
	}
	comparisons, err := r.compare()
	if err != nil {
		t.Fatal(err)
	}
	return paragraph(r.headline(comparisons)), strings.Join(r.cautions(), "\n")
}

// oneSetting is one model in one format with one seed.
func oneSetting(rtn, tlq, spread float64) *world {
	w := smallWorld()
	w.models, w.formats, w.seeds, w.spread = w.models[:1], w.formats[:1], w.seeds[:1], spread
	w.damage = func(_, _, method string) float64 {
		return map[string]float64{"rtn": rtn, "tlq": tlq, "other": rtn}[method]
	}
	return w
}

// TestHeadline wants the numbers to choose the words: each world has another
// truth.
func TestHeadline(t *testing.T) {
	failTLQ := func(w *world) *world {
		w.failed = map[string]bool{"tlq/w4a8": true}
		return w
	}
	manyWays := smallWorld()
	manyWays.models = manyWays.models[:1]
	manyWays.damage = func(_, format, method string) float64 {
		return map[string]float64{"w4a8rtn": 0.1, "w4a8tlq": 0.2, "w3a16g16rtn": 0.3, "w3a16g16tlq": 0.2}[format+method]
	}
	twoOfThree := smallWorld()
	twoOfThree.models, twoOfThree.formats, twoOfThree.questions = twoOfThree.models[:1], []string{"w4a8", "w4a6", "w3a16g16"}, 30
	twoOfThree.damage = func(_, format, method string) float64 {
		if (format == "w4a6") == (method == "rtn") {
			return 0.1
		}
		return 0.2
	}
	for _, tc := range []struct {
		name   string
		world  *world
		wants  []string
		denies []string
	}{
		{
			"better", oneSetting(0.3, 0.2, 0.3),
			[]string{"TLQ (reconstruction) keeps most of the unquantized model at w4a8 on qwen2vl-nano", "below Round to nearest", "is more than noise (95% interval of the difference −", ", n = 120)", "of the unquantized accuracy, Round to nearest "},
			[]string{"undecided (95%", "seeds"},
		},
		{
			"noise", oneSetting(0.3, 0.3, 0.9),
			[]string{"No method is shown to keep most of the unquantized model at w4a8", "but that is not beyond noise", "is within noise: undecided (95% interval of the difference −", "questions would decide."},
			[]string{"more than noise"},
		},
		{
			"worse", oneSetting(0.2, 0.3, 0.3),
			[]string{"Round to nearest keeps most of the unquantized model", "The difference to TLQ (reconstruction) is more than noise (95% interval of the difference −"},
			[]string{"TLQ (reconstruction) keeps most"},
		},
		{
			"each ahead once", manyWays,
			[]string{"No method is ahead in most settings: by KL, Round to nearest and TLQ (reconstruction) lead in 1 of 2 (model × format) each (w4a8: Round to nearest; w3a16g16: TLQ (reconstruction))", "KL lower beyond noise in 1 and higher beyond noise in 1"},
			nil,
		},
		{
			"mostly ahead", twoOfThree,
			[]string{"Over the whole grid no method is shown to keep most of the unquantized model: TLQ (reconstruction) comes first", "TLQ (reconstruction) has the least KL in 2 of 3 settings", "least KL in 2 of 3 settings; n = 60 questions, 2 calibration seeds", "(w4a8: TLQ (reconstruction); w4a6: Round to nearest; w3a16g16: TLQ (reconstruction))"},
			nil,
		},
		{
			"one failed", failTLQ(oneSetting(0.3, 0.2, 0.3)),
			[]string{"Only one method was scored: Round to nearest is 0.", "nothing is claimed"},
			[]string{"keeps most"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, _ := said(t, tc.world, nil)
			check(t, text, tc.wants, tc.denies)
		})
	}
}

func check(t *testing.T, text string, wants, denies []string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	for _, deny := range denies {
		if strings.Contains(text, deny) {
			t.Errorf("%q says %q", text, deny)
		}
	}
}

// TestHeadlineSpecialRuns covers runs that lack something.
func TestHeadlineSpecialRuns(t *testing.T) {
	only := func(keep func(harness.Record) bool) func(string, []harness.Record) []harness.Record {
		return func(_ string, records []harness.Record) []harness.Record {
			var out []harness.Record
			for _, r := range records {
				if keep(r) {
					out = append(out, r)
				}
			}
			return out
		}
	}
	for _, tc := range []struct {
		name  string
		spoil func(string, []harness.Record) []harness.Record
		want  string
	}{
		{"unquantized only", only(func(r harness.Record) bool { return r.Method == harness.MethodFP }), "Only the unquantized model was scored"},
		{"one method", only(func(r harness.Record) bool { return r.Method != "rtn" }), "Only one method was scored: TLQ (reconstruction) is"},
		{"no unquantized row", only(func(r harness.Record) bool { return r.Method != harness.MethodFP }), "How much accuracy is kept cannot be said"},
		{"identical", func(_ string, records []harness.Record) []harness.Record {
			for i := range records[1:] {
				r := &records[i+1]
				r.Metrics, r.WeightsSHA256, r.Samples = records[1].Metrics, "same", records[1].Samples
			}
			return records
		}, "No method is ahead at w4a8 on qwen2vl-nano: Round to nearest and TLQ (reconstruction) both are"},
		{"no answers", func(dir string, records []harness.Record) []harness.Record {
			for i := range records {
				records[i].Samples = ""
			}
			return records
		}, "Whether the difference to Round to nearest is noise cannot be said: per-question answers missing."},
		{"all failed", func(_ string, records []harness.Record) []harness.Record {
			for i := range records {
				records[i].Status = harness.StatusFailed
			}
			return records
		}, "No quantized model was scored: every cell failed."},
		{"nothing right", func(_ string, records []harness.Record) []harness.Record {
			records[0].Metrics.Accuracy = 0
			return records
		}, "How much accuracy is kept cannot be said"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, _ := said(t, oneSetting(0.3, 0.2, 0.3), tc.spoil)
			check(t, text, []string{tc.want}, nil)
		})
	}
}

func TestCautions(t *testing.T) {
	w := oneSetting(0.01, 0.008, 0.3)
	w.failed = map[string]bool{"tlq/w4a8": true}
	_, text := said(t, w, func(_ string, records []harness.Record) []harness.Record {
		fp := &records[0]
		fp.Intervals["accuracy"] = eval.Interval{Low: 0.2, High: 0.3, Level: 0.95}
		return records
	})
	check(t, text, []string{"is not above guessing", "does little damage at w4a8 (0.0", "1 of 3 cells failed", "One calibration seed"}, nil)
	w = oneSetting(0.9, 0.8, 0.3)
	w.seeds = []uint64{0, 1, 2}
	_, text = said(t, w, nil)
	check(t, text, []string{"leaves little of the model at w4a8 (0.8", "resample 3 calibration seeds are somewhat too narrow"}, []string{"guessing", "failed"})
}

// TestPairsAgainstDefinition compares the verdicts with what the samples say,
// computed here from the definition.
func TestPairsAgainstDefinition(t *testing.T) {
	w := oneSetting(0.3, 0.25, 0.8)
	w.methods = []string{"rtn", "other", "tlq"}
	dir := t.TempDir()
	records := w.write(t, dir)
	r, err := newRun(records, dir)
	if err != nil {
		t.Fatal(err)
	}
	comparisons, err := r.compare()
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for _, c := range comparisons {
		pairs = append(pairs, c.a.method+">"+c.b.method)
		a, b := r.answers[c.a.records[0].Cell()], r.answers[c.b.records[0].Cell()]
		var kl float64
		gained, lost := 0, 0
		for i := range a.kl {
			kl += (a.kl[i] - b.kl[i]) / float64(len(a.kl))
			switch {
			case a.correct[i] > b.correct[i]:
				gained++
			case a.correct[i] < b.correct[i]:
				lost++
			}
		}
		near(t, "ΔKL", c.kl.Difference.Mean, kl)
		if p, _ := eval.McNemar(gained, lost); math.Abs(p-c.p) > 1e-12 {
			t.Errorf("%s: McNemar %v, want %v", pairs[len(pairs)-1], c.p, p)
		}
		near(t, "accuracy", c.accuracy.Difference.Mean, float64(gained-lost)/float64(len(a.kl)))
	}
	if got := fmt.Sprint(pairs); got != "[other>rtn tlq>rtn tlq>other]" {
		t.Errorf("pairs %s", got)
	}
	// Holm by hand: the smallest of three counts three times.
	smallest := comparisons[0]
	raw := func(c *comparison) float64 { return c.kl.Difference.P }
	for _, c := range comparisons {
		if raw(c) < raw(smallest) {
			smallest = c
		}
	}
	if want := min(1, 3*raw(smallest)); math.Abs(smallest.kl.AdjustedP-want) > 1e-12 {
		t.Errorf("Holm's p is %v, want %v", smallest.kl.AdjustedP, want)
	}
}

// TestApproximation compares the fallback with the crossed bootstrap that it
// stands in for, and with a hand calculation.
func TestApproximation(t *testing.T) {
	mk := func(kl, se float64) *harness.Record {
		return &harness.Record{Metrics: harness.Metrics{KL: kl}, Intervals: map[string]eval.Interval{"kl": {StdErr: se}}}
	}
	s := &score{records: []*harness.Record{mk(0.2, 0.03), mk(0.4, 0.05)}}
	s.approximated()
	// mean 0.3; SE² = 0.04² + 0.02/2 = 0.0116.
	if half := 1.959963984540054 * math.Sqrt(0.0116); math.Abs(s.kl.mean-0.3) > 1e-15 || math.Abs(s.kl.high-0.3-half) > 1e-12 || math.Abs(s.kl.low-(0.3-half)) > 1e-12 {
		t.Errorf("estimate %+v", s.kl)
	}
	if s.accuracy.interval {
		t.Error("an interval of accuracy from records without one")
	}

	w := smallWorld()
	w.models, w.formats, w.methods, w.seeds = w.models[:1], w.formats[:1], []string{"tlq"}, nil
	for seed := range uint64(12) {
		w.seeds = append(w.seeds, seed)
	}
	dir := t.TempDir()
	records := w.write(t, dir)
	exact, err := newRun(records, dir)
	if err != nil {
		t.Fatal(err)
	}
	rough, err := newRun(records, "")
	if err != nil {
		t.Fatal(err)
	}
	a, b := exact.settings[0].scores[0], rough.settings[0].scores[0]
	for _, m := range []struct {
		name string
		a, b estimate
	}{{"kl", a.kl, b.kl}, {"nll", a.nll, b.nll}, {"accuracy", a.accuracy, b.accuracy}, {"delta", a.delta, b.delta}} {
		near(t, m.name, m.a.mean, m.b.mean)
		if ratio := (m.a.high - m.a.low) / (m.b.high - m.b.low); ratio < 0.4 || ratio > 1.5 {
			// Questions break independently in each seed of this world, which the
			// approximation does not count on: it errs on the wide side.
			t.Errorf("%s: the bootstrap's interval is %v times the approximation's", m.name, ratio)
		}
	}
}

func TestWords(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{number(0.0030181), "0.00302"},
		{number(0.31), "0.310"},
		{number(-12.345), "−12.3"},
		{number(1234.5), "1234"},
		{number(0), "0.00"},
		{number(math.NaN()), none},
		{number(-1e-12), "0.000000"},
		{signed(0.25), "+0.250"},
		{signed(-0.25), "−0.250"},
		{signed(1e-12), "0.000000"},
		{percent(0.9612), "96.1%"},
		{points(0.0213), "+2.1"},
		{points(-0.0213), "−2.1"},
		{points(0.0001), "0.0"},
		{points(-0.0001), "0.0"},
		{pValue(1), "1"},
		{pValue(0.00001), "<0.0001"},
		{pValue(0.0312), "0.031"},
		{pValue(0.5), "0.50"},
		{withInterval(estimate{0.5, 0.25, 0.75, true}, percent), "50.0% [25.0,\u00a075.0]"},
		{withInterval(estimate{mean: 0.5}, percent), "50.0%"},
		{list([]string{"a"}), "a"},
		{list([]string{"a", "b", "c"}), "a, b and c"},
		{count(1, "cell"), "1 cell"},
		{count(1200, "cell"), "1,200 cells"},
		{grouped(999), "999"},
		{grouped(1234567), "1,234,567"},
		{grouped(-1234), "-1,234"},
		{between([]float64{0.5, math.NaN(), 0.7}, percent), "50.0% to 70.0%"},
		{between([]float64{0.5, 0.5}, percent), "50.0%"},
		{between(nil, percent), none},
		{escapeMarkdown("a*b <c> [x](y) `z`"), "a\\*b &lt;c&gt; [x]\\(y) \\`z\\`"},
		{piece(" is"), "·is"},
		{piece("\n"), `\n`},
		{piece(""), "(empty)"},
		{piece("\u200bé"), `\u200bé`},
		{fileName("a/b", "w4a8", "ü"), "a-b-w4a8---"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

// TestLabels wants every descendant of TLQ labelled as a reconstruction.
func TestLabels(t *testing.T) {
	for method, want := range map[string]string{"tlq": "TLQ (reconstruction)", "rtn": "Round to nearest", "tlq-keep50": "tlq-keep50 (reconstruction)", "mine": "mine", harness.MethodFP: "Unquantized"} {
		if got := methodLabel(nil, method); got != want {
			t.Errorf("%s is labelled %q, want %q", method, got, want)
		}
	}
	r := &run{models: []string{"zoo:a", "x/b", "y/b"}}
	for model, want := range map[string]string{"zoo:a": "a", "x/b": "x/b", "y/b": "y/b"} {
		if got := r.modelName(model); got != want {
			t.Errorf("%s is named %q, want %q", model, got, want)
		}
	}
}
