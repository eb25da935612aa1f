package ptq

import (
	"context"
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// LateTokens is what is known of a token-level calibration set before layers are
// calibrated, where an importance is measured late: on the very streams that the layers
// calibrated so far left, at each site. QIG's integrated gradients, RSQ's scores and VLMQ's block
// errors are such. A site's tokens are then selected in front of its search and its
// rounding, by the rule of [SelectTokens].
type LateTokens struct {
	// Importance and Weights are the values that were measured beforehand; nil where
	// they are measured late or nothing reads them.
	Importance, Weights *TokenStats
	// Seed of random numbers: of controls, and of importances that draw some.
	Seed [2]uint64
}

const lateSeed = "late.seed"

// late reports whether tokens are selected while layers are calibrated.
func (t Tokens) late() bool {
	return t.MeasuredLate(t.Importance) || t.MeasuredLate(t.weighsBy())
}

// MeasuredLate reports whether the named importance is measured while layers are calibrated:
// because it can only be measured there ([Needs.Late]), or because Refresh asks for it.
func (t Tokens) MeasuredLate(name string) bool {
	imp, err := t.find(name)
	return err == nil && (imp.Needs.Late() || t.Refresh && imp.Needs.early())
}

// earlyNames lists the importances that are measured beforehand.
func (t Tokens) earlyNames() []string {
	var names []string
	for _, name := range t.importanceNames() {
		if !t.Needs(name).Late() {
			names = append(names, name)
		}
	}
	return names
}

// deferSelection collects what a late selection needs.
func deferSelection(t Tokens, in Selection) (*TokenSet, error) {
	set := &TokenSet{Late: &LateTokens{}}
	if !t.MeasuredLate(t.Importance) {
		set.Late.Importance = in.Importance
	}
	if by := t.weighsBy(); by != "" && !t.MeasuredLate(by) {
		set.Late.Weights = in.Weights
	}
	if in.Rand != nil {
		set.Late.Seed = [2]uint64{in.Rand.Uint64(), in.Rand.Uint64()}
	}
	if !t.needsRatios() {
		return set, nil
	}
	if in.Gradients == nil {
		return nil, fmt.Errorf("ptq: tokens.mass %q needs gradients", t.Mass)
	}
	var err error
	set.Ratios, err = t.ratios(in, len(in.Gradients.Layers))
	return set, err
}

// check compares the shape of what is there with the samples.
func (l *LateTokens) check(layers int, samples []*models.Sequence, ratios []LayerRatios) error {
	if ratios != nil && len(ratios) != layers {
		return fmt.Errorf("ptq: modality ratios of %d layers; the model has %d", len(ratios), layers)
	}
	for what, stats := range map[string]*TokenStats{"importance": l.Importance, "weights": l.Weights} {
		if stats == nil {
			continue
		}
		if err := stats.check(what, layers, samples); err != nil {
			return err
		}
	}
	return nil
}

func (l *LateTokens) tensors() []safetensors.Tensor {
	if l == nil {
		return nil
	}
	list := []safetensors.Tensor{intTensor(lateSeed, []int{int(l.Seed[0]), int(l.Seed[1])})}
	if l.Importance != nil {
		list = append(list, l.Importance.tensors("late.importance.")...)
	}
	if l.Weights != nil {
		list = append(list, l.Weights.tensors("late.weights.")...)
	}
	return list
}

func readLateTokens(f *safetensors.File, layers int) (*LateTokens, error) {
	seed, err := readInts(f, lateSeed)
	if err != nil {
		return nil, err
	}
	if len(seed) != 2 {
		return nil, fmt.Errorf("ptq: %s has %d values; expected 2", lateSeed, len(seed))
	}
	l := &LateTokens{Seed: [2]uint64{uint64(seed[0]), uint64(seed[1])}}
	for prefix, stats := range map[string]**TokenStats{"late.importance.": &l.Importance, "late.weights.": &l.Weights} {
		if !f.Has(prefix + "lengths") {
			continue
		}
		if *stats, err = readTokenStats(f, prefix, layers); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// SiteTokens is the token-level calibration set of one site of one layer, with what its
// tokens were ranked by.
type SiteTokens struct {
	Importance [][]float32    // [sample][token]
	Tokens     []SampleTokens // [sample]
}

// LateTensors stores what [LayerResult.Late] holds: "late.SITE.lengths" and
// "late.SITE.importance", each sample's tokens in a row, and "late.SITE.count", ".index" and ".weight" as
// [TokenSet.Tensors] does.
func LateTensors(late map[models.Site]SiteTokens) []safetensors.Tensor {
	var list []safetensors.Tensor
	for _, site := range models.Sites() {
		t, ok := late[site]
		if !ok {
			continue
		}
		prefix, flat := fmt.Sprintf("late.%s.", site), slices.Concat(t.Importance...)
		list = append(list, intTensor(prefix+"lengths", lengths(t.Importance)), safetensors.FromFloat32(prefix+"importance", []int{len(flat)}, flat))
		list = append(list, sampleTokenTensors(prefix, t.Tokens)...)
	}
	return list
}

// ReadLate reads what [LateTensors] stored, nil where there is nothing.
func ReadLate(f *safetensors.File) (map[models.Site]SiteTokens, error) {
	var late map[models.Site]SiteTokens
	for _, site := range models.Sites() {
		prefix := fmt.Sprintf("late.%s.", site)
		if !f.Has(prefix + "lengths") {
			continue
		}
		counts, err := readInts(f, prefix+"lengths")
		if err != nil {
			return nil, err
		}
		flat, err := readFloats(f, prefix+"importance")
		if err != nil {
			return nil, err
		}
		var t SiteTokens
		if t.Importance, err = split(flat, counts); err != nil {
			return nil, fmt.Errorf("ptq: importance %s: %w", prefix, err)
		}
		if t.Tokens, err = readSampleTokens(f, prefix); err != nil {
			return nil, err
		}
		if late == nil {
			late = map[models.Site]SiteTokens{}
		}
		late[site] = t
	}
	return late, nil
}

// lateTokens selects the tokens of a layer, site by site.
type lateTokens struct {
	known  *LateTokens
	ratios []LayerRatios
	kept   map[Needs][]TokenView // what is the same at all sites of the layer
	fresh  *measurements         // of the layer alone, in place 0; nil until they are needed
	done   map[models.Site]SiteTokens
}

// selected gives the sets that were selected late.
func (l *lateTokens) selected() map[models.Site]SiteTokens {
	if l == nil {
		return nil
	}
	return l.done
}

// takeTokens gives the layer its part of a token-level calibration set.
func (r *layerRun) takeTokens(set *TokenSet) {
	if set.Late == nil {
		r.tokens = &set.Layers[r.state.Next]
		return
	}
	r.tokens = &LayerTokens{}
	r.late = &lateTokens{known: set.Late, ratios: set.Ratios, kept: map[Needs][]TokenView{}, done: map[models.Site]SiteTokens{}}
}

// selectLate selects a site's tokens where that could not be done beforehand.
func (r *layerRun) selectLate(ctx context.Context, site models.Site) error {
	late := r.late
	if late == nil || r.skipped(site) != "" && !r.c.Method.Rounding.solves() {
		return nil
	}
	t := r.c.Method.Tokens
	s := newSelector(t, r.samples, r.state.Next, site, late.ratios)
	s.rand = viewRand(late.known.Seed, r.state.Next, slices.Index(models.Sites(), site), 0)
	var err error
	if s.importance, err = r.lateScores(ctx, site, t.Importance, late.known.Importance); err != nil {
		return err
	}
	if by := t.weighsBy(); by != "" {
		if s.weights, err = r.lateScores(ctx, site, by, late.known.Weights); err != nil {
			return err
		}
	}
	tokens, err := s.run()
	if err != nil {
		return err
	}
	r.tokens.put(site, tokens)
	late.done[site] = SiteTokens{Importance: s.importance, Tokens: tokens}
	r.report.Events = append(r.report.Events, s.events()...)
	return nil
}

// lateScores are the values of an importance at a site, [sample][token].
func (r *layerRun) lateScores(ctx context.Context, site models.Site, name string, known *TokenStats) ([][]float32, error) {
	imp, err := r.c.Method.Tokens.find(name)
	if err != nil {
		return nil, err
	}
	if !r.c.Method.Tokens.MeasuredLate(name) {
		if known == nil {
			return nil, fmt.Errorf("no values of the importance %q; it is measured before layers are calibrated", name)
		}
		return known.Layers[r.state.Next].At(site), nil
	}
	views, err := r.lateViews(ctx, site, imp.Needs)
	if err != nil {
		return nil, err
	}
	for i := range views {
		views[i].Site, views[i].Rand = site, viewRand(r.late.known.Seed, r.state.Next, slices.Index(models.Sites(), site), i+1)
	}
	scores := make([][]float32, len(views))
	for i := range views {
		scores[i] = imp.Score(&views[i])
		if err := checkScores(name, &views[i], scores[i]); err != nil {
			return nil, err
		}
	}
	return scores, nil
}

// lateViews measures what an importance needs at a site. A pass takes the samples of one
// batch, and each sample's numbers are its own.
func (r *layerRun) lateViews(ctx context.Context, site models.Site, needs Needs) ([]TokenView, error) {
	if needs.early() {
		return r.freshViews(ctx, site, needs)
	}
	if views, ok := r.late.kept[needs]; ok {
		return views, nil
	}
	var rounded *models.Layer
	if needs.Integrated || needs.BlockError {
		q, _, err := QuantizeLayer(r.exact, r.c.Format, r.c.Fallback)
		if err != nil {
			return nil, err
		}
		rounded = q.Layer
	}
	frequency := frequencies(r.samples)
	views := make([]TokenView, len(r.samples))
	for i, s := range r.samples {
		views[i] = TokenView{Layer: r.state.Next, Sample: i, Modality: s.Modality, Frequency: frequency[i], Parts: r.c.Method.Tokens.Parts}
	}
	err := ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) (struct{}, error) {
		return struct{}{}, r.lateBatch(i, site, needs, rounded, views)
	}, func(int, struct{}) error { return ctx.Err() })
	if !needs.Integrated && !needs.BlockError && err == nil {
		r.late.kept[needs] = views
	}
	return views, err
}

// lateBatch fills in the views of a batch's samples.
func (r *layerRun) lateBatch(batch int, site models.Site, needs Needs, rounded *models.Layer, views []TokenView) error {
	b, x := r.c.Batches[batch], r.stream(batch)
	defer r.c.Spill.Rest(x)
	each := func(values []float32, at func(*TokenView) *[]float32) {
		for row, sample := range b.Index {
			*at(&views[sample]) = values[row*b.T:][:b.Seqs[row].Len()]
		}
	}
	if needs.Norm {
		each(tokenNorms(b, x, nil), func(v *TokenView) *[]float32 { return &v.Norm })
	}
	if needs.Distance {
		each(tokenDistances(b, x), func(v *TokenView) *[]float32 { return &v.Distance })
	}
	if needs.Change {
		res, err := r.c.Runner.Block(b, x, r.exact, models.BlockOptions{})
		if err != nil {
			return err
		}
		each(tokenNorms(b, x, res.Y), func(v *TokenView) *[]float32 { return &v.Change })
	}
	if needs.Attention {
		mass, err := r.c.Runner.AttentionMass(b, x, r.exact)
		if err != nil {
			return err
		}
		each(mass, func(v *TokenView) *[]float32 { return &v.Attention })
	}
	if needs.Integrated {
		values, err := r.integrated(batch, site, rounded)
		if err != nil {
			return err
		}
		each(values, func(v *TokenView) *[]float32 { return &v.Integrated })
	}
	if needs.BlockError {
		gamma, err := r.c.Runner.BlockErrorGradients(b, x, rounded, r.fp[batch].y)
		if err != nil {
			return err
		}
		for i, g := range gamma[site] {
			gamma[site][i] = g * g
		}
		each(gamma[site], func(v *TokenView) *[]float32 { return &v.BlockError })
	}
	return nil
}

// stream is a batch in front of the layer on the method's path.
func (r *layerRun) stream(batch int) []float32 {
	if r.c.Method.Path.Expose == ExposeNone {
		return r.state.FP[batch]
	}
	return r.state.Exposed[batch]
}
