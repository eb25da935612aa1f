package harness

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// premiseRun is a premise being measured. Layers are the outer loop, so that one
// layer's weights are in memory at a time, beside the streams of all prompts.
type premiseRun struct {
	m         *Model
	s         PremiseSettings
	prompts   *promptSet
	runner    *models.Runner
	reference [][][]float32 // the unquantized model's logits, per prompt and answer token
	stream    uint64        // of the next bootstrap
}

func (m *Model) newPremiseRun(s PremiseSettings) (*premiseRun, error) {
	prompts, err := m.prompts(s.Prompts)
	if err != nil {
		return nil, err
	}
	runner, err := m.Runner()
	if err != nil {
		return nil, err
	}
	return &premiseRun{m: m, s: s, prompts: prompts, runner: runner}, nil
}

// eachBatch works through batches, as many at once as there are processors. f may
// write what belongs to its batch alone.
func eachBatch(ctx context.Context, n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		if err := ctx.Err(); err != nil {
			errs[i] = err
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	return firstError(errs...)
}

func (r *premiseRun) measure() (*Premise, error) {
	out := &Premise{
		Model: r.m.Name, Family: r.m.Config.Family, Settings: r.s, Prompts: len(r.prompts.seqs), Tokens: map[string]int{},
	}
	seen := map[string]bool{}
	for i, seq := range r.prompts.seqs {
		for _, kind := range seq.Modality {
			out.Tokens[kind.String()]++
		}
		seen[r.prompts.clusters[i]] = true
	}
	out.Clusters = len(seen)
	var err error
	if out.Activations, out.NLL, err = r.activations(); err != nil {
		return nil, err
	}
	if out.Gradients, err = r.gradients(); err != nil {
		return nil, err
	}
	for _, text := range r.s.Formats {
		f, err := ptq.ParseFormat(text)
		if err != nil {
			return nil, err
		}
		rounded, err := r.rounded(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		out.Rounded = append(out.Rounded, *rounded)
	}
	return out, nil
}

// rng is the generator of the next interval.
func (r *premiseRun) rng() *rand.Rand {
	r.stream++
	return rand.New(rand.NewPCG(r.s.Stats.Seed, r.stream))
}

// activations runs the unquantized model, describes what the linears read, and keeps
// its logits.
func (r *premiseRun) activations() ([]PremiseSite, eval.Interval, error) {
	streams := make([][]float32, len(r.prompts.batches))
	for i, b := range r.prompts.batches {
		streams[i] = b.X
	}
	var out []PremiseSite
	for layer := range r.m.NumLayers() {
		l, err := r.m.Layer(layer)
		if err != nil {
			return nil, eval.Interval{}, err
		}
		sites := map[models.Site][]perPrompt{}
		for _, s := range models.Sites() {
			sites[s] = make([]perPrompt, len(r.prompts.seqs))
		}
		err = eachBatch(r.m.s.ctx, len(streams), func(i int) error {
			b := r.prompts.batches[i]
			res, err := r.runner.Block(b, streams[i], l, models.BlockOptions{Taps: true})
			if err != nil {
				return err
			}
			for _, s := range models.Sites() {
				describeInputs(sites[s], b, res.Inputs[s], l.Linears(s)[0].In)
			}
			streams[i] = res.Y
			return nil
		})
		if err != nil {
			return nil, eval.Interval{}, err
		}
		for _, s := range models.Sites() {
			site, err := r.site(layer, s, sites[s])
			if err != nil {
				return nil, eval.Interval{}, err
			}
			if site.Profile, err = r.profile(sites[s]); err != nil {
				return nil, eval.Interval{}, fmt.Errorf("layer %d, %s: channel profiles: %w", layer, s, err)
			}
			out = append(out, *site)
		}
		r.m.s.step(1)
	}
	var err error
	if r.reference, err = r.logits(r.runner, streams); err != nil {
		return nil, eval.Interval{}, err
	}
	nll := make([]float64, len(r.reference))
	for i, q := range r.prompts.questions {
		sample, _, err := q.Score(r.reference[i], nil)
		if err != nil {
			return nil, eval.Interval{}, err
		}
		nll[i] = sample.NLL
	}
	loss, err := eval.Bootstrap(nll, r.prompts.clusters, r.s.Stats.Bootstrap, r.rng())
	return out, loss, err
}

// describeInputs reduces the inputs of a site, [B, T, in], for the prompts of a batch.
func describeInputs(prompts []perPrompt, b *models.Batch, x []float32, in int) {
	for row, seq := range b.Seqs {
		p := &prompts[b.Index[row]]
		for k := range p.profile {
			p.profile[k] = make([]float64, in)
		}
		values := make([]float64, seq.Len())
		var most, count [3]float64
		for t, kind := range seq.Modality {
			at := (row*b.T + t) * in
			sum := 0.0
			for c, v := range x[at : at+in] {
				a := math.Abs(float64(v))
				sum += a
				p.profile[kind][c] += a
				most[kind] = max(most[kind], a)
			}
			values[t] = sum / float64(in)
			count[kind]++
		}
		p.describe(seq.Modality, values)
		for k := range most {
			p.max[k] = most[k]
			for c := range p.profile[k] {
				p.profile[k][c] /= max(count[k], 1)
			}
		}
	}
}

// site averages one site over prompts.
func (r *premiseRun) site(layer int, s models.Site, prompts []perPrompt) (*PremiseSite, error) {
	out := &PremiseSite{
		Layer: layer, Site: s,
		Vision: summarize(prompts, models.Vision), Answer: summarize(prompts, models.Answer), Other: summarize(prompts, models.Other),
	}
	if out.Answer.Mean == 0 {
		return out, nil
	}
	vision, answer := make([]float64, len(prompts)), make([]float64, len(prompts))
	for i := range prompts {
		vision[i], answer[i] = prompts[i].mean[models.Vision], prompts[i].mean[models.Answer]
		if math.IsNaN(vision[i]) || math.IsNaN(answer[i]) {
			return nil, fmt.Errorf("prompt %d has no vision token or no answer token", i)
		}
	}
	ratio, err := eval.BootstrapRatio(vision, answer, r.prompts.clusters, r.s.Stats.Bootstrap, r.rng())
	out.Ratio = &ratio
	return out, err
}

// profile correlates the channels' sizes over vision tokens with those over answer
// tokens.
func (r *premiseRun) profile(prompts []perPrompt) (*eval.Interval, error) {
	in := len(prompts[0].profile[models.Vision])
	vision, answer := make([]float64, in), make([]float64, in)
	interval, err := eval.BootstrapOf(r.prompts.clusters, r.s.Stats.Bootstrap, r.rng(), func(times []int) float64 {
		clear(vision)
		clear(answer)
		for i, n := range times {
			if n == 0 {
				continue
			}
			v, a := prompts[i].profile[models.Vision], prompts[i].profile[models.Answer]
			for c := range v {
				vision[c] += float64(n) * v[c]
				answer[c] += float64(n) * a[c]
			}
		}
		rho, err := eval.Spearman(vision, answer)
		if err != nil {
			return math.NaN()
		}
		return rho
	})
	return &interval, err
}

// gradients describes mean |dL/dy| at the output sites.
func (r *premiseRun) gradients() ([]PremiseSite, error) {
	c := &ptq.Calibration{Model: r.m.Model, Runner: r.runner, Batches: r.prompts.batches}
	stats, err := c.Gradients(r.m.s.ctx)
	if err != nil {
		return nil, err
	}
	var out []PremiseSite
	for layer := range stats.Layers {
		for _, s := range []models.Site{models.O, models.Down} {
			prompts := make([]perPrompt, len(r.prompts.seqs))
			for i, values := range stats.Layers[layer].At(s) {
				wide := make([]float64, len(values))
				for t, v := range values {
					wide[t] = float64(v)
				}
				prompts[i].describe(r.prompts.seqs[i].Modality, wide)
			}
			site, err := r.site(layer, s, prompts)
			if err != nil {
				return nil, err
			}
			out = append(out, *site)
		}
	}
	return out, nil
}

// rounded rounds to nearest at one kind of token at a time.
func (r *premiseRun) rounded(f ptq.Format) (*PremiseFormat, error) {
	kinds := RoundedKinds()
	batches := r.prompts.batches
	streams := make([][][]float32, len(batches)) // [batch][kind]
	marks := make([][][]bool, len(batches))
	for i, b := range batches {
		for _, kind := range kinds {
			streams[i] = append(streams[i], b.X)
			marks[i] = append(marks[i], markTokens(b, kind))
		}
	}
	for layer := range r.m.NumLayers() {
		l, err := r.m.Layer(layer)
		if err != nil {
			return nil, err
		}
		q, _, err := ptq.QuantizeLayer(l, f, r.s.GroupFallback)
		if err != nil {
			return nil, err
		}
		err = eachBatch(r.m.s.ctx, len(batches), func(i int) error {
			for k := range kinds {
				y, err := r.runner.MixedBlock(batches[i], streams[i][k], l, q.Layer, marks[i][k], f.ActQuant())
				if err != nil {
					return err
				}
				streams[i][k] = y
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		r.m.s.step(1)
	}
	kl := map[string][]float64{}
	for k, kind := range kinds {
		own := make([][]float32, len(batches))
		for i := range batches {
			own[i] = streams[i][k]
		}
		var err error
		if kl[kind], err = r.divergences(own); err != nil {
			return nil, err
		}
	}
	return r.shares(f, kl)
}

// markTokens marks a batch's tokens of one kind, or all of them.
func markTokens(b *models.Batch, kind string) []bool {
	marked := make([]bool, b.B*b.T)
	for row, seq := range b.Seqs {
		for t, m := range seq.Modality {
			marked[row*b.T+t] = kind == "all" || m.String() == kind
		}
	}
	return marked
}

// divergences is each prompt's KL from the unquantized model to streams behind the
// last layer.
func (r *premiseRun) divergences(streams [][]float32) ([]float64, error) {
	logits, err := r.logits(r.runner, streams)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(logits))
	for i, q := range r.prompts.questions {
		sample, _, err := q.Score(logits[i], r.reference[i])
		if err != nil {
			return nil, err
		}
		out[i] = *sample.KL
	}
	return out, nil
}

// logits are the answer tokens' rows of each prompt.
func (r *premiseRun) logits(runner *models.Runner, streams [][]float32) ([][][]float32, error) {
	return promptLogits(r.m.s.ctx, runner, r.prompts, streams)
}

// promptLogits reads the answers' logits off the streams behind the last layer:
// [prompt][answer token][vocab].
func promptLogits(ctx context.Context, runner *models.Runner, p *promptSet, streams [][]float32) ([][][]float32, error) {
	out := make([][][]float32, len(p.seqs))
	err := eachBatch(ctx, len(p.batches), func(i int) error {
		b := p.batches[i]
		rows, err := runner.Logits(b, streams[i])
		if err != nil {
			return err
		}
		for k, at := range b.Index {
			n := len(b.Seqs[k].Scored)
			for _, row := range rows[:n] {
				out[at] = append(out[at], slices.Clone(row))
			}
			rows = rows[n:]
		}
		return nil
	})
	return out, err
}

// shares turns the prompts' KL into intervals.
func (r *premiseRun) shares(f ptq.Format, kl map[string][]float64) (*PremiseFormat, error) {
	out := &PremiseFormat{
		Format: f.String(), KL: map[string]eval.Interval{}, Share: map[string]eval.Interval{}, Tasks: map[string]PremiseTaskShare{},
	}
	for _, kind := range RoundedKinds() {
		interval, err := eval.Bootstrap(kl[kind], r.prompts.clusters, r.s.Stats.Bootstrap, r.rng())
		if err != nil {
			return nil, err
		}
		out.KL[kind] = interval
		if kind == "all" {
			continue
		}
		share, err := eval.BootstrapRatio(kl[kind], kl["all"], r.prompts.clusters, r.s.Stats.Bootstrap, r.rng())
		if err != nil {
			return nil, err
		}
		out.Share[kind] = share
	}
	for _, task := range r.s.Prompts.Tasks {
		var vision, all []float64
		var clusters []string
		for i, name := range r.prompts.tasks {
			if name == task {
				vision, all, clusters = append(vision, kl["vision"][i]), append(all, kl["all"][i]), append(clusters, r.prompts.clusters[i])
			}
		}
		own := PremiseTaskShare{N: len(all), KL: eval.Mean(all)}
		if share, err := eval.BootstrapRatio(vision, all, clusters, r.s.Stats.Bootstrap, r.rng()); err == nil {
			own.Vision = &share
		}
		out.Tasks[task] = own
	}
	return out, nil
}
