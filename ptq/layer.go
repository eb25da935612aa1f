package ptq

import (
	"context"
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// LayerResult is a calibrated layer.
type LayerResult struct {
	Quantized *QuantizedLayer
	// Smooth holds the scaling factors that were folded, one per input column of
	// each searched site.
	Smooth map[models.Site][]float32
	// Bounds holds what weights were clipped to, by the weight's name within the
	// block, [out, groups]; empty without a clip search.
	Bounds map[string][]float32
	// Late holds the token-level calibration set of each site where it was selected while
	// the layer was calibrated; else nil.
	Late   map[models.Site]SiteTokens
	Report LayerReport
}

// LayerReport tells how a layer was calibrated.
type LayerReport struct {
	Layer  int          `json:"layer"`
	Sites  []SiteReport `json:"sites"`  // in order of the search
	Stream StreamError  `json:"stream"` // error of the exposed stream behind the layer
	Events []Event      `json:"events"`
}

// SiteReport tells how a site was searched.
type SiteReport struct {
	Site models.Site `json:"site"`
	// Skipped says why there was no search; the other fields are then zero.
	Skipped string `json:"skipped,omitempty"`
	// Alpha is the exponent that was chosen, Alphas all that were tried: none under
	// SearchSmooth, which has no curve either.
	Alpha  float64   `json:"alpha"`
	Alphas []float64 `json:"alphas,omitempty"`
	// Form is how J was computed; empty where nothing was searched.
	Form Form `json:"form,omitempty"`
	// Curve is J(α) = Σ_t a_t·ρ_t / (Tokens·C) for every exponent: ρ_t the error of
	// a token summed over the C output channels, by the method's metric.
	Curve []float64 `json:"curve,omitempty"`
	// Tokens is the size of the token-level calibration set at this site; under
	// SearchSmooth the number of all real tokens.
	Tokens int `json:"tokens"`
}

// CalibrateLayer calibrates layer st.Next: it searches the scaling factors of its
// groups in the order qkv, o, gate_up, down, folds them, rounds the layer, and runs
// both streams through it. set may be nil for methods that read no tokens ([Method.NeedsTokens]). st is not
// changed; the returned state is the input of the next layer. The layer's
// weights, where they are rounded to nearest without clipping, are exactly those of
// [QuantizeLayer] on the folded layer, and the exposed
// stream is a pass through them, so that it follows the inference path bit for bit.
//
// With the method's path exposed per group, the inputs of a group are taken
// behind all earlier groups of the layer, folded and rounded (activations too).
// Candidates are measured against the unscaled layer, as in MBQ: only the group's own
// weights and inputs are rounded, the rest of the inspected module is not.
func (c *Calibration) CalibrateLayer(ctx context.Context, st *State, set *TokenSet) (*LayerResult, *State, error) {
	samples, err := c.samples()
	if err != nil {
		return nil, nil, err
	}
	if err := c.checkState(st); err != nil {
		return nil, nil, err
	}
	if c.Method.NeedsTokens() {
		if err := set.check(c.Model.NumLayers(), samples); err != nil {
			return nil, nil, err
		}
	}
	exact, err := c.Model.Layer(st.Next)
	if err != nil {
		return nil, nil, err
	}
	r := &layerRun{c: c, samples: samples, state: st, exact: exact, folded: foldable(exact)}
	if set != nil && c.Method.NeedsTokens() {
		r.takeTokens(set)
	}
	return r.run(ctx)
}

// layerRun is the calibration of one layer.
type layerRun struct {
	c       *Calibration
	samples []*models.Sequence
	state   *State
	tokens  *LayerTokens // nil where nothing is searched
	late    *lateTokens  // nil where tokens were selected beforehand

	exact  *models.Layer   // as in the unquantized model
	folded *models.Layer   // with the scales found so far folded; weights that are done with are nil
	partly *QuantizedLayer // the groups done so far rounded; shares the rest with folded
	fp     []fpPass        // per batch
	smooth map[models.Site][]float32
	grams  map[models.Site][]float64 // Hessians that rounding reads, of scaled inputs
	drifts map[models.Site][]float64 // GPTAQ's sums
	bounds map[string][]float32
	report LayerReport
	steps  progress
}

// fpPass is what is kept of the unquantized layer on the fp stream, in the
// calibration's Spill.
type fpPass struct {
	y       []float32                 // the stream behind the layer
	outputs map[models.Site][]float32 // what the inspected modules should reproduce, by output site, until their sites are done
}

// progress counts the calls of a layer.
type progress struct{ done, total int }

func (r *layerRun) run(ctx context.Context) (*LayerResult, *State, error) {
	partly := *r.folded
	r.partly = &QuantizedLayer{Layer: &partly, Grids: map[string]*Grid{}}
	r.smooth, r.bounds = map[models.Site][]float32{}, map[string][]float32{}
	r.grams, r.drifts = map[models.Site][]float64{}, map[models.Site][]float64{}
	r.report = LayerReport{Layer: r.state.Next, Events: []Event{}}
	r.plan()
	if err := r.runFP(ctx); err != nil {
		return nil, nil, err
	}
	for _, site := range models.Sites() {
		if err := r.calibrateSite(ctx, site); err != nil {
			return nil, nil, err
		}
		r.drop(site)
	}
	if err := r.tweakNorms(ctx); err != nil {
		return nil, nil, err
	}
	next, err := r.advance(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.report.Stream = streamError(r.c.Batches, r.c.Spill, len(r.samples), next.FP, next.Exposed)
	return &LayerResult{Quantized: r.partly, Smooth: r.smooth, Bounds: r.bounds, Late: r.late.selected(), Report: r.report}, next, nil
}

// skipped says why a site is not searched, or nothing.
func (r *layerRun) skipped(site models.Site) string {
	switch {
	case r.c.Method.Search.Kind == SearchNone:
		return "the method searches nothing"
	case !slices.Contains(r.c.Method.Search.Sites, site):
		return "the method does not search this site"
	}
	if r.c.Method.Rotate == RotateHadamard && (site == models.O || site == models.Down) {
		return "an online Hadamard transform stands between the site and what feeds it"
	}
	return unscalable(r.exact, site)
}

// plan counts the steps that progress is told in: two passes over the batches,
// and one more and the candidates per searched site.
func (r *layerRun) plan() {
	r.steps.total = 2 * len(r.c.Batches)
	for _, site := range models.Sites() {
		if r.skipped(site) == "" {
			r.steps.total += len(r.c.Batches)
			if r.c.Method.Search.Kind == SearchGrid {
				r.steps.total += r.c.Method.Search.Points
			}
		}
		if r.needsGram() {
			r.steps.total += len(r.c.Batches)
		}
	}
}

func (r *layerRun) step(ctx context.Context) error {
	r.steps.done++
	return r.c.step(ctx, r.steps.done, r.steps.total)
}

// wanted lists the output sites whose unquantized outputs a search compares with.
func (r *layerRun) wanted() map[models.Site]bool {
	wanted := map[models.Site]bool{}
	if r.c.Method.Search.Kind != SearchGrid || r.c.Method.Path.Target == TargetSame {
		return wanted
	}
	for _, site := range models.Sites() {
		if r.skipped(site) == "" {
			wanted[outputSites[outputIndex(site)]] = true
		}
	}
	return wanted
}

// runFP runs the unquantized layer on the fp stream.
func (r *layerRun) runFP(ctx context.Context) error {
	wanted := r.wanted()
	return r.blocks(ctx, r.state.FP, r.exact, models.BlockOptions{Outputs: len(wanted) > 0}, func(res *models.BlockResult) (err error) {
		p := fpPass{outputs: map[models.Site][]float32{}}
		if p.y, err = r.c.Spill.Keep(res.Y); err != nil {
			return err
		}
		for site, out := range map[models.Site][]float32{models.O: res.OOut, models.Down: res.Down} {
			if !wanted[site] {
				continue
			}
			if p.outputs[site], err = r.c.Spill.Keep(out); err != nil {
				return err
			}
		}
		r.fp = append(r.fp, p)
		return nil
	})
}

// blocks runs a layer on a stream and hands the results on in the order of the
// batches.
func (r *layerRun) blocks(ctx context.Context, stream [][]float32, l *models.Layer, o models.BlockOptions, take func(*models.BlockResult) error) error {
	return ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) (*models.BlockResult, error) {
		defer r.c.Spill.Rest(stream[i])
		return r.c.Runner.Block(r.c.Batches[i], stream[i], l, o)
	}, func(_ int, res *models.BlockResult) error {
		if err := take(res); err != nil {
			return err
		}
		return r.step(ctx)
	})
}

// drop lets go of what only a site that is done has needed, and of what it was the last
// to need: its own weights stay while the next site's factors may change their rows.
func (r *layerRun) drop(site models.Site) {
	done := []models.Site{site}
	switch behind, feeds := feeder(site); {
	case feeds:
		done = append(done, behind)
		for i := range r.fp {
			r.c.Spill.Free(r.fp[i].outputs[site])
			delete(r.fp[i].outputs, site)
		}
	case r.skipped(nextSite(site)) == "":
		done = nil
	}
	for _, s := range done {
		for _, lin := range r.folded.Linears(s) {
			lin.W = nil
		}
		delete(r.grams, s)
		delete(r.drifts, s)
	}
}

// nextSite is the site that a norm's site feeds.
func nextSite(site models.Site) models.Site {
	if site == models.QKV {
		return models.O
	}
	return models.Down
}

// calibrateSite searches, folds and rounds one group.
func (r *layerRun) calibrateSite(ctx context.Context, site models.Site) error {
	c := r.c
	if err := r.selectLate(ctx, site); err != nil {
		return fmt.Errorf("ptq: layer %d, %s: %w", r.state.Next, site, err)
	}
	report := SiteReport{Site: site, Skipped: r.skipped(site)}
	if report.Skipped == "" {
		search := r.search
		if c.Method.Search.Kind == SearchSmooth {
			search = r.smoothSite
		}
		found, err := search(ctx, site)
		if err != nil {
			return fmt.Errorf("ptq: layer %d, %s: %w", r.state.Next, site, err)
		}
		report = *found
		if err := r.fold(site); err != nil {
			return err
		}
	}
	r.report.Sites = append(r.report.Sites, report)
	r.report.Events = append(r.report.Events, formatEvents(r.folded, site, c.Format, c.Fallback)...)
	if err := r.gatherGram(ctx, site); err != nil {
		return fmt.Errorf("ptq: layer %d, %s: %w", r.state.Next, site, err)
	}
	return r.roundSite(site)
}

// fold folds the site's factors and rounds anew what feeds the site, where that
// is a linear: its rows have changed. (Norms and biases are shared.)
func (r *layerRun) fold(site models.Site) error {
	r.unshare(site)
	if err := FoldScale(r.folded, site, r.smooth[site]); err != nil {
		return err
	}
	if behind, ok := feeder(site); ok {
		return r.roundSite(behind)
	}
	return nil
}

// foldable is a layer that shares its weights with l, but not its norms and biases.
func foldable(l *models.Layer) *models.Layer {
	c := *l
	c.InputNorm, c.PostNorm = slices.Clone(l.InputNorm), slices.Clone(l.PostNorm)
	for _, site := range models.Sites() {
		for _, lin := range c.Linears(site) {
			lin.B = slices.Clone(lin.B)
		}
	}
	return &c
}

// unshare gives the folded layer weights of its own where a site's factors change
// them.
func (r *layerRun) unshare(site models.Site) {
	change := []models.Site{site}
	if behind, ok := feeder(site); ok {
		change = append(change, behind)
	}
	for _, s := range change {
		from := r.exact.Linears(s)
		for i, lin := range r.folded.Linears(s) {
			if &lin.W[0] == &from[i].W[0] {
				lin.W = slices.Clone(lin.W)
			}
		}
	}
}

// advance runs the rounded layer on the exposed stream.
func (r *layerRun) advance(ctx context.Context) (*State, error) {
	next := &State{Next: r.state.Next + 1}
	for _, p := range r.fp {
		next.FP = append(next.FP, p.y)
	}
	err := r.blocks(ctx, r.state.Exposed, r.partly.Layer, models.BlockOptions{ActQuant: r.c.Format.ActQuant()}, func(res *models.BlockResult) error {
		y, err := r.c.Spill.Keep(res.Y)
		next.Exposed = append(next.Exposed, y)
		return err
	})
	return next, err
}

// SmoothTensors stores the scaling factors: "smooth.SITE", [in].
func (l *LayerResult) SmoothTensors() []safetensors.Tensor {
	var list []safetensors.Tensor
	for _, site := range models.Sites() {
		if s, ok := l.Smooth[site]; ok {
			list = append(list, safetensors.FromFloat32("smooth."+string(site), []int{len(s)}, s))
		}
	}
	return list
}

// ReadSmooth reads what [LayerResult.SmoothTensors] stored.
func ReadSmooth(f *safetensors.File) (map[models.Site][]float32, error) {
	smooth := map[models.Site][]float32{}
	for _, site := range models.Sites() {
		if name := "smooth." + string(site); f.Has(name) {
			s, err := readFloats(f, name)
			if err != nil {
				return nil, err
			}
			smooth[site] = s
		}
	}
	return smooth, nil
}
