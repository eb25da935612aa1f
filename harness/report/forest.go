package report

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// forest is a dot-and-interval plot: one row per number, its label on the
// left, its value in words on the right.
type forest struct {
	rows  []forestRow
	axis  string // label of the x axis
	ticks plot.Ticker
	log   bool
	marks []forestMark // vertical lines
}

// forestRow is a heading, or a number with its interval.
type forestRow struct {
	heading bool
	strong  bool // headings only
	label   string
	at      estimate
	look    look
	value   string    // right of the plot
	around  []float64 // what at is the mean of, as faint dots
}

// forestMark is a labelled vertical line.
type forestMark struct {
	at    float64
	label string
	color color.RGBA
}

const (
	forestRowHeight = vg.Length(16)
	forestIndent    = vg.Length(10)
	margin          = vg.Length(3) // so that no letter touches the edge
)

// Plot implements plot.Plotter.
func (f *forest) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	for _, m := range f.marks {
		c.StrokeLine2(draw.LineStyle{Color: m.color, Width: 1, Dashes: []vg.Length{4, 3}}, tx(m.at), c.Min.Y, tx(m.at), c.Max.Y)
	}
	for i, row := range f.rows {
		if row.heading || !row.at.known() {
			continue
		}
		y := ty(f.y(i))
		clamp := func(v float64) vg.Length { return tx(min(max(v, p.X.Min), p.X.Max)) }
		for _, v := range row.around {
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: blend(row.look.color, white, 0.55), Radius: 2, Shape: draw.CircleGlyph{}}, vg.Point{X: clamp(v), Y: y})
		}
		if row.at.interval {
			line := draw.LineStyle{Color: row.look.color, Width: 2}
			c.StrokeLine2(line, clamp(row.at.low), y, clamp(row.at.high), y)
		}
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: row.look.color, Radius: 3.6, Shape: row.look.glyph}, vg.Point{X: clamp(row.at.mean), Y: y})
	}
}

// style and indent are a row's label's.
func (r *forestRow) style() draw.TextStyle {
	if r.strong {
		return bold(style(textSize, ink, draw.XLeft))
	}
	return style(textSize, ink, draw.XLeft)
}

func (r *forestRow) indent() vg.Length {
	if r.heading {
		return 0
	}
	return forestIndent
}

// y is the i-th row's place: the first is on top.
func (f *forest) y(i int) float64 { return float64(len(f.rows) - 1 - i) }

// limits is the range of the x axis.
func (f *forest) limits() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	take := func(v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) && (!f.log || v > 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	for _, r := range f.rows {
		if r.heading || !r.at.known() {
			continue
		}
		take(r.at.mean)
		if r.at.interval {
			take(r.at.low)
			take(r.at.high)
		}
		for _, v := range r.around {
			take(v)
		}
	}
	for _, m := range f.marks {
		take(m.at)
	}
	return padded(low, high, f.log, 0.04)
}

// drawing lays the forest out.
func (f *forest) drawing() *drawing {
	const top, bottom, labelHeight = vg.Length(20), vg.Length(40), vg.Length(18)
	height := top + bottom + forestRowHeight*vg.Length(len(f.rows))
	return &drawing{figureWidth, height, func(c draw.Canvas) error {
		c = draw.Crop(c, margin, -margin, 0, 0)
		value := style(smallSize, ink, draw.XRight)
		var left, right vg.Length
		for _, r := range f.rows {
			left = max(left, r.style().Width(r.label)+r.indent())
			right = max(right, value.Width(r.value))
		}
		left, right = min(left+12, figureWidth*0.4), right+12

		p := newPlot()
		p.HideY()
		p.X.Tick.Marker = f.ticks
		if f.log {
			p.X.Scale = plot.LogScale{}
		}
		p.X.Min, p.X.Max = f.limits()
		p.Y.Min, p.Y.Max = -0.5, float64(len(f.rows))-0.5
		p.Add(grid{x: true}, f)
		area := draw.Crop(c, left, -right, labelHeight, -top)
		p.Draw(area)

		data := p.DataCanvas(area)
		tx, ty := p.Transforms(&data)
		for i, r := range f.rows {
			y, s := ty(f.y(i))+0.8, r.style()
			write(c, s, c.Min.X+r.indent(), y, fitted(s, r.label, left-r.indent()-4))
			write(c, value, c.Max.X, y, r.value)
		}
		f.writeMarks(c, tx, left, right)
		// Not the plot's own label: gonum would make room for it beside its place on
		// a logarithmic axis.
		s := style(textSize, ink, draw.XCenter)
		half := s.Width(f.axis) / 2
		write(c, s, min(max((data.Min.X+data.Max.X)/2, c.Min.X+half), c.Max.X-half), c.Min.Y+8, f.axis)
		return nil
	}}
}

// writeMarks labels the vertical lines above the plot, where they don't run
// into each other.
func (f *forest) writeMarks(c draw.Canvas, tx func(float64) vg.Length, left, right vg.Length) {
	var ends []vg.Length
	for _, m := range f.marks {
		s := style(smallSize, m.color, draw.XCenter)
		half := s.Width(m.label) / 2
		x := min(max(tx(m.at), c.Min.X+left+half), c.Max.X-right-half)
		if n := len(ends); n > 0 && x-half < ends[n-1]+8 && x+half > ends[n-2]-8 {
			continue
		}
		ends = append(ends, x-half, x+half)
		write(c, s, x, c.Max.Y-8, m.label)
	}
}
