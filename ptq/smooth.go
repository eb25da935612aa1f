package ptq

import (
	"context"
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// minMagnitude bounds SmoothQuant's factors and weight maxima from below.
const minMagnitude = 1e-5

// SmoothFactors are SmoothQuant's (arXiv:2211.10438, its released code):
//
//	s_c = max( x_c^α / max(w_c, 1e-5)^(1−α), 1e-5 )
//
// with x_c the largest magnitude of input channel c and w_c that of column c over
// all linears that read it. Deviation: a channel that is zero throughout keeps
// the factor 1, where the released code divides its norm's gain by 1e-5; the result is
// the same function. The arithmetic is float64.
func SmoothFactors(inputs, weights []float64, alpha float64) []float32 {
	out := make([]float32, len(inputs))
	for c, x := range inputs {
		s := 1.0
		if x > 0 {
			s = max(math.Pow(x, alpha)/math.Pow(max(weights[c], minMagnitude), 1-alpha), minMagnitude)
		}
		out[c] = float32(s)
	}
	return out
}

// columnMaxima is the largest magnitude per input column over all linears of a
// site.
func columnMaxima(l *models.Layer, site models.Site) []float64 {
	linears := l.Linears(site)
	out := make([]float64, linears[0].In)
	for _, lin := range linears {
		for i, w := range lin.W {
			c := i % lin.In
			out[c] = max(out[c], abs(w))
		}
	}
	return out
}

// smoothSite computes a site's factors by the closed form and leaves them in
// r.smooth.
func (r *layerRun) smoothSite(ctx context.Context, site models.Site) (*SiteReport, error) {
	inputs := make([]float64, r.exact.Linears(site)[0].In)
	report := &SiteReport{Site: site, Alpha: r.c.Method.Search.Alpha}
	err := ordered(ctx, r.c.workers(), len(r.c.Batches), func(i int) ([]float32, error) {
		return r.input(i, site)
	}, func(i int, x []float32) error {
		r.c.Batches[i].Rows(x, len(inputs), func(_, _ int, row []float32) {
			report.Tokens++
			for c, v := range row {
				inputs[c] = max(inputs[c], abs(v))
			}
		})
		return r.step(ctx)
	})
	if err != nil {
		return nil, err
	}
	silent := 0
	for c, x := range inputs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("the largest input magnitude of channel %d is %v; expected a finite number", c, x)
		}
		if x == 0 {
			silent++
		}
	}
	if silent > 0 {
		r.report.Events = append(r.report.Events, event("silent-channel", "layer %d, %s: %d of %d input channels are zero throughout and are not scaled", r.state.Next, site, silent, len(inputs)))
	}
	r.smooth[site] = SmoothFactors(inputs, columnMaxima(r.folded, site), report.Alpha)
	return report, nil
}
