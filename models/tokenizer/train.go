package tokenizer

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"slices"
)

// Train learns a byte-level BPE tokenizer with Qwen2's settings (Sennrich et al.,
// arXiv:1508.07909, over bytes as in GPT-2): again and again the pair of
// neighbouring tokens that occurs most often within the pieces of all texts
// becomes a token. Of equally frequent pairs the one with the smallest ids (left,
// then right) wins, so the result depends on the texts alone and not on their
// order, as with the tokenizers library's trainer.
//
// Ids 0 to 255 are the bytes in GPT-2's order, then come the merges, then the
// special tokens in the order given. vocabSize counts them all and must be at
// least 256 plus len(special). Training ends early when no pair occurs twice: then
// [Tokenizer.Size] is smaller than vocabSize. Special tokens found in the texts
// are cut out first.
func Train(texts []string, vocabSize int, special []string) (*Tokenizer, error) {
	if least := len(byteOrder) + len(special); vocabSize < least || vocabSize > maxID+1 {
		return nil, fmt.Errorf("tokenizer: a vocabulary of %d; expected %d (256 bytes and %d special tokens) to %d", vocabSize, least, len(special), maxID+1)
	}
	t, err := build(trainedFile(nil, nil, special)) // bytes alone: cuts the texts
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	tr := newTrainer(t, texts)
	for len(tr.tokens)+len(special) < vocabSize && tr.step() {
	}
	t, err = build(trainedFile(tr.tokens[len(byteOrder):], tr.merges, special))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

// trainedFile is the tokenizer.json of a trained vocabulary, with the sections
// that Qwen2's has.
func trainedFile(tokens []string, merges [][2]string, special []string) file {
	const level = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}`
	empty := ""
	f := file{
		Version:    json.RawMessage(`"1.0"`),
		Normalizer: json.RawMessage(`{"type":"NFC"}`),
		PreTokenizer: json.RawMessage(`{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":` +
			quote(qwen2Pattern) + `},"behavior":"Isolated","invert":false},` + level + `]}`),
		PostProcessor: json.RawMessage(level),
		Decoder:       json.RawMessage(level),
		Model: bpeModel{
			Type: "BPE", Prefix: &empty, Suffix: &empty, Vocab: vocabulary{}, pairs: merges, asStrings: true,
		},
	}
	for i, b := range byteOrder {
		f.Model.Vocab[string(byteRune[b])] = int32(i)
	}
	for i, token := range tokens {
		f.Model.Vocab[token] = int32(len(byteOrder) + i)
	}
	for i, s := range special {
		f.AddedTokens = append(f.AddedTokens, AddedToken{ID: int32(len(byteOrder) + len(tokens) + i), Content: s, Special: true})
	}
	return f
}

// trainer holds every distinct piece once, with its number of occurrences, and
// keeps the pair counts up to date as pairs are joined.
type trainer struct {
	words  []trainWord
	pairs  map[uint64]*trainPair
	queue  pairQueue
	tokens []string // by id, in the alphabet's form
	ids    map[string]int32
	merges [][2]string
}

type trainWord struct {
	symbols []int32
	count   int64
}

type trainPair struct {
	count int64
	words []int32 // indices of words that have, or once had, the pair; may repeat
}

func newTrainer(t *Tokenizer, texts []string) *trainer {
	tr := &trainer{pairs: map[uint64]*trainPair{}, ids: map[string]int32{}}
	for _, b := range byteOrder {
		token := string(byteRune[b])
		tr.ids[token] = int32(len(tr.tokens))
		tr.tokens = append(tr.tokens, token)
	}
	index := map[string]int{}
	for _, text := range texts {
		t.raw.split(lossy(text), func(stretch string) {
			for _, piece := range t.Split(nfc(stretch)) {
				i, known := index[piece]
				if !known {
					i = len(tr.words)
					index[piece] = i
					symbols := make([]int32, len(piece))
					for k := range len(piece) {
						symbols[k] = t.byteID[piece[k]]
					}
					tr.words = append(tr.words, trainWord{symbols: symbols})
				}
				tr.words[i].count++
			}
		}, func(int32) {})
	}
	touched := map[uint64]bool{}
	for i := range tr.words {
		tr.addPairs(int32(i), 1, touched)
	}
	tr.enqueue(touched)
	return tr
}

// addPairs adds sign times the pairs of word i to the counts.
func (tr *trainer) addPairs(i int32, sign int64, touched map[uint64]bool) {
	w := &tr.words[i]
	for k := 1; k < len(w.symbols); k++ {
		key := pairKey(w.symbols[k-1], w.symbols[k])
		p := tr.pairs[key]
		if p == nil {
			p = &trainPair{}
			tr.pairs[key] = p
		}
		p.count += sign * w.count
		if sign > 0 && (len(p.words) == 0 || p.words[len(p.words)-1] != i) {
			p.words = append(p.words, i)
		}
		touched[key] = true
	}
}

// enqueue puts the present counts of pairs into the queue. Older entries of the
// same pairs stay behind and are passed over when their count proves stale.
func (tr *trainer) enqueue(touched map[uint64]bool) {
	for key := range touched {
		if p := tr.pairs[key]; p.count > 0 {
			heap.Push(&tr.queue, queuedPair{p.count, key})
		} else {
			delete(tr.pairs, key)
		}
	}
}

// step joins the most frequent pair everywhere. It reports false when no pair
// occurs twice.
func (tr *trainer) step() bool {
	for len(tr.queue) > 0 {
		best := heap.Pop(&tr.queue).(queuedPair)
		p := tr.pairs[best.key]
		if p == nil || p.count != best.count {
			continue
		}
		if best.count < 2 {
			return false
		}
		a, b := int32(best.key>>32), int32(uint32(best.key))
		tr.merges = append(tr.merges, [2]string{tr.tokens[a], tr.tokens[b]})
		token := tr.tokens[a] + tr.tokens[b]
		id, known := tr.ids[token] // two pairs can join to the same token
		if !known {
			id = int32(len(tr.tokens))
			tr.ids[token] = id
			tr.tokens = append(tr.tokens, token)
		}
		touched := map[uint64]bool{}
		slices.Sort(p.words)
		for _, i := range slices.Compact(p.words) {
			tr.addPairs(i, -1, touched)
			tr.words[i].symbols = join(tr.words[i].symbols, a, b, id)
			tr.addPairs(i, 1, touched)
		}
		tr.enqueue(touched)
		return true
	}
	return false
}

// join replaces every pair a, b in symbols by id, from the left, in place.
func join(symbols []int32, a, b, id int32) []int32 {
	out := symbols[:0]
	for i := 0; i < len(symbols); i++ {
		if symbols[i] == a && i+1 < len(symbols) && symbols[i+1] == b {
			out = append(out, id)
			i++
		} else {
			out = append(out, symbols[i])
		}
	}
	return out
}

// queuedPair orders pairs: the most frequent first, then by ids.
type queuedPair struct {
	count int64
	key   uint64 // left id in the upper half, so that keys compare like pairs
}

type pairQueue []queuedPair

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	return q[i].count > q[j].count || q[i].count == q[j].count && q[i].key < q[j].key
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(queuedPair)) }
func (q *pairQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
