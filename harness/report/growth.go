package report

import (
	"cmp"
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// ErrorGrowth draws how far the quantized residual stream is from the
// unquantized one after every layer, in per cent of its norm, one line per
// method: solid for the exposed stream, in which all earlier layers are
// quantized too; dashed for the error that the layer adds alone, fed with the
// unquantized stream. Panels show vision and answer tokens, or all tokens
// where there aren't both. Several traces of a method are seeds: the line is
// their mean, the band their range. All traces must be of one model and format
// and have the same layers.
func ErrorGrowth(traces ...*harness.Trace) (*display.Figure, error) {
	var methods []string
	for _, t := range traces {
		if t != nil && !slices.Contains(methods, t.Method) {
			methods = append(methods, t.Method)
		}
	}
	r := &run{methods: methods}
	return r.errorGrowth(traces)
}

// growth is one method's errors, [seeds][layers].
type growth struct {
	method         string
	exposed, local [][]harness.TokenErrors
}

// panel is one kind of token.
type panel struct {
	title string
	of    func(harness.TokenErrors) float64
}

func (r *run) errorGrowth(traces []*harness.Trace) (*display.Figure, error) {
	grown, err := r.gather(traces)
	if err != nil {
		return nil, err
	}
	first := traces[0]
	layers := make([]float64, len(first.Layers))
	for i, l := range first.Layers {
		layers[i] = float64(l.Index)
	}
	panels := panelsOf(grown)
	d := &drawing{figureWidth, 255, func(c draw.Canvas) error {
		used := legend(draw.Crop(c, 30, 0, 0, -4), r.growthLegend(grown), true)
		area := draw.Crop(c, 2, -8, 2, -used-12)
		plots := [][]*plot.Plot{make([]*plot.Plot, len(panels))}
		for i, pn := range panels {
			plots[0][i] = r.growthPlot(grown, pn, layers)
		}
		for i, canvas := range plot.Align(plots, draw.Tiles{Rows: 1, Cols: len(panels), PadX: 16}, area)[0] {
			plots[0][i].Draw(canvas)
		}
		return nil
	}}
	return &display.Figure{Name: fileName("error-growth", r.modelName(first.Model), first.Format), Caption: r.growthCaption(first, grown, panels), Drawing: d}, nil
}

// gather sorts traces by method and checks that they belong together.
func (r *run) gather(traces []*harness.Trace) ([]*growth, error) {
	var grown []*growth
	for _, t := range traces {
		if t == nil || len(t.Layers) == 0 {
			return nil, errors.New("report: a trace without layers: there is no error to draw")
		}
		f := traces[0]
		switch {
		case t.Model != f.Model || t.Format != f.Format:
			return nil, fmt.Errorf("report: error growth: traces of %s %s and of %s %s: expected one model and one format", f.Model, f.Format, t.Model, t.Format)
		case len(t.Layers) != len(f.Layers):
			return nil, fmt.Errorf("report: error growth: traces of %d and of %d layers: expected as many", len(f.Layers), len(t.Layers))
		}
		i := slices.IndexFunc(grown, func(g *growth) bool { return g.method == t.Method })
		if i < 0 {
			i = len(grown)
			grown = append(grown, &growth{method: t.Method})
		}
		g := grown[i]
		exposed, local := make([]harness.TokenErrors, len(t.Layers)), make([]harness.TokenErrors, len(t.Layers))
		for k, l := range t.Layers {
			exposed[k], local[k] = l.Exposed, l.Local
		}
		g.exposed, g.local = append(g.exposed, exposed), append(g.local, local)
	}
	if len(grown) == 0 {
		return nil, errors.New("report: no traces: there is no error to draw")
	}
	return grown, nil
}

// panelsOf picks the kinds of tokens that have errors.
func panelsOf(grown []*growth) []panel {
	vision := panel{"vision tokens", func(e harness.TokenErrors) float64 { return e.Vision }}
	answer := panel{"answer tokens", func(e harness.TokenErrors) float64 { return e.Answer }}
	has := func(p panel) bool {
		for _, g := range grown {
			for _, seed := range g.exposed {
				if slices.ContainsFunc(seed, func(e harness.TokenErrors) bool { return p.of(e) > 0 }) {
					return true
				}
			}
		}
		return false
	}
	if has(vision) && has(answer) {
		return []panel{vision, answer}
	}
	return []panel{{"all tokens", func(e harness.TokenErrors) float64 { return e.All }}}
}

func (r *run) growthLegend(grown []*growth) []legendEntry {
	var out []legendEntry
	for _, g := range grown {
		l := r.look(g.method)
		out = append(out, legendEntry{r.short(g.method), draw.LineStyle{Color: l.color, Width: 1.5}, draw.GlyphStyle{Color: l.color, Radius: 3, Shape: l.glyph}})
	}
	return append(out, legendEntry{"exposed", draw.LineStyle{Color: ink, Width: 1.5}, draw.GlyphStyle{}},
		legendEntry{"layer alone", dashed(ink), draw.GlyphStyle{}})
}

func dashed(c color.Color) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: 1.2, Dashes: []vg.Length{4, 2.5}}
}

// growthPlot is one kind of token.
func (r *run) growthPlot(grown []*growth, pn panel, layers []float64) *plot.Plot {
	p := newPlot()
	p.Title.Text = pn.title
	p.X.Label.Text = "decoder layer"
	p.Y.Label.Text = "relative error, %"
	p.X.Tick.Marker, p.Y.Tick.Marker = wholeSteps{}, steps{most: 6}
	p.X.Min, p.X.Max, p.Y.Min = layers[0], layers[len(layers)-1], 0
	if len(layers) == 1 {
		p.X.Min, p.X.Max = layers[0]-0.5, layers[0]+0.5
	}
	p.Add(grid{y: true})
	high := 0.0
	for _, g := range grown {
		l := r.look(g.method)
		local, exposed := series(g.local, pn, layers, l), series(g.exposed, pn, layers, l)
		local.dashed = true
		p.Add(local, exposed)
		high = max(high, slices.Max(exposed.high), slices.Max(local.high))
	}
	p.Y.Max = high * 1.06
	if high == 0 {
		p.Y.Max = 1
	}
	return p
}

// wholeSteps puts ticks at whole numbers.
type wholeSteps struct{}

// Ticks implements plot.Ticker.
func (wholeSteps) Ticks(low, high float64) []plot.Tick {
	step, _ := roundStep((high - low) / 8)
	step = max(step, 1)
	var out []plot.Tick
	for v := math.Ceil(low); v <= high; v += step {
		out = append(out, plot.Tick{Value: v, Label: fixed(v, 0)})
	}
	return out
}

// band is a line with the range of its seeds.
type band struct {
	x, mean, low, high []float64
	look               look
	dashed             bool
}

// series is the mean over seeds in per cent.
func series(seeds [][]harness.TokenErrors, pn panel, layers []float64, l look) *band {
	b := &band{x: layers, look: l}
	for i := range layers {
		sum, low, high := 0.0, math.Inf(1), math.Inf(-1)
		for _, s := range seeds {
			v := 100 * pn.of(s[i])
			sum, low, high = sum+v, min(low, v), max(high, v)
		}
		b.mean, b.low, b.high = append(b.mean, sum/float64(len(seeds))), append(b.low, low), append(b.high, high)
	}
	return b
}

// Plot implements plot.Plotter.
func (b *band) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	line := make([]vg.Point, len(b.x))
	var area []vg.Point
	for i := range b.x {
		line[i] = vg.Point{X: tx(b.x[i]), Y: ty(b.mean[i])}
		area = append(area, vg.Point{X: tx(b.x[i]), Y: ty(b.high[i])})
	}
	for i := len(b.x) - 1; i >= 0; i-- {
		area = append(area, vg.Point{X: tx(b.x[i]), Y: ty(b.low[i])})
	}
	if !slices.Equal(b.low, b.high) && !b.dashed {
		c.FillPolygon(color.NRGBA{b.look.color.R, b.look.color.G, b.look.color.B, 0x30}, area)
	}
	if b.dashed {
		c.StrokeLines(dashed(b.look.color), line)
		return
	}
	c.StrokeLines(draw.LineStyle{Color: b.look.color, Width: 1.5}, line)
	for _, pt := range line {
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: b.look.color, Radius: 2.6, Shape: b.look.glyph}, pt)
	}
}

// growthCaption states where the errors begin and end.
func (r *run) growthCaption(first *harness.Trace, grown []*growth, panels []panel) string {
	from, to := first.Layers[0].Index, first.Layers[len(first.Layers)-1].Index
	var parts []string
	for _, pn := range panels {
		parts = append(parts, fmt.Sprintf("at %s %s", pn.title, r.growthWords(grown, pn, len(first.Layers))))
	}
	text := fmt.Sprintf("At %s on %s the error of the exposed stream, in %% of the unquantized one, goes between layers %d and %d %s", first.Format, r.modelName(first.Model), from, to, strings.Join(parts, "; "))
	var alone []float64
	for _, g := range grown {
		for _, pn := range panels {
			alone = append(alone, series(g.local, pn, make([]float64, len(first.Layers)), look{}).mean...)
		}
	}
	text += fmt.Sprintf("; one layer alone adds %s.", between(alone, func(v float64) string { return percent(v / 100) }))
	if n := seedsOf(grown); n > 1 {
		return text + fmt.Sprintf(" Lines are means over up to %d calibration seeds, bands their range.", n)
	}
	return text + " One calibration seed."
}

// growthWords says where each method's error begins and ends; of many methods, the ends
// of the least and the most.
func (r *run) growthWords(grown []*growth, pn panel, layers int) string {
	ends := func(g *growth) (from, to float64) {
		e := series(g.exposed, pn, make([]float64, layers), look{}).mean
		return e[0] / 100, e[len(e)-1] / 100
	}
	if len(grown) <= mostNamed {
		var methods []string
		for _, g := range grown {
			from, to := ends(g)
			methods = append(methods, fmt.Sprintf("from %s to %s with %s", percent(from), percent(to), r.label(g.method)))
		}
		return list(methods)
	}
	order := slices.Clone(grown)
	slices.SortStableFunc(order, func(a, b *growth) int {
		_, x := ends(a)
		_, y := ends(b)
		return cmp.Compare(x, y)
	})
	var begin []float64
	for _, g := range order {
		from, _ := ends(g)
		begin = append(begin, from)
	}
	_, least := ends(order[0])
	_, most := ends(order[len(order)-1])
	return fmt.Sprintf("from %s to %s with %s, the least, and %s with %s, the most", between(begin, percent), percent(least), r.label(order[0].method), percent(most), r.label(order[len(order)-1].method))
}

func seedsOf(grown []*growth) int {
	n := 0
	for _, g := range grown {
		n = max(n, len(g.exposed))
	}
	return n
}
