package harness

import (
	"runtime"
	"sync"
	"time"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/ptq"
)

// What work costs, so that a plan can say how long it will take and a progress display how
// much is left. A cost is in seconds of one core of the machine that the rates below were
// measured on; [Plan.Estimate] turns it into time on this one. Nothing but displays depends on it.
//
// The constants were fitted to the processor time of qwen2vl-nano and of random weights of
// llavaov-mini's shape, 32 calibration samples and 250 questions.
const (
	// peakRate × h ÷ (h + halfWidth) are the multiply-adds per second and core through linears of
	// width h: small matrices are far from the product kernels' rate.
	peakRate, halfWidth = 35e9, 157
	// drawSeconds makes one picture with its question.
	drawSeconds = 1e-3
	// scoreSeconds is a question's softmax and storing.
	scoreSeconds = 1e-3
	// readSeconds is what a stage costs that the store has.
	readSeconds = 2e-3
	// Passes of all samples through a layer: of a grid search, of one whose objective
	// is a quadratic form, of a closed form, of a column solver, of rounding alone.
	gridPasses, gramPasses, smoothPasses, solvePasses, plainPasses = 27, 21, 4, 6, 0.1
	// gradientPasses is a forward and a backward pass; errorPasses takes the rounded pass beside
	// it; premisePasses are those of one format, four kinds of tokens mixed.
	gradientPasses, errorPasses, premisePasses = 2.7, 2, 9
	// channelSeconds is one channel of one prompt in one resample of a site's profile.
	channelSeconds = 3e-9
	// coreShare is the part of all cores that one cell keeps busy.
	coreShare = 0.72
)

// sizes are what a model's costs are made of.
type sizes struct {
	layer  float64        // multiply-adds per token of one decoder block, attention aside
	head   float64        // per scored token
	tower  float64        // per picture
	width  float64        // of attention: heads × head size
	rate   float64        // multiply-adds per second and core
	tokens map[string]int // of one question with its choices, by task
	scored map[string]int // tokens of its choices
	sample int            // tokens of a calibration sample, on average over tasks
}

// sizingExamples are one question of each task: their lengths stand for all.
var sizingExamples = sync.OnceValues(func() (map[string]datasets.Example, error) {
	out := map[string]datasets.Example{}
	for _, t := range datasets.Tasks() {
		e, err := t.Example(datasets.Test, questionSeed, 0)
		if err != nil {
			return nil, err
		}
		out[t.Name] = e
	}
	return out, nil
})

// sizes measures a model's questions once.
func (m *Model) sizes() *sizes {
	m.lazy.sizing.Do(func() { m.lazy.sizes = m.measureSizes() })
	return m.lazy.sizes
}

func (m *Model) measureSizes() *sizes {
	t := &m.Config.Text
	s := &sizes{
		head: float64(t.Vocab) * float64(t.Hidden), width: float64(t.Heads * t.HeadDim),
		rate:   peakRate * float64(t.Hidden) / (float64(t.Hidden) + halfWidth),
		tokens: map[string]int{}, scored: map[string]int{}, sample: streamTokens,
	}
	for _, site := range m.Config.SiteSizes() {
		s.layer += float64(site.Parameters) / float64(m.NumLayers())
	}
	var tower float64
	for _, p := range m.Config.Parts() {
		if p.Part == "vision tower" || p.Part == "projector" {
			tower += float64(p.Parameters)
		}
	}
	examples, err := sizingExamples()
	if err != nil || m.Tokenizer == nil || m.Pixels == nil { // token streams, or no pictures at all
		return s
	}
	total := 0
	for task, e := range examples {
		q, err := eval.NewQuestion(m, e, false)
		if err != nil {
			continue
		}
		s.tokens[task], s.scored[task] = q.Sequence.Len(), len(q.Sequence.Scored)
		total += q.Sequence.Len()
		if images := q.Sequence.Images; len(images) > 0 {
			s.tower = tower * float64(images[0].N)
		}
	}
	if n := len(s.tokens); n > 0 {
		s.sample = total / n
	}
	return s
}

// pass is the cost of n sequences of so many tokens through one decoder block.
func (s *sizes) pass(n, tokens int) float64 {
	return float64(n) * float64(tokens) * (s.layer + float64(tokens)*s.width) / s.rate
}

// embed is the cost of n pictures at the first block.
func (s *sizes) embed(n int) float64 { return float64(n) * (s.tower/s.rate + drawSeconds) }

// answer is the cost of n questions of a task.
func (s *sizes) answer(m *Model, task string, n int) float64 {
	tokens := s.tokens[task]
	if tokens == 0 {
		tokens = s.sample
	}
	return float64(m.NumLayers())*s.pass(n, tokens) + float64(n)*(float64(s.scored[task])*s.head/s.rate+scoreSeconds)
}

// calibrate is the cost of one layer of n samples.
func (s *sizes) calibrate(q Quantization, n int) float64 {
	passes := plainPasses
	switch search := q.Method.Search; {
	case search.Kind == ptq.SearchGrid && q.Format.ActQuant() == nil:
		passes += gramPasses
	case search.Kind == ptq.SearchGrid:
		passes += gridPasses
	case search.Kind == ptq.SearchSmooth:
		passes += smoothPasses
	}
	if q.Method.Rounding.Kind != ptq.RoundNearest {
		passes += solvePasses
	}
	if steps := q.Method.Tokens.Integrate.Steps; steps > 0 { // a gradient each, while layers are calibrated
		passes += gradientPasses * float64(steps)
	}
	return passes * s.pass(n, s.sample)
}

// premise is the cost of measuring the premise.
func (s *sizes) premise(m *Model, p PremiseSettings) float64 {
	layers := float64(m.NumLayers()) * s.pass(p.Prompts.N, s.sample)
	profiles := float64(4*m.NumLayers()) * float64(p.Prompts.N) * s.width * float64(p.Stats.Bootstrap.Resamples) * channelSeconds
	return s.embed(p.Prompts.N) + layers*(2+gradientPasses+premisePasses*float64(len(p.Formats))) + profiles
}

// machineSpeed is how fast a core of this machine is beside the one that the rates were
// measured on: the best of some products, so that what else runs here hardly counts.
var machineSpeed = sync.OnceValue(func() float64 {
	const n, tries = 192, 12
	a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	best := time.Hour
	for range tries {
		start := time.Now()
		kernels.Sgemm(false, false, n, n, n, a, n, b, n, c, n, false)
		best = min(best, time.Since(start))
	}
	return n * n * n / best.Seconds() / peakRate
})

// onThisMachine is the time that a cost takes here, with so many cells at once.
func onThisMachine(cost float64, workers int) time.Duration {
	cores := float64(runtime.GOMAXPROCS(0))
	busy := min(cores, max(1, cores*coreShare)*float64(max(1, workers)))
	return time.Duration(cost / busy / machineSpeed() * float64(time.Second))
}
