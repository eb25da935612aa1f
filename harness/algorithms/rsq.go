package algorithms

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// rsqStrategy is a strategy of the RSQ fixtures with its arguments, nil where the
// reference's configuration files decide.
type rsqStrategy struct {
	ID, YAML string
	Args     struct {
		Low        *float64 `json:"min_value"`
		High       *float64 `json:"max_value"`
		Masking    float64
		Truncate   float64
		Bins       int     `json:"num_bins"`
		Quantile   float64 `json:"quantile_value"`
		MethodType string  `json:"method_type"`
	}
}

// rsqSolve is q_proj, quantized with the weights of a strategy.
type rsqSolve struct {
	Case    string
	Weights string // strategy
	solveCase
}

type rsqSet struct {
	Config          toyConfig
	Samples, Tokens int
	Strategies      []rsqStrategy
	GPTQ            []rsqSolve
}

// rsq compares what the strategies look at, their token weights, and the Hessians and
// codes that follow.
func (f *folder) rsq() error {
	var set rsqSet
	if err := f.parse(&set); err != nil {
		return err
	}
	t, in, err := f.rsqInputs(set)
	if err != nil {
		return err
	}
	if err := t.rsqLayer(in); err != nil {
		return err
	}
	weights := map[string][][]float32{"none": nil}
	for _, s := range set.Strategies {
		f.of = s.ID
		if weights[s.ID], err = t.rsqWeights(in, s); err != nil {
			f.fail("weights", err)
		}
	}
	for _, c := range set.GPTQ {
		f.of = c.Case + "/" + c.Weights
		if err := f.rsqSolve(in, c, weights); err != nil {
			f.fail("solve", err)
		}
	}
	return nil
}

// rsqInputs makes a model of the one layer that the fixture has.
func (f *folder) rsqInputs(set rsqSet) (*toy, *inputs, error) {
	ids, err := f.ints("token_ids")
	if err != nil {
		return nil, nil, err
	}
	x, err := f.floats("x")
	if err != nil {
		return nil, nil, err
	}
	n, hidden := set.Samples*set.Tokens, set.Config.Hidden
	if n < 1 || len(ids) != n || len(x) != n*hidden {
		return nil, nil, fmt.Errorf("%d token ids and %d inputs; expected %d × %d tokens of %d channels", len(ids), len(x), set.Samples, set.Tokens, hidden)
	}
	set.Config.Layers, set.Config.Vocab = 1, 1
	t, err := f.oneLayer(set.Config)
	if err != nil {
		return nil, nil, err
	}
	in := &inputs{}
	for i := range set.Samples {
		s := models.TextSequence(make([]int32, set.Tokens))
		s.Scored = nil
		for p := range s.Len() {
			s.IDs[p] = int32(ids[i*set.Tokens+p])
		}
		in.seqs, in.x = append(in.seqs, s), append(in.x, x[i*set.Tokens*hidden:(i+1)*set.Tokens*hidden])
	}
	return t, in, nil
}

// oneLayer reads "layer/…"; the rest of the model stays zero.
func (f *folder) oneLayer(c toyConfig) (*toy, error) {
	config, err := c.model()
	if err != nil {
		return nil, err
	}
	w := models.NewWeights(config)
	for _, p := range w.Params(config) {
		name, ok := strings.CutPrefix(p.Name, "model.layers.0.")
		if !ok {
			continue
		}
		v, err := f.floats("layer/" + name)
		if err != nil {
			return nil, err
		}
		if len(v) != len(p.Data) {
			return nil, fmt.Errorf("layer/%s has %d values; the config asks for %v", name, len(v), p.Shape)
		}
		copy(p.Data, v)
	}
	t := &toy{f: f, model: models.New(&models.Processor{Config: config}, w)}
	t.runner, err = models.NewRunner(t.model)
	return t, err
}

// Tolerances that the fixtures state for float32.
var (
	layer32   = tolerance{largest, 1e-5}
	weights32 = tolerance{largest, 1e-4}
)

// rsqLayer compares the layer's attention, input of q_proj and output.
func (t *toy) rsqLayer(in *inputs) error {
	l, err := t.model.Layer(0)
	if err != nil {
		return err
	}
	batches, err := t.model.NewBatches(in.seqs, in.x)
	if err != nil {
		return err
	}
	parts := [3][][]float32{}
	for k := range parts {
		parts[k] = make([][]float32, len(in.seqs))
	}
	for _, b := range batches {
		mass, err := t.runner.AttentionMass(b, b.X, l)
		if err != nil {
			return err
		}
		res, err := t.runner.Block(b, b.X, l, models.BlockOptions{Taps: true})
		if err != nil {
			return err
		}
		for k, values := range [][]float32{mass, res.Inputs[models.QKV], res.Y} {
			width := len(values) / (b.B * b.T)
			b.Rows(values, width, func(seq, _ int, row []float32) {
				parts[k][b.Index[seq]] = append(parts[k][b.Index[seq]], row...)
			})
		}
	}
	for k, name := range []string{"attention_mass", "q_proj_input", "layer_output"} {
		compare(t.f, name, slices.Concat(parts[k]...), layer32)
	}
	count := map[int32]int{}
	for _, s := range in.seqs {
		for _, id := range s.IDs {
			count[id]++
		}
	}
	var frequency []int
	for _, s := range in.seqs {
		for _, id := range s.IDs {
			frequency = append(frequency, count[id])
		}
	}
	compare(t.f, "token_frequency", frequency, same)
	return nil
}

// rsqImportance names the engine's importance of a strategy.
var rsqImportance = map[string]string{
	"attncon": "attention", "actnorm": "norm", "actdiff": "steady", "tokensim": "distance", "tokenfreq": "rarity", "firstn": "parts", "firstlastn": "parts",
}

// rsqParts are the parts that the reference's files choose: the first of eight.
var rsqParts = map[string]string{"firstn": "0_8", "firstlastn": "0_7_8"}

// tokens are the engine's settings of a strategy. The reference's files leave
// attention and the like between 1 and 3, the first parts without a map.
func (s rsqStrategy) tokens(t ptq.Tokens) (ptq.Tokens, error) {
	importance, ok := rsqImportance[s.YAML]
	if !ok {
		return t, fmt.Errorf("unknown strategy %q", s.YAML)
	}
	t.Importance = importance
	t.Map = ptq.Map{Low: 1, High: 3, Mask: s.Args.Masking, Truncate: s.Args.Truncate, Bins: s.Args.Bins, Quantile: s.Args.Quantile}
	if importance == "parts" {
		t.Map = ptq.Map{High: 1}
		parts := s.Args.MethodType
		if parts == "" {
			parts = rsqParts[s.YAML]
		}
		list, err := underscored(parts)
		if err != nil || len(list) < 2 {
			return t, fmt.Errorf("parts %q; expected numbers joined by \"_\", the last one their number", parts)
		}
		t.Parts = ptq.Parts{Take: list[:len(list)-1], Of: list[len(list)-1]}
	}
	if s.Args.Low != nil {
		t.Map.Low = *s.Args.Low
	}
	if s.Args.High != nil {
		t.Map.High = *s.Args.High
	}
	return t, nil
}

func underscored(text string) ([]int, error) {
	var list []int
	for _, part := range strings.Split(text, "_") {
		var n int
		if _, err := fmt.Sscanf(part, "%d", &n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// rsqWeights compares a strategy's token weights, brought to a mean of 1 per sample,
// the form in which they enter the Hessian, and returns ours.
func (t *toy) rsqWeights(in *inputs, s rsqStrategy) ([][]float32, error) {
	m, err := ptq.FindMethod("rsq")
	if err != nil {
		return nil, err
	}
	m.Rotate = ptq.RotateNone
	if m.Tokens, err = s.tokens(m.Tokens); err != nil {
		return nil, err
	}
	c, err := t.calibration(in, m, ptq.Format{Bits: 3, Activation: 16, Symmetric: true})
	if err != nil {
		return nil, err
	}
	selection := ptq.Selection{Samples: in.seqs}
	if m.Tokens.Importance == "parts" || m.Tokens.Importance == "rarity" {
		if selection.Importance, err = c.Importance(t.f.ctx, m.Tokens.Importance, nil, newRand()); err != nil {
			return nil, err
		}
	}
	set, _, err := ptq.SelectTokens(m.Tokens, selection)
	if err != nil {
		return nil, err
	}
	results, err := t.calibrate(c, set)
	if err != nil {
		return nil, err
	}
	tokens := results[0].Late[models.QKV].Tokens
	if set.Late == nil {
		tokens = set.Layers[0].At(models.QKV)
	}
	name := "weights/" + s.ID
	want, err := t.f.tensor(name)
	if err != nil {
		return nil, err
	}
	got := make([][]float32, len(in.seqs))
	at := 0
	for i, seq := range in.seqs {
		got[i] = tokens[i].Dense(seq.Len())
		if at += seq.Len(); at > len(want) {
			return nil, fmt.Errorf("%s has %d values; expected one per token", name, len(want))
		}
		own := want[at-seq.Len() : at]
		mean := sum(own) / float64(len(own))
		for k := range own {
			own[k] /= mean
		}
	}
	t.f.values(name+" (mean 1)", wide(slices.Concat(got...)), want, weights32, nil)
	return got, nil
}

// rsqSolve quantizes q_proj on the fixture's inputs with the engine's weights.
func (f *folder) rsqSolve(in *inputs, c rsqSolve, weights map[string][][]float32) error {
	own, ok := weights[c.Weights]
	if !ok {
		return fmt.Errorf("no strategy %q", c.Weights)
	}
	x, err := f.floats("q_proj_input")
	if err != nil {
		return err
	}
	w, err := f.tensor("layer/self_attn.q_proj.weight")
	if err != nil {
		return err
	}
	tokens := 0
	for _, s := range in.seqs {
		tokens += s.Len()
	}
	cols := len(x) / tokens
	h := make([]float64, cols*cols)
	for i, s := range in.seqs {
		var a []float32
		if own != nil {
			a = own[i]
		}
		kernels.AddGram(h, x[:s.Len()*cols], a, cols)
		x = x[s.Len()*cols:]
	}
	for i := range h {
		h[i] *= 2 / float64(len(in.seqs))
	}
	prefix := "gptq/" + c.Case + "/" + c.Weights + "/"
	if f.file.Has(prefix + "H") {
		compare(f, prefix+"H", h, tolerance{largest, 1e-5})
	}
	s, err := kernels.SolveColumns(w, len(w)/cols, cols, h, c.options(kernels.GridQuaRot))
	if err != nil {
		return err
	}
	compare(f, prefix+"code", s.Codes, same)
	compare(f, prefix+"scale", s.Step, scale32)
	f.number("loss", sum(s.RowLoss), c.Loss, tolerance{relative, 1e-6})
	return nil
}
