package report

import (
	"errors"
	"fmt"
	"image"
	"image/color"
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
