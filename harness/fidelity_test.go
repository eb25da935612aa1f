package harness

import (
	"math"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

func tinyFidelity(methods ...string) FidelitySettings {
	s := DefaultFidelity()
	s.Methods = nil
	for _, name := range methods {
		s.Methods = append(s.Methods, MethodRef{Name: name})
	}
	s.Prompts = Prompts{Tasks: []string{"emoji", "scene"}, Split: string(datasets.Test), N: 6}
	s.Calibration.Samples = 3
	s.Stats.Bootstrap.Resamples = eval.MinResamples
	return s
}

// TestFidelity checks what can be known beforehand: where nothing is scaled the truth is
// rounding to nearest at that site, and picks are the engine's own.
func TestFidelity(t *testing.T) {
	_, m := tinySession(t)
	s := tinyFidelity("awq", "mbq", "tlq")
	s.Sites = []models.Site{models.Down, models.O}
	f, err := m.Fidelity(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sites) != m.NumLayers() || f.Skipped["o"] == "" || len(f.Alphas) != 20 || len(f.Methods) != 3 {
		t.Fatalf("%d sites, skipped %v, %d exponents, %d methods", len(f.Sites), f.Skipped, len(f.Alphas), len(f.Methods))
	}
	trace, err := m.Trace(mustSamples(t, m, 3, 0), mustQuantization(t, "mbq", s.Format))
	if err != nil {
		t.Fatal(err)
	}
	for i, site := range f.Sites {
		if got, want := site.Choice["mbq"].Pick, trace.Layers[i].Sites["down"].Chosen; got != want {
			t.Errorf("layer %d: MBQ picks candidate %d, its search %d", i, got, want)
		}
		if !(site.KL[0] > 0) || site.Choice["mbq"].Room < 0 || site.Choice["mbq"].Regret < 0 {
			t.Errorf("layer %d: KL %v, choice %+v", i, site.KL[0], site.Choice["mbq"])
		}
	}
	if len(f.Pairs) != 2 { // awq and tlq against mbq
		t.Errorf("pairs %+v", f.Pairs)
	}
	for _, method := range f.Methods {
		if method.Rho.Mean < -1 || method.Rho.Mean > 1 || method.Relative.Mean < f.Possible.Mean {
			t.Errorf("%+v, possible %v", method, f.Possible.Mean)
		}
	}
}

// TestFidelityCandidate compares the truth's candidates with the engine's: AWQ's
// objective at down is the squared error of down_proj's output over all calibration
// tokens, which a candidate's pass through the block must give as well.
func TestFidelityCandidate(t *testing.T) {
	_, m := tinySession(t)
	for _, format := range []string{"w4a4", "w3a16g16"} {
		s := tinyFidelity("awq")
		s.Format, s.Sites = format, []models.Site{models.Down, models.QKV, models.GateUp}
		r, err := m.newFidelityRun(s)
		if err != nil {
			t.Fatal(err)
		}
		curves, err := r.objectives()
		if err != nil {
			t.Fatal(err)
		}
		set, err := m.prompts(r.s.Prompts)
		if err != nil {
			t.Fatal(err)
		}
		w := &truthWalk{r: r, p: set, sites: s.Sites}
		if err := w.reach(m, 0); err != nil {
			t.Fatal(err)
		}
		means, err := w.means(m, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []int{0, 7, 19} {
			candidate, err := r.candidate(w.above[0], models.Down, ptq.ScaleFactors(means[models.Down], float64(k)/20))
			if err != nil {
				t.Fatal(err)
			}
			got, want := squaredError(t, w, candidate), curves["awq"][0][models.Down][k]
			if math.Abs(got-want) > 2e-3*want { // folded scales round to float32 elsewhere
				t.Errorf("%s, candidate %d: error %v, the engine's J %v", format, k, got, want)
			}
		}
	}
}

// squaredError is the mean squared error of down_proj's output in layer 0.
func squaredError(t *testing.T, w *truthWalk, candidate *models.Layer) float64 {
	t.Helper()
	aq := w.r.format.ActQuant()
	if aq != nil {
		aq.Only = models.Down
	}
	sum, n := 0.0, 0
	for i, b := range w.batches {
		exact, err := w.runner.Block(b, w.calibration[i], w.above[0], models.BlockOptions{Outputs: true})
		if err != nil {
			t.Fatal(err)
		}
		rounded, err := w.runner.Block(b, w.calibration[i], candidate, models.BlockOptions{ActQuant: aq, Outputs: true})
		if err != nil {
			t.Fatal(err)
		}
		width := len(exact.Down) / (b.B * b.T)
		for row, seq := range b.Seqs {
			for k := row * b.T * width; k < (row*b.T+seq.Len())*width; k++ {
				d := float64(exact.Down[k]) - float64(rounded.Down[k])
				sum += d * d
				n++
			}
		}
	}
	return sum / float64(n)
}

func TestFidelityRefuses(t *testing.T) {
	_, m := tinySession(t)
	for want, change := range map[string]func(*FidelitySettings){
		"no objective":   func(s *FidelitySettings) { s.Methods = []MethodRef{{Name: "rtn"}} },
		"channel means":  func(s *FidelitySettings) { s.Methods = []MethodRef{{Name: "tlq-fewer"}} },
		"did you mean":   func(s *FidelitySettings) { s.Methods = []MethodRef{{Name: "mbk"}} },
		"twice":          func(s *FidelitySettings) { s.Methods = append(s.Methods, s.Methods[0]) },
		"no methods":     func(s *FidelitySettings) { s.Methods = nil },
		"unknown site":   func(s *FidelitySettings) { s.Sites = []models.Site{"downs"} },
		"format \"w9z\"": func(s *FidelitySettings) { s.Format = "w9z" },
		"be scaled":      func(s *FidelitySettings) { s.Sites = []models.Site{models.O} },
	} {
		s := tinyFidelity("mbq")
		change(&s)
		if _, err := m.Fidelity(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q expected in the error, got %v", want, err)
		}
	}
}

// TestDefaultFidelity lists no objective twice.
func TestDefaultFidelity(t *testing.T) {
	s := DefaultFidelity()
	methods, err := fidelityMethods(s)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range methods {
		if i > 0 && sameObjective(MethodRef{Inline: &methods[i-1]}, m) {
			t.Errorf("%s and %s have the same objective", methods[i-1].Name, m.Name)
		}
	}
	if len(methods) < 6 {
		t.Errorf("%d methods only", len(methods))
	}
}
