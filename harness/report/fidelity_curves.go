package report

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// mostCurves is how many objectives are drawn beside the truth: more would hide it.
const mostCurves = 4

// FidelityCurves draws, for each kind of site, the true KL over α and objectives
// beside it, each divided by its value at α = 0 and averaged over layers (the
// geometric mean): where an objective's valley lies beside the truth's, it picks wrong.
func FidelityCurves(f *harness.Fidelity) (*display.Figure, error) {
	var sites []string
	for _, s := range f.Sites {
		if !slices.Contains(sites, string(s.Site)) {
			sites = append(sites, string(s.Site))
		}
	}
	drawn := curveMethods(f)
	d := &drawing{figureWidth, 225, func(c draw.Canvas) error {
		entries := []legendEntry{{"true KL", draw.LineStyle{Color: ink, Width: 2}, draw.GlyphStyle{}}}
		for i, m := range drawn {
			l := lookOf(i)
			entries = append(entries, legendEntry{m.Name, draw.LineStyle{Color: l.color, Width: 1.5}, draw.GlyphStyle{Color: l.color, Radius: 2.6, Shape: l.glyph}})
		}
		used := legend(draw.Crop(c, 30, 0, 0, -4), entries, true)
		plots := make([]*plot.Plot, len(sites))
		for i, site := range sites {
			plots[i] = curvePanel(f, site, drawn)
			if i == 0 {
				plots[i].Y.Label.Text = "relative to α = 0, %"
			}
		}
		area := draw.Crop(c, 2, -8, 2, -used-10)
		for i, canvas := range plot.Align([][]*plot.Plot{plots}, draw.Tiles{Rows: 1, Cols: len(plots), PadX: 12}, area)[0] {
			plots[i].Draw(canvas)
		}
		return nil
	}}
	return &display.Figure{Name: fileName("fidelity-curves", shortModel(f.Model), f.Settings.Format), Caption: curvesCaption(f, sites), Drawing: d}, nil
}

// curveMethods picks what is drawn: AWQ, MBQ, TLQ and answers where there are
// such, else the first ones.
func curveMethods(f *harness.Fidelity) []harness.FidelityMethod {
	var out []harness.FidelityMethod
	for _, name := range []string{"awq", "mbq", "tlq", "answers"} {
		for _, m := range f.Methods {
			if m.Name == name {
				out = append(out, m)
			}
		}
	}
	for _, m := range f.Methods {
		if len(out) < min(mostCurves, len(f.Methods)) && !slices.ContainsFunc(out, func(o harness.FidelityMethod) bool { return o.Name == m.Name }) {
			out = append(out, m)
		}
	}
	return out
}

// relative is the geometric mean over layers of a site's values divided by those at
// α = 0, in per cent.
func relative(f *harness.Fidelity, site string, of func(*harness.FidelitySite) []float64) []float64 {
	logs, n := make([]float64, len(f.Alphas)), 0
	for i := range f.Sites {
		if x := &f.Sites[i]; string(x.Site) == site {
			values := of(x)
			if values[0] <= 0 {
				continue
			}
			for k, v := range values {
				logs[k] += math.Log(max(v, 1e-12) / values[0])
			}
			n++
		}
	}
	for k := range logs {
		logs[k] = 100 * math.Exp(logs[k]/float64(max(n, 1)))
	}
	return logs
}

func trueKL(x *harness.FidelitySite) []float64 { return x.KL }

func curvePanel(f *harness.Fidelity, site string, methods []harness.FidelityMethod) *plot.Plot {
	p := newPlot()
	p.Title.Text = site
	p.X.Label.Text = "α"
	p.X.Tick.Marker, p.Y.Tick.Marker = steps{most: 5}, steps{most: 6}
	p.X.Min, p.X.Max = f.Alphas[0], f.Alphas[len(f.Alphas)-1]
	p.Add(grid{y: true})
	truth := relative(f, site, trueKL)
	low, high := slices.Min(truth), slices.Max(truth)
	var lines []*band
	for i, m := range methods {
		y := relative(f, site, func(x *harness.FidelitySite) []float64 { return x.Objectives[m.Name] })
		low, high = min(low, slices.Min(y)), max(high, slices.Max(y))
		lines = append(lines, &band{x: f.Alphas, mean: y, low: y, high: y, look: lookOf(i)})
	}
	p.Y.Min, p.Y.Max = max(low-5, 0), min(high+5, 100*highestCurve)
	for _, b := range lines {
		clip(b, p.Y.Max)
		p.Add(b)
	}
	t := slices.Clone(truth)
	for i := range t {
		t[i] = min(t[i], p.Y.Max)
	}
	p.Add(&thick{f.Alphas, t})
	return p
}

// clip keeps a line inside its panel.
func clip(b *band, high float64) {
	y := slices.Clone(b.mean)
	for i := range y {
		y[i] = min(y[i], high)
	}
	b.mean, b.low, b.high = y, y, y
}

// thick is the true loss's line.
type thick struct{ x, y []float64 }

// Plot implements plot.Plotter.
func (l *thick) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	for i := 1; i < len(l.x); i++ {
		c.StrokeLine2(draw.LineStyle{Color: ink, Width: 2}, tx(l.x[i-1]), ty(l.y[i-1]), tx(l.x[i]), ty(l.y[i]))
	}
}

// curvesCaption states where the truth's valley lies.
func curvesCaption(f *harness.Fidelity, sites []string) string {
	var parts []string
	for _, site := range sites {
		y := relative(f, site, trueKL)
		best := 0
		for k, v := range y {
			if v < y[best] {
				best = k
			}
		}
		parts = append(parts, fmt.Sprintf("%s %s at α = %s", site, percent(y[best]/100), fixed(f.Alphas[best], 2)))
	}
	return "Geometric means over layers, relative to rounding without scaling; the true KL is least for " + list(parts) + ". Curves are cut at " + percent(highestCurve) + "."
}
