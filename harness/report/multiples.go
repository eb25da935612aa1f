package report

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// multiples are small plots side by side on one scale: in each, groups of dots with
// intervals, one dot of a group per series. It is the shape of a grid of models, scales,
// settings and methods.
type multiples struct {
	panels []multiplePanel
	series []legendEntry // what the dots of a group are, in order
	axis   string        // what y is, in words above the panels
	unit   string        // after y's ticks
	log    bool
	line   float64 // dashed across every panel; NaN: none
}

// multiplePanel is one plot.
type multiplePanel struct {
	title  string
	groups []multipleGroup
}

// multipleGroup is one place on the x axis.
type multipleGroup struct {
	name, below string     // the label, and a fainter line below it
	dots        []estimate // by series; unknown ones are left out
}

// The panels' measures, in points.
const (
	multipleHeight  = vg.Length(176)
	crowdedHeight   = vg.Length(205)
	multiplePad     = vg.Length(14)
	axisHeight      = vg.Length(22) // of the line that says what y is
	roomySeries     = 9             // with more, a panel takes the whole width
	multipleGroupIn = 0.86
)

// columns is how many panels stand side by side.
func (m *multiples) columns() int {
	if len(m.series) > roomySeries || len(m.panels) == 1 {
		return 1
	}
	return 2
}

func (m *multiples) panelHeight() vg.Length {
	if m.columns() == 1 {
		return crowdedHeight
	}
	return multipleHeight
}

// drawing lays the panels out below the legend, row by row.
func (m *multiples) drawing() *drawing {
	columns := m.columns()
	rows := (len(m.panels) + columns - 1) / columns
	top := legendHeight(m.series) + axisHeight
	height := top + vg.Length(rows)*(m.panelHeight()+multiplePad)
	return &drawing{figureWidth, height, func(c draw.Canvas) error {
		used := legend(draw.Crop(c, 8, -4, 0, -4), m.series, true)
		// Not the plots' own labels: they would be clipped, and gonum misplaces panels
		// with a label on a logarithmic axis.
		write(c, style(smallSize, faint, draw.XLeft), c.Min.X+8, c.Max.Y-used-axisHeight/2, m.axis)
		area := draw.Crop(c, 2, -6, 2, -used-axisHeight)
		plots := make([][]*plot.Plot, rows)
		low, high := m.limits()
		for i := range m.panels {
			plots[i/columns] = append(plots[i/columns], m.plot(&m.panels[i], low, high))
		}
		for len(plots[rows-1]) < columns {
			plots[rows-1] = append(plots[rows-1], nil)
		}
		canvases := plot.Align(plots, draw.Tiles{Rows: rows, Cols: columns, PadX: 12, PadY: multiplePad}, area)
		for i := range m.panels {
			plots[i/columns][i%columns].Draw(canvases[i/columns][i%columns])
		}
		return nil
	}}
}

// legendHeight measures a legend of the figure's width.
func legendHeight(entries []legendEntry) vg.Length {
	room := vg.Rectangle{Max: vg.Point{X: figureWidth - 12, Y: 1000}}
	return legend(draw.Canvas{Rectangle: room}, entries, false) + 4
}

// limits is the range of all panels.
func (m *multiples) limits() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	take := func(v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) && (!m.log || v > 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	for _, p := range m.panels {
		for _, g := range p.groups {
			for _, e := range g.dots {
				take(e.mean)
				if e.interval && e.known() {
					take(e.low)
					take(e.high)
				}
			}
		}
	}
	take(m.line)
	return padded(low, high, m.log, 0.05)
}

// padded widens the range of what an axis shows, low > high for nothing, by a share of
// it at either end.
func padded(low, high float64, log bool, share float64) (from, to float64) {
	switch {
	case low > high:
		return 0, 1
	case log:
		return low / 1.15, high * 1.15
	case low == high:
		return low - 1, high + 1
	}
	return low - (high-low)*share, high + (high-low)*share
}

// plot is one panel.
func (m *multiples) plot(p *multiplePanel, low, high float64) *plot.Plot {
	out := newPlot()
	out.Title.Text = p.title
	out.X.Min, out.X.Max = -0.5, float64(len(p.groups))-0.5
	out.X.Tick.Marker = groupTicks(p.groups)
	out.X.Tick.Length = 0
	out.Y.Min, out.Y.Max = low, high
	out.Y.Tick.Marker = steps{most: 6, unit: m.unit}
	if m.log {
		out.Y.Scale, out.Y.Tick.Marker = plot.LogScale{}, decades{}
	}
	out.Add(grid{y: true}, &multipleDots{m, p})
	return out
}

// groupTicks names the groups.
type groupTicks []multipleGroup

// Ticks implements plot.Ticker.
func (g groupTicks) Ticks(_, _ float64) []plot.Tick {
	out := make([]plot.Tick, len(g))
	for i := range g {
		label := g[i].name
		if g[i].below != "" {
			label += "\n" + g[i].below
		}
		out[i] = plot.Tick{Value: float64(i), Label: label}
	}
	return out
}

// multipleDots draws one panel's groups.
type multipleDots struct {
	*multiples
	panel *multiplePanel
}

// Plot implements plot.Plotter.
func (d *multipleDots) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	for i := 1; i < len(d.panel.groups); i++ {
		x := tx(float64(i) - 0.5)
		c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.5}, x, c.Min.Y, x, c.Max.Y)
	}
	if !math.IsNaN(d.line) {
		c.StrokeLine2(dashed(ink), c.Min.X, ty(d.line), c.Max.X, ty(d.line))
	}
	step := multipleGroupIn / float64(max(len(d.series), 1))
	radius := min(max((tx(step)-tx(0))*0.42, 1.6), 3.2)
	clamp := func(v float64) vg.Length { return ty(min(max(v, p.Y.Min), p.Y.Max)) }
	for i := range d.panel.groups {
		for k, e := range d.panel.groups[i].dots {
			if !e.known() {
				continue
			}
			x := tx(float64(i) + step*(float64(k)-float64(len(d.series)-1)/2))
			glyph := d.series[k].glyph
			if e.interval {
				c.StrokeLine2(draw.LineStyle{Color: glyph.Color, Width: 1.3}, x, clamp(e.low), x, clamp(e.high))
			}
			glyph.Radius = radius
			c.DrawGlyphNoClip(glyph, vg.Point{X: x, Y: clamp(e.mean)})
		}
	}
}

// family groups models whose members differ in scale.
type family struct {
	name   string
	models []string
}

// families lists the run's models by family, in order of appearance.
func (r *run) families() []family {
	var out []family
	for _, model := range r.models {
		name, _ := r.identity(model)
		i := slices.IndexFunc(out, func(f family) bool { return f.name == name })
		if i < 0 {
			i = len(out)
			out = append(out, family{name: name})
		}
		out[i].models = append(out[i].models, model)
	}
	return out
}

// identity is what records say of a model itself.
func (r *run) identity(model string) (family, scale string) {
	for i := range r.records {
		if r.records[i].Model == model {
			return r.records[i].Family, r.records[i].Scale
		}
	}
	return "", ""
}

// scaleName is what tells a model from the others of its family: its scale, or its name
// where it has none or another has the same.
func (r *run) scaleName(f family, model string) string {
	_, scale := r.identity(model)
	for _, other := range f.models {
		if _, same := r.identity(other); other != model && same == scale {
			return r.modelName(model)
		}
	}
	if scale == "" {
		return r.modelName(model)
	}
	return scale
}

// formats lists the run's settings of models' formats, in order of appearance.
func (r *run) formats() []string {
	var out []string
	for _, st := range r.settings {
		if !slices.Contains(out, st.format) {
			out = append(out, st.format)
		}
	}
	return out
}

// setting finds a model's setting; nil where there is none.
func (r *run) setting(model, format string) *setting {
	for _, st := range r.settings {
		if st.model == model && st.format == format {
			return st
		}
	}
	return nil
}

// dots are a setting's values by method.
func (r *run) dots(st *setting, of func(*score) estimate) []estimate {
	out := make([]estimate, len(r.methods))
	for i, m := range r.methods {
		out[i] = unknown
		for _, s := range st.finished() {
			if s.method == m {
				out[i] = of(s)
			}
		}
	}
	return out
}

// multiplesOf draws a measure of every model, format and method: a panel per family and
// format, a group per scale. below is a line under a model's name.
func (r *run) multiplesOf(of func(*score) estimate, below func(model string) string) *multiples {
	m := &multiples{series: r.methodLegend(), line: math.NaN()}
	for _, f := range r.families() {
		for _, format := range r.formats() {
			p := multiplePanel{title: format}
			if f.name != "" {
				p.title = f.name + ", " + format
			}
			any := false
			for _, model := range f.models {
				st := r.setting(model, format)
				if st == nil || len(st.finished()) == 0 {
					continue
				}
				g := multipleGroup{name: r.scaleName(f, model), dots: r.dots(st, of)}
				if below != nil {
					g.below = below(model)
				}
				p.groups = append(p.groups, g)
				any = any || slices.ContainsFunc(g.dots, estimate.known)
			}
			if any {
				m.panels = append(m.panels, p)
			}
		}
	}
	return m
}
