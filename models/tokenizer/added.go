package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// AddedToken is a token that is cut out of the text before anything else looks at
// it, with the fields of tokenizer.json.
type AddedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only where no word character touches it
	LStrip     bool   `json:"lstrip"`      // takes the whitespace before it along
	RStrip     bool   `json:"rstrip"`      // takes the whitespace after it along
	Normalized bool   `json:"normalized"`  // looked for in the normalized text, not in the raw one
	Special    bool   `json:"special"`     // left out by Decode when special tokens are skipped
}

// matcher finds added tokens: a trie over their bytes.
type matcher struct {
	nodes  []trieNode // nodes[0] is the root
	tokens []AddedToken
	begins [256]bool // bytes that tokens begin with
}

type trieNode struct {
	next  map[byte]int32
	token int32 // index in tokens of the token that ends here, else -1
}

// add adds a token that is looked for as content, which must not be empty.
func (m *matcher) add(content string, token AddedToken) {
	if len(m.nodes) == 0 {
		m.nodes = []trieNode{{next: map[byte]int32{}, token: -1}}
	}
	m.begins[content[0]] = true
	at := int32(0)
	for i := range len(content) {
		to, ok := m.nodes[at].next[content[i]]
		if !ok {
			to = int32(len(m.nodes))
			m.nodes[at].next[content[i]] = to
			m.nodes = append(m.nodes, trieNode{next: map[byte]int32{}, token: -1})
		}
		at = to
	}
	m.nodes[at].token = int32(len(m.tokens))
	m.tokens = append(m.tokens, token)
}

// longest returns the longest token that s begins with, and its length in bytes,
// 0 if there is none.
func (m *matcher) longest(s string) (token int32, length int) {
	at := int32(0)
	for i := range len(s) {
		to, ok := m.nodes[at].next[s[i]]
		if !ok {
			break
		}
		at = to
		if m.nodes[at].token >= 0 {
			token, length = m.nodes[at].token, i+1
		}
	}
	return token, length
}

// split calls text for the stretches of s between added tokens and token for the
// tokens, in order.
func (m *matcher) split(s string, text func(string), token func(id int32)) {
	done := 0 // everything before has been handed out
	for i := 0; i < len(s) && len(m.nodes) > 0; {
		if !m.begins[s[i]] {
			i++
			continue
		}
		k, n := m.longest(s[i:])
		if n == 0 {
			i++
			continue
		}
		added := &m.tokens[k]
		start, end := i, i+n
		i = end
		if added.SingleWord && (endsInWord(s[:start]) || beginsWithWord(s[end:])) {
			continue
		}
		if added.LStrip {
			for start > done {
				r, size := utf8.DecodeLastRuneInString(s[:start])
				if !unicode.IsSpace(r) {
					break
				}
				start -= size
			}
		}
		if added.RStrip {
			end += run(s[end:], space)
		}
		start = max(start, done) // a token that begins with whitespace another one took
		if start > done {
			text(s[done:start])
		}
		token(added.ID)
		done = end
	}
	if done < len(s) {
		text(s[done:])
	}
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && wordRune(r)
}

func beginsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && wordRune(r)
}

// wordRune is \w of Unicode Technical Standard #18.
func wordRune(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
