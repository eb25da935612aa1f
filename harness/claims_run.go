package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
	"github.com/tlqlab/tlqlab/ptq"
)

// scoresStage asks one quantized model the questions of a ClaimsSpec.
var scoresStage = StageID{"scores", 1}

// ClaimCell is one cell of a ClaimsSpec, without its questions.
type ClaimCell struct {
	Model         string  `json:"model"`
	Format        string  `json:"format"` // "" for the unquantized model
	Outliers      string  `json:"outliers,omitempty"`
	Method        string  `json:"method"`
	Seed          uint64  `json:"seed"`
	KL            float64 `json:"kl"`       // nats per answer token
	NLL           float64 `json:"nll"`      // nats per answer token
	Accuracy      float64 `json:"accuracy"` // 0..1
	N             int     `json:"n"`
	AvgBits       float64 `json:"avg_bits"`
	WeightsSHA256 string  `json:"weights_sha256"`
	Seconds       float64 `json:"seconds"`   // wall time, alone or beside other cells
	Calibrate     float64 `json:"calibrate"` // of them, calibrating and rounding
	Error         string  `json:"error,omitempty"`

	scores *scores
}

// scores are a cell's questions, in their order.
type scores struct{ kl, nll, correct []float64 }

// ClaimsRun is a ClaimsSpec worked through.
type ClaimsRun struct {
	Spec     ClaimsSpec     `json:"spec"`
	Cells    []ClaimCell    `json:"-"`
	Claims   []ClaimVerdict `json:"-"`
	Clusters int            `json:"clusters"` // independent pictures among the questions

	clusters map[string][]string // of the questions, by model
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
	if err := spec.validate(s.Root); err != nil {
		return nil, err
	}
	run := &ClaimsRun{Spec: spec, clusters: map[string][]string{}}
	for _, name := range spec.Models {
		if err := s.claimModel(run, name, o); err != nil {
			return nil, err
		}
	}
	return run, run.decide()
}

// claimsModel is one model's part of a run.
type claimsModel struct {
	m         *Model
	spec      *ClaimsSpec
	set       *promptSet
	reference [][][]float32 // logits at the right answers, [question][token]
	data      Key

	mu     sync.Mutex
	edited map[Key]*promptSet // the questions as edited forms of the model read them
}

func (s *Session) claimModel(run *ClaimsRun, name string, o ClaimsOptions) error {
	m, err := s.Model(name)
	if err != nil {
		return err
	}
	c := &claimsModel{m: m, spec: &run.Spec}
	start := time.Now()
	fp, err := c.unquantized()
	if err != nil {
		return fmt.Errorf("model %s: %w", name, err)
	}
	run.clusters[name] = c.set.clusters
	seen := map[string]bool{}
	for _, x := range c.set.clusters {
		seen[x] = true
	}
	run.Clusters = len(seen)
	fp.Seconds = time.Since(start).Seconds()
	run.Cells = append(run.Cells, *fp)
	o.Progress.Add(1)
	var cells []ClaimCell
	for _, seed := range run.Spec.Seeds {
		for _, st := range run.Spec.Settings {
			for _, ref := range run.Spec.Methods {
				cells = append(cells, ClaimCell{Model: name, Format: st.Format, Outliers: st.Outliers, Method: ref.ID(), Seed: seed})
			}
		}
	}
	if err := c.work(s.ctx, cells, o); err != nil {
		return err
	}
	run.Cells = append(run.Cells, cells...)
	return nil
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

// questionSet makes and embeds the questions with their choices: those that
// [Model.Evaluate] asks, tasks taking turns.
func (m *Model) questionSet(p Prompts, data Key) (*promptSet, error) {
	set := &promptSet{}
	per, rows := make([][]*eval.Question, len(p.Tasks)), make([][][]float32, len(p.Tasks))
	for k, task := range p.Tasks {
		n := (p.N + len(p.Tasks) - 1 - k) / len(p.Tasks)
		for _, part := range (Questions{Task: task, Split: p.Split, N: n}).chunks() {
			questions, err := m.questions(part)
			if err != nil {
				return nil, err
			}
			x, err := m.embed(fmt.Sprintf("embed %s %d to %d", part.Task, part.Start, part.Start+part.N-1), part.embedKey(m, data),
				func() ([]*models.Sequence, error) { return sequences(questions), nil })
			if err != nil {
				return nil, err
			}
			for _, q := range questions {
				q.Images = nil // embedded by now
			}
			per[k], rows[k] = append(per[k], questions...), append(rows[k], x...)
		}
	}
	var x [][]float32
	for i := range p.N {
		k, at := i%len(p.Tasks), i/len(p.Tasks)
		q := per[k][at]
		set.questions, set.seqs = append(set.questions, q), append(set.seqs, q.Sequence)
		set.clusters, set.tasks = append(set.clusters, q.Task+"/"+q.Source), append(set.tasks, q.Task)
		x = append(x, rows[k][at])
	}
	var err error
	set.batches, err = m.NewBatches(set.seqs, x)
	return set, err
}

// unquantized asks the model itself: every other cell's KL is against it.
func (c *claimsModel) unquantized() (*ClaimCell, error) {
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	c.data = Key(hash)
	if c.set, err = c.m.questionSet(c.spec.Prompts, c.data); err != nil {
		return nil, err
	}
	runner, err := c.m.Runner()
	if err != nil {
		return nil, err
	}
	s, logits, err := c.ask(c.m, c.set, runner, nil)
	if err != nil {
		return nil, err
	}
	c.reference = logits
	cell := &ClaimCell{Model: c.m.Name, Method: MethodFP, WeightsSHA256: c.m.WeightsSHA256}
	if cell.AvgBits, err = storedBits(c.m.Dir); err != nil {
		return nil, err
	}
	cell.take(s)
	return cell, nil
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
	samples := c.m.samples(c.spec.Calibration.Name, c.spec.Calibration.Samples, cell.Seed, c.data)
	quantized, err := c.m.WithProgress(nil).Quantize(samples, q)
	if err != nil {
		return err
	}
	cell.WeightsSHA256, cell.AvgBits = quantized.WeightsSHA256, quantized.AvgBits
	cell.Calibrate = time.Since(start).Seconds()
	key := NewKey(scoresStage, struct {
		Weights     string  `json:"weights"`
		Activations int     `json:"activations"`
		Prompts     Prompts `json:"prompts"`
	}{quantized.WeightsSHA256, q.Format.Activation, c.spec.Prompts}, quantized.on.key, c.data)
	name := fmt.Sprintf("scores of %s, %s", c.m.Name, q)
	s, err := once(c.m, name, key, scoresCodec(len(c.set.seqs)), func(m *Model) (*scores, error) {
		runner, act, err := m.quantizedRunner(quantized)
		if err != nil {
			return nil, err
		}
		set, err := c.asked(quantized.on.in(m.s))
		if err != nil {
			return nil, err
		}
		s, _, err := c.ask(m, set, runner, act)
		return s, err
	})
	if err != nil {
		return err
	}
	cell.take(s)
	return nil
}

// quantization is what a cell asks for.
func (c *claimsModel) quantization(cell *ClaimCell) (q Quantization, err error) {
	for _, ref := range c.spec.Methods {
		if ref.ID() == cell.Method {
			if q.Method, err = ref.Method(); err != nil {
				return q, err
			}
		}
	}
	if q.Format, err = ptq.ParseFormat(cell.Format); err != nil {
		return q, err
	}
	return q, q.setOutliers(cell.Outliers)
}

// asked are the questions as a model reads them: its embeddings may be rotated.
func (c *claimsModel) asked(on *Model) (*promptSet, error) {
	if on.key == c.m.key {
		return c.set, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if set, ok := c.edited[on.key]; ok {
		return set, nil
	}
	set, err := on.questionSet(c.spec.Prompts, c.data)
	if err != nil {
		return nil, err
	}
	if c.edited == nil {
		c.edited = map[Key]*promptSet{}
	}
	c.edited[on.key] = set
	return set, nil
}

// ask scores all questions; the second result are the logits at the right answers.
func (c *claimsModel) ask(m *Model, set *promptSet, runner *models.Runner, act *models.ActQuant) (*scores, [][][]float32, error) {
	n := len(set.seqs)
	out := &scores{kl: make([]float64, n), nll: make([]float64, n), correct: make([]float64, n)}
	answers := make([][][]float32, n)
	err := eachBatch(m.s.ctx, len(set.batches), func(i int) error {
		b := set.batches[i]
		x, err := runner.Forward(b, act)
		if err != nil {
			return err
		}
		rows, err := runner.Logits(b, x)
		if err != nil {
			return err
		}
		for k, at := range b.Index {
			scored := len(b.Seqs[k].Scored)
			var reference [][]float32
			if c.reference != nil {
				reference = c.reference[at]
			}
			sample, right, err := set.questions[at].Score(rows[:scored], reference)
			if err != nil {
				return err
			}
			rows = rows[scored:]
			out.kl[at], out.nll[at] = single(*sample.KL), single(sample.NLL)
			if sample.Correct {
				out.correct[at] = 1
			}
			if c.reference == nil {
				for _, row := range right {
					answers[at] = append(answers[at], append([]float32(nil), row...))
				}
			}
		}
		return nil
	})
	return out, answers, err
}

// single rounds to what the store keeps, so that fresh and stored numbers are the same.
func single(v float64) float64 { return float64(float32(v)) }

// scoresCodec keeps scores as one tensor, [3, questions].
func scoresCodec(n int) codec[*scores] {
	return codec[*scores]{
		encode: func(s *scores) (*Artifact, error) {
			flat := make([]float32, 0, 3*n)
			for _, list := range [][]float64{s.kl, s.nll, s.correct} {
				for _, v := range list {
					flat = append(flat, float32(v))
				}
			}
			return &Artifact{Tensors: []safetensors.Tensor{safetensors.FromFloat32("scores", []int{3, n}, flat)}}, nil
		},
		decode: func(a *Artifact) (*scores, error) {
			flat, err := a.Float32s("scores")
			if err != nil {
				return nil, err
			}
			if len(flat) != 3*n {
				return nil, fmt.Errorf("%d values: expected %d", len(flat), 3*n)
			}
			wide := make([]float64, 3*n)
			for i, v := range flat {
				wide[i] = float64(v)
			}
			return &scores{kl: wide[:n], nll: wide[n : 2*n], correct: wide[2*n:]}, nil
		},
	}
}

// ClaimsDir is where a run goes when no folder is named.
func (s ClaimsSpec) ClaimsDir() string { return filepath.Join("runs", s.Name) }
