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

	text           *TextConfig
	cos, sin, mask *tensors.Tensor // [B, T, D], [B, T, D], [B, T, T]; nil: made by every call
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

// Packing says how sequences are cut into micro-batches and where these live. The
// zero value suits what fits into memory many times over. No packing changes a bit of
// a sequence's numbers.
type Packing struct {
	// Size is the largest number of sequences of a batch; 0: 8.
	Size int
	// Window is how many sequences, in their order, are grouped by length at a time,
	// so that a reader of the batches in order meets the sequences nearly in order;
	// 0: all.
	Window int
	// Floats gives memory for a batch's X, zeroed; nil: the heap.
	Floats func(n int) ([]float32, error)
	// Lean leaves rotary tables and masks, B·T·(T + 2·D) floats, to every call
	// instead of keeping them with the batch.
	Lean bool
}

// plan cuts sequences into groups.
func (p Packing) plan(seqs []*Sequence) [][]int {
	window := p.Window
	if window < 1 {
		window = max(1, len(seqs))
	}
	var groups [][]int
	for start := 0; start < len(seqs); start += window {
		groups = append(groups, p.group(seqs, start, min(start+window, len(seqs)))...)
	}
	return groups
}

// group cuts the sequences from, …, to−1, in their order, into groups of one
// bucket each whose sizes are powers of two, so that few shapes are compiled.
func (p Packing) group(seqs []*Sequence, from, to int) [][]int {
	most := p.Size
	if most < 1 {
		most = maxMicroBatch
	}
	var order []int // buckets in order of appearance
	byBucket := map[int][]int{}
	for i := from; i < to; i++ {
		t := Bucket(seqs[i].Len())
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
			for 2*n <= min(len(rest), most) && 2*n*t <= tokensPerBatch {
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
	return m.Pack(seqs, x, Packing{})
}

// Pack packs embedded sequences into micro-batches as p says. x holds the input rows
// of each sequence, [len, C].
func (m *Model) Pack(seqs []*Sequence, x [][]float32, p Packing) ([]*Batch, error) {
	if len(seqs) != len(x) {
		return nil, fmt.Errorf("models: %d sequences but %d embeddings", len(seqs), len(x))
	}
	c := m.Config.Text.Hidden
	var batches []*Batch
	for _, group := range p.plan(seqs) {
		b := &Batch{B: len(group), T: Bucket(seqs[group[0]].Len()), Index: group}
		if err := b.allocate(b.B*b.T*c, p.Floats); err != nil {
			return nil, err
		}
		for row, i := range group {
			s := seqs[i]
			if len(x[i]) != s.Len()*c {
				return nil, fmt.Errorf("models: sequence %d has %d tokens of %d channels, its embedding %d values", i, s.Len(), c, len(x[i]))
			}
			b.Seqs = append(b.Seqs, s)
			copy(b.X[row*b.T*c:], x[i])
		}
		b.text = &m.Config.Text
		if !p.Lean {
			b.setGeometry(b.text)
		}
		batches = append(batches, b)
	}
	return batches, nil
}

// allocate makes room for the batch's X.
func (b *Batch) allocate(n int, floats func(n int) ([]float32, error)) (err error) {
	if floats == nil {
		b.X = make([]float32, n)
		return nil
	}
	b.X, err = floats(n)
	return err
}

// setGeometry fills the rotary tables and the mask and keeps them.
func (b *Batch) setGeometry(t *TextConfig) { b.cos, b.sin, b.mask = b.geometry(t) }

// geometry makes the rotary tables and the mask.
func (b *Batch) geometry(t *TextConfig) (cosines, sines, masks *tensors.Tensor) {
	d := t.HeadDim
	cos, sin := make([]float32, b.B*b.T*d), make([]float32, b.B*b.T*d)
	mask := make([]float32, b.B*b.T*b.T)
	for row, s := range b.Seqs {
		textRotary(t, s.Positions, cos[row*b.T*d:], sin[row*b.T*d:])
		fillMask(s, b.T, mask[row*b.T*b.T:])
	}
	return array(cos, b.B, b.T, d), array(sin, b.B, b.T, d), array(mask, b.B, b.T, b.T)
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
