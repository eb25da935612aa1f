package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// AccuracyByBits draws the accuracy kept, in per cent of the unquantized
// model's, against average bits per weight, with 95% intervals of the paired
// difference; a panel per model. records is what a run wrote; an error says that
// all formats take the same bits, or that nothing has a result.
func AccuracyByBits(records []harness.Record) (*display.Figure, error) {
	r, err := newRun(records, "")
	if err != nil {
		return nil, err
	}
	if !r.bitsDiffer() {
		return nil, fmt.Errorf("report: accuracy against bits: expected formats of at least two different average bits")
	}
	return r.accuracyByBits()
}

// bits are a setting's average bits per weight; NaN without a result.
func (s *setting) bits() float64 {
	if done := s.finished(); len(done) > 0 {
		return done[0].records[0].AvgBits
	}
	return math.NaN()
}

// bitsDiffer reports whether there is anything to draw against.
func (r *run) bitsDiffer() bool {
	var all []float64
	for _, st := range r.settings {
		if b := st.bits(); !math.IsNaN(b) {
			all = append(all, b)
		}
	}
	return len(all) > 0 && slices.Max(all)-slices.Min(all) > 0.005 // less is not to be read from two decimals
}

// The panels' measures.
const (
	bitsPanelHeight = vg.Length(190)
	bitsMostColumns = 2
)

func (r *run) accuracyByBits() (*display.Figure, error) {
	var models []string
	for _, m := range r.models {
		if slices.ContainsFunc(r.settings, func(st *setting) bool { return st.model == m && len(r.keptOf(st)) > 0 }) {
			models = append(models, m)
		}
	}
	if len(models) == 0 {
		return nil, errNothingToDraw
	}
	if r.bitsCrowded(models) {
		return r.accuracyByFormat(models), nil
	}
	columns := min(len(models), bitsMostColumns)
	rows := (len(models) + columns - 1) / columns
	low, high := r.keptLimits()
	d := &drawing{figureWidth, 34 + bitsPanelHeight*vg.Length(rows), func(c draw.Canvas) error {
		used := legend(draw.Crop(c, 30, 0, 0, -4), r.methodLegend(), true)
		area := draw.Crop(c, 2, -8, 2, -used-8)
		plots := make([][]*plot.Plot, rows)
		for i := range plots {
			plots[i] = make([]*plot.Plot, columns)
		}
		for i, m := range models {
			plots[i/columns][i%columns] = r.bitsPlot(m, low, high)
		}
		canvases := plot.Align(plots, draw.Tiles{Rows: rows, Cols: columns, PadX: 16, PadY: 8}, area)
		for i := range models {
			plots[i/columns][i%columns].Draw(canvases[i/columns][i%columns])
		}
		return nil
	}}
	return &display.Figure{Name: "accuracy-bits", Caption: r.bitsCaption(), Drawing: d}, nil
}

// roomForBits is the least distance of two formats, in bits, at which a group of dots
// for each of them finds room on an axis.
const roomForBits = 0.25

// bitsCrowded reports whether two formats' bits are too close for an axis in bits.
func (r *run) bitsCrowded(models []string) bool {
	for _, m := range models {
		var all []float64
		for _, st := range r.settings {
			if st.model == m && len(r.keptOf(st)) > 0 {
				all = append(all, st.bits())
			}
		}
		slices.Sort(all)
		for i := 1; i < len(all); i++ {
			if all[i]-all[i-1] < roomForBits {
				return true
			}
		}
	}
	return false
}

// accuracyByFormat is the figure with the formats at even distances, the fewest bits first.
func (r *run) accuracyByFormat(models []string) *display.Figure {
	m := &multiples{series: r.methodLegend(), axis: "accuracy kept, % of the unquantized model (95% interval)", unit: "%", line: 100}
	for _, model := range models {
		p := multiplePanel{title: r.modelName(model)}
		var own []*setting
		for _, st := range r.settings {
			if st.model == model && len(r.keptOf(st)) > 0 {
				own = append(own, st)
			}
		}
		slices.SortStableFunc(own, func(a, b *setting) int { return cmp.Compare(a.bits(), b.bits()) })
		for _, st := range own {
			p.groups = append(p.groups, multipleGroup{
				name: st.format, below: fixed(st.bits(), 2) + " bits", dots: r.dots(st, func(s *score) estimate { return s.kept.scaled(0, 100) }),
			})
		}
		m.panels = append(m.panels, p)
	}
	caption := r.bitsCaption() + fmt.Sprintf(" Formats less than %s bits apart stand at even distances.", digits(roomForBits))
	return &display.Figure{Name: "accuracy-bits", Caption: caption, Drawing: m.drawing()}
}

// keptOf lists a setting's scores whose accuracy kept is known.
func (r *run) keptOf(st *setting) []*score {
	return slices.DeleteFunc(st.finished(), func(s *score) bool { return !s.kept.known() })
}

// keptLimits is the range of all panels, in per cent.
func (r *run) keptLimits() (low, high float64) {
	low, high = 100, 100
	for _, st := range r.settings {
		for _, s := range r.keptOf(st) {
			k := s.kept.scaled(0, 100)
			low, high = min(low, k.mean), max(high, k.mean)
			if k.interval {
				low, high = min(low, k.low), max(high, k.high)
			}
		}
	}
	room := max(high-low, 1) * 0.06
	return low - room, high + 2*room // the formats' names stand on top
}

func (r *run) methodLegend() []legendEntry {
	var out []legendEntry
	for _, m := range r.methods {
		l := r.look(m)
		out = append(out, legendEntry{r.short(m), draw.LineStyle{}, draw.GlyphStyle{Color: l.color, Radius: 3.4, Shape: l.glyph}})
	}
	return out
}

// bitsPlot is one model.
func (r *run) bitsPlot(model string, low, high float64) *plot.Plot {
	p := newPlot()
	p.Title.Text = r.modelName(model)
	p.X.Label.Text, p.Y.Label.Text = "average bits per weight", "accuracy kept, %"
	p.X.Tick.Marker, p.Y.Tick.Marker = steps{most: 6}, steps{most: 6}
	points := &bitsPoints{run: r}
	left, right := math.Inf(1), math.Inf(-1)
	for _, st := range r.settings {
		if st.model == model && len(r.keptOf(st)) > 0 {
			points.settings = append(points.settings, st)
			left, right = min(left, st.bits()), max(right, st.bits())
		}
	}
	room := max(right-left, 0.01) * 0.15
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = left-room, right+room, low, high
	p.Add(grid{y: true}, points)
	return p
}

// bitsPoints are a model's methods: those of one format stand side by side
// around its bits.
type bitsPoints struct {
	run      *run
	settings []*setting
}

// Plot implements plot.Plotter.
func (b *bitsPoints) Plot(c draw.Canvas, p *plot.Plot) {
	const step = vg.Length(7)
	tx, ty := p.Transforms(&c)
	c.StrokeLine2(dashed(ink), c.Min.X, ty(100), c.Max.X, ty(100))
	name := style(smallSize, faint, draw.XCenter)
	var ends []vg.Length // of the names that were written
	for _, st := range b.settings {
		x := tx(st.bits())
		half := name.Width(st.format) / 2
		at := min(max(x, c.Min.X+half), c.Max.X-half)
		if !slices.ContainsFunc(ends, func(e vg.Length) bool { return math.Abs(float64(e-at)) < float64(2*half+4) }) {
			write(c, name, at, c.Max.Y-6, st.format)
			ends = append(ends, at)
		}
		for _, s := range b.run.keptOf(st) {
			i := slices.Index(b.run.methods, s.method)
			at := vg.Point{X: x + step*(vg.Length(i)-vg.Length(len(b.run.methods)-1)/2), Y: ty(100 * s.kept.mean)}
			look := b.run.look(s.method)
			if s.kept.interval {
				c.StrokeLine2(draw.LineStyle{Color: look.color, Width: 1.4}, at.X, ty(100*s.kept.low), at.X, ty(100*s.kept.high))
			}
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: look.color, Radius: 3, Shape: look.glyph}, at)
		}
	}
}

// bitsCaption says what each format keeps, the one with the fewest bits first.
func (r *run) bitsCaption() string {
	type format struct {
		name string
		bits []float64
		kept []float64
	}
	var formats []*format
	for _, st := range r.settings {
		i := slices.IndexFunc(formats, func(f *format) bool { return f.name == st.format })
		if i < 0 {
			i = len(formats)
			formats = append(formats, &format{name: st.format})
		}
		if b := st.bits(); !math.IsNaN(b) {
			formats[i].bits = append(formats[i].bits, b)
		}
		for _, s := range r.keptOf(st) {
			formats[i].kept = append(formats[i].kept, s.kept.mean)
		}
	}
	formats = slices.DeleteFunc(formats, func(f *format) bool { return len(f.kept) == 0 })
	slices.SortStableFunc(formats, func(a, b *format) int {
		return cmp.Compare(slices.Min(a.bits), slices.Min(b.bits))
	})
	var parts []string
	for _, f := range formats {
		parts = append(parts, fmt.Sprintf("%s (%s bits) %s", f.name, between(f.bits, func(b float64) string { return fixed(b, 2) }), between(f.kept, percent)))
	}
	return fmt.Sprintf("Accuracy kept against average bits per weight, scales and zeros counted, over all methods%s: %s. %s",
		map[bool]string{true: " and models"}[len(r.models) > 1], strings.Join(parts, ", "), r.basis())
}
