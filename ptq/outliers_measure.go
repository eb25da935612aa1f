package ptq

import (
	"context"
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/models"
)

// TokenKind tells tokens apart in activation statistics: the modalities, and the first
// token of every sequence, which counts in no other kind.
type TokenKind int

// Token kinds; the modalities have the numbers of [models.Modality].
const (
	KindOther  = TokenKind(models.Other)
	KindVision = TokenKind(models.Vision)
	KindAnswer = TokenKind(models.Answer)
	KindSink   = TokenKind(3)
)

// tokenKinds is the number of kinds.
const tokenKinds = 4

// String names the kind.
func (k TokenKind) String() string {
	if k == KindSink {
		return "sink"
	}
	return models.Modality(k).String()
}

// ChannelStats are the input channels of a layer's sites.
type ChannelStats map[models.Site]SiteStats

// SiteStats are a site's input channels by [TokenKind].
type SiteStats [tokenKinds]KindStats

// KindStats are a site's input channels over the tokens of one kind.
type KindStats struct {
	Tokens int       `json:"tokens"`
	Mean   []float64 `json:"mean"` // mean|x|, [in]; 0 without tokens
	Max    []float64 `json:"max"`  // max|x|, [in]
}

// MeasureChannels runs batches through the unquantized model and measures what the linears
// of every layer read, channel by channel and per kind of token. Sums are taken in sample
// order within a batch, batches in order.
func MeasureChannels(ctx context.Context, m Model, r Runner, batches []*models.Batch) ([]ChannelStats, error) {
	stream := make([][]float32, len(batches))
	for i, b := range batches {
		stream[i] = b.X
	}
	var out []ChannelStats
	for i := range m.NumLayers() {
		l, err := m.Layer(i)
		if err != nil {
			return nil, err
		}
		stats := ChannelStats{}
		for _, site := range models.Sites() {
			stats[site] = newSiteStats(siteIn(l, site))
		}
		for k, b := range batches {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			res, err := r.Block(b, stream[k], l, models.BlockOptions{Taps: true})
			if err != nil {
				return nil, fmt.Errorf("ptq: layer %d: %w", i, err)
			}
			stream[k] = res.Y
			for _, site := range models.Sites() {
				s := stats[site]
				s.add(b, res.Inputs[site])
				stats[site] = s
			}
		}
		for _, s := range stats {
			s.divide()
		}
		out = append(out, stats)
	}
	return out, nil
}

func newSiteStats(in int) (s SiteStats) {
	for k := range s {
		s[k] = KindStats{Mean: make([]float64, in), Max: make([]float64, in)}
	}
	return s
}

// add counts the tokens of a batch, x [B, T, in].
func (s *SiteStats) add(b *models.Batch, x []float32) {
	b.Rows(x, len(s[0].Mean), func(seq, t int, row []float32) {
		kind := TokenKind(b.Seqs[seq].Modality[t])
		if t == 0 {
			kind = KindSink
		}
		s[kind].Tokens++
		for c, v := range row {
			s[kind].Mean[c] += abs(v)
			s[kind].Max[c] = max(s[kind].Max[c], abs(v))
		}
	})
}

// divide turns sums into means.
func (s SiteStats) divide() {
	for k := range s {
		for c := range s[k].Mean {
			s[k].Mean[c] /= max(1, float64(s[k].Tokens))
		}
	}
}

// Peak is the largest |x| of a kind's tokens at the sites, over all layers, and Spread
// how far that largest channel stands above the median channel's largest |x| in its
// layer and site, the most over layers: what a quantizer with one step per token suffers
// from. Both are 0 where the kind has no tokens.
func Peak(stats []ChannelStats, kind TokenKind, sites ...models.Site) (peak, spread float64) {
	for _, layer := range stats {
		for _, site := range sites {
			top := layer[site][kind].Max
			high := 0.0
			for _, v := range top {
				high = max(high, v)
			}
			peak = max(peak, high)
			if m := quantile(slices.Sorted(slices.Values(top)), 0.5); m > 0 {
				spread = max(spread, high/m)
			}
		}
	}
	return peak, spread
}
