package eval

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/datasets"
)

// TestVQAAccuracy uses cases worked out by hand. With k of ten people agreeing with the
// prediction, the k who gave it see k−1 others, the rest see k:
// (k·min(1,(k−1)/3) + (10−k)·min(1,k/3)) / 10.
func TestVQAAccuracy(t *testing.T) {
	answers := func(right int) []string {
		return append(slices.Repeat([]string{"Red"}, right), slices.Repeat([]string{"blue"}, 10-right)...)
	}
	for k, want := range []float64{0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1} {
		if got := VQAAccuracy("the red.", answers(k)); math.Abs(got-want) > 1e-12 {
			t.Errorf("%d of 10 agree: %v, want %v", k, got, want)
		}
	}
	if got := VQAAccuracy("dont", []string{"don't", "don't", "don't", "don't"}); got != 1 {
		t.Errorf("a contraction scores %v", got)
	}
	if got := VQAAccuracy("x", nil); got != 0 {
		t.Errorf("no answers score %v", got)
	}
}

// leaveOneOut is the metric as it is defined, answer by answer.
func leaveOneOut(prediction string, answers []string) float64 {
	sum := 0.0
	for i := range answers {
		same := 0
		for j, a := range answers {
			if j != i && Normalize(a) == Normalize(prediction) {
				same++
			}
		}
		sum += math.Min(1, float64(same)/3)
	}
	return sum / float64(len(answers))
}

func TestVQAAccuracyMatchesDefinition(t *testing.T) {
	words := []string{"cat", "the cat", "dog", "2", "two"}
	for code := range 3125 {
		var answers []string
		for c := code; len(answers) < 5; c /= 5 {
			answers = append(answers, words[c%5])
		}
		for _, p := range []string{"cat", "2"} {
			if got, want := VQAAccuracy(p, answers), leaveOneOut(p, answers); math.Abs(got-want) > 1e-12 {
				t.Fatalf("%q against %q: %v, want %v", p, answers, got, want)
			}
		}
	}
}

func TestRelaxedMatch(t *testing.T) {
	for _, c := range []struct {
		prediction, target string
		want               bool
	}{
		{"105", "100", true},
		{"95", "100", true},
		{"105.1", "100", false},
		{"94.9", "100", false},
		{"-105", "-100", true},
		{"-100", "100", false},
		{"5%", "0.05", true},
		{"0.05", "5%", true},
		{"5", "5%", false},
		{"5%", "5", false},
		{"0", "0", true},
		{"0.0", "0", false}, // 0 has no 5%: the texts must be equal
		{"Yes", "yes", true},
		{"yes.", "yes", false},
		{"1e2", "100", true},
		{"1_00", "100", true},
		{"0x64", "100", false},
		{"1,000", "1000", false}, // Python reads no commas
		{" 101 ", "100", true},
		{"%", "100", false},
		{"", "", true},
		{"inf", "100", false},
	} {
		if got := RelaxedMatch(c.prediction, c.target); got != c.want {
			t.Errorf("RelaxedMatch(%q, %q) = %v", c.prediction, c.target, got)
		}
	}
}

func TestANLS(t *testing.T) {
	for _, c := range []struct {
		prediction string
		answers    []string
		want       float64
	}{
		{"Hello World", []string{"hello  world"}, 1},
		{"hello", []string{"hallo"}, 0.8},       // one of five
		{"hello", []string{"xyz", "help"}, 0.6}, // help → hello: p becomes l, o is added: 2 of 5
		{"abcd", []string{"abxy"}, 0.5},         // exactly the threshold counts
		{"abc", []string{"abxyz"}, 0},           // 3 of 5: below it
		{"", []string{""}, 1},
		{"a", nil, 0},
		{"", []string{"abc"}, 0},
		{"日本", []string{"日本語"}, 1 - 1.0/3},
	} {
		if got := ANLS(c.prediction, c.answers); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("ANLS(%q, %q) = %v, want %v", c.prediction, c.answers, got, c.want)
		}
	}
}

// slowDistance is the recursive definition of the edit distance.
func slowDistance(a, b string) int {
	switch {
	case a == "":
		return len(b)
	case b == "":
		return len(a)
	}
	substitute := slowDistance(a[1:], b[1:])
	if a[0] != b[0] {
		substitute++
	}
	return min(substitute, 1+slowDistance(a[1:], b), 1+slowDistance(a, b[1:]))
}

func TestLevenshteinMatchesDefinition(t *testing.T) {
	words := []string{"", "a", "ab", "ba", "abc", "cab", "abab", "bbaa", "abcab"}
	for _, a := range words {
		for _, b := range words {
			if got, want := levenshtein([]rune(a), []rune(b)), slowDistance(a, b); got != want {
				t.Errorf("%q to %q: %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestContains(t *testing.T) {
	if !Contains("It says CENTRE\nstage.", []string{"no", "centre stage"}) || Contains("center", []string{"centre"}) {
		t.Error("Contains")
	}
	if !ContainsSpaceless("x ^ 2 + y", []string{"x^2 + y"}) || ContainsSpaceless("X", []string{"X"}) {
		t.Error("ContainsSpaceless: the text is put in lower case, the answer isn't")
	}
}

// TestParseOption follows MMMU's rules case by case.
func TestParseOption(t *testing.T) {
	options := []string{"apple tree", "pear", "old oak", "nothing of these"}
	for text, want := range map[string]string{
		"B":                                   "B",
		"B.":                                  "B",
		"(C)":                                 "C",
		"(A) or rather (C)":                   "C", // the last one
		"The answer is B":                     "B",
		"A or B ":                             "B",
		"(A), not B ":                         "A", // brackets come first
		"Answer: D.":                          "D",
		"it is the old oak of our village":    "C", // content, in more than five words
		"pear, no, the apple tree, I'd guess": "A",
		"old oak":                             "",
		"I can't tell what is shown here":     "",
		"":                                    "",
		"E":                                   "",
		"b":                                   "",
		"B.C. and A.D. were long":             "A", // found as "A." and "B.": no word of its own, so the first
	} {
		got, ok := ParseOption(text, options)
		if got != want || ok != (want != "") {
			t.Errorf("ParseOption(%q) = %q, %v, want %q", text, got, ok, want)
		}
	}
}

func TestMatchOpen(t *testing.T) {
	for _, c := range []struct {
		text, answer string
		want         bool
	}{
		{"The answer is 24.", "24", true},
		{"24.001", "24", true}, // two decimals
		{"24.01", "24", false},
		{"so x = 1,200 units", "1200", true},
		{"1.5e3", "1500", true},
		{"the result is blue", "Blue", true},
		{"x is b ", "b", true}, // both have become " b" and "b "
		{"it could be a b or c", "b", true},
		{"trigonometry", "b", false},
		{"24", "blue", false},
		{"It is 3.\nNo, it is 4", "3", true}, // every line has its part
		{"nothing", "", true},                // an empty answer is contained in everything
	} {
		if got := MatchOpen(c.text, []string{c.answer}); got != c.want {
			t.Errorf("MatchOpen(%q, %q) = %v", c.text, c.answer, got)
		}
	}
}

// TestNumbersIn was worked out by hand from the three expressions.
func TestNumbersIn(t *testing.T) {
	for text, want := range map[string]string{
		"1,234 and 5": "1,234 234 5", // the plain form finds what the comma leaves over
		"-3.5":        "-3.5",
		".5x":         ".5",
		"2e5":         "2e5 5", // "2" has no word boundary; then 5
		"1.25,":       "1",     // "1.25" is followed by a comma, "1.2" by a digit; "1" by neither
		"7th":         "",
		"a7":          "7",
		"3.":          "3",
		"12,5":        "5",
	} {
		if got := strings.Join(numbersIn(text), " "); got != want {
			t.Errorf("numbersIn(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestScoreText(t *testing.T) {
	letters := []string{"x", "y"}
	for _, c := range []struct {
		rule   datasets.Scoring
		text   string
		score  float64
		parsed bool
	}{
		{datasets.ExactMatch, "the B", 1, true},
		{datasets.OptionLetter, "(B)", 1, true},
		{datasets.OptionLetter, "(A)", 0, true},
		{datasets.OptionLetter, "hm", 0, false},
		{datasets.FirstLetter, " Because", 1, true},
		{datasets.FirstLetter, "A", 0, true},
		{datasets.LetterPoint, "B", 1, true},
		{datasets.LetterPoint, "B. y", 1, true},
		{datasets.LetterPoint, "B) y", 0, true},
		{datasets.LetterPoint, "Because", 0, true},
		{datasets.Containment, "abc", 1, true},
		{datasets.RelaxedAccuracy, "b", 1, true},
		{datasets.OpenAnswer, "it is B", 1, true},
		{datasets.OpenAnswer, "it is Bob", 0, true},
	} {
		e := datasets.Example{Answers: []string{"B"}, Options: letters, Scoring: c.rule}
		if score, parsed := ScoreText(&e, c.text); score != c.score || parsed != c.parsed {
			t.Errorf("%q by %q: %v, %v, want %v, %v", c.text, c.rule, score, parsed, c.score, c.parsed)
		}
	}
	for _, rule := range datasets.Scorings() { // every rule accepts its own answer, given by enough people and in its case
		e := datasets.Example{Answers: []string{"B"}, Options: letters, Scoring: rule}
		if score, _ := ScoreText(&e, "B"); score < 1 && rule != datasets.VQAAccuracy && rule != datasets.SpacelessContainment {
			t.Errorf("rule %q scores its own answer %v", rule, score)
		}
	}
}

// TestGradeFraction checks that a partly right answer counts by its fraction.
func TestGradeFraction(t *testing.T) {
	q := &Question{Example: datasets.Example{ID: "1", Task: "t", Answers: []string{"red", "red", "blue", "green"}, Scoring: datasets.VQAAccuracy}}
	s := Sample{ID: "1", Task: "t"}
	q.Grade(&s, " red ")
	// Two of four agree: the two see one other each, the rest see two: (2·1/3 + 2·2/3)/4.
	if s.Fraction == nil || math.Abs(*s.Fraction-0.5) > 1e-12 || !s.Correct || s.Points() != *s.Fraction {
		t.Errorf("sample %+v, points %v", s, s.Points())
	}
	q.Grade(&s, "violet")
	if s.Correct || s.Points() != 0 {
		t.Errorf("a wrong answer scores %v", s.Points())
	}
}

func FuzzScoreText(f *testing.F) {
	f.Add("The answer is (B), 1,234.5e6", "B")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, text, answer string) {
		for _, rule := range datasets.Scorings() {
			e := datasets.Example{Answers: []string{answer, "x"}, Options: []string{"one", answer}, Scoring: rule}
			if score, _ := ScoreText(&e, text); !(score >= 0 && score <= 1) {
				t.Errorf("%q scores %v", rule, score)
			}
		}
	})
}
