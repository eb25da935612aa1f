package datasets

import (
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot/font/liberation"
)

// typeface is a font whose glyphs are drawn in fixed point and kept by size. It is
// safe for use by several goroutines.
type typeface struct {
	name string

	mu     sync.Mutex
	font   *sfnt.Font
	buffer sfnt.Buffer
	glyphs map[glyphKey]*glyph
}

type glyphKey struct {
	char rune
	size int
}

// glyph is a character at one size: its coverage with the pen at the origin of the
// baseline, and how far the pen goes on.
type glyph struct {
	mask    mask
	advance int // 64ths of a pixel
}

// typefaces returns the fonts that words are written in: Liberation's twelve (SIL
// Open Font License 1.1) and three of Go's (BSD).
var typefaces = sync.OnceValues(func() ([]*typeface, error) {
	var all []*typeface
	add := func(name string, f *sfnt.Font) {
		all = append(all, &typeface{name: name, font: f, glyphs: map[glyphKey]*glyph{}})
	}
	for _, f := range liberation.Collection() {
		add(f.Name(), f.Face)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{"Go regular", goregular.TTF}, {"Go bold", gobold.TTF}, {"Go mono", gomono.TTF}} {
		parsed, err := opentype.Parse(f.data)
		if err != nil {
			return nil, fmt.Errorf("datasets: font %s: %w", f.name, err)
		}
		add(f.name, parsed)
	}
	return all, nil
})

// plainNames are the fonts that stay legible when they are small.
var plainNames = []string{"LiberationSans-Regular", "Go regular"}

// plainFace picks one of the fonts for small labels.
func plainFace(rng *rand.Rand) (*typeface, error) {
	faces, err := typefaces()
	if err != nil {
		return nil, err
	}
	name := plainNames[rng.IntN(len(plainNames))]
	for _, f := range faces {
		if f.name == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("datasets: no font %s among the %d", name, len(faces))
}

// glyph returns a character at a size in pixels per em.
func (f *typeface) glyph(char rune, size int) (*glyph, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := glyphKey{char, size}
	if g := f.glyphs[key]; g != nil {
		return g, nil
	}
	index, err := f.font.GlyphIndex(&f.buffer, char)
	if err != nil || index == 0 {
		return nil, fmt.Errorf("datasets: font %s has no %q: %v", f.name, char, err)
	}
	ppem := fixed.I(size)
	segments, err := f.font.LoadGlyph(&f.buffer, index, ppem, nil)
	if err != nil {
		return nil, fmt.Errorf("datasets: font %s, %q: %w", f.name, char, err)
	}
	advance, err := f.font.GlyphAdvance(&f.buffer, index, ppem, font.HintingNone)
	if err != nil {
		return nil, fmt.Errorf("datasets: font %s, %q: %w", f.name, char, err)
	}
	s := outline(segments)
	g := &glyph{mask: s.fill(s.bounds()), advance: int(advance)}
	f.glyphs[key] = g
	return g, nil
}

// outline flattens a glyph's curves: four lines to a quadratic, eight to a cubic curve.
func outline(segments sfnt.Segments) shape {
	var s shape
	var last point
	to := func(p fixed.Point26_6) point { return point{int(p.X), int(p.Y)} }
	add := func(p point) {
		s[len(s)-1] = append(s[len(s)-1], p)
		last = p
	}
	for _, g := range segments {
		a, b, c, d := last, to(g.Args[0]), to(g.Args[1]), to(g.Args[2])
		switch g.Op {
		case sfnt.SegmentOpMoveTo:
			s = append(s, nil)
			add(b)
		case sfnt.SegmentOpLineTo:
			add(b)
		case sfnt.SegmentOpQuadTo:
			const n = 4
			for i := 1; i <= n; i++ {
				j := n - i
				add(point{
					floorDiv(j*j*a.x+2*i*j*b.x+i*i*c.x, n*n),
					floorDiv(j*j*a.y+2*i*j*b.y+i*i*c.y, n*n),
				})
			}
		case sfnt.SegmentOpCubeTo:
			const n = 8
			for i := 1; i <= n; i++ {
				j := n - i
				add(point{
					floorDiv(j*j*j*a.x+3*i*j*j*b.x+3*i*i*j*c.x+i*i*i*d.x, n*n*n),
					floorDiv(j*j*j*a.y+3*i*j*j*b.y+3*i*i*j*c.y+i*i*i*d.y, n*n*n),
				})
			}
		}
	}
	return s
}

// width returns how wide a text is, in pixels, rounded up.
func (f *typeface) width(text string, size int) (int, error) {
	pen := 0
	for _, char := range text {
		g, err := f.glyph(char, size)
		if err != nil {
			return 0, err
		}
		pen += g.advance
	}
	return (pen + unit - 1) / unit, nil
}

// ends returns where each character of a text ends, in whole pixels from the text's start.
func (f *typeface) ends(text string, size int) ([]int, error) {
	var all []int
	pen := 0
	for _, char := range text {
		g, err := f.glyph(char, size)
		if err != nil {
			return nil, err
		}
		pen += g.advance
		all = append(all, (pen+unit/2)/unit)
	}
	return all, nil
}

// write draws a text from left to right; (x, y) is the start of its baseline in
// pixels. Glyphs stand at whole pixels.
func (f *typeface) write(dst *image.RGBA, text string, size, x, y int, c color.RGBA) error {
	pen := x * unit
	for _, char := range text {
		g, err := f.glyph(char, size)
		if err != nil {
			return err
		}
		g.mask.onto(dst, floorDiv(pen+unit/2, unit), y, c)
		pen += g.advance
	}
	return nil
}
