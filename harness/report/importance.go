package report

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// keptShare is the share of searches that must keep a vision token for the
// figure to outline it.
const keptShare = 0.5

// Importance draws the importance of every token of a calibration sample: over
// the picture's patches as heat, each patch in per cent of all vision tokens,
// and for the other tokens as bars in per cent of the whole sequence. Outlined
// patches are kept by at least half of the searches. picture is what
// tokens.Image names; nil leaves the patches on grey. Vision tokens that do
// not fit the grid tokens.Rows × tokens.Cols are an error.
func Importance(tokens *harness.TokenMap, picture image.Image) (*display.Figure, error) {
	if tokens == nil || len(tokens.Tokens) == 0 {
		return nil, errors.New("report: a token map without tokens: there is no importance to draw")
	}
	return importance(tokens, picture, methodLabel(nil, tokens.Method), shortModel(tokens.Model))
}

// heat is the importance of the vision tokens on their grid.
type heat struct {
	rows, cols int
	share      []float64 // [rows*cols] of all vision tokens' importance
	kept       []bool    // [rows*cols]
	tokens     int
	top        float64 // the largest share
}

func importance(t *harness.TokenMap, picture image.Image, method, model string) (*display.Figure, error) {
	h, err := heatOf(t)
	if err != nil {
		return nil, err
	}
	texts := textRows(t)
	height := max(vg.Length(40+12*len(texts)), 120)
	if h.tokens > 0 {
		_, picture := h.size()
		height = max(height, 2*picture+heatTop+heatBetween+heatBottom)
	}
	d := &drawing{figureWidth, height, func(c draw.Canvas) error {
		if h.tokens == 0 {
			drawTexts(c, texts)
			return nil
		}
		h.draw(draw.Crop(c, margin, 0, 0, 0), picture)
		drawTexts(draw.Crop(c, 265, 0, 0, 0), texts)
		return nil
	}}
	return &display.Figure{
		Name:    fileName("importance", model, t.Format, t.Method),
		Caption: importanceCaption(t, h, method, model),
		Drawing: d,
	}, nil
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

// patchPixels is how finely patches are painted: a picture of about 400 pixels.
func (h *heat) patchPixels() int { return max(400/max(h.rows, h.cols), 1) }

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

// textRow is one bar: a token, or all vision tokens together.
type textRow struct {
	label string
	kind  string
	share float64 // of the sequence's importance
}

// mostTextRows bounds the list of tokens; what is left out is the least
// important.
const mostTextRows = 48

// textRows lists the tokens in order, vision tokens as one row.
func textRows(t *harness.TokenMap) []textRow {
	var sum, vision float64
	visionAt, visionTokens := -1, 0
	var rows []textRow
	for i, tok := range t.Tokens {
		sum += tok.Importance
		if tok.Modality == "vision" {
			if visionAt < 0 {
				visionAt = len(rows)
				rows = append(rows, textRow{kind: "vision"})
			}
			vision += tok.Importance
			visionTokens++
			continue
		}
		row := textRow{label: piece(tok.Text), kind: tok.Modality, share: tok.Importance}
		if tok.Modality == "answer" && i+1 < len(t.Tokens) {
			row.label += " → " + piece(t.Tokens[i+1].Text) // the token that it has to predict
		}
		rows = append(rows, row)
	}
	if visionAt >= 0 {
		rows[visionAt].label, rows[visionAt].share = fmt.Sprintf("%d vision tokens", visionTokens), vision
	}
	for i := range rows {
		if sum > 0 {
			rows[i].share /= sum
		}
	}
	return shortened(rows)
}

// shortened keeps the most important rows, in their order.
func shortened(rows []textRow) []textRow {
	if len(rows) <= mostTextRows {
		return rows
	}
	byShare := slices.Clone(rows)
	slices.SortStableFunc(byShare, func(a, b textRow) int {
		switch {
		case a.share > b.share:
			return -1
		case a.share < b.share:
			return 1
		}
		return 0
	})
	limit, out, skipped, rest := byShare[mostTextRows-2].share, []textRow(nil), 0, 0.0
	for _, r := range rows {
		if r.share >= limit && len(out) < mostTextRows-1 {
			out = append(out, r)
			continue
		}
		skipped++
		rest += r.share
	}
	return append(out, textRow{label: fmt.Sprintf("%d others", skipped), kind: "other", share: rest})
}

// piece shows a token's text: a middle dot for its leading space, escapes for
// what has no shape.
func piece(s string) string {
	if s == "" {
		return "(empty)"
	}
	s = strings.ReplaceAll(s, " ", "·")
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// kindColors tells tokens apart.
var kindColors = map[string]color.RGBA{"vision": blue, "answer": vermillion, "other": {0x9A, 0x9A, 0x9A, 0xFF}}

// drawTexts draws the tokens as labelled bars from top to bottom.
func drawTexts(c draw.Canvas, rows []textRow) {
	const top = vg.Length(34)
	write(c, bold(style(textSize, ink, draw.XLeft)), c.Min.X, c.Max.Y-12, "tokens in order: share of all importance")
	key := draw.Crop(c, 0, 0, 0, -18)
	legend(key, []legendEntry{
		{"answer (predicts →)", draw.LineStyle{Color: kindColors["answer"], Width: 6}, draw.GlyphStyle{}},
		{"vision", draw.LineStyle{Color: kindColors["vision"], Width: 6}, draw.GlyphStyle{}},
		{"other", draw.LineStyle{Color: kindColors["other"], Width: 6}, draw.GlyphStyle{}},
	}, true)
	step := min((c.Max.Y-c.Min.Y-top)/vg.Length(max(len(rows), 1)), 17)
	label := style(min(smallSize, step-1), ink, draw.XRight)
	value := style(min(smallSize, step-1), ink, draw.XLeft)
	const labelWidth = vg.Length(100)
	valueWidth := value.Width("100.0%")
	highest := 0.0
	for _, r := range rows {
		highest = max(highest, r.share)
	}
	room := c.Max.X - c.Min.X - labelWidth - valueWidth - 8
	for i, r := range rows {
		y := c.Max.Y - top - step*(vg.Length(i)+0.5)
		write(c, label, c.Min.X+labelWidth-4, y, fitted(label, r.label, labelWidth-6))
		w := vg.Length(0.75)
		if highest > 0 {
			w = max(w, room*vg.Length(r.share/highest))
		}
		x := c.Min.X + labelWidth
		col, ok := kindColors[r.kind]
		if !ok {
			col = kindColors["other"]
		}
		fill(c, vg.Rectangle{Min: vg.Point{X: x, Y: y - step*0.36}, Max: vg.Point{X: x + w, Y: y + step*0.36}}, col)
		write(c, value, x+w+4, y, percent(r.share))
	}
}

// importanceCaption states where the importance lies.
func importanceCaption(t *harness.TokenMap, h *heat, method, model string) string {
	kinds := map[string]float64{}
	var sum float64
	for _, tok := range t.Tokens {
		kinds[tok.Modality] += tok.Importance
		sum += tok.Importance
	}
	question := fmt.Sprintf("“%s” – “%s”", strings.Join(strings.Fields(t.Question), " "), strings.Join(strings.Fields(t.Answer), " "))
	text := fmt.Sprintf("%s at %s on %s, one calibration sample (%s):", method, t.Format, model, question)
	if sum == 0 {
		return text + " no token has any importance."
	}
	text += fmt.Sprintf(" answer tokens hold %s of the importance, vision tokens %s, others %s", percent(kinds["answer"]/sum), percent(kinds["vision"]/sum), percent(kinds["other"]/sum))
	if h.tokens == 0 {
		return text + "."
	}
	shares := slices.Clone(h.share)
	slices.Sort(shares)
	quarter := 0.0
	for _, s := range shares[len(shares)-(h.tokens+3)/4:] {
		quarter += s
	}
	kept := 0
	for _, k := range h.kept {
		if k {
			kept++
		}
	}
	return text + fmt.Sprintf("; the top quarter of the vision tokens holds %s of theirs. At least half of the searches keep %d of %d vision tokens (outlined).", percent(quarter), kept, h.tokens)
}
