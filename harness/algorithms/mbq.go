package algorithms

import (
	"fmt"
	"math"
	"strings"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// searchGroup is what a scale search chose for a group of linears.
type searchGroup struct {
	Key    string
	Layers []string
	Alpha  float64
	Drift  float64 `json:"token_weight_rel_diff_f32_f64"`
}

// searchCase is a case of a scale search.
type searchCase struct {
	ID        string
	WBit      int `json:"w_bit"`
	ABit      int `json:"a_bit"`
	WGroup    int `json:"w_group"`
	Reweight  bool
	Distort   bool
	LossMode  string `json:"loss_mode"`
	AutoScale *bool  `json:"auto_scale"`
	Clip      bool
	Drift     float64 `json:"logits_rel_diff_f32_f64"`
	LossAfter float64 `json:"loss_after_float64"`
	RTNLoss   float64 `json:"rtn_loss"`
	Groups    []searchGroup
}

// format of the case: weight-only asymmetric with groups, or symmetric per
// channel with rounded activations.
func (c searchCase) format() ptq.Format {
	if c.ABit == 0 || c.ABit == 16 {
		return ptq.Format{Bits: c.WBit, Activation: 16, Group: max(c.WGroup, 0)}
	}
	return ptq.Format{Bits: c.WBit, Activation: c.ABit, Symmetric: true}
}

// Tolerances that the fixtures state for float32. Where activations are rounded, a
// code that flips at a boundary moves curves, and logits more.
var (
	weightCurve     = tolerance{relative, 1e-5}
	activationCurve = tolerance{relative, 2e-3}
	gradients32     = tolerance{relative, 1e-4}
	logits32        = tolerance{largest, 1e-5}
	weightLogits    = tolerance{largest, 1e-4}
	loss32          = tolerance{relative, 1e-5}
	folded32        = tolerance{largest, 1e-5}
)

// curve is the tolerance of a search's numbers.
func (c searchCase) curve() tolerance {
	if c.format().Activation == 16 {
		return weightCurve
	}
	return activationCurve
}

// logits is the tolerance of the quantized model's outputs.
func (c searchCase) logits() tolerance {
	if c.format().Activation == 16 {
		return weightLogits
	}
	return tolerance{euclidean, 5e-2}
}

// loss is that of its loss.
func (c searchCase) loss() tolerance {
	if c.format().Activation == 16 {
		return tolerance{relative, 1e-4}
	}
	return tolerance{relative, 1e-2}
}

// mbqModel is a toy model of the fixtures with its cases.
type mbqModel struct {
	Model           string
	Config          toyConfig
	Samples, Tokens int
	FPLoss          float64   `json:"fp_loss_float64"`
	RatioAttn       []float64 `json:"ratio_attn_raw"`
	RatioMLP        []float64 `json:"ratio_mlp_raw"`
	Cases           []searchCase
}

// mbq compares gradients, ratios, search curves, factors, folded weights and
// outputs.
func (f *folder) mbq() error {
	var set struct{ Models []mbqModel }
	if err := f.parse(&set); err != nil {
		return err
	}
	for _, m := range set.Models {
		f.of = m.Model
		if err := f.mbqModel(m); err != nil {
			f.fail("model", err)
		}
	}
	return nil
}

func (f *folder) mbqModel(m mbqModel) error {
	t, err := f.toy(m.Model+"/", m.Config)
	if err != nil {
		return err
	}
	in, err := t.readInputs(m.Samples, m.Tokens)
	if err != nil {
		return err
	}
	logits, err := t.logits(in, nil, nil)
	if err != nil {
		return err
	}
	compare(f, t.prefix+"fp/logits_sample0", logits, logits32)
	loss, err := t.loss(in, nil, nil)
	if err != nil {
		return err
	}
	f.number("fp_loss", loss, m.FPLoss, loss32)
	gradients, err := t.checkGradients(in, m)
	if err != nil {
		return err
	}
	for _, c := range m.Cases {
		f.of = m.Model + "/" + c.ID
		if err := t.mbqCase(in, c, gradients); err != nil {
			f.fail("case", err)
		}
	}
	return nil
}

// checkGradients compares mean gradient magnitudes and their ratios. The
// reference divides each sample's loss by the number of samples.
func (t *toy) checkGradients(in *inputs, m mbqModel) (*ptq.TokenStats, error) {
	method, err := ptq.FindMethod("mbq")
	if err != nil {
		return nil, err
	}
	c, err := t.calibration(in, method, ptq.Format{Bits: 8, Activation: 16})
	if err != nil {
		return nil, err
	}
	g, err := c.Gradients(t.f.ctx)
	if err != nil {
		return nil, err
	}
	raw, err := ptq.Ratios(in.seqs, g, ptq.FloorNone)
	if err != nil {
		return nil, err
	}
	used, err := ptq.Ratios(in.seqs, g, ptq.FloorMedian)
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name string
		site models.Site
		raw  []float64
	}{{"attn", models.O, m.RatioAttn}, {"mlp", models.Down, m.RatioMLP}} {
		var vision, answers, ratios, plain []float64
		for i := range raw {
			r := raw[i].At(part.site)
			answers = append(answers, r.AnswerMean/float64(m.Samples))
			vision = append(vision, r.RawVision*r.AnswerMean/float64(m.Samples))
			plain = append(plain, r.RawVision)
			ratios = append(ratios, used[i].At(part.site).Vision)
		}
		compare(t.f, t.prefix+"grad/"+part.name+"_cap", answers, gradients32)
		compare(t.f, t.prefix+"grad/"+part.name+"_vis", vision, gradients32)
		compare(t.f, t.prefix+"grad/r_"+part.name, ratios, gradients32)
		t.f.values("ratio_"+part.name+"_raw", plain, part.raw, gradients32, nil)
	}
	return g, nil
}

// mbqMethod is the table's method with the case's options.
func mbqMethod(c searchCase) (ptq.Method, error) {
	name := "mbq"
	if c.Distort {
		name = "mbq-distort"
	}
	m, err := ptq.FindMethod(name)
	if err != nil {
		return m, err
	}
	m.Search.Metric = ptq.Metric(c.LossMode)
	if !c.Reweight {
		plain, err := ptq.FindMethod("awq") // every position alike
		m.Tokens = plain.Tokens
		return m, err
	}
	if m.Search.Metric == ptq.MSE {
		m.Tokens.Mass = ptq.MassBalanced
	}
	return m, nil
}

func (t *toy) mbqCase(in *inputs, c searchCase, gradients *ptq.TokenStats) error {
	m, err := mbqMethod(c)
	if err != nil {
		return err
	}
	cal, err := t.calibration(in, m, c.format())
	if err != nil {
		return err
	}
	set, _, err := ptq.SelectTokens(m.Tokens, ptq.Selection{Samples: in.seqs, Gradients: gradients, Importance: gradients})
	if err != nil {
		return err
	}
	results, err := t.calibrate(cal, set)
	if err != nil {
		return err
	}
	scale := 1.0
	if m.Tokens.Mass == ptq.MassBalanced { // the reference takes means over answers
		scale = float64(ptq.Count(set.Layers[0].O)) / float64(count(in.seqs, models.Answer))
	}
	t.checkSearch(c, results, scale)
	aq := c.format().ActQuant()
	logits, err := t.logits(in, quantized(results), aq)
	if err != nil {
		return err
	}
	compare(t.f, t.prefix+c.ID+"/quantized_logits_sample0", logits, c.logits())
	if err := t.checkLosses(in, c, results, aq); err != nil {
		return err
	}
	folded, err := t.folded(results, c.format().Group)
	if err != nil {
		return err
	}
	t.checkFolded(t.prefix+c.ID+"/folded/", folded, c.curve(), nil)
	return nil
}

// checkLosses compares the quantized model's loss and that of rounding to nearest.
func (t *toy) checkLosses(in *inputs, c searchCase, results []*ptq.LayerResult, aq *models.ActQuant) error {
	after, err := t.loss(in, quantized(results), aq)
	if err != nil {
		return err
	}
	t.f.number("loss_after", after, c.LossAfter, c.loss())
	var nearest []*models.Layer
	for i := range t.model.NumLayers() {
		l, err := t.model.Layer(i)
		if err != nil {
			return err
		}
		q, _, err := ptq.QuantizeLayer(l, c.format(), ptq.RefuseGroup)
		if err != nil {
			return err
		}
		nearest = append(nearest, q.Layer)
	}
	plain, err := t.loss(in, nearest, aq)
	if err != nil {
		return err
	}
	t.f.number("rtn_loss", plain, c.RTNLoss, c.loss())
	return nil
}

func count(seqs []*models.Sequence, m models.Modality) int {
	n := 0
	for _, s := range seqs {
		for _, one := range s.Modality {
			if one == m {
				n++
			}
		}
	}
	return n
}

// checkSearch compares every searched group, in order: exponent, curve, factors.
func (t *toy) checkSearch(c searchCase, results []*ptq.LayerResult, scale float64) {
	next := 0
	for i, res := range results {
		for _, site := range res.Report.Sites {
			if site.Skipped != "" {
				continue
			}
			if next == len(c.Groups) {
				t.f.fail("groups", fmt.Errorf("layer %d, %s is searched; expected %d groups", i, site.Site, len(c.Groups)))
				return
			}
			g := c.Groups[next]
			next++
			if first := fmt.Sprintf("layers.%d.%s", i, firstLinear[site.Site]); len(g.Layers) == 0 || g.Layers[0] != first {
				t.f.fail(g.Key, fmt.Errorf("the group of %s comes up; expected that of %v", first, g.Layers))
				continue
			}
			curve := make([]float64, len(site.Curve))
			for k, j := range site.Curve {
				curve[k] = scale * j
			}
			prefix := t.prefix + c.ID + "/" + g.Key + "/"
			t.f.number(g.Key+" alpha", site.Alpha, g.Alpha, tolerance{relative, 1e-12})
			t.checkCurve(prefix+"loss_curve", curve, c)
			compare(t.f, prefix+"scale", res.Smooth[site.Site], c.curve())
		}
	}
	if next != len(c.Groups) {
		t.f.fail("groups", fmt.Errorf("%d groups were searched; expected %d", next, len(c.Groups)))
	}
}

// flips is how many points of a curve may hang on a weight whose code lies at a
// rounding tie: among the tens of thousands of codes of a curve, float32 sees some on the
// other side than float64.
const flips = 2

// checkCurve compares a search's curve. With weights alone, points beyond the
// tolerance are let through as flipped codes where they are few and within what
// flips are allowed with rounded activations; a check of their own counts them.
func (t *toy) checkCurve(name string, got []float64, c searchCase) {
	if c.curve() == activationCurve {
		compare(t.f, name, got, activationCurve)
		return
	}
	want, err := t.f.tensor(name)
	if err != nil {
		t.f.fail(name, err)
		return
	}
	flipped := map[int]bool{}
	for i, w := range want {
		if i < len(got) && math.Abs(got[i]-w) > weightCurve.bound*math.Abs(w) {
			flipped[i] = true
		}
	}
	if len(flipped) == 0 || len(flipped) > flips {
		compare(t.f, name, got, weightCurve)
		return
	}
	compareWhere(t.f, name, got, weightCurve, func(i int) bool { return !flipped[i] })
	t.f.values(name+" (codes at a tie)", got, want, activationCurve, func(i int) bool { return flipped[i] })
}

// firstLinear names the first linear of a site.
var firstLinear = map[models.Site]string{
	models.QKV: "self_attn.q_proj", models.O: "self_attn.o_proj", models.GateUp: "mlp.gate_proj", models.Down: "mlp.down_proj",
}

// checkFolded compares every folded parameter that the fixture has below a
// prefix; where says which of its values count.
func (t *toy) checkFolded(prefix string, layers []*models.Layer, tol tolerance, where func(name string) func(int) bool) {
	for _, name := range t.f.file.Names() {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		v, err := param(layers, rest)
		if err != nil {
			t.f.fail(name, err)
			continue
		}
		var counts func(int) bool
		if where != nil {
			counts = where(rest)
		}
		compareWhere(t.f, name, v, tolerance{largest, tol.bound}, counts)
	}
}
