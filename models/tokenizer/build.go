package tokenizer

import (
	"fmt"
	"maps"
	"slices"
)

// build makes the tables of a tokenizer from its file, checking that vocabulary,
// merges and added tokens fit each other.
func build(f file) (*Tokenizer, error) {
	t := &Tokenizer{file: f, ignoreMerges: f.Model.IgnoreMerges}
	var err error
	if t.normalize, err = checkNormalizer(f.Normalizer); err != nil {
		return nil, err
	}
	if t.split, err = checkPreTokenizer(f.PreTokenizer); err != nil {
		return nil, err
	}
	if err := checkDecoder(f.Decoder); err != nil {
		return nil, err
	}
	if err := t.setVocabulary(f.Model.Vocab); err != nil {
		return nil, err
	}
	if err := t.setMerges(f.Model.pairs); err != nil {
		return nil, err
	}
	if err := t.setAdded(f.AddedTokens); err != nil {
		return nil, err
	}
	t.bytes = make([]string, len(t.tokens))
	for id, token := range t.tokens {
		t.bytes[id] = fromAlphabet(token)
	}
	return t, nil
}

func (t *Tokenizer) setVocabulary(vocab vocabulary) error {
	t.ids = make(map[string]int32, len(vocab))
	largest := int32(-1)
	for _, id := range vocab {
		largest = max(largest, id)
	}
	t.tokens = make([]string, largest+1)
	t.special = make([]bool, largest+1)
	for _, token := range slices.Sorted(maps.Keys(vocab)) { // sorted, so that of several faults the same one is reported
		id := vocab[token]
		if token == "" {
			return fmt.Errorf("vocab: id %d has the empty token", id)
		}
		if t.tokens[id] != "" {
			return fmt.Errorf("vocab: tokens %q and %q share the id %d", t.tokens[id], token, id)
		}
		t.tokens[id], t.ids[token] = token, id
	}
	for b, r := range byteRune {
		id, ok := t.ids[string(r)]
		if !ok {
			return fmt.Errorf("vocab has no token %q for byte 0x%02x; byte-level BPE needs all 256", string(r), b)
		}
		t.byteID[b] = id
	}
	if t.ignoreMerges {
		t.pieceID = make(map[string]int32, len(vocab))
		for token, id := range t.ids {
			t.pieceID[fromAlphabet(token)] = id
		}
	}
	return nil
}

func (t *Tokenizer) setMerges(pairs [][2]string) error {
	t.merges = make(map[uint64]merge, len(pairs))
	for i, p := range pairs {
		var ids [3]int32
		for k, token := range []string{p[0], p[1], p[0] + p[1]} {
			id, ok := t.ids[token]
			if !ok {
				return fmt.Errorf("merges[%d] joins %q and %q, but the vocabulary has no token %q", i, p[0], p[1], token)
			}
			ids[k] = id
		}
		key := pairKey(ids[0], ids[1])
		if m, twice := t.merges[key]; twice {
			return fmt.Errorf("merges[%d] and merges[%d] both join %q and %q", m.rank, i, p[0], p[1])
		}
		t.merges[key] = merge{rank: int32(i), id: ids[2]}
	}
	return nil
}

func (t *Tokenizer) setAdded(added []AddedToken) error {
	seen := map[string]bool{}
	for i, a := range added {
		if a.Content == "" {
			return fmt.Errorf("added_tokens[%d] is empty", i)
		}
		if seen[a.Content] {
			return fmt.Errorf("added_tokens lists %q twice", a.Content)
		}
		seen[a.Content] = true
		if a.ID < 0 || a.ID > maxID {
			return fmt.Errorf("added_tokens: the id of %q is %d, expected 0 to %d", a.Content, a.ID, maxID)
		}
		if id, ok := t.ids[a.Content]; ok && id != a.ID {
			return fmt.Errorf("added_tokens gives %q the id %d, the vocabulary %d", a.Content, a.ID, id)
		}
		for int(a.ID) >= len(t.tokens) {
			t.tokens = append(t.tokens, "")
			t.special = append(t.special, false)
		}
		if old := t.tokens[a.ID]; old != "" && old != a.Content {
			return fmt.Errorf("added_tokens: %q and %q share the id %d", old, a.Content, a.ID)
		}
		t.tokens[a.ID], t.ids[a.Content], t.special[a.ID] = a.Content, a.ID, a.Special
		switch {
		case !a.Normalized:
			t.raw.add(a.Content, a)
		case t.normalize:
			t.late.add(nfc(a.Content), a)
		default:
			t.late.add(a.Content, a)
		}
	}
	return nil
}
