package harness

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tlqlab/tlqlab/ptq"
)

// planStage names a whole plan.
var planStage = StageID{"plan", 1}

// Plan is a Spec worked out: the cells of the grid and the stages that they
// need, with their keys. Making one reads configurations and hashes files; no
// stage runs.
type Plan struct {
	Spec       Spec           `json:"spec"`
	SpecSHA256 string         `json:"spec_sha256"`
	DataSHA256 string         `json:"data_sha256"`
	Key        Key            `json:"key"` // of everything below
	Cells      []Cell         `json:"cells"`
	Stages     []PlannedStage `json:"stages"` // each once, in an order in which they can run

	s    *Session
	seen map[Key]bool
	work []cellWork // of Cells
	rest float64    // cost of what belongs to no cell

	premises []*Model // whose premise is measured
}

// cellWork is what a cell's stages cost that the store doesn't have, each counted at the
// first cell that needs it.
type cellWork struct{ calibrate, evaluate float64 }

func (w cellWork) total() float64 { return w.calibrate + w.evaluate }

// Cell is one row of the grid.
type Cell struct {
	Model    string `json:"model"`
	Format   string `json:"format"`             // empty for the unquantized model
	Outliers string `json:"outliers,omitempty"` // injected ones, "none"; empty for the unquantized model
	Method   string `json:"method"`
	Seed     uint64 `json:"seed"`

	m *Model
	q Quantization
}

// PlannedStage is one stage of a Plan.
type PlannedStage struct {
	Stage  string `json:"stage"`
	What   string `json:"what"`
	Key    Key    `json:"key"`
	Stored bool   `json:"stored"` // the store has it already
	// Cost is an estimate, in seconds of one core of the machine that rates were
	// measured on, as if it were not stored: see [Plan.Estimate].
	Cost float64 `json:"cost"`
}

// NewPlan works a Spec out. Every name, format and group size is checked here,
// so that a run fails before it starts.
func NewPlan(s *Session, spec Spec) (*Plan, error) {
	spec = spec.Filled(s.Root)
	if err := spec.Validate(s.Root); err != nil {
		return nil, err
	}
	data, err := dataHash()
	if err != nil {
		return nil, err
	}
	p := &Plan{Spec: spec, SpecSHA256: spec.Hash(), DataSHA256: data, s: s, seen: map[Key]bool{}}
	for _, name := range spec.Models {
		m, err := s.Model(name)
		if err != nil {
			return nil, err
		}
		if err := p.addModel(m); err != nil {
			return nil, err
		}
	}
	if err := p.addPremises(); err != nil {
		return nil, err
	}
	keys := make([]Key, len(p.Stages))
	for i, st := range p.Stages {
		keys[i] = st.Key
	}
	p.Key = NewKey(planStage, spec, keys...)
	return p, nil
}

func (p *Plan) addModel(m *Model) error {
	if err := m.checkUnquantized(); err != nil {
		return err
	}
	if err := p.addCell(Cell{Model: m.Name, Method: MethodFP, Seed: p.Spec.Seeds[0], m: m}); err != nil {
		return err
	}
	for _, text := range p.Spec.Formats {
		format, err := ptq.ParseFormat(text)
		if err != nil {
			return err
		}
		if err := checkGroups(m, format, p.Spec.GroupFallback); err != nil {
			return err
		}
		for _, ref := range p.Spec.Methods {
			method, err := ref.Method()
			if err != nil {
				return err
			}
			if err := p.addCells(m, Quantization{Method: method, Format: format, Fallback: p.Spec.GroupFallback, Tower: p.Spec.VisionTower}); err != nil {
				return err
			}
		}
	}
	return nil
}

// addCells adds a method at a format: with every kind of outliers, for every seed.
func (p *Plan) addCells(m *Model, q Quantization) error {
	kinds := p.Spec.Outliers
	if len(kinds) == 0 {
		kinds = []string{noOutliers}
	}
	for _, kind := range kinds {
		if err := q.setOutliers(kind); err != nil {
			return err
		}
		for _, seed := range p.Spec.Seeds {
			c := Cell{Model: m.Name, Format: q.Format.String(), Outliers: q.Outliers.String(), Method: q.Method.Name, Seed: seed, m: m, q: q}
			if err := p.addCell(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkGroups refuses a group size that divides no input width of the model.
func checkGroups(m *Model, f ptq.Format, fallback ptq.GroupFallback) error {
	t := &m.Config.Text
	for _, in := range []int{t.Hidden, t.Heads * t.HeadDim, t.Intermediate} {
		if _, _, err := f.GroupSize(in, fallback); err != nil {
			return fmt.Errorf("harness: model %s: %w", m.Name, err)
		}
	}
	return nil
}

// addCell appends a cell and those of its stages that no earlier cell needs.
func (p *Plan) addCell(c Cell) error {
	p.Cells = append(p.Cells, c)
	p.work = append(p.work, cellWork{})
	work := &p.work[len(p.work)-1]
	size := c.m.sizes()
	var weights Key
	on := c.m
	if c.Method != MethodFP {
		var samples *Samples
		var err error
		if on, samples, err = c.m.prepared(p.samples(c), c.q); err != nil {
			return err
		}
		work.calibrate += p.addStage(embedStage, fmt.Sprintf("%d calibration samples, seed %d", samples.N, samples.Seed), samples.key, size.embed(samples.N))
		if c.q.Method.NeedsTokens() {
			work.calibrate += p.addTokens(c, samples)
		}
		for i, key := range layerKeys(on, samples, c.q) {
			work.calibrate += p.addStage(calibrateStage, fmt.Sprintf("layer %d, %s", i, c), key, size.calibrate(c.q, samples.N))
		}
		weights = quantizeKey(on, samples, c.q)
		work.calibrate += p.addStage(quantizeStage, c.String(), weights, readSeconds)
	}
	for _, q := range p.questions() {
		for _, part := range q.chunks() {
			what := fmt.Sprintf("%s %d to %d", part.Task, part.Start, part.Start+part.N-1)
			work.evaluate += p.addStage(embedStage, what, part.embedKey(on, Key(p.DataSHA256)), size.embed(part.N))
			work.evaluate += p.addStage(evaluateStage, what+", "+c.String(), part.evaluateKey(on, Key(p.DataSHA256), weights, c.m), size.answer(c.m, part.Task, part.N))
		}
	}
	return nil
}

// addTokens adds the stages that choose tokens and returns what of them is to be done.
func (p *Plan) addTokens(c Cell, samples *Samples) float64 {
	size, importance, todo := c.m.sizes(), c.q.Method.Tokens.Importance, 0.0
	pass := float64(c.m.NumLayers()) * size.pass(samples.N, size.sample)
	if c.q.Method.NeedsGradients() {
		todo += p.addStage(gradientsStage, samples.String(), gradientsKey(samples), gradientPasses*pass)
	}
	for _, name := range []string{importance, weightImportance(c.q.Method.Tokens)} {
		if name == "" {
			continue
		}
		cost := readSeconds
		if needs := c.q.Method.Tokens.Needs(name); needs.Error || needs.Product {
			cost = errorPasses * pass
		}
		todo += p.addStage(importanceStage, name+", "+c.String(), importanceKey(samples, name, c.q), cost)
	}
	return todo + p.addStage(tokensStage, c.String(), tokensKey(samples, c.q), readSeconds)
}

// addStage adds a stage that no earlier cell needs and returns what is to be done for it:
// its cost, or what reading it costs.
func (p *Plan) addStage(stage StageID, what string, key Key, cost float64) float64 {
	if p.seen[key] {
		return 0
	}
	p.seen[key] = true
	stored := p.s.Store.Has(key)
	p.Stages = append(p.Stages, PlannedStage{Stage: stage.Name, What: what, Key: key, Stored: stored, Cost: cost})
	if stored {
		return readSeconds
	}
	return cost
}

// samples are the calibration samples of a cell.
func (p *Plan) samples(c Cell) *Samples {
	return c.m.samples(p.Spec.Calibration.Name, p.Spec.Calibration.Samples, c.Seed, Key(p.DataSHA256))
}

// questions are what every cell is asked.
func (p *Plan) questions() []Questions {
	out := make([]Questions, len(p.Spec.Tasks))
	for i, task := range p.Spec.Tasks {
		out[i] = Questions{Task: task, Split: p.Spec.Split, N: p.Spec.questions()}
	}
	return out
}

// String names the cell.
func (c Cell) String() string {
	r := Record{Model: c.Model, Format: c.Format, Outliers: c.Outliers, Method: c.Method, Seed: c.Seed}
	return r.Cell()
}

// Estimate is about how long the plan takes on this machine, with so many cells at once,
// if nothing else runs there.
func (p *Plan) Estimate(workers int) time.Duration {
	sum := p.rest
	for _, w := range p.work {
		sum += w.total()
	}
	return onThisMachine(sum, workers)
}

// Summary is one line: cells, what is stored, how long the rest takes.
func (p *Plan) Summary(workers int) string {
	stored := 0
	for _, st := range p.Stages {
		if st.Stored {
			stored++
		}
	}
	return fmt.Sprintf("%s: %d cells, %d stages, %d of them stored; about %s if nothing else runs here", p.Spec.Name, len(p.Cells), len(p.Stages), stored, roughly(p.Estimate(workers)))
}

// roughly is a duration as precise as an estimate is.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Second:
		return "a second"
	case d < 10*time.Second:
		return fmt.Sprintf("%.0f seconds", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f seconds", 10*math.Ceil(d.Seconds()/10))
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", math.Ceil(d.Minutes()))
	}
	return fmt.Sprintf("%.1f hours", d.Hours())
}

// String lists the stages with what is stored already.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, p.Summary(1))
	for _, st := range p.Stages {
		mark := "to do"
		if st.Stored {
			mark = "stored"
		}
		fmt.Fprintf(&b, "  %-10s %s  %-6s  %s\n", st.Stage, st.Key.Short(), mark, st.What)
	}
	return b.String()
}
