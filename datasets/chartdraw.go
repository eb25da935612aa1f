package datasets

import (
	"image"
	"image/color"
	"math/rand/v2"
	"strconv"
)

// Measures of a chart in pixels.
const (
	plotLeft   = 17
	plotRight  = canvas - 3
	plotTop    = 5
	plotBottom = canvas - 13
	plotHeight = plotBottom - plotTop
	chartSize  = 9 // size of labels and of the axis's numbers, pixels per em
)

var (
	chartInk  = color.RGBA{40, 40, 40, 255}
	chartGrid = color.RGBA{205, 205, 205, 255}
)

// draw paints the chart.
func (c *chart) draw(rng *rand.Rand) (*image.RGBA, error) {
	face, err := plainFace(rng)
	if err != nil {
		return nil, err
	}
	img := background(rng)
	if err := c.drawAxis(img, face); err != nil {
		return nil, err
	}
	if c.form == formLines {
		return img, c.drawLines(img, face)
	}
	return img, c.drawBars(img, rng, face)
}

// y is the height of a value, in 64ths of a pixel.
func (c *chart) y(value int) int {
	return plotBottom*unit - value*plotHeight*unit/c.top
}

// drawAxis paints grid lines, their numbers and the frame.
func (c *chart) drawAxis(img *image.RGBA, face *typeface) error {
	for v := 0; v <= c.top; v += c.tickStep() {
		y := c.y(v)
		stroke(point{plotLeft * unit, y}, point{plotRight * unit, y}, unit).draw(img, chartGrid)
		text := strconv.Itoa(v)
		width, err := face.width(text, chartSize)
		if err != nil {
			return err
		}
		if err := face.write(img, text, chartSize, plotLeft-2-width, min(y/unit+3, plotBottom+2), chartInk); err != nil {
			return err
		}
	}
	box(at(plotLeft, plotTop), at(plotLeft+1, plotBottom)).draw(img, chartInk)
	box(at(plotLeft, plotBottom), at(plotRight, plotBottom+1)).draw(img, chartInk)
	return nil
}

// label writes a text centred below the axis.
func label(img *image.RGBA, face *typeface, text string, centre int) error {
	width, err := face.width(text, chartSize)
	if err != nil {
		return err
	}
	x := min(max(centre-width/2, 0), canvas-width)
	return face.write(img, text, chartSize, x, canvas-3, chartInk)
}

// drawBars paints bars or dots, each in its slot.
func (c *chart) drawBars(img *image.RGBA, rng *rand.Rand, face *typeface) error {
	n := len(c.values[0])
	slot := (plotRight - plotLeft) * unit / n
	share := 50 + rng.IntN(36) // of a slot that a bar takes, percent
	for i, v := range c.values[0] {
		centre := plotLeft*unit + slot*i + slot/2
		if c.form == formBars {
			half := slot * share / 200
			box(point{centre - half, c.y(v)}, point{centre + half, plotBottom * unit}).draw(img, c.inks[i].color)
		} else {
			stroke(point{centre, plotBottom * unit}, point{centre, c.y(v)}, unit).draw(img, chartGrid)
			disc(point{centre, c.y(v)}, 4*unit+unit/2).draw(img, c.inks[i].color)
		}
		if !c.named {
			continue
		}
		if err := label(img, face, c.labels[i], centre/unit); err != nil {
			return err
		}
	}
	return nil
}

// valueLabels say the value of each bar or dot at the foot of its slot, where a reader
// that goes row by row has seen all of it; lines have none.
func (c *chart) valueLabels() []Label {
	if c.form == formLines {
		return nil
	}
	const foot = 3 * plotHeight / 10
	var labels []Label
	n := len(c.values[0])
	for i, v := range c.values[0] {
		left, right := plotLeft+(plotRight-plotLeft)*i/n, plotLeft+(plotRight-plotLeft)*(i+1)/n
		labels = append(labels, Label{image.Rect(left, plotBottom-foot, right, plotBottom), strconv.Itoa(v)})
	}
	return labels
}

// drawLines paints lines with dots at their labels.
func (c *chart) drawLines(img *image.RGBA, face *typeface) error {
	n := len(c.labels)
	const inset = 9
	x := func(k int) int { return (plotLeft+inset)*unit + k*(plotRight-plotLeft-2*inset)*unit/(n-1) }
	for i, list := range c.values {
		for k, v := range list {
			if k > 0 {
				stroke(point{x(k - 1), c.y(list[k-1])}, point{x(k), c.y(v)}, 2*unit).draw(img, c.inks[i].color)
			}
			disc(point{x(k), c.y(v)}, 3*unit).draw(img, c.inks[i].color)
		}
	}
	for k, text := range c.labels {
		if err := label(img, face, text, x(k)/unit); err != nil {
			return err
		}
	}
	return nil
}
