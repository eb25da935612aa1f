package report

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/harness"
)

// heat is the importance of the vision tokens on their grid.
type heat struct {
	rows, cols int
	share      []float64 // [rows*cols] of all vision tokens' importance
	kept       []bool    // [rows*cols]
	tokens     int
	top        float64 // the largest share
}

// heatOf lays the vision tokens on their grid.
func heatOf(t *harness.TokenMap) (*heat, error) {
	h := &heat{rows: t.Rows, cols: t.Cols}
	if t.Rows < 0 || t.Cols < 0 || t.Rows > 1<<10 || t.Cols > 1<<10 {
		return nil, fmt.Errorf("report: token map with a grid of %d × %d", t.Rows, t.Cols)
	}
	h.share, h.kept = make([]float64, t.Rows*t.Cols), make([]bool, t.Rows*t.Cols)
	var sum float64
	for _, tok := range t.Tokens {
		if tok.Modality != "vision" {
			continue
		}
		if tok.Row < 0 || tok.Col < 0 || tok.Row >= t.Rows || tok.Col >= t.Cols {
			return nil, fmt.Errorf("report: token map: a vision token at row %d, column %d of a grid of %d × %d", tok.Row, tok.Col, t.Rows, t.Cols)
		}
		h.tokens++
		sum += tok.Importance
		i := tok.Row*t.Cols + tok.Col
		h.share[i] += tok.Importance
		h.kept[i] = h.kept[i] || tok.Kept >= keptShare
	}
	for i := range h.share {
		if sum > 0 {
			h.share[i] /= sum
		}
		h.top = max(h.top, h.share[i])
	}
	return h, nil
}

// Heights above, between and below the two pictures.
const heatTop, heatBetween, heatBottom = vg.Length(20), vg.Length(24), vg.Length(36)

// size is that of each picture, in the grid's proportions.
func (h *heat) size() (width, height vg.Length) {
	width, height = 242, 200
	ratio := vg.Length(h.cols) / vg.Length(h.rows)
	if height*ratio > width {
		return width, width / ratio
	}
	return height * ratio, height
}

// draw puts the picture above the same picture under its heat.
func (h *heat) draw(c draw.Canvas, picture image.Image) {
	width, height := h.size()
	heading := bold(style(textSize, ink, draw.XLeft))
	place := func(y vg.Length, title string, img image.Image) vg.Rectangle {
		write(c, heading, c.Min.X, y+8, title)
		r := vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: y - height}, Max: vg.Point{X: c.Min.X + width, Y: y}}
		c.DrawImage(r, img)
		return r
	}
	y := c.Max.Y - heatTop
	if picture != nil {
		place(y, "picture", h.paint(picture, false))
	}
	y -= height + heatBetween
	r := place(y, fmt.Sprintf("importance of its %d vision tokens", h.tokens), h.paint(picture, true))
	h.outline(c, r)
	h.scale(c, vg.Rectangle{Min: vg.Point{X: r.Min.X, Y: r.Min.Y - 16}, Max: vg.Point{X: r.Max.X, Y: r.Min.Y - 8}})
}

// heatPixels is about how many pixels a painted picture has on its longer side: a report
// holds many.
const heatPixels = 200

// patchPixels is how finely patches are painted.
func (h *heat) patchPixels() int { return max(heatPixels/max(h.rows, h.cols), 1) }

// paint renders the picture on the grid's pixels; with heat its greys under
// each patch's colour.
func (h *heat) paint(picture image.Image, heat bool) image.Image {
	patch := h.patchPixels()
	out := image.NewRGBA(image.Rect(0, 0, h.cols*patch, h.rows*patch))
	size := out.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			c := color.RGBA{0xB0, 0xB0, 0xB0, 0xFF}
			if picture != nil {
				c = sample(picture, (float64(x)+0.5)/float64(size.X), (float64(y)+0.5)/float64(size.Y))
			}
			if heat {
				grey := uint8((299*int(c.R) + 587*int(c.G) + 114*int(c.B)) / 1000)
				level := h.level(h.share[y/patch*h.cols+x/patch])
				c = blend(color.RGBA{grey, grey, grey, 0xFF}, heatColor(level), 0.75)
			}
			out.SetRGBA(x, y, c)
		}
	}
	return out
}

// level is a share's place on the colour scale, 0 to 1.
func (h *heat) level(share float64) float64 {
	if h.top == 0 {
		return 0
	}
	return share / h.top
}

// sample is a picture's colour at relative coordinates, between its pixels by
// bilinear interpolation, on white.
func sample(img image.Image, u, v float64) color.RGBA {
	b := img.Bounds()
	x, y := u*float64(b.Dx())-0.5, v*float64(b.Dy())-0.5
	x0, y0 := math.Floor(x), math.Floor(y)
	var rgb [3]float64
	for _, k := range [4][2]float64{{0, 0}, {1, 0}, {0, 1}, {1, 1}} {
		px := min(max(b.Min.X+int(x0+k[0]), b.Min.X), b.Max.X-1)
		py := min(max(b.Min.Y+int(y0+k[1]), b.Min.Y), b.Max.Y-1)
		r, g, bl, a := img.At(px, py).RGBA()
		w := math.Abs(1-k[0]-(x-x0)) * math.Abs(1-k[1]-(y-y0))
		for i, ch := range [3]uint32{r, g, bl} {
			rgb[i] += w * float64(ch+0xFFFF-a) / 257
		}
	}
	return color.RGBA{uint8(rgb[0] + 0.5), uint8(rgb[1] + 0.5), uint8(rgb[2] + 0.5), 0xFF}
}

// heatColor runs from near white over orange to dark red: its lightness falls
// all the way, so that it reads without colours too.
func heatColor(t float64) color.RGBA {
	stops := []color.RGBA{{0xFF, 0xFC, 0xF4, 0xFF}, {0xFE, 0xE3, 0xB0, 0xFF}, {0xFB, 0xB0, 0x55, 0xFF}, {0xE3, 0x6A, 0x1E, 0xFF}, {0xA0, 0x24, 0x18, 0xFF}, {0x3F, 0x05, 0x15, 0xFF}}
	at := min(max(t, 0), 1) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	return blend(stops[i], stops[i+1], at-float64(i))
}

// outline draws a line around the kept patches.
func (h *heat) outline(c draw.Canvas, r vg.Rectangle) {
	w, ht := (r.Max.X-r.Min.X)/vg.Length(h.cols), (r.Max.Y-r.Min.Y)/vg.Length(h.rows)
	kept := func(row, col int) bool {
		return row >= 0 && col >= 0 && row < h.rows && col < h.cols && h.kept[row*h.cols+col]
	}
	line := draw.LineStyle{Color: blue, Width: 2}
	for row := range h.rows {
		for col := range h.cols {
			if !kept(row, col) {
				continue
			}
			x0, x1 := r.Min.X+w*vg.Length(col), r.Min.X+w*vg.Length(col+1)
			y0, y1 := r.Max.Y-ht*vg.Length(row), r.Max.Y-ht*vg.Length(row+1)
			for _, e := range []struct {
				row, col       int
				x0, y0, x1, y1 vg.Length
			}{{row - 1, col, x0, y0, x1, y0}, {row + 1, col, x0, y1, x1, y1}, {row, col - 1, x0, y0, x0, y1}, {row, col + 1, x1, y0, x1, y1}} {
				if !kept(e.row, e.col) {
					c.StrokeLine2(line, e.x0, e.y0, e.x1, e.y1)
				}
			}
		}
	}
}

// scale draws the colour bar with its ends in per cent.
func (h *heat) scale(c draw.Canvas, r vg.Rectangle) {
	bar := image.NewRGBA(image.Rect(0, 0, 512, 16)) // a picture: rectangles would leave seams
	for x := range bar.Bounds().Dx() {
		for y := range bar.Bounds().Dy() {
			bar.SetRGBA(x, y, heatColor(float64(x)/float64(bar.Bounds().Dx()-1)))
		}
	}
	c.DrawImage(r, bar)
	s := style(smallSize, ink, draw.XLeft)
	write(c, s, r.Min.X, r.Min.Y-8, "0%")
	s.XAlign = draw.XCenter
	write(c, s, (r.Min.X+r.Max.X)/2, r.Min.Y-8, "share of the vision tokens' importance")
	s.XAlign = draw.XRight
	write(c, s, r.Max.X, r.Min.Y-8, percent(h.top))
}
