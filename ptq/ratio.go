package ptq

import (
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/models"
)

// Ratio is the gradient of a modality relative to that of answer tokens at one
// layer and output site, MBQ's balance between modalities: with ḡ the mean over
// samples of the sample's mean |g| over the modality's tokens,
// Raw = ḡ(modality) / ḡ(answer), and Used is Raw or, with a floor, at least the
// median of Raw over the layers.
type Ratio struct {
	Vision     float64 `json:"vision"` // Used, with Floor as set
	Text       float64 `json:"text"`
	RawVision  float64 `json:"raw_vision"`
	RawText    float64 `json:"raw_text"`
	AnswerMean float64 `json:"answer_mean"` // ḡ of answer tokens
}

// LayerRatios holds a layer's ratios at the outputs of o_proj and down_proj.
type LayerRatios struct {
	O    Ratio `json:"o"`
	Down Ratio `json:"down"`
}

// At returns the ratio of the output site that serves s.
func (l *LayerRatios) At(s models.Site) *Ratio {
	if outputIndex(s) == 0 {
		return &l.O
	}
	return &l.Down
}

// Ratios computes the gradient ratios of every layer (Li et al., MBQ,
// arXiv:2412.19509, as in its released code: samples count alike, the median of an
// even number of layers is the mean of the two in the middle, and the last
// layer's zero counts in the median). A sample without tokens of a modality
// is left out of that modality's mean. The error names a layer whose answer
// tokens have no gradient.
func Ratios(samples []*models.Sequence, gradients *TokenStats, floor Floor) ([]LayerRatios, error) {
	if gradients == nil {
		return nil, fmt.Errorf("ptq: gradient ratios need gradients")
	}
	if err := gradients.check("gradients", len(gradients.Layers), samples); err != nil {
		return nil, err
	}
	ratios := make([]LayerRatios, len(gradients.Layers))
	for i := range ratios {
		for _, site := range outputSites {
			means := modalityMeans(samples, gradients.Layers[i].At(site))
			answer := means[models.Answer]
			if !(answer > 0) {
				return nil, fmt.Errorf("ptq: the mean gradient of answer tokens at layer %d, %s is %v; expected a positive number, from samples with answers", i, site, answer)
			}
			r := ratios[i].At(site)
			r.AnswerMean = answer
			r.RawVision, r.RawText = means[models.Vision]/answer, means[models.Other]/answer
			r.Vision, r.Text = r.RawVision, r.RawText
		}
	}
	if floor == FloorMedian {
		for _, site := range outputSites {
			raiseToMedian(ratios, func(l *LayerRatios) *float64 { return &l.At(site).Vision })
			raiseToMedian(ratios, func(l *LayerRatios) *float64 { return &l.At(site).Text })
		}
	}
	return ratios, nil
}

// modalityMeans is the mean over samples of the sample's mean over the tokens of
// each modality; 0 where no sample has any.
func modalityMeans(samples []*models.Sequence, values [][]float32) [3]float64 {
	var total [3]float64
	var with [3]int
	for i, s := range samples {
		var sum [3]float64
		var count [3]int
		for t, m := range s.Modality {
			sum[m] += float64(values[i][t])
			count[m]++
		}
		for m := range sum {
			if count[m] > 0 {
				total[m] += sum[m] / float64(count[m])
				with[m]++
			}
		}
	}
	for m := range total {
		if with[m] > 0 {
			total[m] /= float64(with[m])
		}
	}
	return total
}

// raiseToMedian lifts every layer's value to the median over layers.
func raiseToMedian(ratios []LayerRatios, at func(*LayerRatios) *float64) {
	values := make([]float64, len(ratios))
	for i := range ratios {
		values[i] = *at(&ratios[i])
	}
	slices.Sort(values)
	middle := quantile(values, 0.5)
	for i := range ratios {
		*at(&ratios[i]) = max(*at(&ratios[i]), middle)
	}
}

// quantile of a sorted, non-empty list, interpolated linearly between order
// statistics at (n−1)·p: numpy's and torch's default.
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	low := int(at)
	if low == len(sorted)-1 {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}
