package eval

import (
	"math"
	"testing"
)

func TestChoose(t *testing.T) {
	inf := math.Inf(-1)
	for _, c := range []struct {
		values []float64
		best   int
		tied   bool
	}{
		{[]float64{-1}, 0, false},
		{[]float64{-2, -1, -3}, 1, false},
		{[]float64{-1, -1, -3}, 0, true},
		{[]float64{-2, -2, -1}, 2, false}, // a tie among losers is none
		{[]float64{-2, -1, -1, -1}, 1, true},
		{[]float64{inf, inf}, 0, true},
	} {
		best, tied, err := Choose(c.values)
		if err != nil || best != c.best || tied != c.tied {
			t.Errorf("Choose(%v) = %d, %v, %v, want %d, %v", c.values, best, tied, err, c.best, c.tied)
		}
	}
	for _, bad := range [][]float64{nil, {-1, math.NaN()}, {math.NaN(), -1}} {
		if _, _, err := Choose(bad); err == nil {
			t.Errorf("Choose(%v) gave no error", bad)
		}
	}
}

// The expectations were worked out by hand from the rules of
// EvalAIAnswerProcessor: word_tokenize, process_punctuation,
// process_digit_article, in this order.
func TestNormalize(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"  Red Apple. ", "red apple"},
		{"The cat", "cat"},
		{"a", ""},
		{"an An AN", ""},
		{"theory", "theory"},
		{"3.5", "3.5"},
		{"3.", "3"},
		{".5", ".5"},
		{"Three", "3"},
		{"none", "0"},
		{"eleven", "eleven"},
		{"1,000", "1000"},
		{"yes?", "yes"},
		{"red-blue", "red blue"},
		{"red - blue", "red blue"},
		{"no!", "no"},
		{"two\ndogs\tand", "2 dogs and"},
		{"dog's", "dog 's"},
		{"(left)", "left"},
		{"U.S.A.", "usa"},
		{"Ünïcode Émoji.", "ünïcode émoji"},
	} {
		if got := Normalize(c.in); got != c.want {
			t.Errorf("Normalize(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestExactMatch(t *testing.T) {
	for _, c := range []struct {
		prediction string
		answers    []string
		want       bool
	}{
		{"The Dog.", []string{"dog"}, true},
		{"two", []string{"3", "2"}, true},
		{"dog", []string{"dogs"}, false},
		{"dog", nil, false},
		{"", []string{"dog"}, false},
	} {
		if got := ExactMatch(c.prediction, c.answers); got != c.want {
			t.Errorf("ExactMatch(%q, %q) = %v", c.prediction, c.answers, got)
		}
	}
}
