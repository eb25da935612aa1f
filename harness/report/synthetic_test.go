package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// world is a made-up experiment, written as a run's folder by the same
// statistics that real runs use.
type world struct {
	models, formats, methods []string
	seeds                    []uint64
	questions                int // per task
	// damage is the mean KL of a method in a setting, in nats per token.
	damage func(model, format, method string) float64
	// wrong is the share of right answers that quantization breaks.
	wrong float64
	// spread is how far questions differ in a method's damage: 0 to 1.
	spread float64
	failed map[string]bool // by method/format
}

var worldTasks = []string{"emoji", "scene"}

// smallWorld has everything in it and takes little time.
func smallWorld() *world {
	return &world{
		models: []string{"zoo:qwen2vl-nano", "zoo:llavaov-nano"}, formats: []string{"w4a8", "w3a16g16"}, methods: []string{"rtn", "tlq"},
		seeds: []uint64{0, 1}, questions: 60, wrong: 0.06, spread: 0.4,
		damage: func(_, format, method string) float64 {
			return map[string]float64{"w4a8": 0.2, "w3a16g16": 0.35}[format] * map[string]float64{"rtn": 1, "tlq": 0.7}[method]
		},
	}
}

func (w *world) spec() *harness.Spec {
	s := harness.DefaultSpec()
	s.Name, s.Models, s.Formats, s.Seeds, s.Tasks, s.Limit = "synthetic", w.models, w.formats, w.seeds, worldTasks, w.questions
	s.Stats.Bootstrap.Resamples = eval.MinResamples
	s.Methods = nil
	for _, m := range w.methods {
		s.Methods = append(s.Methods, harness.MethodRef{Name: m})
	}
	return &s
}

// write makes the folder and returns its records.
func (w *world) write(t testing.TB, dir string) []harness.Record {
	t.Helper()
	spec := w.spec()
	var records []harness.Record
	for mi, model := range w.models {
		fp := w.answers(model, "", harness.MethodFP, 0, nil)
		records = append(records, w.record(t, dir, spec, model, "", harness.MethodFP, 0, fp, nil))
		for _, format := range w.formats {
			for _, method := range w.methods {
				for _, seed := range w.seeds {
					samples := w.answers(model, format, method, seed, fp)
					rec := w.record(t, dir, spec, model, format, method, seed, samples, fp)
					w.artifacts(t, dir, &rec, mi)
					records = append(records, rec)
				}
			}
		}
	}
	if err := harness.WriteRecords(filepath.Join(dir, harness.RecordsFile), records); err != nil {
		t.Fatal(err)
	}
	return records
}

// answers are the per-question scores; those of quantized models start from fp.
func (w *world) answers(model, format, method string, seed uint64, fp []eval.Sample) []eval.Sample {
	hash := uint64(14695981039346656037)
	for _, b := range []byte(model + format + method) {
		hash = (hash ^ uint64(b)) * 1099511628211
	}
	rng := rand.New(rand.NewPCG(hash, seed))
	shared := rand.New(rand.NewPCG(7, 7)) // questions' own difficulty
	var out []eval.Sample
	for _, task := range worldTasks {
		for i := range w.questions {
			s := eval.Sample{ID: fmt.Sprintf("%s-%d", task, i), Task: task, Source: fmt.Sprintf("%s-board-%d", task, i/2), Question: "What is at B2?", Answer: "cheese", Prediction: "cheese", Tokens: 2}
			difficulty := shared.Float64()
			zero := 0.0
			s.KL, s.NLL, s.Correct = &zero, 0.5+2*difficulty, difficulty < 0.6
			if fp != nil {
				kl := w.damage(model, format, method) * (1 + w.spread*(2*rng.Float64()-1)) * (0.5 + difficulty)
				s.KL, s.NLL = &kl, s.NLL+kl
				if rng.Float64() < w.wrong {
					s.Correct = !s.Correct
				}
			}
			out = append(out, s)
		}
	}
	return out
}

// record scores a cell as the harness does.
func (w *world) record(t testing.TB, dir string, spec *harness.Spec, model, format, method string, seed uint64, samples, fp []eval.Sample) harness.Record {
	t.Helper()
	rec := harness.Record{
		Model: model, Family: "qwen2vl", Scale: "nano", Format: format, Method: method, Seed: seed, AvgBits: 4.25,
		Tasks: map[string]harness.TaskScore{}, Delta: harness.Delta{P: 1}, Events: []harness.Event{}, Status: harness.StatusOK,
		WeightsSHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(model+format+method+fmt.Sprint(seed)))), SpecSHA256: spec.Hash(), DataSHA256: "data", Code: "test",
		Seconds: 1.5, PeakBytes: 1 << 20, Spec: spec,
	}
	if w.failed[method+"/"+format] {
		rec.Status = harness.StatusFailed
		rec.WeightsSHA256 = ""
		rec.Events = []harness.Event{{Kind: harness.EventError, Text: "layer 3: W has <NaN> | values"}}
		return rec
	}
	summary, err := eval.Summarize(samples)
	if err != nil {
		t.Fatal(err)
	}
	rec.N = summary.N
	rec.Metrics = harness.Metrics{Accuracy: summary.Accuracy, NLL: summary.NLL, KL: *summary.KL}
	for name, s := range summary.Tasks {
		rec.Tasks[name] = harness.TaskScore{N: s.N, Accuracy: s.Accuracy, StdErr: s.StdErr, NLL: s.NLL, KL: *s.KL, Chance: 0.25}
	}
	rec.Intervals = map[string]eval.Interval{}
	a := &answers{}
	for i := range samples {
		right := 0.0
		if samples[i].Correct {
			right = 1
		}
		a.clusters, a.correct, a.nll = append(a.clusters, samples[i].Cluster()), append(a.correct, right), append(a.nll, samples[i].NLL)
	}
	for i, m := range []struct {
		name   string
		values []float64
	}{{"accuracy", a.correct}, {"nll", a.nll}} {
		interval, err := eval.Bootstrap(m.values, a.clusters, spec.Stats.Bootstrap, rand.New(rand.NewPCG(0, uint64(i))))
		if err != nil {
			t.Fatal(err)
		}
		rec.Intervals[m.name] = interval
	}
	if fp != nil {
		c, err := eval.Compare(fp, samples, spec.Stats.Bootstrap, rand.New(rand.NewPCG(0, 9)))
		if err != nil {
			t.Fatal(err)
		}
		rec.Compared, rec.Intervals["kl"] = c, *c.KL
		rec.Delta = harness.Delta{Accuracy: c.Accuracy.Mean, Low: c.Accuracy.Low, High: c.Accuracy.High, P: c.P}
	}
	rec.Samples = fmt.Sprintf("samples/%s.jsonl", fileName(shortModel(model), format, method, fmt.Sprint(seed)))
	var b bytes.Buffer
	if err := eval.WriteSamples(&b, samples); err != nil {
		t.Fatal(err)
	}
	put(t, dir, rec.Samples, b.Bytes())
	return rec
}

// artifacts writes a trace for every cell, a token map for tlq's first seed.
func (w *world) artifacts(t testing.TB, dir string, rec *harness.Record, picture int) {
	t.Helper()
	if rec.Status != harness.StatusOK {
		return
	}
	name := fileName(shortModel(rec.Model), rec.Format, rec.Method, fmt.Sprint(rec.Seed))
	rec.Trace = "artifacts/trace-" + name + ".json"
	put(t, dir, rec.Trace, asJSON(t, syntheticTrace(rec)))
	if rec.Method == baselineMethod || rec.Seed != w.seeds[0] {
		return
	}
	tokens := syntheticTokens(rec)
	tokens.Image, rec.TokenMap = "artifacts/picture-"+name+".png", "artifacts/tokens-"+name+".json"
	put(t, dir, rec.TokenMap, asJSON(t, tokens))
	put(t, dir, tokens.Image, syntheticPicture(t, 64+picture))
}

func syntheticTrace(rec *harness.Record) *harness.Trace {
	t := &harness.Trace{Model: rec.Model, Format: rec.Format, Method: rec.Method, Seed: rec.Seed}
	rng := rand.New(rand.NewPCG(rec.Seed, uint64(len(rec.Method))))
	vision, answer := 0.01, 0.02
	for i := range 8 {
		l := harness.TraceLayer{Index: i, Sites: map[string]harness.TraceSite{}, FPNorm: 1}
		l.Local = harness.TokenErrors{Vision: 0.01 + 0.002*rng.Float64(), Answer: 0.02 + 0.004*rng.Float64()}
		vision, answer = vision+0.6*l.Local.Vision, answer+0.5*l.Local.Answer
		l.Exposed = harness.TokenErrors{All: vision, Vision: vision, Answer: answer, Other: answer}
		l.Local.All = l.Local.Vision
		if rec.Method != baselineMethod {
			for k, site := range siteOrder {
				s := harness.TraceSite{Factors: []float64{0.5, 1, 2}, Tokens: 100}
				for a := range 20 {
					alpha := float64(a) / 20
					best := 0.2 + 0.15*float64(k) + 0.02*float64(i)
					s.Alphas = append(s.Alphas, alpha)
					s.J = append(s.J, 0.01*(1+2*(alpha-best)*(alpha-best)+0.02*rng.Float64()))
				}
				for a, j := range s.J {
					if j < s.J[s.Chosen] {
						s.Chosen = a
					}
				}
				l.Sites[site] = s
			}
		}
		t.Layers = append(t.Layers, l)
	}
	return t
}

func syntheticTokens(rec *harness.Record) *harness.TokenMap {
	m := &harness.TokenMap{Model: rec.Model, Format: rec.Format, Method: rec.Method, Seed: rec.Seed, Question: "What is at B2?", Answer: "cheese", Rows: 6, Cols: 8}
	add := func(text, modality string, row, col int, importance, kept float64) {
		m.Tokens = append(m.Tokens, harness.MapToken{Text: text, Modality: modality, Row: row, Col: col, Importance: importance, Kept: kept})
	}
	add("<|im_start|>", "other", 0, 0, 0.05, 0)
	add("user", "other", 0, 0, 0.02, 0)
	add("\n", "other", 0, 0, 0.03, 0)
	for r := range m.Rows {
		for c := range m.Cols {
			d := float64((r-2)*(r-2) + (c-3)*(c-3))
			add("", "vision", r, c, 0.05/(1+d), map[bool]float64{true: 1, false: 0.1}[d < 6])
		}
	}
	for _, w := range []string{"What", " is", " at", " B", "2", "?", "<|im_end|>", "\n"} {
		add(w, "other", 0, 0, 0.01, 0)
	}
	add("\n", "answer", 0, 0, 0.3, 1)
	add("cheese", "answer", 0, 0, 0.05, 1)
	add("<|im_end|>", "other", 0, 0, 0, 0)
	return m
}

func syntheticPicture(t testing.TB, size int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, size*4/3, size))
	for y := range size {
		for x := range size * 4 / 3 {
			img.SetRGBA(x, y, color.RGBA{uint8(x * 2), uint8(y * 3), uint8(255 - x), 255})
			if (x-30)*(x-30)+(y-25)*(y-25) < 150 {
				img.SetRGBA(x, y, color.RGBA{240, 200, 40, 255})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func put(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
