package ptq

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// fixture opens a folder of reference numbers: the whole one where it is there,
// else the part in testdata.
func fixture(t *testing.T, name string, cases any) *safetensors.File {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "fixtures", "algorithms", name)
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Join("testdata", name)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, cases); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(filepath.Join(dir, name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func floats(t *testing.T, f *safetensors.File, name string) []float32 {
	t.Helper()
	v, err := readFloats(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ints(t *testing.T, f *safetensors.File, name string) []int {
	t.Helper()
	v, err := readInts(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The quantizers of MBQ, AWQ and SmoothQuant, on rows made to trip them: steps,
// zero points and codes exactly.
func TestRoundToNearestFixtures(t *testing.T) {
	var set struct {
		Rows    []string
		Columns int
		Cases   []struct {
			ID    string
			Input string
			Bits  int
			Group int
		}
	}
	f := fixture(t, "rtn", &set)
	checked := 0
	for _, c := range set.Cases {
		in := floats(t, f, c.Input)
		rows, cols := len(in)/set.Columns, set.Columns
		group := c.Group
		switch {
		case strings.HasPrefix(c.ID, "mbq_act_tensor"):
			rows, cols, group = 1, len(in), len(in)
		case group < 0:
			group = cols
		}
		symmetric := strings.HasPrefix(c.ID, "mbq_") || strings.HasPrefix(c.ID, "smoothquant_")
		if !symmetric && !strings.HasPrefix(c.ID, "awq_") {
			continue // quantizers of other methods
		}
		checked++
		got, step, zero := make([]float32, len(in)), make([]float32, len(in)/group), make([]float32, len(in)/group)
		if symmetric {
			kernels.RoundSymmetric(got, step, in, rows, cols, group, c.Bits)
		} else {
			kernels.RoundAsymmetric(got, step, zero, in, rows, cols, group, c.Bits)
			if !slices.Equal(zero, floats(t, f, c.ID+".zero")) {
				t.Errorf("%s: zero points differ", c.ID)
			}
		}
		if !slices.Equal(step, floats(t, f, c.ID+".scale")) {
			t.Errorf("%s: steps differ", c.ID)
		}
		codes := ints(t, f, c.ID+".code")
		for i, v := range got {
			if want := (float32(codes[i]) - zero[i/group]) * step[i/group]; v != want {
				t.Fatalf("%s: element %d (row %d): %v, want %v", c.ID, i, i/cols, v, want)
			}
		}
	}
	if checked < 6 {
		t.Errorf("only %d cases were checked", checked)
	}
}

// The activation quantizer in the graph gives the bits of the one on slices,
// which the fixtures pin.
func TestActQuantGraph(t *testing.T) {
	var set struct{}
	f := fixture(t, "rtn", &set)
	backend, err := compute.NewWithConfig("go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"W", "X"} {
		in := floats(t, f, name)
		for _, bits := range []int{4, 6, 8} {
			aq := Format{Bits: 4, Activation: bits, Symmetric: true}.ActQuant()
			exec, err := graph.NewExec(backend, func(x *graph.Node) *graph.Node { return aq.Apply(x) })
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Call1(tensors.FromFlatDataAndDimensions(slices.Clone(in), 1, len(in)/128, 128))
			if err != nil {
				t.Fatal(err)
			}
			got, err := tensors.CopyFlatData[float32](out)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float32, len(in))
			kernels.RoundSymmetric(want, nil, in, len(in)/128, 128, 128, bits)
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%s, %d bits: element %d: graph %v, slice %v", name, bits, i, got[i], want[i])
				}
			}
		}
	}
	if (Format{Bits: 4, Activation: 16}).ActQuant() != nil {
		t.Error("16 bits quantize")
	}
}

// mbqCases is cases.json of the mbq fixtures.
type mbqCases struct {
	Models []struct {
		Model  string
		Config struct {
			Hidden, Heads, Inter, Layers, Vocab int
			KVHeads                             int `json:"kv_heads"`
			HeadDim                             int `json:"head_dim"`
			Eps, Theta                          float64
			QKVBias                             bool `json:"qkv_bias"`
		}
		Samples, Tokens int
		RatioAttn       []float64 `json:"ratio_attn_raw"`
		RatioMLP        []float64 `json:"ratio_mlp_raw"`
		Cases           []mbqCase
	}
}

type mbqCase struct {
	ID       string
	WBit     int `json:"w_bit"`
	ABit     int `json:"a_bit"`
	WGroup   int `json:"w_group"`
	Reweight bool
	Distort  bool
	LossMode string `json:"loss_mode"`
	Groups   []struct {
		Key    string
		Layers []string
		Alpha  float64
	}
}

// The tolerances of the fixtures for a float32 implementation; with rounded
// activations a code that flips at a boundary moves the curve.
const (
	weightCurve     = 1e-5
	activationCurve = 2e-3
	gradientRatio   = 1e-4
)

// The engine with MBQ's settings reproduces MBQ's released code: gradient ratios,
// search curves, exponents and factors, with and without its exposed path, with
// grouped-query attention and with the v_proj → o_proj group.
func TestMBQFixtures(t *testing.T) {
	var set mbqCases
	f := fixture(t, "mbq", &set)
	for _, m := range set.Models {
		text := models.TextConfig{
			Hidden: m.Config.Hidden, Layers: m.Config.Layers, Heads: m.Config.Heads, KVHeads: m.Config.KVHeads, HeadDim: m.Config.HeadDim,
			Intermediate: m.Config.Inter, Vocab: m.Config.Vocab, Eps: m.Config.Eps, RopeTheta: m.Config.Theta,
			MRopeSection: [3]int{m.Config.HeadDim / 2, 0, 0}, QKVBias: m.Config.QKVBias,
		}
		model := fixtureModel(t, f, m.Model, text)
		runner, err := models.NewRunner(model)
		if err != nil {
			t.Fatal(err)
		}
		batches, err := model.NewBatches(fixtureSamples(t, f, m.Model, m.Samples, m.Tokens, m.Config.Hidden))
		if err != nil {
			t.Fatal(err)
		}
		base := &Calibration{Model: model, Runner: runner, Batches: batches, Method: mustFind(t, "mbq"), Format: Format{Bits: 4, Activation: 8, Symmetric: true}}
		samples, err := base.samples()
		if err != nil {
			t.Fatal(err)
		}
		gradients, err := base.Gradients(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ratios, err := Ratios(samples, gradients, FloorNone)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ratios {
			near(t, fmt.Sprintf("%s layer %d attention ratio", m.Model, i), ratios[i].O.Vision, m.RatioAttn[i], gradientRatio)
			near(t, fmt.Sprintf("%s layer %d mlp ratio", m.Model, i), ratios[i].Down.Vision, m.RatioMLP[i], gradientRatio)
		}
		for _, c := range m.Cases {
			t.Run(m.Model+"/"+c.ID, func(t *testing.T) { checkMBQCase(t, f, m.Model+"/"+c.ID, base, samples, gradients, c) })
		}
	}
}

func near(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(math.Abs(want), 1e-12)) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

func fixtureModel(t *testing.T, f *safetensors.File, name string, text models.TextConfig) *models.Model {
	t.Helper()
	c := &models.Config{Family: models.Qwen2VL, Text: text, Vision: tinyConfig(2).Vision}
	w := models.NewWeights(c)
	for _, p := range w.Params(c) {
		stored := name + "/model/" + strings.TrimPrefix(p.Name, "model.")
		if strings.HasPrefix(p.Name, "visual.") || p.Name == "model.embed_tokens.weight" {
			continue // inputs are embeddings
		}
		copy(p.Data, floats(t, f, stored))
	}
	return models.New(&models.Processor{Config: c}, w)
}

// fixtureSamples reads the embedded samples. The reference code counts padding as
// tokens: here each is a token of other text on a branch of its own, so that it
// sees the real tokens before it and itself.
func fixtureSamples(t *testing.T, f *safetensors.File, name string, n, tokens, hidden int) ([]*models.Sequence, [][]float32) {
	t.Helper()
	x := floats(t, f, name+"/input/inputs_embeds")
	mask, labels := ints(t, f, name+"/input/attention_mask"), ints(t, f, name+"/input/labels")
	vision, answer := ints(t, f, name+"/input/vision_mask"), ints(t, f, name+"/input/caption_mask")
	var seqs []*models.Sequence
	var xs [][]float32
	for i := range n {
		s := &models.Sequence{IDs: make([]int32, tokens), Modality: make([]models.Modality, tokens), Branch: make([]int32, tokens)}
		for k := range s.Positions {
			s.Positions[k] = make([]int32, tokens)
		}
		for p := range tokens {
			at := i*tokens + p
			for k := range s.Positions {
				s.Positions[k][p] = int32(p)
			}
			switch {
			case vision[at] == 1:
				s.Modality[p] = models.Vision
			case answer[at] == 1:
				s.Modality[p] = models.Answer
			}
			if mask[at] == 0 {
				s.Branch[p] = int32(p + 1)
			}
			if p+1 < tokens && labels[at+1] >= 0 {
				s.Scored = append(s.Scored, models.Scored{Pos: int32(p), Target: int32(labels[at+1])})
			}
		}
		seqs, xs = append(seqs, s), append(xs, x[i*tokens*hidden:(i+1)*tokens*hidden])
	}
	return seqs, xs
}

func checkMBQCase(t *testing.T, f *safetensors.File, prefix string, base *Calibration, samples []*models.Sequence, gradients *TokenStats, mc mbqCase) {
	c := *base
	c.Method = mustFind(t, "mbq")
	if mc.Distort {
		c.Method = mustFind(t, "mbq-distort")
	}
	c.Method.Search.Metric = Metric(mc.LossMode)
	c.Format = Format{Bits: mc.WBit, Activation: mc.ABit, Symmetric: true}
	tolerance := activationCurve
	if mc.ABit == 16 {
		c.Format.Group, c.Format.Symmetric = mc.WGroup, false
		tolerance = weightCurve
	}
	switch {
	case !mc.Reweight:
		c.Method.Tokens = mustFind(t, "awq").Tokens
	case mc.LossMode == "mse":
		c.Method.Tokens.Mass = MassBalanced
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	set, _, err := SelectTokens(c.Method.Tokens, Selection{Samples: samples, Gradients: gradients, Importance: gradients})
	if err != nil {
		t.Fatal(err)
	}
	scale := 1.0
	if c.Method.Tokens.Mass == MassBalanced { // the released code takes means over answers
		answers := 0
		for _, s := range samples {
			for _, m := range s.Modality {
				if m == models.Answer {
					answers++
				}
			}
		}
		scale = float64(Count(set.Layers[0].O)) / float64(answers)
	}
	results, _ := c.calibrate(t, set)
	group := 0
	for i, res := range results {
		for _, site := range res.Report.Sites {
			if site.Skipped != "" {
				continue
			}
			g := mc.Groups[group]
			group++
			if want := fmt.Sprintf("layers.%d.%s.%s", i, blockPart(site.Site), linearNames(site.Site)[0]); g.Layers[0] != want {
				t.Fatalf("group %s holds %v, not %s", g.Key, g.Layers, want)
			}
			if site.Alpha != g.Alpha {
				t.Errorf("%s %s: exponent %v, want %v", g.Key, g.Layers[0], site.Alpha, g.Alpha)
			}
			for k, want := range floats(t, f, prefix+"/"+g.Key+"/loss_curve") {
				near(t, fmt.Sprintf("%s %s: J(%v)", g.Key, g.Layers[0], site.Alphas[k]), scale*site.Curve[k], float64(want), tolerance)
			}
			for k, want := range floats(t, f, prefix+"/"+g.Key+"/scale") {
				near(t, fmt.Sprintf("%s %s: factor %d", g.Key, g.Layers[0], k), float64(res.Smooth[site.Site][k]), float64(want), tolerance)
			}
		}
	}
	if group != len(mc.Groups) {
		t.Errorf("%d groups were searched, want %d", group, len(mc.Groups))
	}
}
