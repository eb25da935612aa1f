package harness

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
)

func tinyPremise() PremiseSettings {
	s := DefaultPremise()
	s.Prompts = Prompts{Tasks: []string{"emoji", "scene"}, Split: string(datasets.Test), N: 7}
	s.Formats = []string{"w4a8", "w3a16g16"}
	s.Stats.Bootstrap.Resamples = eval.MinResamples
	return s
}

// TestPremise compares the premise with numbers made the long way round: with every
// token rounded it must be the RTN model, and sizes must be those of the linears'
// inputs.
func TestPremise(t *testing.T) {
	_, m := tinySession(t)
	s := tinyPremise()
	p, err := m.Premise(s)
	if err != nil {
		t.Fatal(err)
	}
	layers := m.NumLayers()
	if len(p.Activations) != 4*layers || len(p.Gradients) != 2*layers || len(p.Rounded) != 2 || p.Prompts != 7 {
		t.Fatalf("%d activations, %d gradients, %d formats, %d prompts", len(p.Activations), len(p.Gradients), len(p.Rounded), p.Prompts)
	}
	set, err := m.prompts(s.Prompts)
	if err != nil {
		t.Fatal(err)
	}
	for i, format := range s.Formats {
		want := klOfRTN(t, m, set, format)
		if got := p.Rounded[i].KL["all"].Mean; math.Abs(got-want) > 1e-12*want {
			t.Errorf("%s: KL with all tokens rounded is %v, of the RTN model %v", format, got, want)
		}
		for _, kind := range []string{"vision", "answer", "other"} {
			kl, share := p.Rounded[i].KL[kind].Mean, p.Rounded[i].Share[kind].Mean
			if !(kl > 0) || math.Abs(share-kl/want) > 1e-9 {
				t.Errorf("%s: %s tokens: KL %v, share %v", format, kind, kl, share)
			}
		}
	}
	checkSizes(t, m, set, p)
	last := p.Gradients[len(p.Gradients)-1]
	if last.Vision.Mean != 0 || last.Other.Mean != 0 || !(last.Answer.Mean > 0) {
		t.Errorf("in the last layer only answer tokens reach the loss: %+v", last)
	}
	again, err := m.Premise(s)
	if err != nil || again.NLL != p.NLL || again.Rounded[0].KL["vision"] != p.Rounded[0].KL["vision"] {
		t.Errorf("the stored premise differs: %v", err)
	}
}

// klOfRTN is the mean KL of the model that is rounded as a whole.
func klOfRTN(t *testing.T, m *Model, set *promptSet, format string) float64 {
	t.Helper()
	q, err := m.Quantize(mustSamples(t, m, 1, 0), mustQuantization(t, "rtn", format))
	if err != nil {
		t.Fatal(err)
	}
	logits := func(q *Quantized) [][][]float32 {
		r, act, err := m.quantizedRunner(q)
		if err != nil {
			t.Fatal(err)
		}
		out := make([][][]float32, len(set.seqs))
		for _, b := range set.batches {
			x, err := r.Forward(b, act)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := r.Logits(b, x)
			if err != nil {
				t.Fatal(err)
			}
			for k, at := range b.Index {
				n := len(b.Seqs[k].Scored)
				out[at], rows = rows[:n], rows[n:]
			}
		}
		return out
	}
	exact, rounded := logits(nil), logits(q)
	sum := 0.0
	for i := range exact {
		own := 0.0
		for k := range exact[i] {
			kl, err := eval.KL(exact[i][k], rounded[i][k])
			if err != nil {
				t.Fatal(err)
			}
			own += kl
		}
		sum += own / float64(len(exact[i]))
	}
	return sum / float64(len(exact))
}

// checkSizes compares one site's sizes with the linears' inputs.
func checkSizes(t *testing.T, m *Model, set *promptSet, p *Premise) {
	t.Helper()
	r, err := m.Runner()
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Layer(0)
	if err != nil {
		t.Fatal(err)
	}
	in := l.Down.In
	total, most := 0.0, 0.0
	for _, b := range set.batches {
		res, err := r.Block(b, b.X, l, models.BlockOptions{Taps: true})
		if err != nil {
			t.Fatal(err)
		}
		sums, counts := make([]float64, len(b.Seqs)), make([]int, len(b.Seqs))
		b.Rows(res.Inputs[models.Down], in, func(seq, token int, x []float32) {
			if b.Seqs[seq].Modality[token] != models.Vision {
				return
			}
			counts[seq]++
			for _, v := range x {
				sums[seq] += math.Abs(float64(v)) / float64(in)
				most = max(most, math.Abs(float64(v)))
			}
		})
		for k := range sums {
			total += sums[k] / float64(counts[k])
		}
	}
	i := slices.IndexFunc(p.Activations, func(x PremiseSite) bool { return x.Layer == 0 && x.Site == models.Down })
	got := p.Activations[i].Vision
	if want := total / float64(len(set.seqs)); math.Abs(got.Mean-want) > 1e-9*want || got.Max != most {
		t.Errorf("vision tokens at down: mean %v, max %v; want %v, %v", got.Mean, got.Max, want, most)
	}
	if got.TopQuarter < 0.25 || got.TopQuarter > 1 || got.CV <= 0 {
		t.Errorf("spread: %+v", got)
	}
}

// TestPremiseDescribe works a prompt out by hand.
func TestPremiseDescribe(t *testing.T) {
	kinds := []models.Modality{models.Vision, models.Answer, models.Vision, models.Vision, models.Vision}
	var p perPrompt
	p.describe(kinds, []float64{1, 7, 2, 1, 4})
	// Vision: 1, 2, 1, 4: mean 2, variance 1.5, the largest of four holds 4 of 8.
	if v := models.Vision; p.mean[v] != 2 || math.Abs(p.cv[v]-math.Sqrt(1.5)/2) > 1e-15 || p.top[v] != 0.5 || p.max[v] != 4 {
		t.Errorf("vision: mean %v, CV %v, top %v, max %v", p.mean[v], p.cv[v], p.top[v], p.max[v])
	}
	if !math.IsNaN(p.mean[models.Other]) || p.mean[models.Answer] != 7 {
		t.Errorf("other %v, answer %v", p.mean[models.Other], p.mean[models.Answer])
	}
}

func TestPremiseRefuses(t *testing.T) {
	_, m := tinySession(t)
	for want, change := range map[string]func(*PremiseSettings){
		"at least 2":        func(s *PremiseSettings) { s.Prompts.N = 1 },
		"w5q":               func(s *PremiseSettings) { s.Formats = []string{"w5q"} },
		"does not divide":   func(s *PremiseSettings) { s.Formats = []string{"w4a16g48"} },
		"unknown task":      func(s *PremiseSettings) { s.Prompts.Tasks = []string{"emojy"} },
		"unknown split":     func(s *PremiseSettings) { s.Prompts.Split = "tst" },
		"formats is empty":  func(s *PremiseSettings) { s.Formats = nil },
		"bootstrap resampl": func(s *PremiseSettings) { s.Stats.Bootstrap.Resamples = 3 },
	} {
		s := tinyPremise()
		change(&s)
		if _, err := m.Premise(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q expected in the error, got %v", want, err)
		}
	}
	blind := *m
	language := *m.Model
	processor := *m.Processor
	processor.Pixels, language.Processor, blind.Model = nil, &processor, &language
	if _, err := blind.Premise(tinyPremise()); !errors.Is(err, ErrNoVision) {
		t.Errorf("a language model alone: %v", err)
	}
}
