package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"path/filepath"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Measures of a contact sheet, in pixels.
const (
	sheetScale  = 2 // pictures are shown at this size
	sheetMargin = 28
	sheetText   = 15 // font size
	sheetLine   = 20
	sheetLines  = 1 + choices + 1 // question, choices, source
	sheetColumn = canvas*sheetScale + sheetMargin
	sheetRow    = canvas*sheetScale + sheetLines*sheetLine + sheetMargin
)

var (
	sheetInk   = color.RGBA{0x20, 0x22, 0x26, 0xff}
	sheetFaint = color.RGBA{0x8a, 0x8f, 0x98, 0xff}
	sheetRight = color.RGBA{0x0a, 0x7d, 0x38, 0xff}
)

// ContactSheet draws examples side by side, columns in a row (0: 4): the picture
// at twice its size, the question, the choices with the right one in bold green and marked with
// ">", and below them split, kind and source. Boards carry their row and column names, outside the picture.
func ContactSheet(examples []Example, columns int) (*image.RGBA, error) {
	if len(examples) == 0 {
		return nil, errors.New("datasets: a contact sheet needs at least one example")
	}
	if columns <= 0 {
		columns = 4
	}
	columns = min(columns, len(examples))
	regular, err := face(goregular.TTF, sheetText)
	if err != nil {
		return nil, err
	}
	bold, err := face(gobold.TTF, sheetText)
	if err != nil {
		return nil, err
	}
	rows := (len(examples) + columns - 1) / columns
	img := image.NewRGBA(image.Rect(0, 0, columns*sheetColumn+sheetMargin, rows*sheetRow+sheetMargin))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	s := sheet{img, regular, bold}
	for i, e := range examples {
		if len(e.Images) == 0 {
			return nil, fmt.Errorf("datasets: example %s has no picture", e.ID)
		}
		s.example(e, sheetMargin+i%columns*sheetColumn, sheetMargin+i/columns*sheetRow)
	}
	return img, nil
}

// face opens a font.
func face(ttf []byte, size float64) (font.Face, error) {
	parsed, err := opentype.Parse(ttf)
	if err != nil {
		return nil, fmt.Errorf("datasets: font: %w", err)
	}
	f, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("datasets: font: %w", err)
	}
	return f, nil
}

type sheet struct {
	img           *image.RGBA
	regular, bold font.Face
}

// example draws one example with its top left corner at (x, y).
func (s sheet) example(e Example, x, y int) {
	side := canvas * sheetScale
	enlarge(s.img, e.Images[0], x, y)
	s.frame(image.Rect(x-1, y-1, x+side+1, y+side+1))
	for _, g := range []grid{grid2x1, grid2x2, grid3x2, grid3x3, grid4x4} {
		if e.Task == "scene" && strings.HasSuffix(e.Attribute, g.String()) {
			s.boardNames(g, x, y)
		}
	}
	width := side
	at := y + side + sheetLine
	s.text(e.Question, x, at, width, s.bold, sheetInk)
	for _, c := range e.Choices {
		at += sheetLine
		if c == e.Answers[0] {
			s.text("> "+c, x, at, width, s.bold, sheetRight)
			continue
		}
		s.text(c, x+width/16, at, width, s.regular, sheetInk)
	}
	s.text(strings.Join([]string{e.ID, e.Attribute}, "  "), x, at+sheetLine, width, s.regular, sheetFaint)
}

// boardNames writes the names of columns and rows below and left of a board.
func (s sheet) boardNames(g grid, x, y int) {
	for cell := range g.cells() {
		name, area := g.name(cell), g.area(cell)
		middle := area.Min.Add(area.Max).Mul(sheetScale).Div(2)
		if cell%g.columns == 0 {
			s.text(name[1:], x-sheetLine/2-4, y+middle.Y+sheetText/3, sheetLine, s.regular, sheetFaint)
		}
		if cell < g.columns {
			s.text(name[:1], x+middle.X-sheetText/3, y-5, sheetLine, s.regular, sheetFaint)
		}
	}
}

// text writes a line, shortened with an ellipsis when it's wider than width.
func (s sheet) text(text string, x, y, width int, f font.Face, c color.Color) {
	runes := []rune(text)
	for short := text; len(runes) > 0 && font.MeasureString(f, short).Ceil() > width; {
		runes = runes[:len(runes)-1]
		short = string(runes) + "…"
		text = short
	}
	d := font.Drawer{Dst: s.img, Src: image.NewUniform(c), Face: f, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

// frame draws a hairline.
func (s sheet) frame(r image.Rectangle) {
	for x := r.Min.X; x < r.Max.X; x++ {
		s.img.Set(x, r.Min.Y, sheetFaint)
		s.img.Set(x, r.Max.Y-1, sheetFaint)
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		s.img.Set(r.Min.X, y, sheetFaint)
		s.img.Set(r.Max.X-1, y, sheetFaint)
	}
}

// enlarge draws src at sheetScale times its size: pixels as the model sees them.
func enlarge(dst *image.RGBA, src image.Image, x, y int) {
	b := src.Bounds()
	for row := range canvas * sheetScale {
		for column := range canvas * sheetScale {
			dst.Set(x+column, y+row, src.At(b.Min.X+column/sheetScale, b.Min.Y+row/sheetScale))
		}
	}
}

// WritePNG writes a picture to a new file, or over the old one when it is complete.
func WritePNG(path string, img image.Image) error {
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return fmt.Errorf("datasets: %s: %w", path, err)
	}
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	return writeAll(dir, map[string][]byte{name: out.Bytes()})
}
