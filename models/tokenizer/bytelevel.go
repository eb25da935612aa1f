package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// GPT-2's alphabet (encoder.py, bytes_to_unicode): a printable byte stands for
// itself, the other 68 take the characters from U+0100 on, in byte order.
// byteOrder has the bytes by ascending character, which is the order of a
// vocabulary's first 256 ids.
var byteRune, runeByte, byteOrder = alphabet()

func alphabet() (byteRune [256]rune, runeByte map[rune]byte, byteOrder []byte) {
	runeByte = make(map[rune]byte, 256)
	var others []byte
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			byteRune[b] = rune(b)
			byteOrder = append(byteOrder, byte(b))
		} else {
			byteRune[b] = rune(0x100 + len(others))
			others = append(others, byte(b))
		}
		runeByte[byteRune[b]] = byte(b)
	}
	return byteRune, runeByte, append(byteOrder, others...)
}

// toAlphabet writes each byte of s as its character.
func toAlphabet(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(byteRune[s[i]])
	}
	return b.String()
}

// fromAlphabet returns the bytes that a token stands for. A token with any
// character outside the alphabet stands for its own UTF-8 bytes, as in the
// tokenizers library's byte-level decoder; added tokens with spaces are such.
func fromAlphabet(token string) string {
	out := make([]byte, 0, len(token))
	for _, r := range token {
		b, ok := runeByte[r]
		if !ok {
			return token
		}
		out = append(out, b)
	}
	return string(out)
}

// lossy returns s with every torn character (a maximal beginning of a valid
// encoding, or else a single byte) replaced by one U+FFFD: the Unicode Standard's
// recommended practice (section 3.9), which Rust and Python follow. Go's own
// conversions replace byte by byte or run by run.
func lossy(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = torn(s)
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

// torn returns the length of the torn character that s begins with: the lead byte
// and as many of its continuation bytes as a valid encoding could begin with.
func torn(s string) int {
	low, high := byte(0x80), byte(0xbf) // range of the second byte, Unicode table 3-7
	more := 0
	switch lead := s[0]; {
	case lead >= 0xc2 && lead <= 0xdf:
		more = 1
	case lead >= 0xe0 && lead <= 0xef:
		more = 2
		if lead == 0xe0 {
			low = 0xa0
		} else if lead == 0xed {
			high = 0x9f
		}
	case lead >= 0xf0 && lead <= 0xf4:
		more = 3
		if lead == 0xf0 {
			low = 0x90
		} else if lead == 0xf4 {
			high = 0x8f
		}
	}
	n := 1
	for ; n <= more && n < len(s) && s[n] >= low && s[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}
