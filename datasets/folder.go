package datasets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// questionsFile holds a folder's questions, one JSON object per line.
const questionsFile = "qa.jsonl"

// folderLine is one line of qa.jsonl.
type folderLine struct {
	ID       string    `json:"id"`       // unique; default: the line's number
	Image    oneOrMany `json:"image"`    // path below the folder, or several
	Question string    `json:"question"` // stands after the pictures
	Answers  oneOrMany `json:"answers"`  // accepted answers, the canonical one first
	Options  []string  `json:"options"`  // what letters in the question stand for, for scoring "option"
	Choices  []string  `json:"choices"`  // none: the model answers in its own words
	Source   string    `json:"source"`   // cluster of dependent questions; default: the picture
	Scoring  Scoring   `json:"scoring"`  // of answers in the model's own words
}

// OpenFolder opens a folder of the user's own questions: DIR/qa.jsonl with lines like
//
//	{"image": "cat.png", "question": "What is this?", "answers": ["cat"], "choices": ["cat", "dog"]}
//
// and the pictures below DIR (PNG, JPEG, GIF, WebP or BMP). choices may be left out: then
// the model answers in its own words, which are scored by "scoring" ([Scorings]). Optional
// are also "id" and "source" (questions with one source count as dependent).
//
// Errors name the file and the line: unknown fields, an answer that isn't among the
// choices, ids that appear twice, pictures that aren't there.
func OpenFolder(dir string) (*Files, error) {
	f := &Files{Name: folderName(dir), Path: filepath.Join(dir, questionsFile), folder: dir}
	data, err := readText(f.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: a folder of questions needs %s: {\"image\", \"question\", \"answers\", \"choices\"} per line", err, questionsFile)
	}
	if f.records, err = parseQuestions(data); err != nil {
		return nil, fmt.Errorf("datasets: %s:%w", f.Path, err)
	}
	return f, f.checkPaths()
}

// folderName is the last part of a folder's full path.
func folderName(dir string) string {
	full, err := filepath.Abs(dir)
	if err != nil {
		full = dir
	}
	return filepath.Base(full)
}

// parseQuestions reads qa.jsonl. An error begins with its line number and a colon.
func parseQuestions(data []byte) ([]record, error) {
	var records []record
	seen := map[string]int{}
	for number, line := range bytes.Split(data, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		r, err := parseQuestion(line)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", number+1, err)
		}
		r.line = number + 1
		if r.id == "" {
			r.id = strconv.Itoa(r.line)
		}
		if first := seen[r.id]; first > 0 {
			return nil, fmt.Errorf("%d: id %q appears in line %d already", r.line, r.id, first)
		}
		seen[r.id] = r.line
		records = append(records, r)
	}
	if len(records) == 0 {
		return nil, errors.New("1: no question: expected one JSON object per line")
	}
	return records, nil
}

// parseQuestion reads one line strictly.
func parseQuestion(line []byte) (record, error) {
	var q folderLine
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return record{}, fmt.Errorf("%w: expected an object with id, image, question, answers, choices, options, source, scoring", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return record{}, errors.New("expected one JSON object, found more after it")
	}
	r := record{id: q.ID, source: q.Source, images: q.Image, qa: QA{Question: q.Question}, options: q.Options, choice: q.Choices, rule: q.Scoring}
	if len(q.Answers) > 0 {
		r.qa.Answer, r.others = q.Answers[0], q.Answers[1:]
	}
	if r.source == "" && len(r.images) > 0 {
		r.source = strings.Join(r.images, " ")
	}
	return r, r.check()
}

// check reports the first fault of a record.
func (r *record) check() error {
	switch {
	case strings.TrimSpace(r.qa.Question) == "":
		return errors.New("question is missing or empty")
	case strings.TrimSpace(r.qa.Answer) == "":
		return errors.New("answers is missing or its first one is empty")
	case slices.Contains(r.images, ""):
		return errors.New("image is empty: leave it out where there is no picture")
	case !slices.Contains(Scorings(), r.rule):
		return unknown("scoring", string(r.rule), scoringNames())
	case r.rule == OptionLetter && (len(r.options) < 2 || len(r.options) > 26):
		return fmt.Errorf("%d options: scoring %q needs 2 to 26", len(r.options), r.rule)
	case len(r.choice) == 0:
		return nil
	}
	seen := map[string]bool{}
	for _, c := range r.choice {
		if c == "" || seen[c] {
			return fmt.Errorf("choices %q: expected different ones, none empty", r.choice)
		}
		seen[c] = true
	}
	if len(r.choice) < 2 || !seen[r.qa.Answer] {
		return fmt.Errorf("choices %q: expected two or more with the answer %q among them", r.choice, r.qa.Answer)
	}
	return nil
}

// Scorings lists the rules for answers in the model's own words.
func Scorings() []Scoring {
	return []Scoring{ExactMatch, RelaxedAccuracy, VQAAccuracy, ANLS, Containment, SpacelessContainment, OptionLetter, OpenAnswer, FirstLetter, LetterPoint}
}

// scoringNames lists the rules that have a name.
func scoringNames() []string {
	var names []string
	for _, s := range Scorings() {
		if s != "" {
			names = append(names, string(s))
		}
	}
	return names
}
