package ptq

import (
	"slices"

	"github.com/tlqlab/tlqlab/models"
)

// clip bounds scores and weights of one sample.
func (s *selector) clip(list []pooled) {
	if s.t.Clip == ClipNone {
		return
	}
	for _, part := range byModality(list, s.t.Pool == PoolModality) {
		s.clipIQR(part, func(p *pooled) *float64 { return &p.score })
		if s.t.Weight != WeightHard {
			s.clipIQR(part, func(p *pooled) *float64 { return &p.weight })
		}
	}
}

func (s *selector) clipIQR(list []*pooled, at func(*pooled) *float64) {
	if len(list) == 0 {
		return
	}
	values := make([]float64, len(list))
	for i, p := range list {
		values[i] = *at(p)
	}
	slices.Sort(values)
	q1, q3 := quantile(values, 0.25), quantile(values, 0.75)
	low, high := 0.0, q3+1.5*(q3-q1)
	if s.t.Clip == ClipIQRBoth {
		low = max(0, q1-1.5*(q3-q1))
	}
	for _, p := range list {
		*at(p) = max(min(*at(p), high), low)
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
