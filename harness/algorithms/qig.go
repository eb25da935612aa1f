package algorithms

import (
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// qigSet is the QIG fixtures' cases.json.
type qigSet struct {
	Config          toyConfig
	Samples, Tokens int
	Steps           int `json:"integration_steps"`
	Cases           []searchCase
}

// qigUniform is the number of groups that the released code searches with uniform
// weights, for weights alone: a counter that grows by two per group must reach nine first.
const qigUniform = 5

// qig compares integrated gradients, and what a search with them chooses.
func (f *folder) qig() error {
	var set qigSet
	if err := f.parse(&set); err != nil {
		return err
	}
	t, err := f.toy("", set.Config)
	if err != nil {
		return err
	}
	in, err := t.readInputs(set.Samples, set.Tokens)
	if err != nil {
		return err
	}
	for _, c := range set.Cases {
		f.of = c.ID
		if err := t.qigCase(in, c, set.Steps); err != nil {
			f.fail("case", err)
		}
	}
	return nil
}

// qigCase follows the reference where a README says that ours should not: zero weights
// stay zero, and uniform weights serve the first groups.
func (t *toy) qigCase(in *inputs, c searchCase, steps int) error {
	name := "qig"
	if c.format().Activation == 16 {
		name = "qig-weights"
	}
	m, err := ptq.FindMethod(name)
	if err != nil {
		return err
	}
	m.Search.Metric, m.Tokens.Integrate.Steps, m.Tokens.Blank = ptq.Metric(c.LossMode), steps, ptq.BlankZero
	groups, results, err := t.qigRun(in, c, m)
	if err != nil {
		return err
	}
	if name == "qig-weights" {
		m.Tokens.Importance, m.Tokens.Clip, m.Tokens.Text, m.Tokens.Integrate = "uniform", ptq.ClipNone, ptq.RoleDrop, ptq.Integrate{}
		uniform, others, err := t.qigRun(in, c, m)
		if err != nil {
			return err
		}
		// Nothing is exposed, so that groups don't depend on each other.
		copy(groups, uniform[:min(qigUniform, len(uniform))])
		for i := range min(qigUniform, len(uniform)) {
			g := uniform[i]
			results[g.layer].Smooth[g.site] = others[g.layer].Smooth[g.site]
			results[g.layer].Report.Sites[g.report] = others[g.layer].Report.Sites[g.report]
		}
	}
	for i, g := range groups {
		if i < len(c.Groups) {
			compare(t.f, t.prefix+c.ID+"/"+c.Groups[i].Key+"/token_weight", g.weights, c.importance(c.Groups[i].Drift))
		}
	}
	t.checkSearch(c, results, 1)
	return nil
}

// importance is the tolerance of token weights, of the largest: with rounded activations
// some of the path's terms change their sign in float32, with weights alone a few may, as the
// reference's own drift between precisions shows.
func (c searchCase) importance(drift float64) tolerance {
	if c.format().Activation == 16 {
		return tolerance{largest, max(1e-5, 10*drift)}
	}
	return tolerance{largest, 5e-2}
}

// qigGroup is a searched group with the weights of all tokens.
type qigGroup struct {
	layer, report int
	site          models.Site
	weights       []float32 // [samples, tokens]
}

// qigRun calibrates all layers. Curves are brought to the reference's form, a mean over
// the weights of all samples, each of which sums to one.
func (t *toy) qigRun(in *inputs, c searchCase, m ptq.Method) ([]qigGroup, []*ptq.LayerResult, error) {
	cal, err := t.calibration(in, m, c.format())
	if err != nil {
		return nil, nil, err
	}
	selection := ptq.Selection{Samples: in.seqs}
	if m.Tokens.Importance == "uniform" {
		if selection.Importance, err = cal.Importance(t.f.ctx, "uniform", nil, rand.New(rand.NewPCG(1, 1))); err != nil {
			return nil, nil, err
		}
	}
	set, _, err := ptq.SelectTokens(m.Tokens, selection)
	if err != nil {
		return nil, nil, err
	}
	results, err := t.calibrate(cal, set)
	if err != nil {
		return nil, nil, err
	}
	var groups []qigGroup
	for i, res := range results {
		for k := range res.Report.Sites {
			r := &res.Report.Sites[k]
			if r.Skipped != "" {
				continue
			}
			tokens := res.Late[r.Site].Tokens
			if set.Late == nil {
				tokens = set.Layers[i].At(r.Site)
			}
			if len(tokens) != len(in.seqs) {
				return nil, nil, fmt.Errorf("layer %d, %s: weights of %d samples; expected %d", i, r.Site, len(tokens), len(in.seqs))
			}
			g := qigGroup{layer: i, report: k, site: r.Site}
			for s, sample := range in.seqs {
				g.weights = append(g.weights, tokens[s].Dense(sample.Len())...)
			}
			for j := range r.Curve {
				r.Curve[j] *= float64(r.Tokens) / float64(len(in.seqs))
			}
			groups = append(groups, g)
		}
	}
	return groups, results, nil
}
