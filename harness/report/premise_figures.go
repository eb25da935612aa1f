package report

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/models"
)

// PremiseGradients draws the mean gradient of vision, answer and other tokens over
// the layers, one panel per output site, logarithmically.
func PremiseGradients(p *harness.Premise) (*display.Figure, error) {
	low, high := math.Inf(1), 0.0
	lines := map[models.Site]map[models.Modality]*modalityLine{models.O: {}, models.Down: {}}
	layers := 0
	for _, g := range p.Gradients {
		layers = max(layers, g.Layer+1)
		for m, v := range map[models.Modality]float64{models.Vision: g.Vision.Mean, models.Answer: g.Answer.Mean, models.Other: g.Other.Mean} {
			l := lines[g.Site][m]
			if l == nil {
				l = &modalityLine{look: modalityLook(m)}
				lines[g.Site][m] = l
			}
			l.mean, l.low, l.high = append(l.mean, v), append(l.low, v), append(l.high, v)
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return nil, fmt.Errorf("report: all gradients are zero: there is nothing to draw")
	}
	d := &drawing{figureWidth, 250, func(c draw.Canvas) error {
		var plots []*plot.Plot
		for _, out := range outputs {
			q := layerPlot(out.title, layers)
			q.Y.Label.Text = "mean |g|"
			q.Y.Scale, q.Y.Tick.Marker = plot.LogScale{}, powers{}
			q.Y.Min, q.Y.Max = low/1.4, high*1.4
			q.Add(grid{y: true})
			for _, m := range modalities {
				if l := lines[out.site][m]; l != nil {
					q.Add(l)
				}
			}
			plots = append(plots, q)
		}
		twoPanels(c, modalityLegend(), plots)
		return nil
	}}
	return &display.Figure{Name: "premise-gradients", Caption: gradientSentence(p) + " " + spreadSentence(p), Drawing: d}, nil
}

// modalityLegend names the kinds of tokens.
func modalityLegend() []legendEntry {
	var out []legendEntry
	for _, m := range modalities {
		l := modalityLook(m)
		out = append(out, legendEntry{m.String() + " tokens", draw.LineStyle{Color: l.color, Width: 1.5}, draw.GlyphStyle{Color: l.color, Radius: 3, Shape: l.glyph}})
	}
	return out
}

// PremiseActivations draws over the layers, one line per site, how large a vision
// token's input is beside an answer token's, and how alike their channels are.
func PremiseActivations(p *harness.Premise) (*display.Figure, error) {
	ratios, profiles := siteBands(p, func(x *harness.PremiseSite) *eval.Interval { return x.Ratio }), siteBands(p, func(x *harness.PremiseSite) *eval.Interval { return x.Profile })
	if len(ratios) == 0 {
		return nil, fmt.Errorf("report: a premise without activations: there is nothing to draw")
	}
	layers := p.Activations[len(p.Activations)-1].Layer + 1
	d := &drawing{figureWidth, 255, func(c draw.Canvas) error {
		left := layerPlot("size: mean |x|, vision ÷ answer", layers)
		addBands(left, ratios, []float64{1})
		right := layerPlot("channels: rank correlation, vision with answer", layers)
		addBands(right, profiles, []float64{0, 1})
		var entries []legendEntry
		for i, s := range models.Sites() {
			l := lookOf(i)
			entries = append(entries, legendEntry{string(s), draw.LineStyle{Color: l.color, Width: 1.5}, draw.GlyphStyle{Color: l.color, Radius: 3, Shape: l.glyph}})
		}
		twoPanels(c, entries, []*plot.Plot{left, right})
		return nil
	}}
	return &display.Figure{Name: "premise-activations", Caption: activationCaption(p), Drawing: d}, nil
}

// siteBands is one band per site over the layers.
func siteBands(p *harness.Premise, of func(*harness.PremiseSite) *eval.Interval) []*band {
	var out []*band
	for i, site := range models.Sites() {
		b := &band{look: lookOf(i)}
		for k := range p.Activations {
			x := &p.Activations[k]
			if v := of(x); x.Site == site && v != nil {
				b.x, b.mean, b.low, b.high = append(b.x, float64(x.Layer)), append(b.mean, v.Mean), append(b.low, v.Low), append(b.high, v.High)
			}
		}
		if len(b.x) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// addBands puts bands and lines at reference values into a panel.
func addBands(p *plot.Plot, bands []*band, references []float64) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, b := range bands {
		low, high = min(low, slices.Min(b.low)), max(high, slices.Max(b.high))
	}
	for _, v := range references {
		low, high = min(low, v), max(high, v)
	}
	p.Y.Tick.Marker = steps{most: 6}
	p.Y.Min, p.Y.Max = low-0.04*(high-low), high+0.04*(high-low)
	p.Add(grid{y: true})
	p.Add(levels(references))
	for _, b := range bands {
		p.Add(b)
	}
}

// levels are horizontal reference lines.
type levels []float64

// Plot implements plot.Plotter.
func (l levels) Plot(c draw.Canvas, p *plot.Plot) {
	_, ty := p.Transforms(&c)
	for _, v := range l {
		c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.8, Dashes: []vg.Length{4, 3}}, c.Min.X, ty(v), c.Max.X, ty(v))
	}
}

// activationCaption states how sizes and channels compare.
func activationCaption(p *harness.Premise) string {
	var ratios, profiles []float64
	for _, a := range p.Activations {
		if a.Ratio != nil && a.Profile != nil {
			ratios, profiles = append(ratios, a.Ratio.Mean), append(profiles, a.Profile.Mean)
		}
	}
	slices.Sort(ratios)
	slices.Sort(profiles)
	middle := func(v []float64) float64 { return v[len(v)/2] }
	text := "about as large as"
	switch m := middle(ratios); {
	case m < 0.8:
		text = "smaller than"
	case m > 1.25:
		text = "larger than"
	}
	alike := "are large in much the same channels"
	switch m := middle(profiles); {
	case m < 0.3:
		alike = "are large in other channels, so that it matters whose tokens set the scales"
	case m < 0.7:
		alike = "share their large channels in part"
	}
	return fmt.Sprintf("Inputs at vision tokens are %s those at answer tokens (median ratio %s, %s over layers and sites) and %s (median rank correlation %s, %s). Bands: 95%% over pictures.",
		text, number(middle(ratios)), between(ratios, number), alike, fixed(middle(profiles), 2), between(profiles, func(v float64) string { return fixed(v, 2) }))
}
