package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// joiner is U+034F, which x/text puts into sequences of more than 30 combining
// characters (the stream-safe form); the form C that tokenizers use has no such
// rule.
const joiner = "\u034f"

// nfc returns s in Unicode normal form C.
func nfc(s string) string {
	ascii := true
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii || norm.NFC.IsNormalString(s) {
		return s
	}
	t := norm.NFC.String(s)
	if strings.Count(t, joiner) > strings.Count(s, joiner) {
		return plainNFC(s)
	}
	return t
}

// plainNFC is form C by its definition (Unicode Standard Annex #15): decompose,
// order combining characters by class, compose.
func plainNFC(s string) string {
	runes := []rune{}
	for i, r := range s {
		if d := norm.NFD.PropertiesString(s[i:]).Decomposition(); d != nil {
			runes = append(runes, []rune(string(d))...)
		} else {
			runes = append(runes, r)
		}
	}
	for start := 0; start < len(runes); {
		end := start + 1
		for end < len(runes) && combiningClass(runes[end]) != 0 {
			end++
		}
		if combiningClass(runes[start]) == 0 {
			start++
		}
		slices.SortStableFunc(runes[start:end], func(a, b rune) int {
			return int(combiningClass(a)) - int(combiningClass(b))
		})
		start = end
	}
	return string(compose(runes))
}

// compose joins each character to the last starter before it where a composite
// exists and no character between them has the same or a higher class.
func compose(runes []rune) []rune {
	out := runes[:0]
	starter := -1      // index in out
	last := uint8(255) // class of the last character kept
	for _, r := range runes {
		class := combiningClass(r)
		if starter >= 0 && (last < class || last == 0) {
			if c, ok := composite(out[starter], r); ok {
				out[starter] = c
				continue
			}
		}
		if class == 0 {
			starter = len(out)
		}
		last = class
		out = append(out, r)
	}
	return out
}

// composite returns the primary composite of a pair, if there is one.
func composite(a, b rune) (rune, bool) {
	s := norm.NFC.String(string([]rune{a, b}))
	r, n := utf8.DecodeRuneInString(s)
	return r, n == len(s)
}

func combiningClass(r rune) uint8 {
	var buf [utf8.UTFMax]byte
	return norm.NFD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).CCC()
}
