package report

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// modalities in the order of legends and captions.
var modalities = []models.Modality{models.Vision, models.Answer, models.Other}

// modalityLook is how a kind of token is drawn.
func modalityLook(m models.Modality) look {
	return look{kindColors[m.String()], map[models.Modality]draw.GlyphDrawer{
		models.Vision: draw.BoxGlyph{}, models.Answer: draw.CircleGlyph{}, models.Other: draw.PyramidGlyph{},
	}[m]}
}

// tokenCounts is the number of tokens of each modality, and of all.
func tokenCounts(samples []*models.Sequence) (counts map[models.Modality]int, all int) {
	counts = map[models.Modality]int{}
	for _, s := range samples {
		for _, m := range s.Modality {
			counts[m]++
			all++
		}
	}
	return counts, all
}

// present are the modalities that occur.
func present(counts map[models.Modality]int) []models.Modality {
	return slices.DeleteFunc(slices.Clone(modalities), func(m models.Modality) bool { return counts[m] == 0 })
}

// checkStats compares one value per token with the samples.
func checkStats(samples []*models.Sequence, g *ptq.TokenStats) error {
	if len(samples) == 0 || g == nil || len(g.Layers) == 0 {
		return errors.New("report: gradients without samples or layers: there is nothing to draw")
	}
	for i := range g.Layers {
		for _, site := range outputs {
			values := g.Layers[i].At(site.site)
			if len(values) != len(samples) {
				return fmt.Errorf("report: gradients of %d samples beside %d samples: expected those that they were measured on", len(values), len(samples))
			}
			for s := range values {
				if len(values[s]) != samples[s].Len() {
					return fmt.Errorf("report: gradients of %d tokens in sample %d of %d tokens: expected those that they were measured on", len(values[s]), s, samples[s].Len())
				}
			}
		}
	}
	return nil
}

// outputs are the sites whose outputs gradients are taken at.
var outputs = []struct {
	site  models.Site
	title string
}{{models.O, "at the attention's output (o)"}, {models.Down, "at the MLP's output (down)"}}

// Gradients draws the mean gradient magnitude of vision, answer and other
// tokens over the layers, one panel per output site, logarithmically. The line
// is the mean over samples of a sample's mean, as MBQ takes it
// (arXiv:2412.19509); the band holds the middle 80% of the vision tokens, which
// is how far they differ among themselves. g is what [harness.Model.Gradients]
// measured on samples; layers in which a modality has no gradient are left out
// of its line.
func Gradients(samples []*models.Sequence, g *ptq.TokenStats) (*display.Figure, error) {
	if err := checkStats(samples, g); err != nil {
		return nil, err
	}
	counts, all := tokenCounts(samples)
	var lines [][]*modalityLine
	low, high := math.Inf(1), 0.0
	for _, out := range outputs {
		var own []*modalityLine
		for _, m := range present(counts) {
			l := gradientLine(samples, g, out.site, m)
			l.band = m == models.Vision
			own = append(own, l)
			for i, v := range l.mean {
				if v > 0 {
					low, high = min(low, v), max(high, v)
				}
				if v > 0 && l.band { // however small a gradient is, two decades show it
					low, high = min(low, max(l.low[i], v/100)), max(high, l.high[i])
				}
			}
		}
		lines = append(lines, own)
	}
	if high == 0 {
		return nil, errors.New("report: all gradients are zero: there is nothing to draw")
	}
	d := &drawing{figureWidth, 265, func(c draw.Canvas) error {
		var entries []legendEntry
		for _, m := range present(counts) {
			l := modalityLook(m)
			entries = append(entries, legendEntry{m.String() + " tokens", draw.LineStyle{Color: l.color, Width: 1.5}, draw.GlyphStyle{Color: l.color, Radius: 3, Shape: l.glyph}})
		}
		plots := make([]*plot.Plot, len(outputs))
		for i, out := range outputs {
			p := layerPlot(out.title, len(g.Layers))
			p.Y.Label.Text = "mean |g|"
			p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, powers{}
			p.Y.Min, p.Y.Max = low/1.3, high*1.3
			p.Add(grid{y: true})
			for _, l := range lines[i] {
				p.Add(l)
			}
			plots[i] = p
		}
		twoPanels(c, entries, plots)
		return nil
	}}
	return &display.Figure{Name: "gradients", Caption: gradientsCaption(samples, g, counts, all), Drawing: d}, nil
}

// powers puts ticks at powers of ten.
type powers struct{}

// Ticks implements plot.Ticker.
func (powers) Ticks(low, high float64) []plot.Tick {
	from, to := math.Ceil(math.Log10(low)-1e-9), math.Floor(math.Log10(high)+1e-9)
	step := max(math.Ceil((to-from)/6), 1)
	var out []plot.Tick
	for e := from; e <= to; e += step {
		out = append(out, plot.Tick{Value: math.Pow(10, e), Label: "1e" + fixed(e, 0)})
	}
	return out
}

// layerPlot is a panel over the decoder layers.
func layerPlot(title string, layers int) *plot.Plot {
	p := newPlot()
	p.Title.Text = title
	p.X.Label.Text = "decoder layer"
	p.X.Tick.Marker = wholeSteps{}
	p.X.Min, p.X.Max = 0, float64(layers-1)
	if layers == 1 {
		p.X.Min, p.X.Max = -0.5, 0.5
	}
	return p
}

// twoPanels draws a legend above panels side by side.
func twoPanels(c draw.Canvas, entries []legendEntry, plots []*plot.Plot) {
	used := legend(draw.Crop(c, 30, 0, 0, -4), entries, true)
	area := draw.Crop(c, 2, -8, 2, -used-12)
	for i, canvas := range plot.Align([][]*plot.Plot{plots}, draw.Tiles{Rows: 1, Cols: len(plots), PadX: 16}, area)[0] {
		plots[i].Draw(canvas)
	}
}

// modalityLine is one modality's numbers over the layers.
type modalityLine struct {
	mean, low, high []float64
	look            look
	band            bool // draw the range from low to high
}

func gradientLine(samples []*models.Sequence, g *ptq.TokenStats, site models.Site, m models.Modality) *modalityLine {
	l := &modalityLine{look: modalityLook(m)}
	for i := range g.Layers {
		var all []float64
		total, with := 0.0, 0
		for s, values := range g.Layers[i].At(site) {
			sum, n := 0.0, 0
			for t, v := range values {
				if samples[s].Modality[t] == m {
					sum += float64(v)
					all = append(all, float64(v))
					n++
				}
			}
			if n > 0 {
				total += sum / float64(n)
				with++
			}
		}
		slices.Sort(all)
		l.mean = append(l.mean, total/float64(max(with, 1)))
		l.low, l.high = append(l.low, all[(len(all)-1)/10]), append(l.high, all[(len(all)-1)*9/10])
	}
	return l
}

// Plot implements plot.Plotter on a logarithmic axis: layers without a
// positive value interrupt the line.
func (l *modalityLine) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	at := func(v float64) vg.Length { return ty(min(max(v, p.Y.Min), p.Y.Max)) }
	for from := 0; from < len(l.mean); from++ {
		to := from
		for to < len(l.mean) && l.mean[to] > 0 {
			to++
		}
		if to == from {
			continue
		}
		var line, area []vg.Point
		for i := from; i < to; i++ {
			line = append(line, vg.Point{X: tx(float64(i)), Y: at(l.mean[i])})
			area = append(area, vg.Point{X: tx(float64(i)), Y: at(l.high[i])})
		}
		for i := to - 1; i >= from; i-- {
			area = append(area, vg.Point{X: tx(float64(i)), Y: at(l.low[i])})
		}
		if l.band {
			c.FillPolygon(color.NRGBA{l.look.color.R, l.look.color.G, l.look.color.B, 0x30}, area)
		}
		c.StrokeLines(draw.LineStyle{Color: l.look.color, Width: 1.5}, line)
		for _, pt := range line {
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: l.look.color, Radius: 2.8, Shape: l.look.glyph}, pt)
		}
		from = to
	}
}

// gradientsCaption states how modalities compare and how uneven vision tokens
// are.
func gradientsCaption(samples []*models.Sequence, g *ptq.TokenStats, counts map[models.Modality]int, all int) string {
	text := fmt.Sprintf("Mean |g| per layer over %s of %s (%s vision, %s answer, %s other).",
		count(len(samples), "sample"), count(all, "token"), grouped(counts[models.Vision]), grouped(counts[models.Answer]), grouped(counts[models.Other]))
	if counts[models.Vision] == 0 || counts[models.Answer] == 0 {
		return text
	}
	text += " The band holds the middle 80% of the vision tokens."
	var ratios []float64
	var silent []string
	for i := range g.Layers {
		none := true
		for _, out := range outputs {
			v, a := gradientLine(samples, g, out.site, models.Vision).mean[i], gradientLine(samples, g, out.site, models.Answer).mean[i]
			if v > 0 && a > 0 {
				ratios = append(ratios, v/a)
				none = false
			}
		}
		if none {
			silent = append(silent, fmt.Sprint(i))
		}
	}
	text += fmt.Sprintf(" A vision token's is %s times an answer token's", between(ratios, number))
	if len(silent) > 0 {
		text += "; in layer " + list(silent) + " it is zero: nothing behind reads the stream at a vision token any more"
	}
	return text + fmt.Sprintf(". The quarter of a sample's vision tokens with the largest gradients holds %s of their sum.", percent(topQuarter(samples, g)))
}

// topQuarter is the share of the gradient that the quarter of a sample's
// vision tokens with the largest ones holds: mean over samples, layers and
// output sites in which there is any.
func topQuarter(samples []*models.Sequence, g *ptq.TokenStats) float64 {
	total, n := 0.0, 0
	for i := range g.Layers {
		for _, out := range outputs {
			for s, values := range g.Layers[i].At(out.site) {
				var own []float64
				sum := 0.0
				for t, v := range values {
					if samples[s].Modality[t] == models.Vision {
						own = append(own, float64(v))
						sum += float64(v)
					}
				}
				if sum == 0 {
					continue
				}
				slices.Sort(own)
				top := 0.0
				for _, v := range own[len(own)-(len(own)+3)/4:] {
					top += v
				}
				total += top / sum
				n++
			}
		}
	}
	return total / float64(n)
}

// KeptTokens draws a token-level calibration set over the layers: on the left
// the share of each modality's tokens that are kept, on the right the share of
// the objective's weight that they carry. Solid lines are the set of the
// attention's sites (qkv and o), dashed ones that of the MLP's (gate_up and
// down). set is what [harness.Model.Tokens] made of samples.
func KeptTokens(samples []*models.Sequence, set *ptq.TokenSet) (*display.Figure, error) {
	if len(samples) == 0 || set == nil || len(set.Layers) == 0 {
		return nil, errors.New("report: a token-level calibration set without samples or layers: there is nothing to draw")
	}
	counts, all := tokenCounts(samples)
	kept, weight := map[models.Modality][][]float64{}, map[models.Modality][][]float64{} // [output site][layer], shares
	for _, m := range present(counts) {
		kept[m], weight[m] = make([][]float64, len(outputs)), make([][]float64, len(outputs))
	}
	for i := range set.Layers {
		for k, out := range outputs {
			n, w, err := keptOf(samples, set.Layers[i].At(out.site))
			if err != nil {
				return nil, err
			}
			sum := w[models.Vision] + w[models.Answer] + w[models.Other]
			for m := range kept {
				kept[m][k] = append(kept[m][k], n[m]/float64(counts[m]))
				weight[m][k] = append(weight[m][k], w[m]/max(sum, math.SmallestNonzeroFloat64))
			}
		}
	}
	d := &drawing{figureWidth, 245, func(c draw.Canvas) error {
		var entries []legendEntry
		for _, m := range present(counts) {
			l := modalityLook(m)
			entries = append(entries, legendEntry{m.String() + " tokens", draw.LineStyle{Color: l.color, Width: 1.5}, draw.GlyphStyle{Color: l.color, Radius: 3, Shape: l.glyph}})
		}
		entries = append(entries, legendEntry{"attention", draw.LineStyle{Color: ink, Width: 1.5}, draw.GlyphStyle{}}, legendEntry{"MLP", dashed(ink), draw.GlyphStyle{}})
		plots := []*plot.Plot{
			sharePlot("tokens kept", "% of the modality's tokens", kept, present(counts), len(set.Layers)),
			sharePlot("weight in the objective", "% of all weight", weight, present(counts), len(set.Layers)),
		}
		twoPanels(c, entries, plots)
		return nil
	}}
	return &display.Figure{Name: "kept-tokens", Caption: keptTokensCaption(samples, counts, all, kept, weight), Drawing: d}, nil
}

// keptOf counts and weighs a site's kept tokens by modality.
func keptOf(samples []*models.Sequence, sets []ptq.SampleTokens) (n, weight map[models.Modality]float64, err error) {
	n, weight = map[models.Modality]float64{}, map[models.Modality]float64{}
	if len(sets) != len(samples) {
		return nil, nil, fmt.Errorf("report: a token-level calibration set of %d samples beside %d samples: expected those that it was made of", len(sets), len(samples))
	}
	for s, tokens := range sets {
		for k, t := range tokens.Index {
			if t < 0 || t >= samples[s].Len() {
				return nil, nil, fmt.Errorf("report: a token-level calibration set that keeps token %d of sample %d, which has %d: expected the samples that it was made of", t, s, samples[s].Len())
			}
			n[samples[s].Modality[t]]++
			weight[samples[s].Modality[t]] += float64(tokens.Weight[k])
		}
	}
	return n, weight, nil
}

// sharePlot is one panel of shares in per cent.
func sharePlot(title, axis string, shares map[models.Modality][][]float64, of []models.Modality, layers int) *plot.Plot {
	p := layerPlot(title, layers)
	p.Y.Label.Text = axis
	p.Y.Tick.Marker = steps{most: 6}
	p.Y.Min, p.Y.Max = 0, 100
	p.Add(grid{y: true})
	x := make([]float64, layers)
	for i := range x {
		x[i] = float64(i)
	}
	for _, m := range of {
		for k, values := range shares[m] {
			b := &band{x: x, look: modalityLook(m), dashed: k > 0}
			for _, v := range values {
				b.mean = append(b.mean, 100*v)
			}
			b.low, b.high = b.mean, b.mean
			p.Add(b)
		}
	}
	return p
}

// keptTokensCaption states how many tokens are left and what they weigh.
func keptTokensCaption(samples []*models.Sequence, counts map[models.Modality]int, all int, kept, weight map[models.Modality][][]float64) string {
	var parts []string
	for _, m := range present(counts) {
		shares := slices.Concat(kept[m]...)
		slices.Sort(shares)
		parts = append(parts, fmt.Sprintf("%s of %s %s tokens", percent(shares[len(shares)/2]), grouped(counts[m]), m))
	}
	text := fmt.Sprintf("Of %s in %s the set keeps %s (median over layers and sites).", count(all, "token"), count(len(samples), "sample"), list(parts))
	if w := slices.Concat(weight[models.Vision]...); len(w) > 0 {
		text += fmt.Sprintf(" Vision tokens carry %s of the objective's weight.", between(w, percent))
	}
	return text
}
