package eval

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
)

// ScoreText scores an answer in the model's own words, 0 to 1, by the example's
// rule. parsed is false where the rule looks for an option's letter and finds
// none: such an answer counts as wrong. (lmms-eval guesses at random there.)
func ScoreText(e *datasets.Example, text string) (score float64, parsed bool) {
	switch e.Scoring {
	case datasets.RelaxedAccuracy:
		return best(e.Answers, func(a string) float64 { return indicator(RelaxedMatch(text, a)) }), true
	case datasets.VQAAccuracy:
		return VQAAccuracy(text, e.Answers), true
	case datasets.ANLS:
		return ANLS(text, e.Answers), true
	case datasets.Containment:
		return indicator(Contains(text, e.Answers)), true
	case datasets.SpacelessContainment:
		return indicator(ContainsSpaceless(text, e.Answers)), true
	case datasets.OptionLetter:
		letter, ok := ParseOption(text, e.Options)
		return indicator(ok && slices.Contains(e.Answers, letter)), ok
	case datasets.OpenAnswer:
		return indicator(MatchOpen(text, e.Answers)), true
	case datasets.FirstLetter:
		letter := strings.TrimSpace(text)
		if runes := []rune(letter); len(runes) > 1 {
			letter = string(runes[:1])
		}
		return indicator(slices.Contains(e.Answers, letter)), true
	case datasets.LetterPoint:
		return indicator(slices.ContainsFunc(e.Answers, func(a string) bool { return text == a || strings.HasPrefix(text, a+".") })), true
	}
	return indicator(ExactMatch(text, e.Answers)), true
}

// best is the largest score over the accepted answers.
func best(answers []string, score func(string) float64) float64 {
	top := 0.0
	for _, a := range answers {
		top = max(top, score(a))
	}
	return top
}

// VQAAccuracy is the VQA metric (Antol et al., 2015) as lmms-eval has it for TextVQA
// and VizWiz: for every one of the people's answers, an answer that three of the
// others gave is right, one that fewer gave a third each; the mean over the people.
// Both sides are rewritten by [Normalize]. No answers give 0.
func VQAAccuracy(prediction string, answers []string) float64 {
	p := Normalize(prediction)
	same := 0
	for _, a := range answers {
		if Normalize(a) == p {
			same++
		}
	}
	if len(answers) == 0 {
		return 0
	}
	credit := func(others int) float64 { return min(1, float64(others)/3) }
	agreeing, rest := float64(same), float64(len(answers)-same)
	sum := rest * credit(same)
	if same > 0 {
		sum += agreeing * credit(same-1)
	}
	return sum / float64(len(answers))
}

// relaxedTolerance is what relaxed accuracy forgives.
const relaxedTolerance = 0.05

// RelaxedMatch is ChartQA's relaxed accuracy (Masry et al., 2022) as lmms-eval has it:
// two numbers, of which the right one isn't 0, may differ by 5% of the right one, a
// percentage counts as its hundredth; all else must be equal but for case.
func RelaxedMatch(prediction, target string) bool {
	p, okP := relaxedNumber(prediction)
	t, okT := relaxedNumber(target)
	if okP && okT && t != 0 {
		return math.Abs(p-t)/math.Abs(t) <= relaxedTolerance
	}
	a, b := strings.ToLower(prediction), strings.ToLower(target) // not EqualFold, which takes ſ for s
	return a == b
}

// relaxedNumber reads a number or a percentage.
func relaxedNumber(text string) (float64, bool) {
	if strings.HasSuffix(text, "%") {
		v, ok := pythonFloat(strings.TrimRight(text, "%"))
		return v / 100, ok
	}
	return pythonFloat(text)
}

// pythonFloat reads what Python's float reads: white space around the number, single
// underscores between digits, no hexadecimal forms.
func pythonFloat(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, "xXpP") {
		return 0, false
	}
	for i := range len(text) {
		if text[i] == '_' && (i == 0 || i+1 == len(text) || !isDigit(text[i-1]) || !isDigit(text[i+1])) {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil && !math.IsInf(v, 0) { // out of range is infinite in Python, no error
		return 0, false
	}
	return v, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// anlsThreshold is the similarity below which an answer counts as wrong.
const anlsThreshold = 0.5

// ANLS is the average normalized Levenshtein similarity of one answer (Biten et al.,
// 2019) as lmms-eval has it: 1 − distance/length to the nearest accepted answer, 0
// below 0.5. The distance is taken in lower case with single spaces, the length is the
// larger one of the texts as they are, in runes. No answers give 0.
func ANLS(prediction string, answers []string) float64 {
	if len(answers) == 0 {
		return 0
	}
	tidy := func(s string) []rune { return []rune(strings.Join(strings.Fields(strings.ToLower(s)), " ")) }
	nearest := math.Inf(1)
	for _, a := range answers {
		length := max(len([]rune(a)), len([]rune(prediction)))
		distance := 0.0
		if length > 0 {
			distance = float64(levenshtein(tidy(a), tidy(prediction))) / float64(length)
		}
		nearest = min(nearest, distance)
	}
	if 1-nearest < anlsThreshold {
		return 0
	}
	return 1 - nearest
}

// levenshtein is the number of insertions, deletions and substitutions between a and b.
func levenshtein(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			next := diagonal
			if x != y {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// Contains reports whether an accepted answer occurs in the text, in lower case with
// line breaks as spaces: OCRBench's rule (Liu et al., 2023).
func Contains(text string, answers []string) bool {
	tidy := func(s string) string {
		return strings.ReplaceAll(strings.TrimSpace(strings.ToLower(s)), "\n", " ")
	}
	return slices.ContainsFunc(answers, func(a string) bool { return strings.Contains(tidy(text), tidy(a)) })
}

// ContainsSpaceless is OCRBench's rule for formulas (HME100k): spaces don't count. As
// in lmms-eval the text is in lower case, the answer as it is.
func ContainsSpaceless(text string, answers []string) bool {
	tidy := strings.NewReplacer("\n", "", " ", "")
	p := tidy.Replace(strings.TrimSpace(strings.ToLower(text)))
	return slices.ContainsFunc(answers, func(a string) bool { return strings.Contains(p, tidy.Replace(strings.TrimSpace(a))) })
}
