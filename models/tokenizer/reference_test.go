package tokenizer

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The references of this file say the same as the fast code in the plainest way.

const white = `\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`

// alternatives are the Qwen2 pattern's, all but the one with the look-ahead.
var alternatives = []*regexp.Regexp{
	regexp.MustCompile(`^(?i:'s|'t|'re|'ve|'m|'ll|'d)`),
	regexp.MustCompile(`^[^\r\n\p{L}\p{N}]?\p{L}+`),
	regexp.MustCompile(`^\p{N}`),
	regexp.MustCompile(`^ ?[^` + white + `\p{L}\p{N}]+[\r\n]*`),
	regexp.MustCompile(`^[` + white + `]*[\r\n]+`),
	nil, // \s+(?!\S)
	regexp.MustCompile(`^[` + white + `]+`),
}

// slowSplit tries the pattern's alternatives one after the other.
func slowSplit(text string) []string {
	spaces := alternatives[len(alternatives)-1]
	var pieces []string
	for text != "" {
		piece := ""
		for _, re := range alternatives {
			if re != nil {
				piece = re.FindString(text)
			} else if piece = spaces.FindString(text); piece != text { // text follows: give one character back
				_, n := utf8.DecodeLastRuneInString(piece)
				piece = piece[:len(piece)-n]
			}
			if piece != "" {
				break
			}
		}
		pieces = append(pieces, piece)
		text = text[len(piece):]
	}
	return pieces
}

// slowMerge joins the first pair of the list of merges that occurs, the leftmost
// first, until none does.
func slowMerge(t *Tokenizer, piece string) []int32 {
	symbols := strings.Split(toAlphabet(piece), "")
	for {
		best, at := len(t.file.Model.pairs), -1
		for i := 1; i < len(symbols); i++ {
			rank := slices.Index(t.file.Model.pairs, [2]string{symbols[i-1], symbols[i]})
			if rank >= 0 && rank < best {
				best, at = rank, i-1
			}
		}
		if at < 0 {
			break
		}
		symbols = slices.Replace(symbols, at, at+2, symbols[at]+symbols[at+1])
	}
	var ids []int32
	for _, s := range symbols {
		ids = append(ids, t.ids[s])
	}
	return ids
}

// addedPattern finds the added tokens of the test tokenizer, longest first.
func addedPattern(t *Tokenizer) *regexp.Regexp {
	var contents []string
	for _, a := range t.Added() {
		contents = append(contents, a.Content)
	}
	slices.SortFunc(contents, func(a, b string) int { return len(b) - len(a) })
	for i, c := range contents {
		contents[i] = regexp.QuoteMeta(c)
	}
	return regexp.MustCompile(strings.Join(contents, "|"))
}

// slowEncode encodes with the references of this file; text must be valid UTF-8
// and t must normalize. It also returns the text that decoding gives back.
func slowEncode(t *Tokenizer, added *regexp.Regexp, text string) (ids []int32, normal string) {
	plain := func(s string) {
		s = slowNFC(s)
		normal += s
		for _, piece := range slowSplit(s) {
			ids = append(ids, slowMerge(t, piece)...)
		}
	}
	done := 0
	for _, m := range added.FindAllStringIndex(text, -1) {
		plain(text[done:m[0]])
		ids = append(ids, t.ids[text[m[0]:m[1]]])
		normal += text[m[0]:m[1]]
		done = m[1]
	}
	plain(text[done:])
	return ids, normal
}

// slowNFC is the library's form C where no run of combining characters is long
// enough for the stream-safe rule, else the plain definition.
func slowNFC(s string) string {
	run := 0
	for i := 0; i < len(s); {
		p := norm.NFD.PropertiesString(s[i:])
		if run++; p.CCC() == 0 {
			run = 0
		}
		if run > 6 { // a character decomposes to at most 4
			return plainNFC(s)
		}
		i += p.Size()
	}
	return norm.NFC.String(s)
}
