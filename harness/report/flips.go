package report

import (
	"errors"
	"fmt"
	"image"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// flips are the questions that one of two methods answers and the other doesn't.
type flips struct {
	setting      *setting
	a, b         string // methods
	seed         uint64
	questions    int
	numA, numB   int    // questions that only a, only b answers
	onlyA, onlyB []flip // those that are shown
}

// flip is such a question with both predictions.
type flip struct {
	question eval.Sample
	a, b     string // what each method says
	picture  image.Image
}

// flipsShown is how many questions of each kind are drawn: a row.
const flipsShown = 5

// rivals are the methods whose answers are compared with the baseline's: the focus and,
// where that is another, the one with the least KL.
func (r *run) rivals(st *setting) []string {
	out := []string{r.focus()}
	var least *score
	for _, s := range st.finished() {
		if least == nil || s.kl.mean < least.kl.mean {
			least = s
		}
	}
	if least != nil && least.method != r.focus() && least.method != r.baseline() {
		out = append(out, least.method)
	}
	return out
}

// flips compares a method with the baseline on the first seed that both
// finished; nil where the setting has nothing to compare or no answer flips.
func (r *run) flips(st *setting, rival string) (*flips, error) {
	var pair [2]*harness.Record
	for i, method := range []string{r.baseline(), rival} {
		for _, s := range st.finished() {
			if s.method == method {
				pair[i] = s.records[0]
			}
		}
	}
	if pair[0] == nil || pair[1] == nil || pair[0] == pair[1] || pair[0].Seed != pair[1].Seed {
		return nil, nil
	}
	f := &flips{setting: st, a: pair[0].Method, b: pair[1].Method, seed: pair[0].Seed}
	first, err := harness.ReadSamples(r.dir, pair[0].Samples)
	if err != nil {
		return nil, err
	}
	second, err := harness.ReadSamples(r.dir, pair[1].Samples)
	if err != nil {
		return nil, err
	}
	if err := f.find(first, second); err != nil {
		return nil, err
	}
	f.numA, f.numB = len(f.onlyA), len(f.onlyB)
	if f.numA+f.numB == 0 {
		return nil, nil
	}
	f.onlyA, f.onlyB = taskByTask(f.onlyA, flipsShown), taskByTask(f.onlyB, flipsShown)
	return f, r.illustrate(pair[0], f.onlyA, f.onlyB)
}

// find sorts the questions on which only one is right.
func (f *flips) find(first, second []eval.Sample) error {
	f.questions = len(first)
	if len(first) != len(second) {
		return fmt.Errorf("%d questions against %d", len(first), len(second))
	}
	for i := range first {
		a, b := &first[i], &second[i]
		if a.Task != b.Task || a.ID != b.ID {
			return fmt.Errorf("question %d is %s against %s", i+1, a.ID, b.ID)
		}
		if a.Correct == b.Correct {
			continue
		}
		x := flip{question: *a, a: a.Prediction, b: b.Prediction}
		if a.Correct {
			f.onlyA = append(f.onlyA, x)
		} else {
			f.onlyB = append(f.onlyB, x)
		}
	}
	return nil
}

// taskByTask picks n questions, the first of each task, then the second, and so
// on, so that no task fills the row.
func taskByTask(list []flip, n int) []flip {
	rank := map[string]int{}
	order := make([]int, len(list)) // how many of its task come before it
	for i := range list {
		order[i] = rank[list[i].question.Task]
		rank[list[i].question.Task]++
	}
	var out []flip
	for round := 0; len(out) < n && round < len(list); round++ {
		for i := range list {
			if order[i] == round && len(out) < n {
				out = append(out, list[i])
			}
		}
	}
	return out
}

// illustrate draws the questions' pictures again.
func (r *run) illustrate(rec *harness.Record, lists ...[]flip) error {
	hash, err := datasets.Hash()
	if err != nil {
		return err
	}
	if hash != rec.DataSHA256 {
		return errors.New("its questions come from another version of the data than this program's")
	}
	for _, list := range lists {
		for i := range list {
			e, err := datasets.FindExample(list[i].question.ID)
			if err != nil {
				return err
			}
			list[i].picture = e.Images[0]
		}
	}
	return nil
}

// The gallery's measures.
const (
	tileWidth  = figureWidth / flipsShown
	tileLine   = vg.Length(11)
	tileText   = tileWidth - 8
	tileAsked  = 3 // lines of a question, at most
	rowHeading = vg.Length(18)
)

// rowHeight is that of a row of tiles: its longest question decides.
func rowHeight(list []flip) vg.Length {
	lines := 0
	for i := range list {
		lines = max(lines, len(wrapped(style(smallSize, ink, draw.XLeft), list[i].question.Question, tileText, tileAsked)))
	}
	return rowHeading + tallest(list) + vg.Length(lines+3)*tileLine + 12
}

// naturalSize is a picture's size at one pixel per CSS pixel (3/4 point), or what fits a
// tile.
func naturalSize(img image.Image) vg.Point {
	size := img.Bounds().Size()
	width, height := vg.Length(size.X)*0.75, vg.Length(size.Y)*0.75
	if width > tileText {
		width, height = tileText, height*tileText/width
	}
	return vg.Point{X: width, Y: height}
}

// tallest is the height of a row's tallest picture.
func tallest(list []flip) vg.Length {
	var h vg.Length
	for i := range list {
		h = max(h, naturalSize(list[i].picture).Y)
	}
	return h
}

// gallery draws the flips of a method in two rows; nil where there are none.
func (r *run) gallery(st *setting, rival string) (*display.Figure, error) {
	f, err := r.flips(st, rival)
	if f == nil || err != nil {
		return nil, err
	}
	rows := []struct {
		title string
		list  []flip
	}{
		{fmt.Sprintf("only %s is right (%d of %d)", r.short(f.a), f.numA, f.questions), f.onlyA},
		{fmt.Sprintf("only %s is right (%d of %d)", r.short(f.b), f.numB, f.questions), f.onlyB},
	}
	var height vg.Length
	for _, row := range rows {
		if len(row.list) > 0 {
			height += rowHeight(row.list)
		}
	}
	d := &drawing{figureWidth, height, func(c draw.Canvas) error {
		y := c.Max.Y
		for _, row := range rows {
			if len(row.list) == 0 {
				continue
			}
			write(c, bold(style(textSize, ink, draw.XLeft)), c.Min.X+4, y-rowHeading/2, row.title)
			for i := range row.list {
				r.tile(c, c.Min.X+vg.Length(i)*tileWidth+4, y-rowHeading, tallest(row.list), f, &row.list[i])
			}
			y -= rowHeight(row.list)
		}
		return nil
	}}
	return &display.Figure{
		Name: fileName("flips", r.modelName(f.setting.model), f.setting.format, f.b), Drawing: d,
		Caption: fmt.Sprintf("Answers that flip at %s: of %d questions %s alone answers %d, %s alone %d (calibration seed %d; the first of each task are shown).",
			r.settingName(f.setting), f.questions, r.label(f.a), f.numA, r.label(f.b), f.numB, f.seed),
	}, nil
}

// tile draws a picture, its question, the right answer and both predictions.
func (r *run) tile(c draw.Canvas, x, top, pictureHeight vg.Length, f *flips, q *flip) {
	size := naturalSize(q.picture)
	c.DrawImage(vg.Rectangle{Min: vg.Point{X: x, Y: top - size.Y}, Max: vg.Point{X: x + size.X, Y: top}}, q.picture)
	plain := style(smallSize, ink, draw.XLeft)
	y := top - pictureHeight - tileLine/2 - 2
	for _, line := range wrapped(plain, q.question.Question, tileText, tileAsked) {
		write(c, plain, x, y, line)
		y -= tileLine
	}
	for _, line := range []string{
		"answer: " + q.question.Answer,
		shortMethod(f.a) + ": " + q.a,
		shortMethod(f.b) + ": " + q.b,
	} {
		s := style(smallSize, faint, draw.XLeft)
		if strings.HasSuffix(line, ": "+q.question.Answer) {
			s = bold(style(smallSize, ink, draw.XLeft))
		}
		write(c, s, x, y, fitted(s, line, tileText))
		y -= tileLine
	}
}

// shortMethod is a method's name as it fits a tile.
func shortMethod(name string) string { return strings.ToUpper(name) }

// wrapped breaks text between words into at most most lines of the width; the
// last one is shortened.
func wrapped(s draw.TextStyle, text string, width vg.Length, most int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && s.Width(longer) > width {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	lines = append(lines, line)
	if len(lines) > most {
		lines[most-1] = strings.Join(lines[most-1:], " ")
		lines = lines[:most]
	}
	for i := range lines {
		lines[i] = fitted(s, lines[i], width)
	}
	return lines
}
