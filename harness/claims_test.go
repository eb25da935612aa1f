package harness

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

func tinyClaims(t *testing.T, name string) ClaimsSpec {
	t.Helper()
	s, err := LoadClaims("decisive")
	if err != nil {
		t.Fatal(err)
	}
	s.Models, s.Settings = []string{name}, []ClaimSetting{{Format: "w4a4"}, {Format: "w3a16g16"}}
	s.Prompts = Prompts{Tasks: []string{"emoji", "scene"}, Split: string(datasets.Test), N: 20}
	s.Seeds, s.Calibration.Samples, s.Spread = []uint64{0, 1, 2}, 3, false
	if err := s.Only([]string{"rtn", "mbq", "tlq"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestClaims compares cells with what Evaluate says of the same models, and verdicts
// with the cells.
func TestClaims(t *testing.T) {
	s, m := tinySession(t)
	spec := tinyClaims(t, m.Name)
	run, err := s.RunClaims(spec, ClaimsOptions{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Cells) != spec.ClaimCells() || len(run.Failed()) > 0 {
		t.Fatalf("%d cells of %d, failed: %+v", len(run.Cells), spec.ClaimCells(), run.Failed())
	}
	cell := run.Cell(m.Name, spec.Settings[0], "mbq", 1)
	q, err := m.Quantize(mustSamples(t, m, 3, 1), mustQuantization(t, "mbq", "w4a4"))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := m.Evaluate(q, Questions{Task: "emoji", Split: "test", N: 10}, Questions{Task: "scene", Split: "test", N: 10})
	if err != nil {
		t.Fatal(err)
	}
	summary, err := eval.Summarize(samples)
	if err != nil {
		t.Fatal(err)
	}
	if cell.WeightsSHA256 != q.WeightsSHA256 || math.Abs(cell.KL-*summary.KL) > 1e-6 || math.Abs(cell.NLL-summary.NLL) > 1e-6 || cell.Accuracy != summary.Accuracy {
		t.Errorf("cell %+v, evaluated: KL %v, NLL %v, accuracy %v", cell, *summary.KL, summary.NLL, summary.Accuracy)
	}
	if len(run.Claims) == 0 {
		t.Fatal("no claims")
	}
	for _, v := range run.Claims {
		checkVerdict(t, run, spec, &v)
	}
	again, err := s.RunClaims(spec, ClaimsOptions{Workers: 1})
	if err != nil || !slices.Equal(again.Claims, run.Claims) {
		t.Errorf("one worker, from the store, gives other verdicts: %v", err)
	}
}

// TestSpreadClaims asks every seed its own questions: those that follow the seed's before,
// each seed's KL against the unquantized model's answers to the same ones.
func TestSpreadClaims(t *testing.T) {
	s, m := tinySession(t)
	spec := tinyClaims(t, m.Name)
	spec.Settings, spec.Prompts.N, spec.Spread = spec.Settings[:1], 6, true
	run, err := s.RunClaims(spec, ClaimsOptions{Workers: 2})
	if err != nil || len(run.Failed()) > 0 {
		t.Fatalf("%v, failed: %+v", err, run.Failed())
	}
	q, err := m.Quantize(mustSamples(t, m, 3, 2), mustQuantization(t, "mbq", "w4a4"))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := m.Evaluate(q, Questions{Task: "emoji", Split: "test", N: 9}, Questions{Task: "scene", Split: "test", N: 9})
	if err != nil {
		t.Fatal(err)
	}
	own := slices.Concat(samples[6:9], samples[15:18]) // the third seed's: two blocks of 3 of each task before
	kl := 0.0
	for i := range own {
		kl += *own[i].KL / float64(len(own))
	}
	if cell := run.Cell(m.Name, spec.Settings[0], "mbq", 2); cell.N != 6 || math.Abs(cell.KL-kl) > 1e-6 {
		t.Errorf("the third seed's cell: n = %d, KL %v; evaluated %v", cell.N, cell.KL, kl)
	}
	if run.Asked != 6 || run.Questions != 18 || run.Cells[0].N != 18 || run.Claims[0].N != 18 || run.Claims[0].Seeds != 3 {
		t.Errorf("asked %d of %d questions, the unquantized model %d, verdict %+v", run.Asked, run.Questions, run.Cells[0].N, run.Claims[0])
	}
	plan, err := s.PlanClaims(spec, 1)
	if err != nil || plan.Cells != len(run.Cells) || plan.Calibrated != plan.Cells-1 || plan.Questions != 18 || !strings.Contains(plan.String(), "18 questions of emoji, scene, test split: 6 of each seed's own") {
		t.Errorf("plan %v: %v", plan, err)
	}
}

// checkVerdict compares a verdict's difference with its cells.
func checkVerdict(t *testing.T, run *ClaimsRun, spec ClaimsSpec, v *ClaimVerdict) {
	t.Helper()
	st := ClaimSetting{Format: v.Format, Outliers: v.Outliers}
	sum := 0.0
	for _, seed := range spec.Seeds {
		a, b := run.Cell(v.Model, st, v.A, seed), run.Cell(v.Model, st, v.B, seed)
		sum += map[string]float64{MetricKL: a.KL - b.KL, MetricNLL: a.NLL - b.NLL, MetricAccuracy: a.Accuracy - b.Accuracy}[v.Metric]
	}
	if want := sum / float64(len(spec.Seeds)); math.Abs(v.Difference-want) > 1e-9 {
		t.Errorf("%s: difference %v, want %v", v.Claim, v.Difference, want)
	}
	if v.Verdict == "" || v.N != 20 || v.Seeds != 3 || v.Low > v.Difference || v.High < v.Difference || v.PHolm < 0 || v.PHolm > 1 {
		t.Errorf("%+v", v)
	}
	if v.Verdict == eval.Undecidable && v.NeededN > 0 && v.NeededSeeds < v.Seeds {
		t.Errorf("%s: needs %d seeds of %d", v.Claim, v.NeededSeeds, v.Seeds)
	}
}

// TestClaimSpecs loads every built-in experiment: names must be known, and every
// method but RTN must be part of a claim.
func TestClaimSpecs(t *testing.T) {
	for _, name := range ClaimSpecs() {
		s, err := LoadClaims(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "decisive" && (s.Prompts.N*len(s.Seeds) < AllQuestions || !s.Spread) || name != ClaimsText && (s.Prompts.N < 1200 || len(s.Seeds) < 8) {
			t.Errorf("%s asks %d questions of %d seeds", name, s.Prompts.N, len(s.Seeds))
		}
		if got, want := s.Filled(testRoot(t, "qwen2vl-nano", "llavaov-micro", "llavaov-mini")).Models, map[string]int{"decisive": 2, ClaimsText: 0}; name == "decisive" || name == ClaimsText {
			if len(got) != want[name] {
				t.Errorf("%s: models %v", name, got)
			}
		} else if len(got) != 1 || got[0] != "zoo:qwen2vl-nano" {
			t.Errorf("%s: models %v", name, got)
		}
		if err := s.validate(""); err == nil || !strings.Contains(err.Error(), "models is empty") {
			t.Errorf("%s: %v", name, err)
		}
		for _, ref := range s.Methods {
			m, err := ref.Method()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			claimed := slices.ContainsFunc(s.Families, func(f ClaimFamily) bool {
				return slices.ContainsFunc(f.Claims, func(c [2]string) bool { return c[0] == m.Name || c[1] == m.Name })
			})
			if !claimed {
				t.Errorf("%s: no claim speaks of %s", name, m.Name)
			}
		}
		for _, st := range s.Settings {
			var q Quantization
			if err := q.setOutliers(st.Outliers); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := LoadClaims("decisiv"); err == nil || !strings.Contains(err.Error(), `did you mean "decisive"`) {
		t.Errorf("a mistyped experiment: %v", err)
	}
}

// streamModel is a small language model in a folder and token streams of different
// lengths for it.
func streamModel(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	c := &models.Config{Family: models.Llama, ImageToken: -1, EOSToken: 2, Text: models.TextConfig{
		Hidden: 32, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 44, Vocab: 50, Eps: 1e-5, RopeTheta: 1e4, TiedHead: true, MaxPositions: 64,
	}}
	rng := rand.New(rand.NewPCG(1, 1))
	w := models.NewWeights(c)
	w.Randomize(c, rng)
	if err := models.New(&models.Processor{Config: c}, w).Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
	const streams, length = 9, 24
	ids := make([]int64, streams*length)
	for i := range ids {
		ids[i] = rng.Int64N(50)
		if at := i % length; at >= 12+i/length {
			ids[i] = -1
		}
	}
	file = filepath.Join(dir, "tokens.safetensors")
	if err := safetensors.WriteFile(file, nil, safetensors.FromInts("tokens", []int{streams, length}, ids)); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// TestStreamClaims examines a language model on token streams: the unquantized cell is what
// Loss says, a cell's numbers are those of its model token by token, and what is the same
// method without pictures ends with the same weights.
func TestStreamClaims(t *testing.T) {
	s, _ := tinySession(t)
	dir, file := streamModel(t)
	spec, err := LoadClaims(ClaimsText)
	if err != nil {
		t.Fatal(err)
	}
	spec.Models, spec.Settings = []string{dir}, []ClaimSetting{{Format: "w4a4"}, {Format: "w3a16g16"}}
	spec.Streams, spec.Calibration, spec.Seeds = Streams{From: file}, Calibration{file, 3}, []uint64{0, 1}
	if err := spec.Only([]string{"rtn", "mbq-distort", "tlq", "answers", "gptq", "quarot"}); err != nil {
		t.Fatal(err)
	}
	run, err := s.RunClaims(spec, ClaimsOptions{Workers: 2})
	if err != nil || len(run.Failed()) > 0 {
		t.Fatalf("%v, failed: %+v", err, run.Failed())
	}
	m, err := s.Model(dir)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := ReadStreams(file)
	if err != nil {
		t.Fatal(err)
	}
	loss, err := m.Loss(streams)
	if err != nil {
		t.Fatal(err)
	}
	if fp := run.Cells[0]; math.Abs(fp.NLL-loss.Loss) > 1e-6 || fp.KL != 0 || run.Tokens != loss.Tokens || run.Asked != len(streams) {
		t.Errorf("unquantized: %+v of %d tokens, loss %+v", fp, run.Tokens, loss)
	}
	for _, v := range run.Claims {
		if same := v.Family == "tokens"; same != (v.Verdict == eval.Identical) {
			t.Errorf("%s: %s", v.Claim, v.Verdict)
		}
	}
	if e := run.Cell(dir, spec.Settings[1], "gptq", 1).Events; !slices.ContainsFunc(e, func(e Event) bool { return e.Kind == "group-halved" }) {
		t.Errorf("44 columns in groups of 16, events %+v", e)
	}
	for _, method := range []string{"gptq", "quarot"} {
		checkStreamCell(t, run, m, streams, method)
	}
}

// checkStreamCell compares a w4a4 cell and its interval with logits token by token.
func checkStreamCell(t *testing.T, run *ClaimsRun, m *Model, streams [][]int32, method string) {
	t.Helper()
	samples, err := m.CalibrationFrom(run.Spec.Calibration.Name, run.Spec.Calibration.Samples, 1)
	if err != nil {
		t.Fatal(err)
	}
	q, err := m.Quantize(samples, mustQuantization(t, method, "w4a4"))
	if err != nil {
		t.Fatal(err)
	}
	exact, _, err := m.quantizedRunner(nil)
	if err != nil {
		t.Fatal(err)
	}
	runner, act, err := m.quantizedRunner(q)
	if err != nil {
		t.Fatal(err)
	}
	logits := func(r *models.Runner, act *models.ActQuant, ids []int32) [][]float32 {
		b, err := r.Embed([]*models.Sequence{models.TextSequence(ids)})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := eval.ModelScorer{Runner: r, ActQuant: act}.Logits(t.Context(), b[0])
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	var kl, nll, correct []float64
	var clusters []string
	for i, ids := range streams {
		p, rows := logits(exact, nil, ids), logits(runner, act, ids)
		for k, row := range rows {
			d, err := eval.KL(p[k], row)
			if err != nil {
				t.Fatal(err)
			}
			logP, err := eval.LogProb(row, ids[k+1])
			if err != nil {
				t.Fatal(err)
			}
			hit := 0.0
			if eval.Argmax(row) == int(ids[k+1]) {
				hit = 1
			}
			kl, nll, correct, clusters = append(kl, d), append(nll, -logP), append(correct, hit), append(clusters, fmt.Sprint(i))
		}
	}
	cell := run.Cell(m.Name, run.Spec.Settings[0], method, 1)
	if cell.WeightsSHA256 != q.WeightsSHA256 {
		t.Errorf("%s: other weights than Quantize's", method)
	}
	for metric, tokens := range map[string][]float64{MetricKL: kl, MetricNLL: nll, MetricAccuracy: correct} {
		mean, stdErr, err := eval.ClusteredStdErr(tokens, clusters)
		if err != nil {
			t.Fatal(err)
		}
		gotMean, got, err := eval.ClusteredStdErr(cell.scores.of(metric), run.clusters[m.Name][0])
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(gotMean-mean) > 1e-6 || math.Abs(got-stdErr) > 1e-6 {
			t.Errorf("%s, %s: %v ± %v, token by token %v ± %v", method, metric, gotMean, got, mean, stdErr)
		}
	}
}

// TestPublishedAt: QIG stands for what it published at each kind of format, whatever else
// keeps its name, and a method written out stays as written.
func TestPublishedAt(t *testing.T) {
	inline := variant("qig", "own", "QIG of mine", "tokens.integrate.steps=8")
	c := &claimsModel{spec: &ClaimsSpec{Methods: []MethodRef{{Name: "qig"}, {Name: "mbq"}, inline}}}
	for _, x := range []struct{ method, format, want, as string }{
		{"qig", "w4a8", "qig", ""}, {"qig", "w3a16g16", "qig-weights", "qig-weights"}, {"mbq", "w3a16g16", "mbq", ""}, {"own", "w3a16g16", "own", ""},
	} {
		cell := &ClaimCell{Method: x.method, Format: x.format}
		q, err := c.quantization(cell)
		if err != nil || q.Method.Name != x.want || cell.As != x.as {
			t.Errorf("%s at %s: %s as %q, %v", x.method, x.format, q.Method.Name, cell.As, err)
		}
	}
}
