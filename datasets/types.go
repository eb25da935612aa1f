package datasets

import (
	"fmt"
	"image"
	"iter"
	"strings"

	"github.com/tlqlab/tlqlab/internal/nearest"
)

// Split says what a picture may be used for.
type Split string

// The splits. No concept–vendor pair belongs to two of them.
const (
	Train  Split = "train"  // training and calibration
	Tuning Split = "tuning" // choosing settings
	Test   Split = "test"   // reported numbers
)

// Splits returns all splits.
func Splits() []Split { return []Split{Train, Tuning, Test} }

// ParseSplit returns the split of that name. The error lists the valid names.
func ParseSplit(name string) (Split, error) {
	names := make([]string, 0, 3)
	for _, s := range Splits() {
		if string(s) == name {
			return s, nil
		}
		names = append(names, string(s))
	}
	return "", unknown("split", name, names)
}

// Example is one question about pictures.
type Example struct {
	ID        string        // stable: task, split, seed and number
	Task      string        // name of the task
	Images    []image.Image // 128×128 opaque RGBA where we drew them; examples with one Source and Task scene show the same board
	Question  string        // stands after the pictures
	Answers   []string      // accepted answers, the canonical one first
	Options   []string      // what the letters A, B, … of the question stand for; none: it has none
	Choices   []string      // distinct, shuffled, with Answers[0] exactly once; none: an open question
	Source    string        // concept, board, table or word: the cluster of a bootstrap
	Licence   string        // licences of the pictures shown
	Attribute string        // finer class within the task: the kind of question or of concept
	Scoring   Scoring       // how an answer in the model's own words is scored; empty: exact match
}

// Scoring names the rule by which an answer in the model's own words is scored;
// package eval holds the rules. A question with choices is scored by its choice.
type Scoring string

// The rules, as lmms-eval has them.
const (
	ExactMatch      Scoring = ""         // equal to an answer after normalization
	RelaxedAccuracy Scoring = "relaxed"  // a number within 5% (ChartQA)
	VQAAccuracy     Scoring = "vqa"      // agreement with ten people (TextVQA, VizWiz)
	ANLS            Scoring = "anls"     // edit distance (DocVQA)
	Containment     Scoring = "contains" // an answer occurs in the text (OCRBench)
	// SpacelessContainment is Containment without spaces (OCRBench's formulas).
	SpacelessContainment Scoring = "contains-spaceless"
	OptionLetter         Scoring = "option"       // the letter of one of Options, parsed out of the text (MMMU)
	OpenAnswer           Scoring = "open"         // a number or words, parsed out of the text (MMMU's open questions)
	FirstLetter          Scoring = "letter"       // the text's first letter (SEED)
	LetterPoint          Scoring = "letter-point" // the letter alone, or the letter and a point at the beginning (ScienceQA)
)

// Task is a family of questions with a known chance level.
type Task struct {
	Name     string  `json:"name"`     // as commands take it
	Title    string  `json:"title"`    // for headings
	Measures string  `json:"measures"` // what a good score shows, and which benchmark it resembles
	Chance   float64 `json:"chance"`   // accuracy of blind guessing, 0..1

	ask asker
}

// asker makes example i without its picture, and the function that draws it.
type asker func(p *pack, split Split, seed uint64, i int) (Example, artwork)

// artwork draws a picture; it may be called once.
type artwork func() (*image.RGBA, error)

// with draws the example's picture.
func (e Example) with(draw artwork) (Example, error) {
	img, err := draw()
	if err != nil {
		return Example{}, err
	}
	e.Images = []image.Image{img}
	return e, nil
}

// Tasks returns all tasks in their fixed order.
func Tasks() []Task {
	return []Task{
		{
			Name: "emoji", Title: "Emoji naming", Chance: 0.25,
			Measures: "naming one picture of a vendor that was not seen for this concept, among four names of things alike",
			ask:      askEmoji,
		},
		{
			Name: "scene", Title: "Scenes on a board", Chance: 0.25,
			Measures: "finding, naming, locating and counting small pictures on boards of 4 to 16 cells (a small cousin of SEED)",
			ask:      askScene,
		},
		{
			Name: "chart", Title: "Charts", Chance: chartChance,
			Measures: "reading, comparing and counting bars, dots and lines drawn from real tables (a small cousin of ChartQA)",
			ask:      askChart,
		},
		{
			Name: "text", Title: "Written words", Chance: 0.25,
			Measures: "reading, finding and describing words that were not seen in training (a small cousin of TextVQA and OCRBench)",
			ask:      askText,
		},
		{
			Name: "blur", Title: "Damaged pictures", Chance: 0.25,
			Measures: "naming emoji that are blurred, noisy, pale or covered, and knowing when nothing can be told (a small cousin of VizWiz)",
			ask:      askBlur,
		},
	}
}

// FindTask returns the task of that name. The error lists the valid names and
// suggests the nearest.
func FindTask(name string) (Task, error) {
	var names []string
	for _, t := range Tasks() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Task{}, unknown("task", name, names)
}

// Example returns example i ≥ 0 of a split; it depends on (task, split, seed, i) only.
func (t Task) Example(split Split, seed uint64, i int) (Example, error) {
	if t.ask == nil {
		return Example{}, fmt.Errorf("datasets: task %q was not made by FindTask or Tasks", t.Name)
	}
	if _, err := ParseSplit(string(split)); err != nil {
		return Example{}, err
	}
	if i < 0 {
		return Example{}, fmt.Errorf("datasets: example %d: numbers start at 0", i)
	}
	p, err := builtin()
	if err != nil {
		return Example{}, err
	}
	e, draw := t.ask(p, split, seed, i)
	return e.with(draw)
}

// Examples yields the examples 0 to n−1 of a split. An error ends the sequence.
func (t Task) Examples(split Split, seed uint64, n int) iter.Seq2[Example, error] {
	return sequence(n, func(i int) (Example, error) { return t.Example(split, seed, i) })
}

// sequence yields item(0) to item(n−1) and stops after an error.
func sequence[T any](n int, item func(i int) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if n < 0 {
			var zero T
			yield(zero, fmt.Errorf("datasets: %d examples wanted; the number must not be negative", n))
			return
		}
		for i := range n {
			value, err := item(i)
			if !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// unknown is the error for a name that is not in valid.
func unknown(what, name string, valid []string) error {
	hint := ""
	if near := nearest.Name(name, valid); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("datasets: unknown %s %q: valid are %s%s", what, name, strings.Join(valid, ", "), hint)
}
