package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// none stands in a table for a number that there isn't.
const none = "–"

// number writes x with three significant digits and no exponent.
func number(x float64) string {
	if math.IsNaN(x) {
		return none
	}
	digits := 2
	if x != 0 {
		digits = min(max(2-int(math.Floor(math.Log10(math.Abs(x)))), 0), 6)
	}
	return minus(strconv.FormatFloat(x, 'f', digits, 64))
}

// minus puts the sign that is as wide as a plus in place of the hyphen; what
// rounds to zero has none.
func minus(s string) string {
	body, negative := strings.CutPrefix(s, "-")
	if !negative || strings.Trim(body, "0.") == "" {
		return body
	}
	return "−" + body
}

// signed is number with its sign.
func signed(x float64) string {
	s := number(x)
	if x > 0 && strings.Trim(s, "0.") != "" {
		return "+" + s
	}
	return s
}

// fixed writes x with a number of decimals.
func fixed(x float64, decimals int) string {
	if math.IsNaN(x) {
		return none
	}
	return minus(strconv.FormatFloat(x, 'f', decimals, 64))
}

// percent writes a share in 0..1 as a percentage.
func percent(share float64) string {
	if math.IsNaN(share) {
		return none
	}
	return fixed(100*share, 1) + "%"
}

// points writes a difference of shares in percentage points.
func points(difference float64) string {
	s := fixed(100*difference, 1)
	if difference > 0 && s != "0.0" {
		return "+" + s
	}
	return s
}

// pValue writes a p-value with two significant digits.
func pValue(p float64) string {
	switch {
	case math.IsNaN(p):
		return none
	case p < 0.0001:
		return "<0.0001"
	case p >= 0.9995:
		return "1"
	}
	return strconv.FormatFloat(p, 'f', min(max(1-int(math.Floor(math.Log10(p))), 2), 4), 64)
}

// withInterval writes a mean and its interval with one format; a per cent sign
// comes once. The interval's space doesn't break. What is so by definition, such as a
// share of itself, has an interval of no width and none is written.
func withInterval(e estimate, format func(float64) string) string {
	if !e.known() || !e.interval || e.low == e.mean && e.high == e.mean {
		return format(e.mean)
	}
	bare := func(v float64) string { return strings.TrimSuffix(format(v), "%") }
	return fmt.Sprintf("%s [%s,\u00a0%s]", format(e.mean), bare(e.low), bare(e.high))
}

// list joins words: "a, b and c".
func list(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// count writes a number of things: "1 cell", "1,200 cells".
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return grouped(n) + " " + thing
}

// grouped writes n with commas between thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// between writes the range of some numbers, or the one that all are.
func between(values []float64, format func(float64) string) string {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	switch {
	case low > high:
		return none
	case format(low) == format(high):
		return format(low)
	}
	return format(low) + " to " + format(high)
}
