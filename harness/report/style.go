package report

import (
	"fmt"
	"image/color"
	"image/png"
	"io"
	"math"
	"strconv"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes in points of 1/72 inch. A figure is 700 px wide where a page shows it
// at 96 dots per inch; PNG files have twice as many.
const (
	figureWidth = vg.Length(525)
	pngDPI      = 192

	textSize  = vg.Length(9.5)
	smallSize = vg.Length(8.5)
	titleSize = vg.Length(10.5)
)

// Okabe and Ito's palette, distinguishable with every common kind of colour
// blindness (jfly.uni-koeln.de/color), without its yellow, which is too light
// for lines on white.
var (
	vermillion = color.RGBA{0xD5, 0x5E, 0x00, 0xFF}
	blue       = color.RGBA{0x00, 0x72, 0xB2, 0xFF}
	green      = color.RGBA{0x00, 0x9E, 0x73, 0xFF}
	purple     = color.RGBA{0xCC, 0x79, 0xA7, 0xFF}
	orange     = color.RGBA{0xE6, 0x9F, 0x00, 0xFF}
	sky        = color.RGBA{0x56, 0xB4, 0xE9, 0xFF}

	ink   = color.RGBA{0x22, 0x22, 0x22, 0xFF}
	faint = color.RGBA{0x77, 0x77, 0x77, 0xFF}
	rule  = color.RGBA{0xDD, 0xDD, 0xDD, 0xFF}
	white = color.RGBA{0xFF, 0xFF, 0xFF, 0xFF}

	palette = []color.RGBA{vermillion, blue, green, purple, orange, sky}
	glyphs  = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, diamondGlyph{}}
)

// look is how one method is drawn everywhere. Colour and shape both tell
// methods apart, so that neither has to be seen.
type look struct {
	color color.RGBA
	glyph draw.GlyphDrawer
}

// lookOf gives the i-th method its look; with more methods than colours the
// shapes go round in another rhythm.
func lookOf(i int) look {
	return look{palette[i%len(palette)], glyphs[(i+i/len(palette))%len(glyphs)]}
}

// diamondGlyph draws a filled square on its corner.
type diamondGlyph struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (diamondGlyph) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, pt vg.Point) {
	r := sty.Radius * 1.25
	var p vg.Path
	p.Move(vg.Point{X: pt.X + r, Y: pt.Y})
	p.Line(vg.Point{X: pt.X, Y: pt.Y + r})
	p.Line(vg.Point{X: pt.X - r, Y: pt.Y})
	p.Line(vg.Point{X: pt.X, Y: pt.Y - r})
	p.Close()
	c.Fill(p)
}

// style is sans-serif text.
func style(size vg.Length, c color.Color, x draw.XAlignment) draw.TextStyle {
	return draw.TextStyle{
		Color:   c,
		Font:    font.Font{Typeface: plot.DefaultFont.Typeface, Variant: "Sans", Size: size},
		XAlign:  x,
		YAlign:  draw.YCenter,
		Handler: text.Plain{Fonts: font.DefaultCache},
	}
}

func bold(s draw.TextStyle) draw.TextStyle {
	s.Font.Weight = xfont.WeightBold
	return s
}

// newPlot is a plot in the report's style: sans-serif, thin axes, no frame.
func newPlot() *plot.Plot {
	p := plot.New()
	p.Title.TextStyle = bold(style(titleSize, ink, draw.XCenter))
	p.Title.TextStyle.YAlign = draw.YTop
	p.Title.Padding = 5
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		label, tick := style(textSize, ink, draw.XCenter), style(smallSize, ink, draw.XCenter)
		label.YAlign, tick.YAlign = a.Label.TextStyle.YAlign, a.Tick.Label.YAlign
		label.XAlign, tick.XAlign = a.Label.TextStyle.XAlign, a.Tick.Label.XAlign
		label.Rotation = a.Label.TextStyle.Rotation
		a.Label.TextStyle, a.Tick.Label = label, tick
		a.Label.Padding = 2
		a.LineStyle.Color, a.Tick.LineStyle.Color = faint, faint
		a.Tick.Length = 4
		a.Padding = 0
	}
	return p
}

// drawing is a picture made by painting on a canvas, whatever it becomes.
type drawing struct {
	width, height vg.Length
	paint         func(c draw.Canvas) error
}

// Draw renders the picture on white as "png" or "svg".
func (d *drawing) Draw(w io.Writer, format string) error {
	switch format {
	case "png":
		c := vgimg.NewWith(vgimg.UseWH(d.width, d.height), vgimg.UseDPI(pngDPI))
		if err := d.paint(draw.New(c)); err != nil {
			return err
		}
		return png.Encode(w, c.Image())
	case "svg":
		c := &svgCanvas{Canvas: vgsvg.New(d.width, d.height)}
		dc := draw.New(c)
		fill(dc, dc.Rectangle, white)
		if err := d.paint(dc); err != nil {
			return err
		}
		return c.write(w)
	}
	return fmt.Errorf("report: format %q: expected png or svg", format)
}

func fill(c draw.Canvas, r vg.Rectangle, col color.Color) {
	c.SetColor(col)
	c.Fill(r.Path())
}

// write puts text at a point, aligned as the style says.
func write(c draw.Canvas, s draw.TextStyle, x, y vg.Length, txt string) {
	c.FillText(s, vg.Point{X: x, Y: y}, txt)
}

// fitted shortens text until it is at most width wide.
func fitted(s draw.TextStyle, txt string, width vg.Length) string {
	if s.Width(txt) <= width {
		return txt
	}
	runes := []rune(txt)
	for n := len(runes) - 1; n > 0; n-- {
		if short := string(runes[:n]) + "…"; s.Width(short) <= width {
			return short
		}
	}
	return "…"
}

// steps puts ticks at round numbers, at most most of them, each labelled with
// as many digits as it takes.
type steps struct {
	most int
	unit string // after each label
}

// Ticks implements plot.Ticker.
func (s steps) Ticks(low, high float64) []plot.Tick {
	step, digits := roundStep((high - low) / float64(max(s.most-1, 1)))
	var out []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		out = append(out, plot.Tick{Value: i * step, Label: minus(strconv.FormatFloat(i*step, 'f', digits, 64)) + s.unit})
	}
	return out
}

// roundStep is the smallest 1, 2 or 5 times a power of ten that isn't below
// raw, and the decimals that it takes.
func roundStep(raw float64) (step float64, decimals int) {
	if raw <= 0 || math.IsInf(raw, 0) || math.IsNaN(raw) {
		return 1, 0
	}
	exponent := math.Floor(math.Log10(raw))
	power := math.Pow(10, exponent)
	for _, m := range []float64{1, 2, 5, 10} {
		if m*power >= raw*(1-1e-9) {
			if m == 10 {
				exponent++
			}
			return m * power, max(0, -int(exponent))
		}
	}
	return 10 * power, max(0, -int(exponent)-1)
}

// decades puts labelled ticks at 1, 2 and 5 times powers of ten.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	multiples := []float64{1, 2, 5}
	switch span := math.Log10(high / low); {
	case span > 3.5:
		multiples = []float64{1}
	case span > 2:
		multiples = []float64{1, 3}
	}
	var out []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, m := range multiples {
			v := m * math.Pow(10, e)
			if v >= low*(1-1e-9) && v <= high*(1+1e-9) {
				out = append(out, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', max(0, -int(e)), 64)})
			}
		}
	}
	return out
}

// legendEntry is one name with the mark that stands for it.
type legendEntry struct {
	label string
	line  draw.LineStyle  // width 0: none
	glyph draw.GlyphStyle // nil shape: none
}

// legend draws entries from left to right, in as many rows as they take, below
// the top of the canvas. It returns the height that it took; with draw unset
// it only measures.
func legend(c draw.Canvas, entries []legendEntry, paint bool) vg.Length {
	const sample, gap, rowHeight = vg.Length(22), vg.Length(16), vg.Length(15)
	s := style(textSize, ink, draw.XLeft)
	x, y := c.Min.X, c.Max.Y-rowHeight/2
	for _, e := range entries {
		width := sample + 5 + s.Width(e.label)
		if x > c.Min.X && x+width > c.Max.X {
			x, y = c.Min.X, y-rowHeight
		}
		if paint {
			if e.line.Width > 0 {
				c.StrokeLine2(e.line, x, y, x+sample, y)
			}
			c.DrawGlyphNoClip(e.glyph, vg.Point{X: x + sample/2, Y: y})
			write(c, s, x+sample+5, y, e.label)
		}
		x += width + gap
	}
	return c.Max.Y - y + rowHeight/2
}

// grid draws thin lines at the labelled ticks, behind everything else.
type grid struct{ x, y bool }

// Plot implements plot.Plotter.
func (g grid) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	line := draw.LineStyle{Color: rule, Width: 0.5}
	if g.x {
		for _, t := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
			c.StrokeLine2(line, tx(t.Value), c.Min.Y, tx(t.Value), c.Max.Y)
		}
	}
	if g.y {
		for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
			c.StrokeLine2(line, c.Min.X, ty(t.Value), c.Max.X, ty(t.Value))
		}
	}
}
