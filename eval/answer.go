package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Choose returns the index of the choice with the highest mean
// log-likelihood per token (nats, one value per choice) and whether another
// choice reached exactly the same value. A tie goes to the first, so that a
// model that says nothing scores what its question order gives it, and is
// reported so that it can be counted. The mean, not the sum, keeps long
// answers from losing by their length alone.
func Choose(meanLogLikelihoods []float64) (best int, tied bool, err error) {
	if len(meanLogLikelihoods) == 0 {
		return 0, false, fmt.Errorf("eval: no choices to choose from: a multiple-choice question needs at least one")
	}
	for i, v := range meanLogLikelihoods {
		if math.IsNaN(v) {
			return 0, false, fmt.Errorf("eval: the log-likelihood of choice %d is NaN, expected a number", i)
		}
		switch {
		case v > meanLogLikelihoods[best]:
			best, tied = i, false
		case i > 0 && v == meanLogLikelihoods[best]:
			tied = true
		}
	}
	return best, tied, nil
}

// ExactMatch reports whether prediction equals one of the answers after
// [Normalize] on both sides.
func ExactMatch(prediction string, answers []string) bool {
	p := Normalize(prediction)
	return slices.ContainsFunc(answers, func(a string) bool { return Normalize(a) == p })
}

// numberWords and articles are what VQA scoring rewrites and drops.
var (
	numberWords = map[string]string{
		"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
		"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
	}
	articles = []string{"a", "an", "the"}
)

// vqaPunctuation is the set of marks that VQA scoring takes out of answers.
const vqaPunctuation = ";/[]\"{}()=+\\_-><@`,?!"

// Normalize rewrites a short answer for comparison as the VQA metric does,
// which lmms-eval uses for its exact_match tasks (EvalAIAnswerProcessor of
// Pythia's tasks/processors.py): lower case, commas and question marks
// dropped, "'s" split off, other punctuation dropped beside a space and turned
// into a space elsewhere, periods dropped unless a digit follows, number words
// up to ten as digits, articles dropped, contractions spelled with their
// apostrophe, white space collapsed.
func Normalize(answer string) string {
	s := strings.ToLower(answer)
	s = strings.NewReplacer(",", "", "?", "", "'s", " 's").Replace(s)
	s = strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(s))
	s = stripPeriods(stripPunctuation(s))
	words := make([]string, 0, 4)
	for _, w := range strings.FieldsFunc(s, unicode.IsSpace) {
		if n, ok := numberWords[w]; ok {
			w = n
		}
		if !slices.Contains(articles, w) {
			words = append(words, contraction(w))
		}
	}
	return strings.Join(words, " ")
}

// stripPunctuation drops a mark everywhere when it stands beside a space
// anywhere in s, else it makes a space of it ("red-blue" → "red blue", but
// "red - blue" → "red  blue").
func stripPunctuation(s string) string {
	out := s
	for _, p := range vqaPunctuation {
		mark, with := string(p), " "
		if strings.Contains(s, mark+" ") || strings.Contains(s, " "+mark) {
			with = ""
		}
		out = strings.ReplaceAll(out, mark, with)
	}
	return out
}

// stripPeriods drops each period that no digit follows: "3.5" stays, "red."
// loses its end.
func stripPeriods(s string) string {
	runes := []rune(s)
	out := make([]rune, 0, len(runes))
	for i, r := range runes {
		if r == '.' && (i+1 == len(runes) || !unicode.IsDigit(runes[i+1])) {
			continue
		}
		out = append(out, r)
	}
	return string(out)
}
