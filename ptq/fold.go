package ptq

import (
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// minScale is the least scaling factor before normalisation (AWQ, MBQ).
const minScale = 1e-4

// ScaleFactors returns s = max(mᵅ, 1e-4) / sqrt(max s · min s), the candidate
// of a grid search for channel means m (AWQ, arXiv:2306.00978). With α = 0 every
// factor is exactly 1. The arithmetic is float64.
func ScaleFactors(means []float64, alpha float64) []float32 {
	s := make([]float64, len(means))
	low, high := math.Inf(1), 0.0
	for c, m := range means {
		s[c] = max(math.Pow(m, alpha), minScale)
		low, high = min(low, s[c]), max(high, s[c])
	}
	norm := math.Sqrt(high * low)
	out := make([]float32, len(s))
	for c := range s {
		out[c] = float32(s[c] / norm)
	}
	return out
}

// FoldScale folds scaling factors into a layer, in place and without changing
// its function: the columns of the site's linears are multiplied by s, and what
// feeds them is divided by it: the norm's gain for qkv and gate_up, the rows (and
// the bias) of v_proj for o, the rows of up_proj for down. Biases of the site's own
// linears stay. s has one factor per input column of the site.
func FoldScale(l *models.Layer, site models.Site, s []float32) error {
	linears := l.Linears(site)
	if len(s) != linears[0].In {
		return fmt.Errorf("ptq: layer %d, %s: %d scaling factors for %d input columns", l.Index, site, len(s), linears[0].In)
	}
	if why := unscalable(l, site); why != "" {
		return fmt.Errorf("ptq: layer %d, %s cannot be scaled: %s", l.Index, site, why)
	}
	switch site {
	case models.QKV:
		divide(l.InputNorm, s)
	case models.O:
		divideRows(&l.V, s)
	case models.GateUp:
		divide(l.PostNorm, s)
	case models.Down:
		divideRows(&l.Up, s)
	}
	for _, lin := range linears {
		kernels.ScaleColumns(lin.W, lin.W, s, lin.Out, lin.In)
	}
	return nil
}

// unscalable says why a site cannot be scaled, or nothing. Where query heads
// share value heads (grouped-query attention) a channel of o_proj's input has no
// row of v_proj of its own; like MBQ, o is then rounded unscaled.
func unscalable(l *models.Layer, site models.Site) string {
	if site == models.O && (l.V.Out != l.O.In || l.V.In != l.O.Out) {
		return fmt.Sprintf("v_proj [%d, %d] and o_proj [%d, %d] differ in shape (grouped-query attention)", l.V.Out, l.V.In, l.O.Out, l.O.In)
	}
	return ""
}

// feeder is the linear whose rows a site's factors divide, nil where a norm
// feeds the site.
func feeder(site models.Site) (models.Site, bool) {
	switch site {
	case models.O:
		return models.QKV, true
	case models.Down:
		return models.GateUp, true
	}
	return "", false
}

func divide(v, s []float32) {
	for i := range v {
		v[i] /= s[i]
	}
}

func divideRows(lin *models.Linear, s []float32) {
	for r := range lin.Out {
		row := lin.W[r*lin.In : (r+1)*lin.In]
		for c := range row {
			row[c] /= s[r]
		}
	}
	if lin.B != nil {
		divide(lin.B, s)
	}
}
