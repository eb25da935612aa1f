package algorithms

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// newRand is for importances that draw nothing.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(0, 0)) }

// Tolerances of SmoothQuant's fixtures for float32. What four bits leave of a code
// flips too easily for more than the size of the outputs.
var (
	factor32 = tolerance{relative, 1e-5}
	maxima32 = tolerance{relative, 1e-5}
	smoothed = map[string]tolerance{"w8a8": {euclidean, 1e-3}, "w4a8": {euclidean, 5e-2}, "w4a4": {euclidean, 0.15}}
)

// smoothQuant compares maxima, factors, folded weights and outputs.
func (f *folder) smoothQuant() error {
	var set struct {
		Config          toyConfig
		Samples, Tokens int
		LayerNorm       float64 `json:"layernorm_alpha"`
		Cases           []struct {
			Alpha float64
			W8A8  float64 `json:"w8a8_relative_logit_error"`
			W4A8  float64 `json:"w4a8_relative_logit_error"`
			W4A4  float64 `json:"w4a4_relative_logit_error"`
		}
	}
	if err := f.parse(&set); err != nil {
		return err
	}
	t, err := f.toy("", set.Config)
	if err != nil {
		return err
	}
	padded, err := t.readInputs(set.Samples, set.Tokens)
	if err != nil {
		return err
	}
	logits, err := t.logits(padded, nil, nil)
	if err != nil {
		return err
	}
	compare(f, "fp_logits_sample0", logits, logits32)
	in := padded.withoutPadding()
	if err := t.checkMaxima(in); err != nil {
		return err
	}
	for _, c := range set.Cases {
		f.of = fmt.Sprintf("alpha %v", c.Alpha)
		if err := t.smoothCase(in, padded, c.Alpha); err != nil {
			f.fail("case", err)
		}
	}
	f.of = "layernorm"
	return f.layerNorm(set.LayerNorm)
}

// checkMaxima compares the largest input magnitudes.
func (t *toy) checkMaxima(in *inputs) error {
	batches, err := t.model.NewBatches(in.seqs, in.x)
	if err != nil {
		return err
	}
	hidden := t.model.Config.Text.Hidden
	top := make([]map[models.Site][]float64, t.model.NumLayers())
	for _, b := range batches {
		x := b.X
		for i := range top {
			l, err := t.model.Layer(i)
			if err != nil {
				return err
			}
			res, err := t.runner.Block(b, x, l, models.BlockOptions{Taps: true})
			if err != nil {
				return err
			}
			x = res.Y
			if top[i] == nil {
				top[i] = map[models.Site][]float64{models.QKV: make([]float64, hidden), models.GateUp: make([]float64, hidden)}
			}
			for site, m := range top[i] {
				b.Rows(res.Inputs[site], hidden, func(_, _ int, row []float32) {
					for c, v := range row {
						m[c] = max(m[c], math.Abs(float64(v)))
					}
				})
			}
		}
	}
	for i, sites := range top {
		for _, site := range []models.Site{models.QKV, models.GateUp} {
			compare(t.f, fmt.Sprintf("act_max/layers.%d.%s", i, firstLinear[site]), sites[site], maxima32)
		}
	}
	return nil
}

// norms feed the smoothed sites.
var norms = map[models.Site]string{models.QKV: "input_layernorm", models.GateUp: "post_attention_layernorm"}

func (t *toy) smoothCase(in, padded *inputs, alpha float64) error {
	m, err := ptq.FindMethod("smoothquant")
	if err != nil {
		return err
	}
	m.Search.Alpha = alpha
	prefix := fmt.Sprintf("alpha%v/", alpha)
	for name, tol := range smoothed {
		format, err := ptq.ParseFormat(name)
		if err != nil {
			return err
		}
		c, err := t.calibration(in, m, format)
		if err != nil {
			return err
		}
		results, err := t.calibrate(c, nil)
		if err != nil {
			return err
		}
		logits, err := t.logits(padded, quantized(results), format.ActQuant())
		if err != nil {
			return err
		}
		compare(t.f, prefix+name+"_logits_sample0", logits, tol)
		if name != "w8a8" { // factors depend on no format
			continue
		}
		for i, r := range results {
			for site, norm := range norms {
				compare(t.f, fmt.Sprintf("%sfactor/layers.%d.%s", prefix, i, norm), r.Smooth[site], factor32)
			}
		}
		folded, err := t.folded(results, 0)
		if err != nil {
			return err
		}
		t.checkFolded(prefix+"folded/", folded, folded32, nil)
	}
	return nil
}

// layerNorm smooths a LayerNorm with a bias that feeds two linears: no model here
// has one, so the factors are applied in place.
func (f *folder) layerNorm(alpha float64) error {
	top, err := f.tensor("layernorm/act_max")
	if err != nil {
		return err
	}
	weights := make([]float64, len(top))
	consumers := map[string][]float64{}
	for _, name := range f.file.Names() {
		rest, ok := strings.CutPrefix(name, "layernorm/fc")
		if !ok {
			continue
		}
		w, err := f.tensor(name)
		if err != nil {
			return err
		}
		consumers["fc"+rest] = w
		for i, v := range w {
			weights[i%len(top)] = max(weights[i%len(top)], math.Abs(v))
		}
	}
	s := ptq.SmoothFactors(top, weights, alpha)
	for name, w := range consumers {
		scaled := make([]float64, len(w))
		for i, v := range w {
			scaled[i] = v * float64(s[i%len(s)])
		}
		compare(f, "layernorm/smoothed_"+name, scaled, factor32)
	}
	for _, name := range []string{"weight", "bias"} {
		v, err := f.tensor("layernorm/" + name)
		if err != nil {
			return err
		}
		scaled := make([]float64, len(v))
		for i := range v {
			scaled[i] = v[i] / float64(s[i])
		}
		compare(f, "layernorm/smoothed_"+name, scaled, factor32)
	}
	return nil
}
