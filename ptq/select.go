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
	// Importance ranks the tokens.
	Importance *TokenStats
	// Weights are the values of Tokens.Weight where that names an importance; else
	// nil.
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
// the last layer, where vision tokens reach no loss.)
//
// With Keep 1, Weight hard, Mass ratio, Floor median, Answers keep and Text drop
// the weights are exactly MBQ's: 1 on answers, r on vision tokens.
func SelectTokens(t Tokens, in Selection) (*TokenSet, []Event, error) {
	if len(in.Samples) == 0 {
		return nil, nil, fmt.Errorf("ptq: no calibration samples; expected at least one")
	}
	if in.Importance == nil {
		return nil, nil, fmt.Errorf("ptq: a token-level calibration set needs importance values")
	}
	layers := len(in.Importance.Layers)
	if err := in.Importance.check("importance", layers, in.Samples); err != nil {
		return nil, nil, err
	}
	if t.Weight != WeightHard && t.Weight != WeightImportance {
		if err := in.Weights.check("weights", layers, in.Samples); err != nil {
			return nil, nil, err
		}
	}
	if t.Control.random() && in.Rand == nil {
		return nil, nil, fmt.Errorf("ptq: tokens.control %q needs a random generator", t.Control)
	}
	set := &TokenSet{Layers: make([]LayerTokens, layers)}
	if t.needsRatios() {
		if err := in.Gradients.check("gradients", layers, in.Samples); err != nil {
			return nil, nil, err
		}
		var err error
		if set.Ratios, err = Ratios(in.Samples, in.Gradients, t.Floor); err != nil {
			return nil, nil, err
		}
	}
	var events []Event
	for i := range set.Layers {
		for _, site := range outputSites {
			s := selector{t: t, in: in, layer: i, site: site, ratio: Ratio{Vision: 1, Text: 1}}
			if set.Ratios != nil {
				s.ratio = *set.Ratios[i].At(site)
			}
			if t.Mass == MassBalanced {
				s.balance()
			}
			tokens := s.run()
			if Count(tokens) == 0 {
				return nil, nil, fmt.Errorf("ptq: the token-level calibration set of layer %d, %s is empty: none of the %d samples has a token that the method counts", i, site, len(in.Samples))
			}
			if site == models.O {
				set.Layers[i].O = tokens
			} else {
				set.Layers[i].Down = tokens
			}
			events = append(events, s.events()...)
		}
	}
	return set, events, nil
}

// needsRatios reports whether any weight is a gradient ratio.
func (t Tokens) needsRatios() bool { return t.Mass != MassFlat || t.Text == RoleRatio }

// selector makes the set of one layer and output site.
type selector struct {
	t     Tokens
	in    Selection
	layer int
	site  models.Site
	ratio Ratio

	noImportance, noWeight, pools int // pools without information, for events
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

func (s *selector) run() []SampleTokens {
	weights := make([][]float32, len(s.in.Samples)) // dense; −1: not in the set
	var all []pooled
	for i, sample := range s.in.Samples {
		weights[i] = fill(sample.Len(), -1)
		own := s.pool(i, weights[i])
		s.clip(own)
		if s.t.Control == ControlShuffled {
			s.shuffle(own)
		}
		all = append(all, own...)
	}
	pools := s.split(all)
	for _, pool := range pools {
		s.choose(pool)
	}
	if s.t.Control == ControlFewer {
		s.chooseSamples(all, weights)
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
	return sets
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
	importance := s.in.Importance.Layers[s.layer].At(s.site)[sample]
	by := importance
	if s.in.Weights != nil && s.t.Weight != WeightImportance {
		by = s.in.Weights.Layers[s.layer].At(s.site)[sample]
	}
	var list []pooled
	for t, m := range s.in.Samples[sample].Modality {
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

// clip bounds scores and weights of one sample.
func (s *selector) clip(list []pooled) {
	if s.t.Clip != ClipIQR {
		return
	}
	for _, part := range byModality(list, s.t.Pool == PoolModality) {
		clipIQR(part, func(p *pooled) *float64 { return &p.score })
		clipIQR(part, func(p *pooled) *float64 { return &p.weight })
	}
}

func clipIQR(list []*pooled, at func(*pooled) *float64) {
	if len(list) == 0 {
		return
	}
	values := make([]float64, len(list))
	for i, p := range list {
		values[i] = *at(p)
	}
	slices.Sort(values)
	q1, q3 := quantile(values, 0.25), quantile(values, 0.75)
	bound := q3 + 1.5*(q3-q1)
	for _, p := range list {
		*at(p) = min(*at(p), bound)
	}
}

// byModality cuts a list into one part per modality, or leaves it whole.
func byModality(list []pooled, cut bool) [][]*pooled {
	parts := make([][]*pooled, 3)
	for i := range list {
		m := models.Modality(0)
		if cut {
			m = list[i].modality
		}
		parts[m] = append(parts[m], &list[i])
	}
	return parts
}

// split cuts the pooled tokens of all samples into pools.
func (s *selector) split(all []pooled) [][]*pooled {
	type key struct {
		sample   int
		modality models.Modality
	}
	index := map[key]int{}
	var pools [][]*pooled
	for i := range all {
		p := &all[i]
		var k key
		switch s.t.Pool {
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
	s.pools = len(pools)
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
		s.in.Rand.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
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
	var total, kept, sum [3]float64
	for _, p := range pool {
		total[p.modality]++
		if p.kept {
			kept[p.modality]++
			sum[p.modality] += p.weight
		}
	}
	flat := false
	for _, p := range pool {
		if !p.kept {
			continue
		}
		m := p.modality
		share := total[m] / sum[m] * p.weight // exactly 1 for equal weights when all are kept
		if sum[m] == 0 {
			share, flat = total[m]/kept[m], true
		}
		weights[p.sample][p.token] = float32(s.mass(m) * share)
	}
	if flat {
		s.noWeight++
	}
}

// balance turns ratios per token into ratios per modality.
func (s *selector) balance() {
	var count [3]float64
	for _, sample := range s.in.Samples {
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
	case s.t.Mass == MassFlat || m == models.Answer:
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
		events = append(events, event("no-weight", "layer %d, %s: weights are zero throughout %d of %d pools; their tokens weigh alike", s.layer, s.site, s.noWeight, s.pools))
	}
	return events
}
