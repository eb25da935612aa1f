package datasets

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// streams is part of every item's seed. It stays when [Version] goes up, so that a
// task whose generator didn't change keeps its examples.
const streams = 4

// stream returns the generator of one item. The purpose, the split, the seed and
// the number are hashed, so that neighbouring items share nothing.
func stream(purpose string, split Split, seed uint64, i int) *rand.Rand {
	sum := sha256.Sum256(fmt.Appendf(nil, "datasets/%d/%s/%s/%d/%d", streams, purpose, split, seed, i))
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])))
}

// sample returns k different elements of from, in random order. It panics when
// there are fewer: the callers' pools are checked when the pack is opened.
func sample[T any](rng *rand.Rand, from []T, k int) []T {
	if k > len(from) {
		panic("datasets: sample larger than its pool")
	}
	rest := make([]T, len(from))
	copy(rest, from)
	for i := range k {
		j := i + rng.IntN(len(rest)-i)
		rest[i], rest[j] = rest[j], rest[i]
	}
	return rest[:k:k]
}

// shuffled returns a choice list: the answer and the distractors in random order.
func shuffled(rng *rand.Rand, answer string, distractors []string) []string {
	all := append([]string{answer}, distractors...)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}
