package harness

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// The stages of surrogate fidelity: what quantizing one site at one α truly costs, and
// how well methods' objectives tell.
var (
	truthStage    = StageID{"truth", 1}
	fidelityStage = StageID{"fidelity", 2}
)

// FidelitySettings say what surrogate fidelity is measured on.
type FidelitySettings struct {
	Format      string        `json:"format"`
	Sites       []models.Site `json:"sites"`       // empty: all that can be scaled
	Methods     []MethodRef   `json:"methods"`     // with a grid search
	Reference   string        `json:"reference"`   // the method that the others are compared with
	Prompts     Prompts       `json:"prompts"`     // that the true change of loss is measured on
	Calibration Calibration   `json:"calibration"` // samples that objectives are measured on
	Seed        uint64        `json:"seed"`        // of the calibration samples
	Stats       Stats         `json:"stats"`
}

// DefaultFidelity compares every method of the table whose objective can be compared,
// and MBQ with squared errors, at w4a4 on 300 test prompts.
func DefaultFidelity() FidelitySettings {
	s := FidelitySettings{
		Format: "w4a4", Reference: "mbq",
		Prompts:     Prompts{Split: string(datasets.Test), N: 300},
		Calibration: DefaultSpec().Calibration,
	}
	for _, m := range ptq.Methods() {
		if fidelityProblem(m) != "" || slices.ContainsFunc(s.Methods, func(r MethodRef) bool { return sameObjective(r, m) }) {
			continue
		}
		s.Methods = append(s.Methods, MethodRef{Name: m.Name})
		if m.Name == s.Reference {
			squared := m
			squared.Name, squared.Title, squared.Search.Metric = "mbq-mse", "MBQ, squared error", ptq.MSE
			s.Methods = append(s.Methods, MethodRef{Inline: &squared})
		}
	}
	return s
}

// onExactPath is a method whose search reads the unquantized path: one site is
// quantized at a time, so what stands before it is exact.
func onExactPath(m ptq.Method) ptq.Method {
	m.Path.Expose = ptq.ExposeNone
	return m
}

// fidelityProblem says why a method's objective can't be compared, or nothing.
func fidelityProblem(m ptq.Method) string {
	switch {
	case m.Search.Kind != ptq.SearchGrid:
		return "it searches no grid of exponents, so it has no objective"
	case m.Rounding.Kind != ptq.RoundNearest || m.Rounding.Clip != ptq.ClipOff:
		return "it does not round its candidates to nearest"
	case m.Tokens.Means != ptq.MeansAll || m.Tokens.Control == ptq.ControlFewer:
		return "its channel means are not over all tokens, so its candidates are others"
	case m.Rotate != ptq.RotateNone:
		return "it rotates the model, so its candidates are others"
	case m.Search.Inspect != ptq.InspectBlock:
		return fmt.Sprintf("it inspects %q", m.Search.Inspect)
	}
	return ""
}

// sameObjective reports whether a method in the list searches by the same objective
// once both read the unquantized path.
func sameObjective(r MethodRef, m ptq.Method) bool {
	other, err := r.Method()
	if err != nil {
		return false
	}
	a, b := Quantization{Method: onExactPath(other)}.settings(), Quantization{Method: onExactPath(m)}.settings()
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

// Fidelity says how well methods' search objectives rank candidates, site by site, as
// the true loss does. One site is quantized at a time, everything else is exact.
type Fidelity struct {
	Model    string            `json:"model"`
	Settings FidelitySettings  `json:"settings"`
	Prompts  int               `json:"prompts"`
	Clusters int               `json:"clusters"`
	Alphas   []float64         `json:"alphas"` // 0 is rounding to nearest
	Sites    []FidelitySite    `json:"sites"`
	Skipped  map[string]string `json:"skipped"` // sites that cannot be scaled, and why
	// Possible is Σ KL of the best candidates ÷ Σ KL of α = 0 over sites. The best are
	// chosen by the prompts that they are measured on, which flatters them.
	Possible eval.Interval    `json:"possible"`
	Methods  []FidelityMethod `json:"methods"`
	// Pairs compare every method with the reference, and TLQ with its controls, over
	// sites; Holm's correction runs over all of them.
	Pairs []FidelityPair `json:"pairs"`
}

// FidelitySite is one site of one layer: the true losses of its candidates beside the
// methods' objectives.
type FidelitySite struct {
	Layer int         `json:"layer"`
	Site  models.Site `json:"site"`
	// KL and NLL are means over prompts of KL(unquantized ‖ this) and of the change of
	// the answer's negative log-likelihood, nats per answer token, by α.
	KL         []float64            `json:"kl"`
	NLL        []float64            `json:"nll"`
	Objectives map[string][]float64 `json:"objectives"` // J(α) by method
	// Rho is the rank correlation of J with KL over α, with a 95% interval over
	// pictures; RhoNLL that with NLL.
	Rho    map[string]eval.Interval `json:"rho"`
	RhoNLL map[string]float64       `json:"rho_nll"`
	Choice map[string]eval.Choice   `json:"choice"` // by J, costs in KL
}

// FidelityMethod is a method over all sites; a site is the unit of the intervals.
type FidelityMethod struct {
	Name   string        `json:"name"`
	Title  string        `json:"title"`
	Rho    eval.Interval `json:"rho"`     // mean rank correlation with KL
	RhoNLL eval.Interval `json:"rho_nll"` // with the change of NLL
	Regret eval.Interval `json:"regret"`  // mean KL of the pick above the best candidate's
	Gain   eval.Interval `json:"gain"`    // Σ gain of the picks ÷ Σ possible gain over α = 0
	// Relative is Σ KL of the picks ÷ Σ KL of α = 0 over sites: below 1 the picks gain.
	Relative eval.Interval `json:"relative"`
	Hits     int           `json:"hits"` // sites where the pick is the best candidate
}

// FidelityPair is method A's mean rank correlation minus B's, paired over sites.
type FidelityPair struct {
	A       string       `json:"a"`
	B       string       `json:"b"`
	Verdict eval.Verdict `json:"verdict"` // of "A ranks candidates better than B"
}

// Fidelity measures surrogate fidelity. Stages truth and fidelity.
func (m *Model) Fidelity(s FidelitySettings) (*Fidelity, error) {
	r, err := m.newFidelityRun(s)
	if err != nil {
		return nil, err
	}
	return once(m, "fidelity of "+m.Name, r.key(), jsonCodec[*Fidelity](), func(m *Model) (*Fidelity, error) {
		r.m = m
		return r.measure()
	})
}

// FidelitySteps is the total of a progress display over [Model.Fidelity].
func (s FidelitySettings) FidelitySteps(m *Model) int {
	return m.NumLayers() + len(s.Methods)*m.CalibrationSteps()
}

// checkFidelity checks every name and number and returns the methods with their
// searches on the unquantized path.
func (m *Model) checkFidelity(s FidelitySettings) ([]ptq.Method, error) {
	if err := m.checkUnquantized(); err != nil {
		return nil, err
	}
	if m.Pixels == nil {
		return nil, fmt.Errorf("harness: model %s: %w", m.Name, ErrNoVision)
	}
	for _, site := range s.Sites {
		if !slices.Contains(models.Sites(), site) {
			return nil, fmt.Errorf("harness: unknown site %q: expected %s", site, expectedOf(string(site), siteNames()))
		}
	}
	f, err := ptq.ParseFormat(s.Format)
	if err != nil {
		return nil, fmt.Errorf("harness: %w", CheckFormat(s.Format))
	}
	if err := firstError(checkGroups(m, f, ptq.RefuseGroup), s.Prompts.validate(), s.Stats.Bootstrap.Validate()); err != nil {
		return nil, err
	}
	return fidelityMethods(s)
}

func siteNames() []string {
	var names []string
	for _, s := range models.Sites() {
		names = append(names, string(s))
	}
	return names
}

func fidelityMethods(s FidelitySettings) ([]ptq.Method, error) {
	if len(s.Methods) == 0 {
		return nil, errors.New("harness: fidelity of no methods: expected at least one")
	}
	var out []ptq.Method
	for _, ref := range s.Methods {
		method, err := ref.Method()
		if err != nil {
			return nil, err
		}
		if why := fidelityProblem(method); why != "" {
			return nil, fmt.Errorf("harness: fidelity of method %s: %s; leave it out", method.Name, why)
		}
		if slices.ContainsFunc(out, func(o ptq.Method) bool { return o.Name == method.Name }) {
			return nil, fmt.Errorf("harness: fidelity of method %s twice: expected each once", method.Name)
		}
		if len(out) > 0 && out[0].Search.Points != method.Search.Points {
			return nil, fmt.Errorf("harness: fidelity of methods with %d and %d exponents: expected the same grid", out[0].Search.Points, method.Search.Points)
		}
		out = append(out, onExactPath(method))
	}
	return out, nil
}
