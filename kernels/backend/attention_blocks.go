package backend

import (
	"bytes"
	"math"
	"sync"
	"unsafe"

	"github.com/tlqlab/tlqlab/kernels"
)

// blockRows is the number of rows of scores, queries of all heads of a group, that
// are computed at a time. Blocks begin at multiples of a number of queries that
// follows from the group alone, so that sums over queries are grouped the same way
// whatever their number.
const blockRows = 96

// blockQueries is the number of queries in a block.
func (a *attention) blockQueries() int { return max(1, blockRows/a.group) }

// attentionBlock is the work on some queries of one group: scores and what belongs
// to them have group·queries rows, head after head.
type attentionBlock struct {
	a               *attention
	in              []*buffer
	batch, head     int // head of the keys
	from, queries   int
	rows, keys      int // rows of scores; keys that any query of the block may see
	q, scores, more []float32
	out, sums       []float32
	limits          []int  // per head and query: keys that it may see end here
	dense           []bool // per head and query: within that, the mask decides
}

var attentionBlocks = sync.Pool{New: func() any { return new(attentionBlock) }}

// end keeps the block's memory for another.
func (b *attentionBlock) end() {
	b.in = nil
	attentionBlocks.Put(b)
}

// sized is a slice of n values, in the same memory where there is enough.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// start prepares the block of queries from on: who sees what, and the scaled
// queries.
func (b *attentionBlock) start(a *attention, in []*buffer, batch, head, from int) {
	b.a, b.in, b.batch, b.head, b.from = a, in, batch, head, from
	b.queries = min(a.blockQueries(), a.queries-from)
	b.rows = a.group * b.queries
	b.look()
	b.q = sized(b.q, b.rows*a.width)
	scale := []float32{a.scale}
	for g := range a.group {
		kernels.MulRowScalars(b.q[g*b.queries*a.width:], b.of(in[0].flat.([]float32), g), scale, b.queries, a.width, a.query.row, 0)
	}
	b.scores = sized(b.scores, b.rows*b.keys)
}

// of is the block's first row of a head of the group, in an array like the queries.
func (b *attentionBlock) of(x []float32, g int) []float32 {
	q := b.a.query
	return x[b.batch*q.batch+(b.head*b.a.group+g)*q.head+b.from*q.row:]
}

// shared is the first row of the block's head in an array like the keys.
func (b *attentionBlock) shared(x []float32) []float32 {
	return x[b.batch*b.a.key.batch+b.head*b.a.key.head:]
}

// look finds for every row how many keys it may see.
func (b *attentionBlock) look() {
	a := b.a
	b.limits, b.dense = sized(b.limits, b.rows), sized(b.dense, b.rows)
	b.keys = 1 // so that there is something to multiply
	for r := range b.limits {
		query := b.from + r%b.queries
		limit, dense := a.keys, false
		if a.causal {
			limit = query + 1
		}
		if a.lengths > 0 {
			limit = min(limit, max(0, int(b.in[a.lengths+1].flat.([]int32)[b.batch])))
			if query >= int(b.in[a.lengths].flat.([]int32)[b.batch]) {
				limit = 0
			}
		}
		for _, m := range a.masks {
			if m.boolean {
				n, whole := b.prefix(m, r, limit)
				limit, dense = n, dense || !whole
			}
		}
		b.limits[r], b.dense[r] = limit, dense
		b.keys = max(b.keys, limit)
	}
}

// mask is where a mask's values for a row begin.
func (b *attentionBlock) mask(m scoreMask, r int) int {
	g, query := r/b.queries, b.from+r%b.queries
	return b.batch*m.batch + (b.head*b.a.group+g)*m.head + query*m.row
}

// prefix is how many of the first keys a boolean mask leaves to a row, up to the
// last that it leaves; whole tells that it leaves all of those.
func (b *attentionBlock) prefix(m scoreMask, r, limit int) (n int, whole bool) {
	at := b.mask(m, r)
	all := bytesOf(b.in[m.operand].flat.([]bool))
	if m.step == 0 {
		if all[at] == 0 {
			return 0, true
		}
		return limit, true
	}
	row := all[at:][:limit]
	n = bytes.Count(row, []byte{1})
	if bytes.Count(row[:n], []byte{1}) == n {
		return n, true
	}
	return bytes.LastIndexByte(row, 1) + 1, false
}

// bytesOf sees booleans as bytes of 0 and 1.
func bytesOf(s []bool) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s))
}

// score computes the masked scores. Behind a row's limit they mean nothing.
func (b *attentionBlock) score() {
	a := b.a
	kernels.Sgemm(false, true, b.rows, b.keys, a.width, b.q, a.width, b.shared(b.in[1].flat.([]float32)), a.key.row, b.scores, b.keys, false)
	for _, m := range a.masks {
		if !m.boolean {
			b.add(m)
		}
	}
	for r, dense := range b.dense {
		if dense {
			b.forbid(r)
		}
	}
}

// add adds a mask of numbers.
func (b *attentionBlock) add(m scoreMask) {
	values := b.in[m.operand].flat.([]float32)
	for g := range b.a.group {
		rows := b.scores[g*b.queries*b.keys:]
		at := values[b.mask(m, g*b.queries):]
		if m.step == 1 {
			kernels.AddRows(rows, rows, at, b.queries, b.keys, b.keys, m.row)
		} else {
			kernels.AddRowScalars(rows, rows, at, b.queries, b.keys, b.keys, m.row)
		}
	}
}

// forbid sets a row's scores to −∞ where boolean masks say so.
func (b *attentionBlock) forbid(r int) {
	row := b.scores[r*b.keys:][:b.limits[r]]
	for _, m := range b.a.masks {
		if !m.boolean || m.step == 0 {
			continue
		}
		for i, may := range b.in[m.operand].flat.([]bool)[b.mask(m, r):][:len(row)] {
			if !may {
				row[i] = float32(math.Inf(-1))
			}
		}
	}
}

// softmax turns scores into exponentials; sums gets each row's sum, logs the
// logarithm that makes e^(score − log) a probability. Rows without keys have
// a sum of 1 and the logarithm ∞.
func (b *attentionBlock) softmax(logs func(r int) *float32) {
	b.sums = sized(b.sums, b.rows)
	var peak [1]float32
	for r, limit := range b.limits {
		row := b.scores[r*b.keys:][:b.keys]
		clear(row[limit:])
		kernels.RowMax(peak[:], row[:limit], 1, limit)
		if math.IsInf(float64(peak[0]), -1) && (limit == 0 || b.dense[r]) {
			clear(row)
			b.sums[r], *logs(r) = 1, float32(math.Inf(1))
			continue
		}
		sum := kernels.ExpShiftSum(row[:limit], row[:limit], peak[0])
		b.sums[r], *logs(r) = float32(sum), float32(float64(peak[0])+math.Log(sum))
	}
}

// forward fills the output, and the logarithms [batch, heads, queries].
func (a *attention) forward(in []*buffer, out, logs []float32) {
	size := a.blockQueries()
	blocks := (a.queries + size - 1) / size
	parallel(a.batch*a.keyHeads*blocks, 1, func(from, to int) {
		b := attentionBlocks.Get().(*attentionBlock)
		defer b.end()
		for i := from; i < to; i++ {
			unit := i / blocks
			b.start(a, in, unit/a.keyHeads, unit%a.keyHeads, i%blocks*size)
			b.score()
			b.softmax(func(r int) *float32 { return &logs[a.logAt(b, r)] })
			b.mix(out)
		}
	})
}

// logAt is where the logarithm of a row of the block is.
func (a *attention) logAt(b *attentionBlock, r int) int {
	head := (b.batch*a.keyHeads+b.head)*a.group + r/b.queries
	return head*a.queries + b.from + r%b.queries
}

// mix multiplies exponentials with values and divides by the sums.
func (b *attentionBlock) mix(out []float32) {
	a := b.a
	b.out = sized(b.out, b.rows*a.width)
	kernels.Sgemm(false, false, b.rows, a.width, b.keys, b.scores, b.keys, b.shared(b.in[2].flat.([]float32)), a.key.row, b.out, a.width, false)
	for g := range a.group {
		to := b.of(out, g)
		for r := range b.queries {
			row := g*b.queries + r
			kernels.DivScalar(to[r*a.query.row:][:a.width], b.out[row*a.width:][:a.width], b.sums[row])
		}
	}
}

// backward fills the gradients of queries, keys and values:
//
//	dV = Pᵀ·dO;  dS = P∘(dO·Vᵀ − rowsum(dO∘O));  dQ = scale·dS·K;  dK = scale·dSᵀ·Q
//
// Each goroutine has the queries of one group, in order.
func (a *attention) backward(in []*buffer, output, logs, dOutput *buffer, dq, dk, dv []float32) {
	clear(dk)
	clear(dv)
	parallel(a.batch*a.keyHeads, 1, func(from, to int) {
		b := attentionBlocks.Get().(*attentionBlock)
		defer b.end()
		for i := from; i < to; i++ {
			for at := 0; at < a.queries; at += a.blockQueries() {
				b.start(a, in, i/a.keyHeads, i%a.keyHeads, at)
				b.score()
				b.gradients(output.flat.([]float32), logs.flat.([]float32), dOutput.flat.([]float32), dq, dk, dv)
			}
		}
	})
}

// gradients are the block's part of all gradients.
func (b *attentionBlock) gradients(output, logs, dOutput, dq, dk, dv []float32) {
	a := b.a
	b.out, b.sums = sized(b.out, b.rows*a.width), sized(b.sums, b.rows)
	for g := range a.group { // the output's gradients together, and their products with the output
		o, d := b.of(output, g), b.of(dOutput, g)
		for r := range b.queries {
			row, at := g*b.queries+r, r*a.query.row
			to := b.out[row*a.width:][:a.width]
			copy(to, d[at:])
			sum := 0.0
			for i, v := range o[at:][:a.width] {
				sum += float64(v) * float64(to[i])
			}
			b.sums[row] = float32(sum)
		}
	}
	b.more = sized(b.more, b.rows*b.keys)
	keys, values := b.shared(b.in[1].flat.([]float32)), b.shared(b.in[2].flat.([]float32))
	kernels.Sgemm(false, true, b.rows, b.keys, a.width, b.out, a.width, values, a.key.row, b.more, b.keys, false)
	for r, limit := range b.limits {
		p, d := b.scores[r*b.keys:][:b.keys], b.more[r*b.keys:][:b.keys]
		kernels.ExpShiftSum(p[:limit], p[:limit], logs[a.logAt(b, r)])
		clear(p[limit:])
		kernels.AddScalar(d[:limit], d[:limit], -b.sums[r])
		kernels.Mul(d[:limit], d[:limit], p[:limit])
		clear(d[limit:])
	}
	kernels.Sgemm(true, false, b.keys, a.width, b.rows, b.scores, b.keys, b.out, a.width, b.shared(dv), a.key.row, true)
	kernels.Sgemm(true, false, b.keys, a.width, b.rows, b.more, b.keys, b.q, a.width, b.shared(dk), a.key.row, true)
	kernels.Sgemm(false, false, b.rows, a.width, b.keys, b.more, b.keys, keys, a.key.row, b.out, a.width, false)
	for g := range a.group {
		to := b.of(dq, g)
		for r := range b.queries {
			kernels.MulScalar(to[r*a.query.row:][:a.width], b.out[(g*b.queries+r)*a.width:][:a.width], a.scale)
		}
	}
}
