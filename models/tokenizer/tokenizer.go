package tokenizer

import (
	"strings"
)

// Tokenizer encodes and decodes text. Its methods may be called from several
// goroutines at once.
type Tokenizer struct {
	tokens  []string         // by id, in the vocabulary's form; "" where an id has no token
	bytes   []string         // by id: the bytes a token stands for
	ids     map[string]int32 // by token, added tokens included
	special []bool           // by id

	split        splitter
	normalize    bool // to form C
	ignoreMerges bool // a piece that is a token is taken whole
	byteID       [256]int32
	merges       map[uint64]merge
	pieceID      map[string]int32 // vocabulary by bytes, for ignoreMerges
	raw, late    matcher          // added tokens looked for in the raw and in the normalized text
	cache        pieceCache

	file file // what JSON writes
}

// Encode returns the ids of text. No tokens are added around it. Bytes that are
// no valid UTF-8 are read as U+FFFD, one per torn character.
func (t *Tokenizer) Encode(text string) []int32 {
	ids := make([]int32, 0, len(text)/3+1)
	token := func(id int32) { ids = append(ids, id) }
	t.raw.split(lossy(text), func(stretch string) {
		if t.normalize {
			stretch = nfc(stretch)
		}
		t.late.split(stretch, func(plain string) {
			for len(plain) > 0 {
				n := t.split.next(plain)
				ids = t.appendPiece(ids, plain[:n])
				plain = plain[n:]
			}
		}, token)
	}, token)
	return ids
}

// Split returns the pieces that the split pattern cuts text into; merges never
// cross their borders. Added tokens and normalization play no part. Joined, the
// pieces are text again.
func (t *Tokenizer) Split(text string) []string {
	var pieces []string
	for len(text) > 0 {
		n := t.split.next(text)
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// Decode returns the text of ids. With skipSpecial, special tokens are left out,
// and the bytes before and after one join up. Bytes that are no valid UTF-8
// become U+FFFD, one per torn character. Ids without a token are left out, as in
// the tokenizers library.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.bytes) || skipSpecial && t.special[id] {
			continue
		}
		b.WriteString(t.bytes[id])
	}
	return lossy(b.String())
}

// ID returns the id of a token in the vocabulary's form (Ġthe for " the") or of
// an added token, and whether there is one.
func (t *Tokenizer) ID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// Token returns the token of an id in the vocabulary's form, "" if it has none.
func (t *Tokenizer) Token(id int32) string {
	if id < 0 || int(id) >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// Special reports whether id is a special token.
func (t *Tokenizer) Special(id int32) bool {
	return id >= 0 && int(id) < len(t.special) && t.special[id]
}

// Added returns the added tokens in the file's order.
func (t *Tokenizer) Added() []AddedToken { return append([]AddedToken{}, t.file.AddedTokens...) }

// Size returns one more than the largest id. A model's embedding has at least as
// many rows; it may have more, which belong to no token.
func (t *Tokenizer) Size() int { return len(t.tokens) }
