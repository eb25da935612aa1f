package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"regexp"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// svgCanvas is a vgsvg canvas whose text keeps its width in any font: fonts are
// not embedded, and a reader may lack ours.
type svgCanvas struct {
	*vgsvg.Canvas
	widths   []vg.Length   // of each text, in order
	pictures []image.Image // likewise
}

// FillString implements vg.Canvas.
func (c *svgCanvas) FillString(face font.Face, pt vg.Point, s string) {
	c.widths = append(c.widths, face.Width(s))
	c.Canvas.FillString(face, pt, s)
}

// DrawImage implements vg.Canvas.
func (c *svgCanvas) DrawImage(rect vg.Rectangle, img image.Image) {
	c.pictures = append(c.pictures, img)
	c.Canvas.DrawImage(rect, img)
}

// write writes the file. Liberation Sans has the widths of Arial and Helvetica;
// any other font is stretched or squeezed to them.
func (c *svgCanvas) write(w io.Writer) error {
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	out := bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif"))
	for _, usual := range []string{"font-variant:normal;", "font-weight:normal;", "font-style:normal;"} {
		out = bytes.ReplaceAll(out, []byte(usual), nil)
	}
	out, err := c.embed(out)
	if err != nil {
		return err
	}
	parts := bytes.Split(out, []byte("<text "))
	if len(parts) != len(c.widths)+1 {
		return fmt.Errorf("report: SVG with %d texts of %d", len(parts)-1, len(c.widths))
	}
	for i, part := range parts {
		if i > 0 {
			if _, err := fmt.Fprintf(w, `<text textLength="%.4g" lengthAdjust="spacingAndGlyphs" `, c.widths[i-1].Points()); err != nil {
				return err
			}
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// embedded is a picture as vgsvg writes it: a PNG under the name of a JPEG.
var embedded = regexp.MustCompile(`data:image/jpg;base64,[^"]*`)

// pictureQuality is that of JPEG, where no block of a chart's words is to be seen yet.
const pictureQuality = 90

// embed puts each picture in its smallest form into the file: a JPEG for what has no holes,
// which for photographs and noise is a fifth of a PNG.
func (c *svgCanvas) embed(svg []byte) ([]byte, error) {
	k, failed := 0, error(nil)
	out := embedded.ReplaceAllFunc(svg, func(old []byte) []byte {
		plain := bytes.Replace(old, []byte("image/jpg"), []byte("image/png"), 1)
		if k >= len(c.pictures) {
			failed = fmt.Errorf("report: SVG with more pictures than %d", len(c.pictures))
			return plain
		}
		img := c.pictures[k]
		k++
		if o, ok := img.(interface{ Opaque() bool }); !ok || !o.Opaque() {
			return plain
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: pictureQuality}); err != nil {
			failed = err
			return plain
		}
		small := "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
		if len(small) >= len(plain) {
			return plain
		}
		return []byte(small)
	})
	return out, failed
}
