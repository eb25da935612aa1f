package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"
)

// Batch is a micro-batch of embedded sequences, padded on the right to a common
// length, with what attention needs to know of them.
type Batch struct {
	Seqs []*Sequence
	// Index holds each sequence's place in the list that the batch was cut from.
	Index []int
	// B and T are the padded shape; B may exceed len(Seqs).
	B, T int
	// X is the residual stream at the first block's input, [B, T, C].
	X []float32

	cos, sin, mask *tensors.Tensor // [B, T, D], [B, T, D], [B, T, T]
}

// bucketStep is the granularity of padded lengths. A sequence's bucket follows
// from its own length, so its numbers don't depend on its neighbours.
const bucketStep = 16

// Bucket is the padded length of a sequence of n tokens.
func Bucket(n int) int { return (n + bucketStep - 1) / bucketStep * bucketStep }

// maxMicroBatch is the largest number of sequences that are run at once.
const maxMicroBatch = 8

// tokensPerBatch bounds B·T, so that long sequences run one at a time.
const tokensPerBatch = 2048

// plan cuts sequences, in their order, into groups of one bucket each whose
// sizes are powers of two, so that few shapes are compiled.
func plan(seqs []*Sequence) [][]int {
	var order []int // buckets in order of appearance
	byBucket := map[int][]int{}
	for i, s := range seqs {
		t := Bucket(s.Len())
		if _, seen := byBucket[t]; !seen {
			order = append(order, t)
		}
		byBucket[t] = append(byBucket[t], i)
	}
	var groups [][]int
	for _, t := range order {
		rest := byBucket[t]
		for len(rest) > 0 {
			n := 1
			for 2*n <= min(len(rest), maxMicroBatch) && 2*n*t <= tokensPerBatch {
				n *= 2
			}
			groups = append(groups, rest[:n])
			rest = rest[n:]
		}
	}
	return groups
}

// NewBatches packs embedded sequences into micro-batches. x holds the input rows
// of each sequence, [len, C].
func (m *Model) NewBatches(seqs []*Sequence, x [][]float32) ([]*Batch, error) {
	if len(seqs) != len(x) {
		return nil, fmt.Errorf("models: %d sequences but %d embeddings", len(seqs), len(x))
	}
	c := m.Config.Text.Hidden
	var batches []*Batch
	for _, group := range plan(seqs) {
		b := &Batch{B: len(group), T: Bucket(seqs[group[0]].Len()), Index: group}
		b.X = make([]float32, b.B*b.T*c)
		for row, i := range group {
			s := seqs[i]
			if len(x[i]) != s.Len()*c {
				return nil, fmt.Errorf("models: sequence %d has %d tokens of %d channels, its embedding %d values", i, s.Len(), c, len(x[i]))
			}
			b.Seqs = append(b.Seqs, s)
			copy(b.X[row*b.T*c:], x[i])
		}
		b.setGeometry(&m.Config.Text)
		batches = append(batches, b)
	}
	return batches, nil
}

// setGeometry fills the rotary tables and the mask.
func (b *Batch) setGeometry(t *TextConfig) {
	d := t.HeadDim
	cos, sin := make([]float32, b.B*b.T*d), make([]float32, b.B*b.T*d)
	mask := make([]float32, b.B*b.T*b.T)
	for row, s := range b.Seqs {
		textRotary(t, s.Positions, cos[row*b.T*d:], sin[row*b.T*d:])
		fillMask(s, b.T, mask[row*b.T*b.T:])
	}
	b.cos = tensors.FromFlatDataAndDimensions(cos, b.B, b.T, d)
	b.sin = tensors.FromFlatDataAndDimensions(sin, b.B, b.T, d)
	b.mask = tensors.FromFlatDataAndDimensions(mask, b.B, b.T, b.T)
}

// fillMask writes the additive mask [t, t] of a sequence. Padding looks at
// everything before it; nothing real looks at padding.
func fillMask(s *Sequence, t int, mask []float32) {
	n := s.Len()
	for i := range t {
		row := mask[i*t : (i+1)*t]
		for j := range row {
			if j > i || (i < n && s.Branch[j] != 0 && s.Branch[j] != s.Branch[i]) {
				row[j] = maskedOut
			}
		}
	}
}

// Rows visits the real tokens of x, [B, T, width]: seq is the place in b.Seqs.
func (b *Batch) Rows(x []float32, width int, visit func(seq, token int, row []float32)) {
	for i, s := range b.Seqs {
		for t := range s.Len() {
			k := (i*b.T + t) * width
			visit(i, t, x[k:k+width])
		}
	}
}
