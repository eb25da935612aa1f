package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/ptq"
)

// ClaimCell is one cell of a ClaimsSpec, without its questions.
type ClaimCell struct {
	Model    string `json:"model"`
	Format   string `json:"format"` // "" for the unquantized model
	Outliers string `json:"outliers,omitempty"`
	Method   string `json:"method"`
	// As is the method of the table that was used, where the format calls for another
	// than Method: see publishedAt.
	As            string  `json:"as,omitempty"`
	Seed          uint64  `json:"seed"`
	KL            float64 `json:"kl"`       // nats per answer token; of streams, per token
	NLL           float64 `json:"nll"`      // likewise
	Accuracy      float64 `json:"accuracy"` // 0..1: of questions answered rightly; of streams, of next tokens
	N             int     `json:"n"`        // questions or streams
	AvgBits       float64 `json:"avg_bits"`
	WeightsSHA256 string  `json:"weights_sha256"`
	Seconds       float64 `json:"seconds"`   // wall time, alone or beside other cells
	Calibrate     float64 `json:"calibrate"` // of them, calibrating and rounding
	Events        []Event `json:"events,omitempty"`
	Error         string  `json:"error,omitempty"`

	scores *scores
}

// ClaimsRun is a ClaimsSpec worked through.
type ClaimsRun struct {
	Spec     ClaimsSpec     `json:"spec"`
	Cells    []ClaimCell    `json:"-"`
	Claims   []ClaimVerdict `json:"-"`
	Asked    int            `json:"asked"`    // questions or streams, of a cell
	Tokens   int            `json:"tokens"`   // predicted of the streams; 0 for questions
	Clusters int            `json:"clusters"` // independent pictures among all questions, or streams
	// Questions is the number of different questions that all cells are asked together: with
	// Spread, Asked of each seed.
	Questions int `json:"questions"`

	clusters map[string][][]string // of the questions or streams, by model and seed
}

// ClaimsOptions say how a ClaimsSpec is worked through. None changes a result.
type ClaimsOptions struct {
	Workers  int               // cells at once; 0: 1
	Progress *display.Progress // nil: none; one step per cell
}

// ClaimCells is the number of cells, the unquantized models among them.
func (s ClaimsSpec) ClaimCells() int {
	return len(s.Models) * (1 + len(s.Settings)*len(s.Methods)*len(s.Seeds))
}

// RunClaims works through the cells, seed by seed, so that what is stored when a run
// ends early is as complete as it can be, and decides the claims. A cell that fails is
// reported in its Error and leaves its claims out; calibrated layers and scores stay in
// the store, and a later run continues from there.
func (s *Session) RunClaims(spec ClaimsSpec, o ClaimsOptions) (*ClaimsRun, error) {
	spec = spec.Filled(s.Root)
	if err := spec.validate(s.Root); err != nil {
		return nil, err
	}
	run := &ClaimsRun{Spec: spec, clusters: map[string][][]string{}}
	for _, name := range spec.Models {
		if err := s.claimModel(run, name, o); err != nil {
			return nil, err
		}
	}
	return run, run.decide()
}

// claimsModel is one model's part of a run.
type claimsModel struct {
	m    *Model
	spec *ClaimsSpec
	exam exam
}

func (s *Session) claimModel(run *ClaimsRun, name string, o ClaimsOptions) error {
	m, err := s.Model(name)
	if err != nil {
		return err
	}
	c := &claimsModel{m: m, spec: &run.Spec}
	if _, err := c.samples(run.Spec.Seeds[0]); err != nil {
		return err
	}
	fp := ClaimCell{Model: name, Method: MethodFP, WeightsSHA256: m.WeightsSHA256}
	if fp.AvgBits, err = storedBits(m.Dir); err != nil {
		return err
	}
	var all []ClaimCell
	own := newScores(0)
	for k, seed := range run.Spec.Seeds {
		if k == 0 || run.Spec.Spread {
			start := time.Now()
			asked, err := c.examine(k)
			if err != nil {
				return fmt.Errorf("model %s: %w", name, err)
			}
			own.append(asked)
			fp.Seconds += time.Since(start).Seconds()
		}
		run.take(name, c.exam)
		cells := run.Spec.cells(name, seed)
		if err := c.work(s.ctx, cells, o); err != nil {
			return err
		}
		all = append(all, cells...)
	}
	fp.take(own)
	o.Progress.Add(1)
	run.count(name)
	run.Cells = append(append(run.Cells, fp), all...)
	return nil
}

// cells are a seed's, not worked on yet.
func (s ClaimsSpec) cells(model string, seed uint64) []ClaimCell {
	var cells []ClaimCell
	for _, st := range s.Settings {
		for _, ref := range s.Methods {
			cells = append(cells, ClaimCell{Model: model, Format: st.Format, Outliers: st.Outliers, Method: ref.ID(), Seed: seed})
		}
	}
	return cells
}

// take notes what a model's next seed is asked.
func (r *ClaimsRun) take(model string, e exam) {
	r.clusters[model] = append(r.clusters[model], e.clusters())
	if streams, ok := e.(*streamExam); ok {
		r.Tokens = 0
		for _, n := range streams.counts {
			r.Tokens += n
		}
	}
}

// count counts what a model was asked.
func (r *ClaimsRun) count(model string) {
	seen := map[string]bool{}
	r.Asked, r.Questions = len(r.clusters[model][0]), 0
	for k, names := range r.clusters[model] {
		if k > 0 && !r.Spec.Spread {
			break
		}
		r.Questions += len(names)
		for _, x := range names {
			seen[x] = true
		}
	}
	r.Clusters = len(seen)
}

// samples are the calibration samples of a seed.
func (c *claimsModel) samples(seed uint64) (*Samples, error) {
	return c.m.CalibrationFrom(c.spec.Calibration.Name, c.spec.Calibration.Samples, seed)
}

// examine makes the exam of a block and asks the model itself: every other cell's KL is
// against it.
func (c *claimsModel) examine(block int) (*scores, error) {
	var err error
	if c.exam, err = c.m.newExam(c.spec, block); err != nil {
		return nil, err
	}
	runner, err := c.m.Runner()
	if err != nil {
		return nil, err
	}
	return c.exam.ask(c.m, runner, nil)
}

// work runs cells, some of them at once.
func (c *claimsModel) work(ctx context.Context, cells []ClaimCell, o ClaimsOptions) error {
	todo := make(chan int)
	var wg sync.WaitGroup
	for range max(1, o.Workers) {
		wg.Go(func() {
			for i := range todo {
				start := time.Now()
				if err := recovered(func() error { return c.cell(&cells[i]) }); err != nil {
					cells[i].Error = err.Error()
				}
				cells[i].Seconds = time.Since(start).Seconds()
				o.Progress.Add(1)
			}
		})
	}
	for i := range cells {
		if ctx.Err() != nil {
			break
		}
		todo <- i
	}
	close(todo)
	wg.Wait()
	return ctx.Err()
}

// take fills in means.
func (c *ClaimCell) take(s *scores) {
	c.scores, c.N = s, len(s.kl)
	c.KL, c.NLL, c.Accuracy = eval.Mean(s.kl), eval.Mean(s.nll), eval.Mean(s.correct)
}

// cell calibrates, rounds and asks. Scores are stored by the weights themselves, so
// that methods that end with one model share them.
func (c *claimsModel) cell(cell *ClaimCell) error {
	start := time.Now()
	q, err := c.quantization(cell)
	if err != nil {
		return err
	}
	samples, err := c.samples(cell.Seed)
	if err != nil {
		return err
	}
	var log EventLog
	defer func() { cell.Events = log.Events() }()
	m := c.m.in(c.m.s.WithContext(WithEvents(c.m.s.ctx, &log)))
	quantized, err := m.WithProgress(nil).Quantize(samples, q)
	if err != nil {
		return err
	}
	cell.WeightsSHA256, cell.AvgBits = quantized.WeightsSHA256, quantized.AvgBits
	cell.Calibrate = time.Since(start).Seconds()
	name := fmt.Sprintf("scores of %s, %s", c.m.Name, q)
	key := c.exam.key(quantized.WeightsSHA256, q.Format.Activation, quantized.on.key)
	s, err := once(m, name, key, scoresCodec(len(c.exam.clusters())), func(m *Model) (*scores, error) {
		runner, act, err := m.quantizedRunner(quantized)
		if err != nil {
			return nil, err
		}
		return c.exam.ask(quantized.on.in(m.s), runner, act)
	})
	if err != nil {
		return err
	}
	cell.take(s)
	return nil
}

// quantization is what a cell asks for.
func (c *claimsModel) quantization(cell *ClaimCell) (q Quantization, err error) {
	if q.Format, err = ptq.ParseFormat(cell.Format); err != nil {
		return q, err
	}
	for _, ref := range c.spec.Methods {
		if ref.ID() != cell.Method {
			continue
		}
		if name := publishedAt(ref.Name, q.Format); ref.Inline == nil && name != ref.Name {
			ref.Name, cell.As = name, name
		}
		if q.Method, err = ref.Method(); err != nil {
			return q, err
		}
	}
	q.Fallback = c.spec.GroupFallback
	return q, q.setOutliers(cell.Outliers)
}

// publishedAt is the method of the table that a name stands for at a format: a claim
// about QIG at weights alone speaks of what QIG published for them, which is a method of
// its own here because its path and its importance differ.
func publishedAt(name string, f ptq.Format) string {
	if name == "qig" && f.ActQuant() == nil {
		return "qig-weights"
	}
	return name
}

// ClaimsDir is where a run goes when no folder is named.
func (s ClaimsSpec) ClaimsDir() string { return filepath.Join("runs", s.Name) }
