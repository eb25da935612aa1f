package display

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// Drawing is what a figure shows. Draw writes the picture in a format: "png" or
// "svg". See [Plot] and [Pixels].
//
// A notebook shows a PNG at the size of its pixels. A drawing that has more
// pixels than that, for sharp screens, says so by a method CSSWidth() int: the
// width to show it at, in CSS pixels (1/96 inch).
type Drawing interface {
	Draw(w io.Writer, format string) error
}

// sharp is a Drawing that says how wide its PNG should be shown.
type sharp interface{ CSSWidth() int }

// Figure is a picture with a name and a caption. A notebook shows the PNG; with
// a folder set, NAME.png and NAME.svg are written as well.
type Figure struct {
	// Name is the file name without extension: letters, digits, '-', '_', '.'.
	Name string
	// Caption is one sentence in Markdown that says what is to be seen.
	Caption string
	// Drawing is the picture.
	Drawing Drawing
}

// PNG returns the figure as a PNG file's bytes.
func (f *Figure) PNG() ([]byte, error) { return f.bytes("png") }

// SVG returns the figure as an SVG file's bytes.
func (f *Figure) SVG() ([]byte, error) { return f.bytes("svg") }

// bytes draws the figure. Plotting libraries panic on values they cannot place,
// such as NaN; that becomes an error that names the figure.
func (f *Figure) bytes(format string) (b []byte, err error) {
	if f.Drawing == nil {
		return nil, fmt.Errorf("display: figure %q has no drawing", f.Name)
	}
	defer func() {
		if r := recover(); r != nil {
			b, err = nil, fmt.Errorf("display: figure %q cannot be drawn as %s: %v", f.Name, format, r)
		}
	}()
	var buf bytes.Buffer
	if err := f.Drawing.Draw(&buf, format); err != nil {
		return nil, fmt.Errorf("display: figure %q cannot be drawn as %s: %w", f.Name, format, err)
	}
	if buf.Len() == 0 {
		return nil, fmt.Errorf("display: figure %q was drawn as %s without any content", f.Name, format)
	}
	return buf.Bytes(), nil
}

// WriteFiles writes NAME.png and NAME.svg into dir, which is made when missing.
// Each file appears whole or not at all. It returns the path of the PNG.
func (f *Figure) WriteFiles(dir string) (string, error) {
	if err := f.checkName(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", fmt.Errorf("display: folder for figure %q: %w", f.Name, err)
	}
	base := filepath.Join(dir, f.Name)
	for _, format := range []string{"png", "svg"} {
		b, err := f.bytes(format)
		if err != nil {
			return "", err
		}
		if err := replaceFile(base+"."+format, b); err != nil {
			return "", fmt.Errorf("display: figure %q: %w", f.Name, err)
		}
	}
	return base + ".png", nil
}

func (f *Figure) checkName() error {
	bad := func(r rune) bool {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
			return false
		}
		return true
	}
	if f.Name == "" || strings.HasPrefix(f.Name, ".") || strings.ContainsFunc(f.Name, bad) {
		return fmt.Errorf("display: figure name %q: want letters, digits, '-', '_' and '.', not beginning with '.'", f.Name)
	}
	return nil
}

func (f *Figure) show(o *Output) error {
	if err := f.checkName(); err != nil {
		return err
	}
	path := ""
	if o.Dir != "" {
		var err error
		if path, err = f.WriteFiles(o.Dir); err != nil {
			return err
		}
	}
	switch o.Format {
	case AsNotebook:
		return f.showNotebook()
	case AsMarkdown:
		if path == "" {
			return fmt.Errorf("display: figure %q needs a folder: set Output.Dir", f.Name)
		}
		_, err := fmt.Fprintf(o.writer(), "![%s](%s%s.png)\n\n%s\n\n", f.Name, o.Link, f.Name, f.Caption)
		return err
	}
	if path == "" {
		path = "not written: set " + FiguresEnv + " to a folder"
	}
	_, err := fmt.Fprintf(o.writer(), "figure %s: %s (%s)\n", f.Name, f.Caption, path)
	return err
}

func (f *Figure) showNotebook() error {
	b, err := f.PNG()
	if err != nil {
		return err
	}
	picture := &protocol.DisplayData{Data: bundle{protocol.MIMEImagePNG: b, protocol.MIMETextPlain: "figure " + f.Name}}
	if d, ok := f.Drawing.(sharp); ok {
		picture.Metadata = map[string]any{string(protocol.MIMEImagePNG): map[string]int{"width": d.CSSWidth()}}
	}
	// The caption is an element of its own: only Markdown renders its formulas.
	if err := sendData(picture); err != nil || f.Caption == "" {
		return err
	}
	return send(bundle{protocol.MIMETextMarkdown: f.Caption}, "")
}

// replaceFile writes a file beside path and renames it, so that a reader or a
// crash never sees half of it. (os.CreateTemp makes files private; figures are
// for everybody.)
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the first error is the one to report
	}
	return err
}

// gonumPlot is the part of gonum's *plot.Plot that drawing needs. Its length type
// is a parameter, so that this package does not import gonum/plot.
type gonumPlot[L ~float64] interface {
	WriterTo(width, height L, format string) (io.WriterTo, error)
}

// Plot makes a drawing of a gonum/plot *plot.Plot. Width and height are lengths
// as gonum has them (vg.Length, in points of 1/72 inch).
func Plot[L ~float64](p gonumPlot[L], width, height L) Drawing {
	return plotDrawing[L]{p, width, height}
}

type plotDrawing[L ~float64] struct {
	plot          gonumPlot[L]
	width, height L
}

// Draw renders the plot.
func (d plotDrawing[L]) Draw(w io.Writer, format string) error {
	wt, err := d.plot.WriterTo(d.width, d.height, format)
	if err != nil {
		return err
	}
	_, err = wt.WriteTo(w)
	return err
}

// Pixels makes a drawing of an image. As SVG it is the PNG, embedded.
func Pixels(img image.Image) Drawing { return pixels{img} }

type pixels struct{ img image.Image }

// Draw encodes the image.
func (d pixels) Draw(w io.Writer, format string) error {
	switch format {
	case "png":
		return png.Encode(w, d.img)
	case "svg":
		var buf bytes.Buffer
		if err := png.Encode(&buf, d.img); err != nil {
			return err
		}
		size := d.img.Bounds().Size()
		_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d">`+
			`<image width="%[1]d" height="%[2]d" href="data:image/png;base64,%[3]s"/></svg>`+"\n",
			size.X, size.Y, base64.StdEncoding.EncodeToString(buf.Bytes()))
		return err
	}
	return fmt.Errorf("display: format %q: want png or svg", format)
}
