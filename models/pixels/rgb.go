package pixels

import (
	"fmt"
	"image"
	"image/color"
)

// RGB is a picture of three bytes per pixel (red, green, blue), row by row from
// the top, without gaps. It is an [image.Image].
type RGB struct {
	Pix           []uint8 // [Height, Width, 3]
	Width, Height int     // pixels
}

// NewRGB returns a black picture.
func NewRGB(width, height int) *RGB {
	return &RGB{Pix: make([]uint8, 3*width*height), Width: width, Height: height}
}

// ColorModel returns [color.RGBAModel]; all colours are opaque.
func (p *RGB) ColorModel() color.Model { return color.RGBAModel }

// Bounds returns the picture's rectangle, which begins at (0, 0).
func (p *RGB) Bounds() image.Rectangle { return image.Rect(0, 0, p.Width, p.Height) }

// At returns the colour at column x and row y, the zero colour outside.
func (p *RGB) At(x, y int) color.Color {
	if !image.Pt(x, y).In(p.Bounds()) {
		return color.RGBA{}
	}
	i := 3 * (y*p.Width + x)
	return color.RGBA{p.Pix[i], p.Pix[i+1], p.Pix[i+2], 255}
}

// check reports whether the sides are positive and fit the pixels.
func (p *RGB) check() error {
	if p.Width < 1 || p.Height < 1 {
		return fmt.Errorf("pixels: a picture of %d × %d pixels (width × height); expected at least 1 × 1", p.Width, p.Height)
	}
	if want := 3 * p.Width * p.Height; len(p.Pix) != want {
		return fmt.Errorf("pixels: a picture of %d × %d pixels has %d bytes, expected %d", p.Width, p.Height, len(p.Pix), want)
	}
	return nil
}

// ToRGB converts any picture as Pillow's convert("RGB") does: transparency is
// dropped, not painted on a background, so the colour below a transparent pixel
// comes through where the format keeps it. Of 16-bit channels the high byte
// counts. An *RGB is returned as it is.
func ToRGB(img image.Image) *RGB {
	if p, ok := img.(*RGB); ok {
		return p
	}
	b := img.Bounds()
	out := NewRGB(b.Dx(), b.Dy())
	at := colorReader(img)
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.Pix[i], out.Pix[i+1], out.Pix[i+2] = at(x, y)
			i += 3
		}
	}
	return out
}

// colorReader returns a function that reads one pixel of img. The kinds that Go's
// decoders produce are read without going through color.Color, which would
// multiply by the alpha and lose colours.
func colorReader(img image.Image) func(x, y int) (r, g, b uint8) {
	switch p := img.(type) {
	case *image.NRGBA:
		return func(x, y int) (r, g, b uint8) {
			s := p.Pix[p.PixOffset(x, y):]
			return s[0], s[1], s[2]
		}
	case *image.NRGBA64:
		return func(x, y int) (r, g, b uint8) {
			s := p.Pix[p.PixOffset(x, y):]
			return s[0], s[2], s[4]
		}
	case *image.RGBA:
		return func(x, y int) (r, g, b uint8) {
			s := p.Pix[p.PixOffset(x, y):]
			if s[3] == 255 {
				return s[0], s[1], s[2]
			}
			return straight(color.RGBA{s[0], s[1], s[2], s[3]})
		}
	case *image.Gray:
		return func(x, y int) (r, g, b uint8) {
			v := p.Pix[p.PixOffset(x, y)]
			return v, v, v
		}
	case *image.YCbCr:
		return func(x, y int) (r, g, b uint8) {
			yi, ci := p.YOffset(x, y), p.COffset(x, y)
			return color.YCbCrToRGB(p.Y[yi], p.Cb[ci], p.Cr[ci])
		}
	case *image.CMYK:
		return func(x, y int) (r, g, b uint8) {
			s := p.Pix[p.PixOffset(x, y):]
			return fromCMYK(s[0], s[3]), fromCMYK(s[1], s[3]), fromCMYK(s[2], s[3])
		}
	case *image.Paletted:
		colors := make([][3]uint8, 256) // an index beyond the palette is black
		for i, c := range p.Palette {
			colors[i][0], colors[i][1], colors[i][2] = straight(c)
		}
		return func(x, y int) (r, g, b uint8) {
			c := colors[p.Pix[p.PixOffset(x, y)]]
			return c[0], c[1], c[2]
		}
	}
	return func(x, y int) (r, g, b uint8) { return straight(img.At(x, y)) }
}

// straight returns a colour's channels not multiplied by its alpha.
func straight(c color.Color) (r, g, b uint8) {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return n.R, n.G, n.B
}

// fromCMYK is Pillow's conversion (Convert.c, cmyk2rgb) of one channel: the ink v
// darkens what black leaves, k and v being amounts of ink.
func fromCMYK(v, k uint8) uint8 {
	left := 255 - int(k)
	t := left*int(v) + 128 // left·v/255, rounded
	return uint8(max(0, left-(t>>8+t)>>8))
}
