package ptq

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tlqlab/tlqlab/models"
)

// Selection is what a token-level calibration set is made of: see [SelectTokens].
type Selection struct {
	Samples []*models.Sequence
	// Gradients are needed for masses and roles that are ratios; else nil.
	Gradients *TokenStats
	// Importance ranks the tokens; nil where it is measured late.
	Importance *TokenStats
	// Weights are the values of Tokens.Weight where that names an importance that is not
	// measured late; else nil.
	Weights *TokenStats
	// Rand serves the controls shuffled, random and fewer; else nil.
	Rand *rand.Rand
}

// SelectTokens makes the token-level calibration set: per layer and output site,
// the tokens of each sample that enter the search and their weights a_t.
//
// In every pool of n tokens the ⌈keep·n⌉ most important are kept, ties going to
// the earlier token, and for each modality in the pool
//
//	a_t = mass · (N / Σ_kept w) · w_t
//
// with N the modality's tokens in the pool, kept or not. A pool whose importance
// is zero throughout offers nothing to select by: all its tokens are kept, and weights
// that are all zero count as equal; both are reported as events. (So it is in
// the last layer, where vision tokens reach no loss.) Under the masses token and sample
// the sum is over the kept tokens of a sample, and mass·N is the number of its pooled
// tokens or 1.
//
// With Keep 1, Weight hard, Mass ratio, Floor median, Answers keep and Text drop
// the weights are exactly MBQ's: 1 on answers, r on vision tokens.
//
// Where an importance is measured late ([Needs.Late]) nothing is selected yet: the
// result carries what is known beforehand to [Calibration.CalibrateLayer].
func SelectTokens(t Tokens, in Selection) (*TokenSet, []Event, error) {
	if len(in.Samples) == 0 {
		return nil, nil, fmt.Errorf("ptq: no calibration samples; expected at least one")
	}
	if t.Control.random() && in.Rand == nil {
		return nil, nil, fmt.Errorf("ptq: tokens.control %q needs a random generator", t.Control)
	}
	if t.late() {
		set, err := deferSelection(t, in)
		return set, nil, err
	}
	if in.Importance == nil {
		return nil, nil, fmt.Errorf("ptq: a token-level calibration set needs importance values")
	}
	layers := len(in.Importance.Layers)
	set := &TokenSet{Layers: make([]LayerTokens, layers)}
	if err := firstError(in.Importance.check("importance", layers, in.Samples), t.checkWeights(in, layers)); err != nil {
		return nil, nil, err
	}
	var err error
	if set.Ratios, err = t.ratios(in, layers); err != nil {
		return nil, nil, err
	}
	var events []Event
	for i := range set.Layers {
		for _, site := range outputSites {
			s := newSelector(t, in.Samples, i, site, set.Ratios)
			s.rand = in.Rand
			s.importance = in.Importance.Layers[i].At(site)
			if t.weighsBy() != "" {
				s.weights = in.Weights.Layers[i].At(site)
			}
			tokens, err := s.run()
			if err != nil {
				return nil, nil, fmt.Errorf("ptq: %w", err)
			}
			set.Layers[i].put(site, tokens)
			events = append(events, s.events()...)
		}
	}
	return set, events, nil
}

// weighsBy names the importance that weighs tokens, "" where none but the ranking one
// is read.
func (t Tokens) weighsBy() string {
	if t.Weight == WeightHard || t.Weight == WeightImportance {
		return ""
	}
	return t.Weight
}

// checkWeights looks for the weights that a method reads.
func (t Tokens) checkWeights(in Selection, layers int) error {
	if t.weighsBy() == "" {
		return nil
	}
	return in.Weights.check("weights", layers, in.Samples)
}

// ratios computes the modality ratios, nil where no weight is one.
func (t Tokens) ratios(in Selection, layers int) ([]LayerRatios, error) {
	if !t.needsRatios() {
		return nil, nil
	}
	if err := in.Gradients.check("gradients", layers, in.Samples); err != nil {
		return nil, err
	}
	return Ratios(in.Samples, in.Gradients, t.Floor)
}

// needsRatios reports whether any weight is a gradient ratio.
func (t Tokens) needsRatios() bool {
	return t.Mass == MassRatio || t.Mass == MassBalanced || t.Text == RoleRatio
}

// selector makes the set of one layer and site.
type selector struct {
	t       Tokens
	samples []*models.Sequence
	layer   int
	site    models.Site
	ratio   Ratio
	rand    *rand.Rand // serves controls

	importance [][]float32 // [sample][token]
	weights    [][]float32 // of Tokens.Weight; nil: the importance

	noImportance, noWeight, pools int // pools without information, for events
}

func newSelector(t Tokens, samples []*models.Sequence, layer int, site models.Site, ratios []LayerRatios) *selector {
	s := &selector{t: t, samples: samples, layer: layer, site: site, ratio: Ratio{Vision: 1, Text: 1}}
	if ratios != nil {
		s.ratio = *ratios[layer].At(site)
	}
	if t.Mass == MassBalanced {
		s.balance()
	}
	return s
}

// pooled is a token that competes for selection.
type pooled struct {
	sample, token int
	modality      models.Modality
	raw           float64 // importance
	score         float64 // importance after clipping
	weight        float64
	kept          bool
}

func (s *selector) run() ([]SampleTokens, error) {
	weights := make([][]float32, len(s.samples)) // dense; −1: not in the set
	var all []pooled
	for i, sample := range s.samples {
		weights[i] = fill(sample.Len(), -1)
		own := s.pool(i, weights[i])
		s.clip(own)
		s.t.Map.apply(own)
		if s.t.Control == ControlShuffled {
			s.shuffle(own)
		}
		all = append(all, own...)
	}
	pools := s.split(all, s.t.Pool)
	s.pools = len(pools)
	for _, pool := range pools {
		s.choose(pool)
	}
	if s.t.Control == ControlFewer {
		s.chooseSamples(all, weights)
	}
	if s.t.Mass.joint() {
		pools = s.split(all, PoolSample)
	}
	for _, pool := range pools {
		s.weigh(pool, weights)
	}
	sets := make([]SampleTokens, len(weights))
	for i, row := range weights {
		for t, w := range row {
			if w >= 0 {
				sets[i].Index = append(sets[i].Index, t)
				sets[i].Weight = append(sets[i].Weight, w)
			}
		}
	}
	if Count(sets) == 0 {
		return nil, fmt.Errorf("the token-level calibration set of layer %d, %s is empty: none of the %d samples has a token that the method counts", s.layer, s.site, len(s.samples))
	}
	return sets, nil
}

// role is how a modality takes part.
func (s *selector) role(m models.Modality) Role {
	switch m {
	case models.Answer:
		return s.t.Answers
	case models.Vision:
		return RolePool
	}
	return s.t.Text
}

// pool collects the tokens of a sample that compete, and writes the weights of
// those that need not.
func (s *selector) pool(sample int, weights []float32) []pooled {
	importance := s.importance[sample]
	by := importance
	if s.weights != nil {
		by = s.weights[sample]
	}
	var list []pooled
	for t, m := range s.samples[sample].Modality {
		switch s.role(m) {
		case RoleKeep:
			weights[t] = 1
		case RoleRatio:
			weights[t] = float32(s.ratio.Text)
		case RolePool:
			p := pooled{sample: sample, token: t, modality: m, raw: float64(importance[t]), weight: 1}
			if p.score = p.raw; s.t.Weight != WeightHard {
				p.weight = float64(by[t])
			}
			list = append(list, p)
		}
	}
	return list
}

// split cuts the pooled tokens of all samples into pools.
func (s *selector) split(all []pooled, by Pool) [][]*pooled {
	type key struct {
		sample   int
		modality models.Modality
	}
	index := map[key]int{}
	var pools [][]*pooled
	for i := range all {
		p := &all[i]
		var k key
		switch by {
		case PoolSample:
			k = key{sample: p.sample}
		case PoolModality:
			k = key{sample: p.sample, modality: p.modality}
		}
		at, ok := index[k]
		if !ok {
			at = len(pools)
			index[k] = at
			pools = append(pools, nil)
		}
		pools[at] = append(pools[at], p)
	}
	return pools
}

// choose marks the tokens of a pool that are kept.
func (s *selector) choose(pool []*pooled) {
	n := len(pool)
	// The subtraction keeps 0.1·30 from being rounded up to 4.
	keep := min(n, int(math.Ceil(s.t.Keep*float64(n)-1e-9)))
	informed := slices.ContainsFunc(pool, func(p *pooled) bool { return p.raw > 0 })
	if 0 < keep && keep < n && !informed {
		keep = n
		s.noImportance++
	}
	order := slices.Clone(pool)
	switch {
	case keep == n || keep == 0:
	case s.t.Control == ControlRandom:
		s.rand.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	default:
		slices.SortStableFunc(order, func(a, b *pooled) int {
			c := cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.raw, a.raw))
			if s.t.Control == ControlLeast {
				c = -c
			}
			return c
		})
	}
	for _, p := range order[:keep] {
		p.kept = true
	}
}

// weigh writes the weights of a pool's kept tokens.
func (s *selector) weigh(pool []*pooled, weights [][]float32) {
	var total, kept, sum [3]float64 // by modality, or in one place under a joint mass
	place := func(p *pooled) models.Modality {
		if s.t.Mass.joint() {
			return 0
		}
		return p.modality
	}
	for _, p := range pool {
		m := place(p)
		total[m]++
		if p.kept {
			kept[m]++
			sum[m] += p.weight
		}
	}
	if s.t.Mass == MassSample {
		total[0] = 1
	}
	blank := false
	for _, p := range pool {
		if !p.kept {
			if s.t.Rest == RestMass {
				weights[p.sample][p.token] = float32(s.mass(p.modality))
			}
			continue
		}
		m := place(p)
		share := total[m] / sum[m] * p.weight // exactly 1 for equal weights when all are kept
		if sum[m] == 0 {
			share, blank = total[m]/kept[m], true
			if s.t.Blank == BlankZero {
				share = 0
			}
		}
		weights[p.sample][p.token] = float32(s.mass(p.modality) * share)
	}
	if blank {
		s.noWeight++
	}
}

// balance turns ratios per token into ratios per modality.
func (s *selector) balance() {
	var count [3]float64
	for _, sample := range s.samples {
		for _, m := range sample.Modality {
			count[m]++
		}
	}
	scale := func(m models.Modality) float64 {
		if count[m] == 0 {
			return 0
		}
		return count[models.Answer] / count[m]
	}
	s.ratio.Vision *= scale(models.Vision)
	s.ratio.Text *= scale(models.Other)
}

// mass is what a token of a pooled modality weighs on average.
func (s *selector) mass(m models.Modality) float64 {
	switch {
	case s.t.Mass == MassFlat || s.t.Mass.joint() || m == models.Answer:
		return 1
	case m == models.Vision:
		return s.ratio.Vision
	}
	return s.ratio.Text
}

func (s *selector) events() []Event {
	var events []Event
	if s.noImportance > 0 {
		events = append(events, event("no-importance", "layer %d, %s: importance is zero throughout %d of %d pools; all their tokens are kept", s.layer, s.site, s.noImportance, s.pools))
	}
	if s.noWeight > 0 {
		events = append(events, event("no-weight", "layer %d, %s: weights are zero throughout %d of %d pools; their tokens weigh %s", s.layer, s.site, s.noWeight, s.pools, cmp.Or(string(s.t.Blank), "alike")))
	}
	return events
}
