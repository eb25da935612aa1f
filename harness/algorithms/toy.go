package algorithms

import (
	"fmt"
	"math"
	"strings"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// toyConfig is the toy decoder's configuration in cases.json: a Qwen2 layer.
type toyConfig struct {
	Hidden, Heads, Inter, Layers, Vocab int
	KVHeads                             int `json:"kv_heads"`
	HeadDim                             int `json:"head_dim"`
	Eps, Theta                          float64
	QKVBias                             bool `json:"qkv_bias"`
}

// toy is the toy model with its runner.
type toy struct {
	f      *folder
	prefix string // of its tensors, "" or "NAME/"
	model  *models.Model
	runner *models.Runner
}

// model is the configuration as models has it.
func (c toyConfig) model() (*models.Config, error) {
	for _, n := range []int{c.Hidden, c.Layers, c.Heads, c.KVHeads, c.HeadDim, c.Inter, c.Vocab} {
		if n < 1 {
			return nil, fmt.Errorf("config %+v: expected positive sizes", c)
		}
	}
	return &models.Config{Family: models.Qwen2, ImageToken: -1, EOSToken: -1, Text: models.TextConfig{
		Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
		Intermediate: c.Inter, Vocab: c.Vocab, Eps: c.Eps, RopeTheta: c.Theta, QKVBias: c.QKVBias,
	}}, nil
}

// toy reads the model "PREFIXmodel/…".
func (f *folder) toy(prefix string, c toyConfig) (*toy, error) {
	return f.toyAt(prefix, prefix+"model/", c)
}

// toyAt reads the model whose tensors have the prefix at.
func (f *folder) toyAt(prefix, at string, c toyConfig) (*toy, error) {
	config, err := c.model()
	if err != nil {
		return nil, err
	}
	w := models.NewWeights(config)
	for _, p := range w.Params(config) {
		name := at + strings.TrimPrefix(p.Name, "model.")
		if p.Name == "model.embed_tokens.weight" && !f.file.Has(name) {
			continue // inputs are embeddings
		}
		v, err := f.floats(name)
		if err != nil {
			return nil, err
		}
		if len(v) != len(p.Data) {
			return nil, fmt.Errorf("%s has %d values; the config asks for %v", name, len(v), p.Shape)
		}
		copy(p.Data, v)
	}
	t := &toy{f: f, prefix: prefix, model: models.New(&models.Processor{Config: config}, w)}
	t.runner, err = models.NewRunner(t.model)
	return t, err
}

// inputs are embedded samples.
type inputs struct {
	seqs []*models.Sequence
	x    [][]float32
}

// readInputs reads "input/…". The reference codes count padding as tokens: here
// each is other text on a branch of its own, so that it sees the real tokens
// before it and itself. Where there are no modalities every token is other text.
func (t *toy) readInputs(samples, tokens int) (*inputs, error) {
	f, hidden := t.f, t.model.Config.Text.Hidden
	x, err := f.floats(t.prefix + "input/inputs_embeds")
	if err != nil {
		return nil, err
	}
	if len(x) != samples*tokens*hidden {
		return nil, fmt.Errorf("inputs_embeds has %d values; expected %d × %d × %d", len(x), samples, tokens, hidden)
	}
	part := map[string][]int{}
	for _, name := range []string{"attention_mask", "labels", "vision_mask", "caption_mask"} {
		part[name] = make([]int, samples*tokens)
		if f.file.Has(t.prefix + "input/" + name) {
			if part[name], err = f.ints(t.prefix + "input/" + name); err != nil {
				return nil, err
			}
		} else if name == "labels" {
			for i := range part[name] {
				part[name][i] = -100
			}
		}
		if len(part[name]) != samples*tokens {
			return nil, fmt.Errorf("%s has %d values; expected %d × %d", name, len(part[name]), samples, tokens)
		}
	}
	in := &inputs{}
	for i := range samples {
		s := models.TextSequence(make([]int32, tokens))
		s.Scored = nil
		for p := range tokens {
			at := i*tokens + p
			s.Modality[p] = models.Other
			switch {
			case part["vision_mask"][at] == 1:
				s.Modality[p] = models.Vision
			case part["caption_mask"][at] == 1:
				s.Modality[p] = models.Answer
			}
			if part["attention_mask"][at] == 0 {
				s.Branch[p] = int32(p + 1)
			}
			if p+1 < tokens && part["labels"][at+1] >= 0 {
				s.Scored = append(s.Scored, models.Scored{Pos: int32(p), Target: int32(part["labels"][at+1])})
			}
		}
		in.seqs, in.x = append(in.seqs, s), append(in.x, x[i*tokens*hidden:(i+1)*tokens*hidden])
	}
	return in, nil
}

// withoutPadding cuts padding out and numbers positions anew.
func (in *inputs) withoutPadding() *inputs {
	out := &inputs{}
	for i, s := range in.seqs {
		width := len(in.x[i]) / s.Len()
		var x []float32
		for p, branch := range s.Branch {
			if branch == 0 {
				x = append(x, in.x[i][p*width:(p+1)*width]...)
			}
		}
		cut := models.TextSequence(make([]int32, len(x)/width))
		for p := range cut.Modality {
			cut.Modality[p] = models.Other
		}
		cut.Scored = nil
		out.seqs, out.x = append(out.seqs, cut), append(out.x, x)
	}
	return out
}

// readTokens reads "input_ids" and embeds them.
func (t *toy) readTokens(samples, tokens int) (*inputs, error) {
	ids, err := t.f.ints(t.prefix + "input_ids")
	if err != nil {
		return nil, err
	}
	if len(ids) != samples*tokens {
		return nil, fmt.Errorf("input_ids has %d values; expected %d × %d", len(ids), samples, tokens)
	}
	table, err := t.f.floats(t.prefix + "model/embed_tokens.weight")
	if err != nil {
		return nil, err
	}
	hidden := t.model.Config.Text.Hidden
	in := &inputs{}
	for i := range samples {
		s := models.TextSequence(make([]int32, tokens))
		s.Scored = nil
		var x []float32
		for p, id := range ids[i*tokens : (i+1)*tokens] {
			if id < 0 || id*hidden >= len(table) {
				return nil, fmt.Errorf("token id %d; the table has %d", id, len(table)/hidden)
			}
			s.Modality[p] = models.Other
			x = append(x, table[id*hidden:(id+1)*hidden]...)
		}
		in.seqs, in.x = append(in.seqs, s), append(in.x, x)
	}
	return in, nil
}

// calibration sets the engine up with a method of the table.
func (t *toy) calibration(in *inputs, m ptq.Method, format ptq.Format) (*ptq.Calibration, error) {
	batches, err := t.model.NewBatches(in.seqs, in.x)
	if err != nil {
		return nil, err
	}
	c := &ptq.Calibration{Model: t.model, Runner: t.runner, Batches: batches, Method: m, Format: format}
	return c, c.Check()
}

// calibrate runs all layers.
func (t *toy) calibrate(c *ptq.Calibration, set *ptq.TokenSet) ([]*ptq.LayerResult, error) {
	st := c.Start()
	var results []*ptq.LayerResult
	for range t.model.NumLayers() {
		res, next, err := c.CalibrateLayer(t.f.ctx, st, set)
		if err != nil {
			return nil, err
		}
		results, st = append(results, res), next
	}
	return results, nil
}

// logits of all tokens of the first sample, [tokens, vocab]; layers nil: the
// model's own.
func (t *toy) logits(in *inputs, layers []*models.Layer, aq *models.ActQuant) ([]float32, error) {
	s := *in.seqs[0]
	s.Scored = nil
	for p := range s.Len() {
		s.Scored = append(s.Scored, models.Scored{Pos: int32(p)})
	}
	rows, err := t.scores(&inputs{[]*models.Sequence{&s}, in.x[:1]}, layers, aq)
	var flat []float32
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return flat, err
}

// scores are the rows of scored positions, batch by batch.
func (t *toy) scores(in *inputs, layers []*models.Layer, aq *models.ActQuant) ([][]float32, error) {
	r := t.runner
	if layers != nil {
		r = r.With(t.model.WithLayers(layers))
	}
	batches, err := t.model.NewBatches(in.seqs, in.x)
	if err != nil {
		return nil, err
	}
	var list [][]float32
	for _, b := range batches {
		x, err := r.Forward(b, aq)
		if err != nil {
			return nil, err
		}
		rows, err := r.Logits(b, x)
		if err != nil {
			return nil, err
		}
		list = append(list, rows...)
	}
	return list, nil
}

// loss is the mean cross-entropy over all scored positions of all samples.
func (t *toy) loss(in *inputs, layers []*models.Layer, aq *models.ActQuant) (float64, error) {
	batches, err := t.model.NewBatches(in.seqs, in.x)
	if err != nil {
		return 0, err
	}
	rows, err := t.scores(in, layers, aq)
	if err != nil {
		return 0, err
	}
	var total float64
	k := 0
	for _, b := range batches {
		for _, s := range b.Seqs {
			for _, p := range s.Scored {
				total += crossEntropy(rows[k], int(p.Target))
				k++
			}
		}
	}
	return total / float64(k), nil
}

func crossEntropy(row []float32, target int) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range row {
		top = max(top, float64(v))
	}
	for _, v := range row {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum) - float64(row[target])
}

// quantized are the layers of results.
func quantized(results []*ptq.LayerResult) []*models.Layer {
	var list []*models.Layer
	for _, r := range results {
		list = append(list, r.Quantized.Layer)
	}
	return list
}

// folded are the model's layers with the factors of results folded in and, where
// there are bounds, clipped; nothing is rounded.
func (t *toy) folded(results []*ptq.LayerResult, group int) ([]*models.Layer, error) {
	var list []*models.Layer
	for i, r := range results {
		exact, err := t.model.Layer(i)
		if err != nil {
			return nil, err
		}
		l := exact.Clone()
		for _, site := range models.Sites() {
			if s, ok := r.Smooth[site]; ok {
				if err := ptq.FoldScale(l, site, s); err != nil {
					return nil, err
				}
			}
		}
		for name, lin := range linears(l) {
			if bound, ok := r.Bounds[name]; ok {
				clampGroups(lin.W, bound, group)
			}
		}
		list = append(list, l)
	}
	return list, nil
}

// linears are a layer's linears by their names within the block.
func linears(l *models.Layer) map[string]*models.Linear {
	return map[string]*models.Linear{
		"q_proj": &l.Q, "k_proj": &l.K, "v_proj": &l.V, "o_proj": &l.O, "gate_proj": &l.Gate, "up_proj": &l.Up, "down_proj": &l.Down,
	}
}

// param finds a parameter by the fixtures' name, "layers.N.…".
func param(layers []*models.Layer, name string) ([]float32, error) {
	for _, l := range layers {
		for _, p := range l.Params() {
			if strings.TrimPrefix(p.Name, "model.") == name {
				return p.Data, nil
			}
		}
	}
	return nil, fmt.Errorf("the model has no parameter %s", name)
}
