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
	"github.com/tlqlab/tlqlab/harness"
)

// siteOrder is the order of a decoder layer's sites.
var siteOrder = []string{"qkv", "o", "gate_up", "down"}

// curvesPerSite is how many layers the small multiples show.
const curvesPerSite = 3

// highestCurve cuts the axis of J(α)/J(0): where a search goes wrong the
// objective grows without bound, and what matters lies around 1.
const highestCurve = 1.75

// AlphaCurves draws the objective of every scale search over its candidates,
// J(α)/J(0) in per cent, one panel per site with the curves of the first, the
// middle and the last layer, the chosen α marked. α = 0 is plain rounding. The
// caption speaks of all layers. A trace without a search is an error.
func AlphaCurves(trace *harness.Trace) (*display.Figure, error) {
	if trace == nil {
		return nil, errors.New("report: no trace")
	}
	return alphaCurves(trace, methodLabel(nil, trace.Method), shortModel(trace.Model))
}

func alphaCurves(trace *harness.Trace, method, model string) (*display.Figure, error) {
	sites := searchedSites(trace)
	if len(sites) == 0 {
		return nil, fmt.Errorf("report: %s at %s searched no scale: there are no α-curves", trace.Method, trace.Format)
	}
	if err := checkCurves(trace); err != nil {
		return nil, err
	}
	layers := chosenLayers(trace)
	columns := min(3, len(sites))
	if len(sites) == 4 {
		columns = 2
	}
	rows := (len(sites) + columns - 1) / columns
	const panelHeight = vg.Length(165)
	low, high := curveLimits(trace, layers)
	d := &drawing{figureWidth, 34 + panelHeight*vg.Length(rows), func(c draw.Canvas) error {
		used := legend(draw.Crop(c, 30, 0, 0, -4), layerLegend(trace, layers), true)
		area := draw.Crop(c, 2, -8, 2, -used-12)
		plots := make([][]*plot.Plot, rows)
		for i := range plots {
			plots[i] = make([]*plot.Plot, columns)
			for j := range plots[i] {
				if k := i*columns + j; k < len(sites) {
					plots[i][j] = curvePlot(trace, layers, sites[k], low, high, j == 0)
				}
			}
		}
		tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 14, PadY: 10}
		canvases := plot.Align(plots, tiles, area)
		for i := range plots {
			for j, p := range plots[i] {
				if p != nil {
					p.Draw(canvases[i][j])
				}
			}
		}
		return nil
	}}
	return &display.Figure{
		Name:    fileName("alpha", model, trace.Format, trace.Method),
		Caption: alphaCaption(trace, sites, method, model, high >= 100*highestCurve),
		Drawing: d,
	}, nil
}

// searchedSites lists the sites at which any layer was searched.
func searchedSites(trace *harness.Trace) []string {
	var out []string
	for _, l := range trace.Layers {
		for site := range l.Sites {
			if !slices.Contains(out, site) {
				out = append(out, site)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		ia, ib := slices.Index(siteOrder, a), slices.Index(siteOrder, b)
		if ia != ib {
			return ia - ib
		}
		if a < b {
			return -1
		}
		return 1
	})
	return out
}

// checkCurves refuses a trace that cannot be drawn.
func checkCurves(trace *harness.Trace) error {
	for _, l := range trace.Layers {
		for site, s := range l.Sites {
			switch {
			case len(s.Alphas) == 0 || len(s.Alphas) != len(s.J):
				return fmt.Errorf("report: trace of %s: layer %d, %s: %d candidates with %d values of the objective: expected as many of both", trace.Method, l.Index, site, len(s.Alphas), len(s.J))
			case s.Chosen < 0 || s.Chosen >= len(s.J):
				return fmt.Errorf("report: trace of %s: layer %d, %s: chosen candidate %d of %d", trace.Method, l.Index, site, s.Chosen, len(s.J))
			case !(plain(s) > 0):
				return fmt.Errorf("report: trace of %s: layer %d, %s: objective %g at α = 0: expected a positive number", trace.Method, l.Index, site, plain(s))
			}
		}
	}
	return nil
}

// plain is the objective at α = 0, else at the first candidate.
func plain(s harness.TraceSite) float64 {
	if i := slices.Index(s.Alphas, 0); i >= 0 {
		return s.J[i]
	}
	return s.J[0]
}

// chosenLayers are positions in trace.Layers: first, middle, last.
func chosenLayers(trace *harness.Trace) []int {
	n := len(trace.Layers)
	var out []int
	for i := range curvesPerSite {
		k := int(math.Round(float64(i) * float64(n-1) / (curvesPerSite - 1)))
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// curveLimits is the range of J(α)/J(0) in per cent over what is drawn.
func curveLimits(trace *harness.Trace, layers []int) (low, high float64) {
	low, high = 100, 100
	for _, i := range layers {
		for _, s := range trace.Layers[i].Sites {
			for _, j := range s.J {
				low, high = min(low, 100*j/plain(s)), max(high, 100*j/plain(s))
			}
		}
	}
	high = min(high, 100*highestCurve)
	pad := max(0.06*(high-low), 1)
	return low - pad, high + pad
}

func layerLegend(trace *harness.Trace, layers []int) []legendEntry {
	var out []legendEntry
	for i, k := range layers {
		l := lookOf(i)
		out = append(out, legendEntry{fmt.Sprintf("layer %d", trace.Layers[k].Index), draw.LineStyle{Color: l.color, Width: 1.5}, draw.GlyphStyle{}})
	}
	return append(out, legendEntry{"chosen α", draw.LineStyle{}, draw.GlyphStyle{Color: ink, Radius: 3.6, Shape: draw.CircleGlyph{}}})
}

// curvePlot is one site's panel.
func curvePlot(trace *harness.Trace, layers []int, site string, low, high float64, labelled bool) *plot.Plot {
	p := newPlot()
	p.Title.Text = site
	p.X.Label.Text = "α"
	if labelled {
		p.Y.Label.Text = "J(α) / J(0), %"
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = steps{most: 6}, steps{most: 8}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, low, high
	p.Add(grid{y: true}, levelLine(100))
	for i, k := range layers {
		if s, ok := trace.Layers[k].Sites[site]; ok {
			p.X.Min, p.X.Max = min(p.X.Min, slices.Min(s.Alphas)), max(p.X.Max, slices.Max(s.Alphas))
			p.Add(&curve{s, lookOf(i)})
		}
	}
	return p
}

// levelLine is a dashed horizontal line.
type levelLine float64

// Plot implements plot.Plotter.
func (l levelLine) Plot(c draw.Canvas, p *plot.Plot) {
	_, ty := p.Transforms(&c)
	c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.75, Dashes: []vg.Length{3, 2}}, c.Min.X, ty(float64(l)), c.Max.X, ty(float64(l)))
}

// curve is one search: a line through the candidates, a mark at the chosen one.
type curve struct {
	site harness.TraceSite
	look look
}

// Plot implements plot.Plotter.
func (v *curve) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	line := make([]vg.Point, len(v.site.J))
	for i, j := range v.site.J {
		line[i] = vg.Point{X: tx(v.site.Alphas[i]), Y: ty(100 * j / plain(v.site))}
	}
	slices.SortStableFunc(line, func(a, b vg.Point) int {
		switch {
		case a.X < b.X:
			return -1
		case a.X > b.X:
			return 1
		}
		return 0
	})
	c.StrokeLines(draw.LineStyle{Color: v.look.color, Width: 1.5}, c.ClipLinesXY(line)...)
	at := vg.Point{X: tx(v.site.Alphas[v.site.Chosen]), Y: ty(min(100*v.site.J[v.site.Chosen]/plain(v.site), p.Y.Max))}
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: white, Radius: 4.6, Shape: draw.CircleGlyph{}}, at)
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: v.look.color, Radius: 3.6, Shape: draw.CircleGlyph{}}, at)
}

// alphaCaption states what all searches found.
func alphaCaption(trace *harness.Trace, sites []string, method, model string, cut bool) string {
	var searches, better int
	var gains []float64
	var medians []string
	for _, site := range sites {
		var chosen []float64
		for _, l := range trace.Layers {
			s, ok := l.Sites[site]
			if !ok {
				continue
			}
			searches++
			chosen = append(chosen, s.Alphas[s.Chosen])
			gain := 1 - s.J[s.Chosen]/plain(s)
			gains = append(gains, gain)
			if gain > 0 {
				better++
			}
		}
		medians = append(medians, fmt.Sprintf("%s at %s", fixed(median(chosen), 2), site))
	}
	out := fmt.Sprintf("%s at %s on %s: a smoothing exponent α above plain rounding's lowers the objective in %d of %d searches, by %s in the median and by %s at most; the median chosen α is %s.",
		method, trace.Format, model, better, searches, percent(median(gains)), percent(slices.Max(gains)), list(medians))
	if cut {
		out += fmt.Sprintf(" Curves above %s leave the panel.", fixed(100*highestCurve, 0)+"%")
	}
	return out
}

// median of a list that isn't empty; it stays as it is.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// fileName joins words into a name that any file system takes.
func fileName(words ...string) string {
	var b []byte
	for i, w := range words {
		if i > 0 {
			b = append(b, '-')
		}
		for j := range len(w) {
			c := w[j]
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
				b = append(b, c)
			default:
				b = append(b, '-')
			}
		}
	}
	return string(b)
}

// blend mixes two colours; 0 is the first.
func blend(a, b color.RGBA, t float64) color.RGBA {
	t = min(max(t, 0), 1)
	mix := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + t*(float64(y)-float64(x)))) }
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xFF}
}
