package tokenizer

import (
	"container/heap"
	"math"
	"strings"
	"sync"
)

// merge says that two neighbouring tokens may be joined.
type merge struct {
	rank int32 // place in the list of merges; lower goes first
	id   int32 // the joined token
}

const noMerge = math.MaxInt32

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

// Limits of the piece cache and of the quadratic merge loop. Text repeats its
// short pieces; long ones are rare.
const (
	maxCached      = 1 << 15 // pieces
	maxCachedBytes = 64      // of one piece
	maxScan        = 64      // bytes of a piece merged by scanning
)

// pieceCache keeps the tokens of pieces seen before.
type pieceCache struct {
	mu     sync.RWMutex
	pieces map[string][]int32
}

func (c *pieceCache) get(piece string) ([]int32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ids, ok := c.pieces[piece]
	return ids, ok
}

func (c *pieceCache) put(piece string, ids []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pieces == nil {
		c.pieces = map[string][]int32{}
	}
	if len(c.pieces) < maxCached {
		c.pieces[strings.Clone(piece)] = append([]int32{}, ids...)
	}
}

// appendPiece appends the tokens of one piece to ids.
func (t *Tokenizer) appendPiece(ids []int32, piece string) []int32 {
	if len(piece) == 1 {
		return append(ids, t.byteID[piece[0]])
	}
	if len(piece) > maxCachedBytes {
		return t.mergePiece(ids, piece)
	}
	if known, ok := t.cache.get(piece); ok {
		return append(ids, known...)
	}
	start := len(ids)
	ids = t.mergePiece(ids, piece)
	t.cache.put(piece, ids[start:])
	return ids
}

func (t *Tokenizer) mergePiece(ids []int32, piece string) []int32 {
	if t.ignoreMerges {
		if id, ok := t.pieceID[piece]; ok {
			return append(ids, id)
		}
	}
	if len(piece) <= maxScan {
		return t.mergeScan(ids, piece)
	}
	return t.mergeHeap(ids, piece)
}

// rank returns the rank of joining a and b, noMerge if they don't join.
func (t *Tokenizer) rank(a, b int32) int32 {
	if m, ok := t.merges[pairKey(a, b)]; ok {
		return m.rank
	}
	return noMerge
}

// mergeScan finds the best pair by looking at all of them, for short pieces.
func (t *Tokenizer) mergeScan(ids []int32, piece string) []int32 {
	var symbolBuf, rankBuf [maxScan]int32
	symbols, ranks := symbolBuf[:len(piece)], rankBuf[:len(piece)] // ranks[i]: of joining i and i+1
	for i := range len(piece) {
		symbols[i] = t.byteID[piece[i]]
	}
	for i := range len(piece) - 1 {
		ranks[i] = t.rank(symbols[i], symbols[i+1])
	}
	ranks[len(piece)-1] = noMerge
	for {
		best, at := int32(noMerge), 0
		for i, r := range ranks {
			if r < best {
				best, at = r, i
			}
		}
		if best == noMerge {
			return append(ids, symbols...)
		}
		symbols[at] = t.merges[pairKey(symbols[at], symbols[at+1])].id
		symbols = append(symbols[:at+1], symbols[at+2:]...)
		ranks = append(ranks[:at], ranks[at+1:]...)
		ranks[at] = noMerge
		if at+1 < len(symbols) {
			ranks[at] = t.rank(symbols[at], symbols[at+1])
		}
		if at > 0 {
			ranks[at-1] = t.rank(symbols[at-1], symbols[at])
		}
	}
}

// candidate is a pair that may be joined: by rank, then from the left.
type candidate struct {
	rank int32
	at   int32 // index of the left symbol
}

type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// mergeHeap gives mergeScan's result in O(n log n), for long pieces: symbols form
// a linked list, and a heap holds the candidates; those that an earlier join made
// stale are recognized by their rank and passed over.
func (t *Tokenizer) mergeHeap(ids []int32, piece string) []int32 {
	n := len(piece)
	symbols, ranks := make([]int32, n), make([]int32, n)
	prev, next := make([]int32, n), make([]int32, n)
	for i := range n {
		symbols[i] = t.byteID[piece[i]]
		prev[i], next[i] = int32(i-1), int32(i+1)
	}
	var queue candidates
	rerank := func(i int32) {
		ranks[i] = noMerge
		if next[i] < int32(n) {
			ranks[i] = t.rank(symbols[i], symbols[next[i]])
		}
	}
	for i := range int32(n) {
		if rerank(i); ranks[i] != noMerge {
			queue = append(queue, candidate{ranks[i], i})
		}
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		if ranks[c.at] != c.rank {
			continue
		}
		i, j := c.at, next[c.at]
		symbols[i] = t.merges[pairKey(symbols[i], symbols[j])].id
		ranks[j] = noMerge
		next[i] = next[j]
		if next[i] < int32(n) {
			prev[next[i]] = i
		}
		for _, k := range []int32{i, prev[i]} {
			if k < 0 {
				continue
			}
			if rerank(k); ranks[k] != noMerge {
				heap.Push(&queue, candidate{ranks[k], k})
			}
		}
	}
	for i := int32(0); i < int32(n); i = next[i] {
		ids = append(ids, symbols[i])
	}
	return ids
}
