package harness

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// premiseStage measures whether tokens differ in what rounding them costs.
var premiseStage = StageID{"premise", 2}

// PremiseSettings say on what the premise is measured.
type PremiseSettings struct {
	Prompts Prompts  `json:"prompts"`
	Formats []string `json:"formats"` // rounded to nearest, at one kind of token at a time
	Stats   Stats    `json:"stats"`
	// GroupFallback says what a group size that divides no input width does.
	GroupFallback ptq.GroupFallback `json:"group_fallback,omitempty"`
}

// DefaultPremise measures on 400 test prompts at the formats of the pilot.
func DefaultPremise() PremiseSettings {
	return PremiseSettings{
		Prompts: Prompts{Split: string(datasets.Test), N: 400},
		Formats: []string{"w4a8", "w4a6", "w4a4", threeBits, "w4a16g64", "w2a16g32"},
	}
}

// ErrNoVision is wrapped where a model reads no pictures: it has no vision tokens
// whose importance could differ from other tokens'.
var ErrNoVision = errors.New("a language model alone has no vision tokens: every predicted token is an answer token, and methods that weigh modalities weigh all alike")

// Premise says whether what methods that weigh tokens rest on holds in a model:
// vision and answer tokens differ in size, in gradient and in which channels are
// large, vision tokens differ among themselves, and rounding at vision tokens is a
// share of the damage that is worth guarding. Intervals are 95% bootstraps over
// pictures, tables or concepts.
type Premise struct {
	Model    string          `json:"model"`
	Family   models.Family   `json:"family"`
	Settings PremiseSettings `json:"settings"`
	Prompts  int             `json:"prompts"`
	Clusters int             `json:"clusters"` // independent pictures among them
	Tokens   map[string]int  `json:"tokens"`   // by kind: vision, answer, other
	NLL      eval.Interval   `json:"nll"`      // of the unquantized model, nats per answer token

	// Activations are the inputs of the linears at every site, |x| averaged over
	// channels; Gradients mean |dL/dy| at the outputs of o_proj (site o) and
	// down_proj (site down), L the answer loss of a prompt.
	Activations []PremiseSite   `json:"activations"`
	Gradients   []PremiseSite   `json:"gradients"`
	Rounded     []PremiseFormat `json:"rounded"`
}

// PremiseSite is one site of one layer.
type PremiseSite struct {
	Layer  int         `json:"layer"`
	Site   models.Site `json:"site"`
	Vision Magnitudes  `json:"vision"`
	Answer Magnitudes  `json:"answer"`
	Other  Magnitudes  `json:"other"`
	// Ratio is vision over answer, of the means. Nil where answers have none.
	Ratio *eval.Interval `json:"ratio,omitempty"`
	// Profile is the rank correlation of the mean |x| per channel over vision tokens
	// with that over answer tokens. Nil for gradients.
	Profile *eval.Interval `json:"profile,omitempty"`
}

// Magnitudes describe the tokens of one kind at one site: means over prompts of what
// holds within one.
type Magnitudes struct {
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"` // of a token's mean over channels for gradients, of a value for activations; over all prompts
	// CV is the standard deviation over the tokens of a prompt divided by their mean.
	CV float64 `json:"cv"`
	// TopQuarter is the share of a prompt's sum that its largest quarter of tokens
	// holds: 0.25 where all are alike.
	TopQuarter float64 `json:"top_quarter"`
}

// RoundedKinds lists what tokens are rounded in turn.
func RoundedKinds() []string { return []string{"vision", "other", "answer", "all"} }

// PremiseFormat is what rounding to nearest costs where only one kind of token
// passes through rounded linears.
type PremiseFormat struct {
	Format string                      `json:"format"`
	KL     map[string]eval.Interval    `json:"kl"`    // nats per answer token, by RoundedKinds
	Share  map[string]eval.Interval    `json:"share"` // of KL with all tokens rounded; kinds don't add up to 1
	Tasks  map[string]PremiseTaskShare `json:"tasks"`
}

// PremiseTaskShare is the same for one task's prompts.
type PremiseTaskShare struct {
	N      int            `json:"n"`
	KL     float64        `json:"kl"`               // with all tokens rounded
	Vision *eval.Interval `json:"vision,omitempty"` // vision tokens' share; nil where the prompts are too few or alike
}

// Premise measures the premise. Stage premise.
func (m *Model) Premise(s PremiseSettings) (*Premise, error) {
	s.Prompts = s.Prompts.of(m)
	if err := m.checkPremise(s); err != nil {
		return nil, err
	}
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	return once(m, "premise of "+m.Name, premiseKey(m, s, Key(hash)), jsonCodec[*Premise](), func(m *Model) (*Premise, error) {
		r, err := m.newPremiseRun(s)
		if err != nil {
			return nil, err
		}
		return r.measure()
	})
}

func premiseKey(m *Model, s PremiseSettings, data Key) Key {
	return NewKey(premiseStage, s, m.key, data)
}

// PremiseSteps is the total of a progress display over [Model.Premise].
func (s PremiseSettings) PremiseSteps(m *Model) int { return m.NumLayers() * (len(s.Formats) + 1) }

func (m *Model) checkPremise(s PremiseSettings) error {
	if err := m.checkUnquantized(); err != nil {
		return err
	}
	if m.Pixels == nil {
		return fmt.Errorf("harness: model %s: %w", m.Name, ErrNoVision)
	}
	if err := s.Prompts.validate(); err != nil {
		return err
	}
	if err := checkList("formats", s.Formats, CheckFormat); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	for _, text := range s.Formats {
		f, err := ptq.ParseFormat(text)
		if err != nil {
			return err
		}
		if err := checkGroups(m, f, s.GroupFallback); err != nil {
			return err
		}
	}
	return s.Stats.Bootstrap.Validate()
}

// perPrompt is a prompt's own numbers at one site.
type perPrompt struct {
	mean, max, cv, top [3]float64 // by modality; NaN where the prompt has no such token
	profile            [3][]float64
}

// describe reduces one prompt's tokens, one number per token, by modality.
func (p *perPrompt) describe(kinds []models.Modality, values []float64) {
	var own [3][]float64
	for t, v := range values {
		own[kinds[t]] = append(own[kinds[t]], v)
	}
	for k, list := range own {
		if len(list) == 0 {
			p.mean[k], p.max[k], p.cv[k], p.top[k] = math.NaN(), math.NaN(), math.NaN(), math.NaN()
			continue
		}
		mean := eval.Mean(list)
		squares := 0.0
		for _, v := range list {
			squares += (v - mean) * (v - mean)
		}
		slices.Sort(list)
		top := 0.0
		for _, v := range list[len(list)-(len(list)+3)/4:] {
			top += v
		}
		p.mean[k], p.max[k] = mean, list[len(list)-1]
		p.cv[k], p.top[k] = math.NaN(), math.NaN() // of nothing
		if mean > 0 {
			p.cv[k] = math.Sqrt(squares/float64(len(list))) / mean
			p.top[k] = top / (mean * float64(len(list)))
		}
	}
}

// summarize averages over prompts.
func summarize(prompts []perPrompt, kind models.Modality) Magnitudes {
	var out Magnitudes
	average := func(of func(*perPrompt) float64) float64 {
		sum, n := 0.0, 0
		for i := range prompts {
			if v := of(&prompts[i]); !math.IsNaN(v) {
				sum += v
				n++
			}
		}
		return sum / float64(max(n, 1))
	}
	out.Mean = average(func(p *perPrompt) float64 { return p.mean[kind] })
	out.CV = average(func(p *perPrompt) float64 { return p.cv[kind] })
	out.TopQuarter = average(func(p *perPrompt) float64 { return p.top[kind] })
	for i := range prompts {
		if v := prompts[i].max[kind]; v > out.Max {
			out.Max = v
		}
	}
	return out
}
