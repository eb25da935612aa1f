package harness

import (
	"fmt"
	"strings"
	"time"
)

// ClaimsPlan says what a ClaimsSpec would do.
type ClaimsPlan struct {
	Spec       ClaimsSpec `json:"spec"` // filled in
	Cells      int        `json:"cells"`
	Calibrated int        `json:"calibrated"` // cells whose quantized model the store has
	Claims     int        `json:"claims"`     // per metric
	Questions  int        `json:"questions"`  // different ones; 0 for streams
	Seconds    float64    `json:"seconds"`    // about how long on this machine, if nothing else runs there
}

// PlanClaims checks an experiment and says what [Session.RunClaims] would do and about how
// long it would take, with so many cells at once; nothing runs.
func (s *Session) PlanClaims(spec ClaimsSpec, workers int) (*ClaimsPlan, error) {
	spec = spec.Filled(s.Root)
	if err := spec.validate(s.Root); err != nil {
		return nil, err
	}
	p := &ClaimsPlan{Spec: spec, Cells: spec.ClaimCells(), Questions: spec.Prompts.N}
	if spec.Spread {
		p.Questions *= len(spec.Seeds)
	}
	for _, f := range spec.Families {
		p.Claims += len(f.Claims) * len(spec.Settings) * len(spec.Models)
	}
	cost := 0.0
	for _, name := range spec.Models {
		m, err := s.Model(name)
		if err != nil {
			return nil, err
		}
		c := &claimsModel{m: m, spec: &spec}
		exam := c.examCost()
		cost += exam
		for k, seed := range spec.Seeds {
			if k > 0 && spec.Spread {
				cost += exam // of the unquantized model
			}
			for _, cell := range spec.cells(name, seed) {
				stored, todo, err := c.cost(&cell)
				if err != nil {
					return nil, err
				}
				if stored {
					p.Calibrated++
					cost += readSeconds
				} else {
					cost += todo + exam
				}
			}
		}
	}
	p.Seconds = onThisMachine(cost, workers).Seconds()
	return p, nil
}

// examCost is what asking one model costs. Streams are taken to be as long as those that a
// memory estimate is for.
func (c *claimsModel) examCost() float64 {
	size := c.m.sizes()
	if c.spec.Streams.From != "" {
		n := max(c.spec.Streams.N, 1)
		return float64(c.m.NumLayers())*size.pass(n, streamTokens) + float64(n*streamTokens)*size.head/size.rate
	}
	sum := 0.0
	for _, task := range c.spec.Prompts.Tasks {
		n := c.spec.Prompts.N / len(c.spec.Prompts.Tasks)
		sum += size.answer(c.m, task, n) + size.embed(n)/float64(len(c.spec.Settings)*len(c.spec.Methods))
	}
	return sum
}

// cost tells whether a cell's quantized model is stored, and what calibrating it costs.
func (c *claimsModel) cost(cell *ClaimCell) (stored bool, seconds float64, err error) {
	q, err := c.quantization(cell)
	if err != nil {
		return false, 0, err
	}
	if err := checkGroups(c.m, q.Format, q.Fallback); err != nil {
		return false, 0, err
	}
	samples, err := c.samples(cell.Seed)
	if err != nil {
		return false, 0, err
	}
	on, samples, err := c.m.prepared(samples, q)
	if err != nil {
		return false, 0, err
	}
	return c.m.s.Store.Has(quantizeKey(on, samples, q)), float64(c.m.NumLayers()) * c.m.sizes().calibrate(q, samples.N), nil
}

// String says it in a few lines.
func (p *ClaimsPlan) String() string {
	s := &p.Spec
	var b strings.Builder
	var settings, methods []string
	for _, x := range s.Settings {
		settings = append(settings, x.String())
	}
	for _, x := range s.Methods {
		methods = append(methods, x.ID())
	}
	fmt.Fprintf(&b, "%s: %d cells, %d of them calibrated already; about %s if nothing else runs here\n", s.Name, p.Cells, p.Calibrated, roughly(time.Duration(p.Seconds*float64(time.Second))))
	fmt.Fprintf(&b, "  models    %s\n", strings.Join(s.Models, ", "))
	fmt.Fprintf(&b, "  settings  %s\n", strings.Join(settings, ", "))
	fmt.Fprintf(&b, "  methods   %s\n", strings.Join(methods, ", "))
	switch {
	case s.Streams.From != "":
		fmt.Fprintf(&b, "  asked     token streams of %s\n", s.Streams.From)
	case s.Spread:
		fmt.Fprintf(&b, "  asked     %d questions of %s, %s split: %d of each seed's own\n", p.Questions, strings.Join(s.Prompts.Tasks, ", "), s.Prompts.Split, s.Prompts.N)
	default:
		fmt.Fprintf(&b, "  asked     %d questions of %s, %s split\n", p.Questions, strings.Join(s.Prompts.Tasks, ", "), s.Prompts.Split)
	}
	fmt.Fprintf(&b, "  seeds     %d, of %d calibration samples each (%s)\n", len(s.Seeds), s.Calibration.Samples, s.Calibration.Name)
	fmt.Fprintf(&b, "  claims    %d by each of %s:\n", p.Claims, strings.Join(ClaimMetrics(), ", "))
	for _, f := range s.Families {
		var pairs []string
		for _, c := range f.Claims {
			pairs = append(pairs, c[0]+" − "+c[1])
		}
		fmt.Fprintf(&b, "    %s  %s\n", f.Question, strings.Join(pairs, ", "))
	}
	return b.String()
}
