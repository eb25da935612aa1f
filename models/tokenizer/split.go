package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The split patterns that can be scanned. They need a look-ahead, which Go's
// regexp lacks, so splitter.next takes their alternatives by hand.
const (
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// splitter cuts text into pieces. digits is the most digits a piece may have: 1
// for Qwen2's pattern, 3 for Llama 3's.
type splitter struct{ digits int }

// class of a character in the pattern's terms; the four cover all characters.
type class uint8

const (
	other  class = iota // [^\s\p{L}\p{N}]
	letter              // \p{L}
	number              // \p{N}
	space               // \s, which is the Unicode property White_Space
)

var asciiClass = func() (t [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		t[r] = classify(r)
	}
	return t
}()

func classify(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// first returns the class and the length in bytes of the first character of s.
func first(s string) (class, int) {
	if s[0] < utf8.RuneSelf {
		return asciiClass[s[0]], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	return classify(r), n
}

// run returns the length in bytes of the longest beginning of s whose characters
// are all of class c.
func run(s string, c class) int {
	i := 0
	for i < len(s) {
		got, n := first(s[i:])
		if got != c {
			break
		}
		i += n
	}
	return i
}

// next returns the length in bytes, at least 1, of the piece that s, which must
// not be empty, begins with. The comments name the pattern's alternatives, which
// are tried in this order.
func (p splitter) next(s string) int {
	c, n := first(s)
	switch c {
	case letter: // [^\r\n\p{L}\p{N}]?\p{L}+ without the optional character, which is no letter
		return run(s, letter)
	case number: // \p{N} or \p{N}{1,3}
		for end, taken := n, 1; ; taken++ {
			if taken == p.digits || end == len(s) {
				return end
			}
			c, n := first(s[end:])
			if c != number {
				return end
			}
			end += n
		}
	}
	if s[0] == '\'' { // (?i:'s|'t|'re|'ve|'m|'ll|'d)
		if k := contraction(s[1:]); k > 0 {
			return 1 + k
		}
	}
	if !newline(s[0]) && n < len(s) { // [^\r\n\p{L}\p{N}]?\p{L}+
		if k := run(s[n:], letter); k > 0 {
			return n + k
		}
	}
	start := 0 // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
	if s[0] == ' ' {
		start = 1
	}
	if k := run(s[start:], other); k > 0 {
		end := start + k
		for end < len(s) && newline(s[end]) {
			end++
		}
		return end
	}
	return blank(s)
}

// blank returns the length of the piece that whitespace s begins with:
// `\s*[\r\n]+` takes everything up to the last newline of the run, else
// `\s+(?!\S)` leaves the last whitespace character before other text, else `\s+`
// takes it.
func blank(s string) int {
	end, last, newlines := 0, 0, 0
	for end < len(s) {
		c, n := first(s[end:])
		if c != space {
			break
		}
		last = end
		end += n
		if newline(s[last]) {
			newlines = end
		}
	}
	switch {
	case newlines > 0:
		return newlines
	case end < len(s) && last > 0:
		return last
	}
	return end
}

func newline(b byte) bool { return b == '\n' || b == '\r' }

// contraction returns the length of the letters after an apostrophe that the
// pattern keeps with it: s t re ve m ll d in any case, 0 if there are none. U+017F
// (long s) is an s in another case, too.
func contraction(s string) int {
	const longS = "\u017f"
	if len(s) >= len(longS) && s[:len(longS)] == longS {
		return len(longS)
	}
	if s == "" {
		return 0
	}
	switch s[0] | 0x20 {
	case 's', 't', 'm', 'd':
		return 1
	case 'r', 'v':
		if len(s) > 1 && s[1]|0x20 == 'e' {
			return 2
		}
	case 'l':
		if len(s) > 1 && s[1]|0x20 == 'l' {
			return 2
		}
	}
	return 0
}
