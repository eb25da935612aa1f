package datasets

import (
	"image"
	"image/color"
	"slices"
)

// Pictures are drawn in fixed point, so that every machine makes the same bytes:
// coordinates count 64ths of a pixel, y downwards, as in golang.org/x/image/math/fixed.
const (
	unit     = 64 // one pixel
	scanRows = 16 // sample lines per pixel row
)

// point is a place in 64ths of a pixel.
type point struct{ x, y int }

// at is the point of whole pixels.
func at(x, y int) point { return point{x * unit, y * unit} }

// shape is an area bounded by closed polygons; where they overlap, the non-zero
// winding rule decides.
type shape [][]point

// mask holds how much of each pixel a shape covers, 0..255, for the pixels of its bounds.
type mask struct {
	bounds image.Rectangle
	cover  []uint8 // [Dy, Dx]
}

// crossing is where a polygon's edge passes a sample line, and which way.
type crossing struct{ x, winding int }

// fill returns the coverage of a shape, cut to clip. Each pixel row is sampled on
// scanRows lines; along a line the coverage is exact to 1/64 pixel.
func (s shape) fill(clip image.Rectangle) mask {
	b := s.bounds().Intersect(clip)
	m := mask{bounds: b}
	if b.Empty() {
		return m
	}
	width := b.Dx()
	m.cover = make([]uint8, width*b.Dy())
	sums := make([]int32, width)
	var hits []crossing
	for y := b.Min.Y; y < b.Max.Y; y++ {
		clear(sums)
		for line := range scanRows {
			hits = s.crossings(hits[:0], y*unit+line*unit/scanRows+unit/scanRows/2)
			winding := 0
			for i, h := range hits {
				if winding != 0 {
					addSpan(sums, hits[i-1].x-b.Min.X*unit, h.x-b.Min.X*unit)
				}
				winding += h.winding
			}
		}
		row := m.cover[(y-b.Min.Y)*width:][:width]
		for x, v := range sums {
			row[x] = uint8(min((v*255+unit*scanRows/2)/(unit*scanRows), 255))
		}
	}
	return m
}

// bounds is the smallest rectangle of whole pixels around a shape.
func (s shape) bounds() image.Rectangle {
	var b image.Rectangle
	for _, polygon := range s {
		for _, p := range polygon {
			b = b.Union(image.Rect(floorDiv(p.x, unit), floorDiv(p.y, unit), floorDiv(p.x, unit)+1, floorDiv(p.y, unit)+1))
		}
	}
	return b
}

// crossings appends where a shape's edges pass the line y, from left to right.
func (s shape) crossings(hits []crossing, y int) []crossing {
	for _, polygon := range s {
		for i, p := range polygon {
			q := polygon[(i+1)%len(polygon)]
			winding := 1
			if p.y > q.y {
				p, q, winding = q, p, -1
			}
			if p.y <= y && y < q.y {
				hits = append(hits, crossing{p.x + floorDiv((q.x-p.x)*(y-p.y), q.y-p.y), winding})
			}
		}
	}
	slices.SortFunc(hits, func(a, b crossing) int { return a.x - b.x })
	return hits
}

// addSpan adds the part of each pixel, in 64ths, that lies between from and to.
func addSpan(sums []int32, from, to int) {
	from, to = max(from, 0), min(to, len(sums)*unit)
	for x := from / unit; x*unit < to; x++ {
		sums[x] += int32(min(to, (x+1)*unit) - max(from, x*unit))
	}
}

// onto paints the mask, moved by (dx, dy) pixels, in a colour on an opaque picture.
func (m mask) onto(dst *image.RGBA, dx, dy int, c color.RGBA) {
	area := m.bounds.Add(image.Pt(dx, dy)).Intersect(dst.Rect)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		row := m.cover[(y-dy-m.bounds.Min.Y)*m.bounds.Dx()+area.Min.X-dx-m.bounds.Min.X:]
		out := dst.Pix[dst.PixOffset(area.Min.X, y):]
		for x := range area.Dx() {
			cover := row[x]
			if cover == 0 {
				continue
			}
			pixel, rest := out[4*x:4*x+3:4*x+3], uint32(255-cover)
			pixel[0] = over(c.R, uint32(cover)) + over(pixel[0], rest)
			pixel[1] = over(c.G, uint32(cover)) + over(pixel[1], rest)
			pixel[2] = over(c.B, uint32(cover)) + over(pixel[2], rest)
		}
	}
}

// draw fills a shape on an opaque picture.
func (s shape) draw(dst *image.RGBA, c color.RGBA) { s.fill(dst.Rect).onto(dst, 0, 0, c) }

// box is an axis-parallel rectangle.
func box(from, to point) shape {
	return shape{{from, {to.x, from.y}, to, {from.x, to.y}}}
}

// stroke is a line from a to b, width 64ths wide, with square ends.
func stroke(a, b point, width int) shape {
	dx, dy := b.x-a.x, b.y-a.y
	length := squareRoot(dx*dx + dy*dy)
	if length == 0 {
		return box(point{a.x - width/2, a.y - width/2}, point{a.x + width/2, a.y + width/2})
	}
	nx, ny := floorDiv(-dy*width, 2*length), floorDiv(dx*width, 2*length)
	return shape{{{a.x + nx, a.y + ny}, {b.x + nx, b.y + ny}, {b.x - nx, b.y - ny}, {a.x - nx, a.y - ny}}}
}

// circle holds 1024·(cos, sin) of 24 directions.
var circle = [24]point{
	{1024, 0},
	{989, 265},
	{887, 512},
	{724, 724},
	{512, 887},
	{265, 989},
	{0, 1024},
	{-265, 989},
	{-512, 887},
	{-724, 724},
	{-887, 512},
	{-989, 265},
	{-1024, 0},
	{-989, -265},
	{-887, -512},
	{-724, -724},
	{-512, -887},
	{-265, -989},
	{0, -1024},
	{265, -989},
	{512, -887},
	{724, -724},
	{887, -512},
	{989, -265},
}

// disc is a regular polygon of 24 corners around a centre.
func disc(centre point, radius int) shape {
	corners := make([]point, len(circle))
	for i, c := range circle {
		corners[i] = point{centre.x + floorDiv(c.x*radius, 1024), centre.y + floorDiv(c.y*radius, 1024)}
	}
	return shape{corners}
}

// squareRoot is the largest whole number whose square is at most v.
func squareRoot(v int) int {
	root := 0
	for bit := 1 << 30; bit > 0; bit >>= 1 {
		if next := root + bit; next*next <= v {
			root = next
		}
	}
	return root
}
