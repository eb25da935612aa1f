package benchmarks

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/internal/nearest"
)

// Benchmark says how the rows of a benchmark's files become questions.
type Benchmark struct {
	Name    string // as commands take it
	Title   string // for headings
	Metric  string // lmms-eval's name of the score
	Columns string // of a row, as the hub's data card has them

	example func(row row) (datasets.Example, error)
}

// What lmms-eval asks behind a question.
const (
	askPhrase = "\nAnswer the question using a single word or phrase."
	askWord   = "\nAnswer the question with a single word."
	askLetter = "Answer with the option's letter from the given choices directly."
	askVizWiz = "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + askPhrase
)

// All lists the benchmarks.
func All() []Benchmark {
	return []Benchmark{
		{"mmmu", "MMMU", "mmmu_acc", "id, question, options, image_1 to image_7, question_type, answer", mmmu},
		{"textvqa", "TextVQA", "exact_match", "question_id, question, image, answers", textVQA},
		{"vizwiz", "VizWiz-VQA", "exact_match", "question_id, question, image, answers", vizWiz},
		{"chartqa", "ChartQA", "relaxed_overall", "type, question, answer, image", chartQA},
		{"ocrbench", "OCRBench", "ocrbench_accuracy", "dataset, question_type, question, answer, image", ocrBench},
		{"scienceqa", "ScienceQA", "exact_match", "image, question, choices, answer, hint", scienceQA},
		{"seed", "SEED-Bench", "seed_all", "question_id, question, choice_a to choice_d, answer, data_type, image", seed},
	}
}

// Find returns the benchmark of that name. The error lists the valid names and
// suggests the nearest.
func Find(name string) (Benchmark, error) {
	var names []string
	for _, b := range All() {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	hint := ""
	if near := nearest.Name(name, names); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return Benchmark{}, fmt.Errorf("benchmarks: unknown benchmark %q: valid are %s%s", name, strings.Join(names, ", "), hint)
}

// mmmu follows tasks/mmmu: options are a Python list in a string, the pictures are
// those that the prompt names, in the order of their names.
func mmmu(r row) (datasets.Example, error) {
	e := datasets.Example{ID: r.text("id"), Scoring: datasets.OpenAnswer}
	question := r.text("question")
	kind := r.text("question_type")
	options, err := parseList(r.text("options"))
	if err != nil && (kind == "multiple-choice" || r.text("options") != "") {
		return e, fmt.Errorf("options %.60q: %w", r.text("options"), err)
	}
	prompt := question + "\n\n" + strings.TrimPrefix(askPhrase, "\n")
	switch kind {
	case "multiple-choice":
		if len(options) < 2 || len(options) > 26 {
			return e, fmt.Errorf("%d options, expected 2 to 26", len(options))
		}
		e.Scoring, e.Options = datasets.OptionLetter, options
		prompt = question + "\n" + lettered(options) + "\n\n" + askLetter
	case "open":
	default:
		return e, fmt.Errorf("question_type %q, expected multiple-choice or open", kind)
	}
	e.Question = prompt
	e.Answers = r.texts("answer")
	if len(e.Answers) == 1 && strings.HasPrefix(e.Answers[0], "[") { // several accepted answers, as a Python list
		if several, err := parseList(e.Answers[0]); err == nil {
			e.Answers = several
		}
	}
	var names []string
	for i := 1; i <= 7; i++ {
		if strings.Contains(prompt, fmt.Sprintf("<image %d>", i)) {
			names = append(names, fmt.Sprintf("image_%d", i))
		}
	}
	e.Images, err = r.pictures(names...)
	return e, err
}

// lettered lists options as "A. first", one a line.
func lettered(options []string) string {
	lines := make([]string, len(options))
	for i, o := range options {
		lines[i] = string(rune('A'+i)) + ". " + o
	}
	return strings.Join(lines, "\n")
}

// textVQA follows tasks/textvqa.
func textVQA(r row) (datasets.Example, error) { return vqa(r, askPhrase) }

// vizWiz follows tasks/vizwiz_vqa.
func vizWiz(r row) (datasets.Example, error) { return vqa(r, askVizWiz) }

func vqa(r row, post string) (e datasets.Example, err error) {
	e = datasets.Example{ID: r.text("question_id"), Question: capitalize(r.text("question")) + post, Scoring: datasets.VQAAccuracy}
	e.Answers = commonFirst(r.texts("answers"))
	e.Images, err = r.pictures("image")
	return e, err
}

// capitalize is Python's: the first letter in upper case, all others in lower case.
func capitalize(s string) string {
	runes := []rune(strings.ToLower(s))
	if len(runes) == 0 {
		return ""
	}
	return strings.ToUpper(string(runes[:1])) + string(runes[1:])
}

// commonFirst puts the answer that most people gave first: likelihoods are measured
// on it. The rest keeps its order.
func commonFirst(answers []string) []string {
	counts := map[string]int{}
	for _, a := range answers {
		counts[a]++
	}
	sorted := slices.Clone(answers)
	sort.SliceStable(sorted, func(i, j int) bool { return counts[sorted[i]] > counts[sorted[j]] })
	return sorted
}

// chartQA follows tasks/chartqa; rows of HuggingFaceM4's copy (query, label) are read too.
func chartQA(r row) (e datasets.Example, err error) {
	question, answers := r.text("question"), r.texts("answer")
	if question == "" {
		question, answers = r.text("query"), r.texts("label")
	}
	e = datasets.Example{Question: question, Answers: answers, Scoring: datasets.RelaxedAccuracy, Attribute: r.text("type")}
	if question != "" {
		e.Question += askWord
	}
	e.Images, err = r.pictures("image")
	return e, err
}

// ocrBench follows tasks/ocrbench: formulas (HME100k) are compared without spaces.
func ocrBench(r row) (e datasets.Example, err error) {
	e = datasets.Example{Question: strings.TrimSpace(r.text("question")), Answers: r.texts("answer"), Scoring: datasets.Containment, Attribute: r.text("question_type")}
	if r.text("dataset") == "HME100k" {
		e.Scoring = datasets.SpacelessContainment
	}
	e.Images, err = r.pictures("image")
	return e, err
}

// scienceQA follows tasks/scienceqa; a row may have no picture.
func scienceQA(r row) (e datasets.Example, err error) {
	choices := r.texts("choices")
	right, err := r.number("answer")
	if err != nil {
		return e, err
	}
	if right < 0 || right >= len(choices) || len(choices) > 26 {
		return e, fmt.Errorf("answer %d of %d choices, expected 0 to %d", right, len(choices), len(choices)-1)
	}
	context := r.text("hint")
	if context != "" {
		context = "Context: " + context + "\n"
	}
	e = datasets.Example{
		Question: context + r.text("question") + "\n" + lettered(choices) + "\n" + askLetter,
		Answers:  []string{string(rune('A' + right))}, Options: choices, Scoring: datasets.LetterPoint, Attribute: r.text("subject"),
	}
	if r["image"] != nil {
		e.Images, err = r.pictures("image")
	}
	return e, err
}

// seed follows tasks/seedbench.
func seed(r row) (e datasets.Example, err error) {
	options := []string{r.text("choice_a"), r.text("choice_b"), r.text("choice_c"), r.text("choice_d")}
	e = datasets.Example{
		ID: r.text("question_id"), Question: r.text("question") + "\n" + lettered(options) + "\n" + askLetter,
		Answers: r.texts("answer"), Options: options, Scoring: datasets.FirstLetter, Attribute: r.text("data_type"),
	}
	e.Images, err = r.pictures("image")
	return e, err
}
