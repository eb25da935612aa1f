package eval

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ParseOption finds the option's letter that a text chooses, as MMMU's own evaluation
// does (Yue et al., 2024; lmms-eval tasks/mmmu/utils.py): "(B)", else "B " between
// other words, else "B.", else, in a text of more than five words, an option's
// content; where several are found, the last one. options are what the letters A, B, …
// stand for.
//
// Deviation: where nothing is found lmms-eval chooses a letter at random; here ok is
// false and the answer is wrong.
func ParseOption(text string, options []string) (letter string, ok bool) {
	for _, mark := range []string{",", ".", "!", "?", ";", ":", "'"} {
		text = strings.Trim(text, mark)
	}
	text = " " + text + " "
	letters := make([]string, len(options))
	for i := range letters {
		letters[i] = string(rune('A' + i))
	}
	found := func(form func(string) string) []string {
		var all []string
		for _, l := range letters {
			if strings.Contains(text, form(l)) {
				all = append(all, l)
			}
		}
		return all
	}
	// Where a letter stands is searched in the form (B) or as a word " B ", also where it
	// was found as "B.": then nothing is found and the first letter counts.
	bracketed := func(l string) string { return "(" + l + ")" }
	word := func(l string) string { return " " + l + " " }
	for _, try := range []struct{ form, last func(string) string }{
		{bracketed, bracketed},
		{func(l string) string { return l + " " }, word},
		{func(l string) string { return l + "." }, word},
	} {
		if all := found(try.form); len(all) > 0 {
			return lastOf(all, func(l string) int { return strings.LastIndex(text, try.last(l)) }), true
		}
	}
	if len(strings.Fields(text)) <= 5 {
		return "", false
	}
	lower := strings.ToLower(text)
	content := func(l string) string { return strings.ToLower(options[l[0]-'A']) }
	var all []string
	for _, l := range letters {
		if strings.Contains(lower, content(l)) {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	return lastOf(all, func(l string) int { return strings.LastIndex(lower, content(l)) }), true
}

// lastOf is the candidate with the largest position, the first of equals.
func lastOf(candidates []string, position func(string) int) string {
	best := candidates[0]
	for _, c := range candidates[1:] {
		if position(c) > position(best) {
			best = c
		}
	}
	return best
}

// MatchOpen reports whether a text answers an open question of MMMU: the parts of it
// that look like the answer (what follows "is", "so", "answer" and the like in every
// line, and all numbers there) contain an accepted answer as a string, or equal it as
// a number, rounded to two decimals.
func MatchOpen(text string, answers []string) bool {
	var accepted []openValue
	for _, a := range answers {
		accepted = append(accepted, openValues(a)...)
	}
	for _, part := range openParts(text) {
		for _, p := range openValues(part) {
			for _, a := range accepted {
				if p.isNumber && a.isNumber && p.number == a.number || !p.isNumber && !a.isNumber && strings.Contains(p.text, a.text) {
					return true
				}
			}
		}
	}
	return false
}

// openValue is a number or a text in lower case.
type openValue struct {
	isNumber bool
	number   float64
	text     string
}

// openValues rewrites an answer: a number, commas dropped, to two decimals; a single
// character with a space before or after it, so that it doesn't match inside words;
// else its lower case.
func openValues(s string) []openValue {
	s = strings.TrimSpace(s)
	if v, ok := pythonFloat(strings.ReplaceAll(s, ",", "")); ok {
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 2, 64), 64)
		if err == nil {
			v = rounded
		}
		return []openValue{{isNumber: true, number: v}}
	}
	s = strings.ToLower(s)
	if len([]rune(s)) == 1 {
		return []openValue{{text: " " + s}, {text: s + " "}}
	}
	return []openValue{{text: s}}
}

// openKeys are the words that an answer follows; the last line may be an equation.
var openKeys = []string{"could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result "}

// openParts lists what may be the answer, and the numbers in it. (MMMU splits at the
// end of sentences too, before a capital letter, but after the text was put in lower
// case, so that lines are all that is split.)
func openParts(text string) []string {
	text = strings.ToLower(strings.Trim(strings.TrimSpace(text), "."))
	var parts []string
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		keys := openKeys
		if i == len(lines)-1 {
			keys = append(slices.Clone(keys), "=")
		}
		shortest := ""
		for _, key := range keys {
			at := strings.LastIndex(line, key)
			if at < 0 {
				continue
			}
			if tail := strings.TrimSpace(line[at+len(key):]); shortest == "" || len([]rune(tail)) < len([]rune(shortest)) {
				shortest = tail
			}
		}
		if shortest != "" && !slices.Contains([]string{":", ",", ".", "!", "?", ";", "'"}, shortest) {
			parts = append(parts, shortest)
		}
	}
	if len(parts) == 0 {
		parts = []string{text}
	}
	for _, p := range slices.Clone(parts) {
		parts = append(parts, numbersIn(p)...)
	}
	return parts
}

var (
	commaNumber      = regexp.MustCompile(`-?\b\d{1,3}(?:,\d{3})+\b`)
	scientificNumber = regexp.MustCompile(`-?\d+(?:\.\d+)?[eE][+-]?\d+`)
)

// numbersIn lists numbers with thousands' commas, in scientific notation and plain ones.
func numbersIn(s string) []string {
	all := append(commaNumber.FindAllString(s, -1), scientificNumber.FindAllString(s, -1)...)
	for i := 0; i < len(s); {
		n := plainNumber(s, i)
		if n == 0 {
			i++
			continue
		}
		all = append(all, s[i:i+n])
		i += n
	}
	return all
}

// plainNumber is the length of the plain number that begins at i, 0 for none:
//
//	-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])
//
// with the backtracking that the conditions behind it ask for.
func plainNumber(s string, i int) int {
	start := i
	if i < len(s) && s[i] == '-' {
		i++
	}
	digits := func(from int) int {
		end := from
		for end < len(s) && isDigit(s[end]) {
			end++
		}
		return end
	}
	whole := digits(i)
	if whole < len(s) && s[whole] == '.' { // \d+\.\d+ and \.\d+
		for end := digits(whole + 1); end > whole+1; end-- {
			if endsNumber(s, end) {
				return end - start
			}
		}
	}
	for end := whole; end > i; end-- {
		if (end == len(s) || !isWordByte(s[end])) && endsNumber(s, end) {
			return end - start
		}
	}
	return 0
}

// endsNumber reports that neither an exponent nor a comma nor a digit follows.
func endsNumber(s string, end int) bool {
	if end == len(s) {
		return true
	}
	if s[end] == ',' || isDigit(s[end]) {
		return false
	}
	if s[end] != 'e' && s[end] != 'E' {
		return true
	}
	next := end + 1
	if next < len(s) && (s[next] == '+' || s[next] == '-') {
		next++
	}
	return next == len(s) || !isDigit(s[next])
}

// isWordByte reports what \w matches; bytes of letters beyond ASCII count.
func isWordByte(c byte) bool {
	return isDigit(c) || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
