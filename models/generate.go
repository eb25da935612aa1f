package models

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// kvCache holds one layer's post-rotary keys and values, [1, S, KV, D] each.
type kvCache struct{ k, v []float32 }

// Generate continues a prompt greedily for at most limit tokens and stops at an
// end token, which is not returned. aq quantizes the input of every linear; nil:
// none.
func (r *Runner) Generate(prompt *Sequence, limit int, aq *ActQuant) ([]int32, error) {
	var out []int32
	stop := append([]int32{r.Model.Config.EOSToken}, r.Model.Config.StopTokens...)
	err := r.Continue(prompt, limit, aq, func(id int32, _ []float32) bool {
		if slices.Contains(stop, id) {
			return false
		}
		out = append(out, id)
		return true
	})
	return out, err
}

// Continue continues a prompt greedily by at most limit tokens and hands each to
// visit with the scores [vocab] that it was chosen by; it ends when visit returns
// false. Every new token costs one pass over one token: keys and values of earlier
// ones are kept. The decoder blocks stay in memory once they are read where all of them,
// as float32, take at most half of the memory that is available when it begins;
// otherwise every token reads them again, one at a time. The head stays.
func (r *Runner) Continue(prompt *Sequence, limit int, aq *ActQuant, visit func(id int32, scores []float32) bool) error {
	if prompt.Len() == 0 || len(prompt.Scored) > 0 {
		return fmt.Errorf("models: generation wants a prompt without answers; got %d tokens with %d scored", prompt.Len(), len(prompt.Scored))
	}
	batches, err := r.Embed([]*Sequence{prompt})
	if err != nil {
		return err
	}
	r = r.holding(availableMemory() / 2)
	head, err := r.Head()
	if err != nil {
		return err
	}
	b := batches[0]
	x, caches, err := r.prefill(b, Bucket(prompt.Len()+limit), aq)
	if err != nil {
		return err
	}
	next := int32(0) // the position after the prompt's largest
	for _, axis := range prompt.Positions {
		for _, p := range axis {
			next = max(next, p+1)
		}
	}
	row := prompt.Len() - 1
	for k := range limit {
		id, scores, err := r.greedy(b, x, row, head)
		if err != nil {
			return err
		}
		if !visit(id, scores) || k == limit-1 {
			return nil
		}
		step := &Batch{B: 1, T: 1, Seqs: []*Sequence{{Positions: [3][]int32{{next}, {next}, {next}}}}}
		x = make([]float32, r.Model.Config.Text.Hidden)
		if err := r.Model.embedRows([]int32{id}, x); err != nil {
			return err
		}
		if x, err = r.step(step, x, prompt.Len()+k, caches, aq); err != nil {
			return err
		}
		b, row, next = step, 0, next+1
	}
	return nil
}

// greedy is the most likely token at a row of x, the lowest id among equals, and
// the scores of all.
func (r *Runner) greedy(b *Batch, x []float32, row int, head *Head) (int32, []float32, error) {
	scores, err := r.logitsAt(b, x, []int32{int32(row)}, 1, head)
	if err != nil {
		return 0, nil, err
	}
	best := 0
	for i, v := range scores[0] {
		if v > scores[0][best] {
			best = i
		}
	}
	return int32(best), scores[0], nil
}

// prefill runs the prompt through all blocks and keeps its keys and values, with
// room for size tokens.
func (r *Runner) prefill(b *Batch, size int, aq *ActQuant) ([]float32, []kvCache, error) {
	t := &r.Model.Config.Text
	width := t.KVHeads * t.HeadDim
	caches := make([]kvCache, r.Model.NumLayers())
	x := b.X
	for i := range caches {
		l, err := r.Model.Layer(i)
		if err != nil {
			return nil, nil, err
		}
		args := append(b.geometryArgs(array(x, b.B, b.T, t.Hidden)), paramArrays(l.Params())...)
		out, err := r.call("prefill/"+aq.key(), func(in []*node) []*node {
			g, q := takeGeometry(in)
			x := q.next()
			y, taps := q.layer(t).block(t, g, x, aq, nil)
			return []*node{y, taps.keys, taps.values}
		}, args...)
		if err != nil {
			return nil, nil, err
		}
		x = out[0]
		caches[i] = kvCache{k: make([]float32, size*width), v: make([]float32, size*width)}
		copy(caches[i].k, out[1])
		copy(caches[i].v, out[2])
	}
	return x, caches, nil
}

// step runs one token, embedded as row, at the given place of the caches.
func (r *Runner) step(b *Batch, row []float32, place int, caches []kvCache, aq *ActQuant) ([]float32, error) {
	t := &r.Model.Config.Text
	size := len(caches[0].k) / (t.KVHeads * t.HeadDim)
	cos, sin := make([]float32, t.HeadDim), make([]float32, t.HeadDim)
	textRotary(t, b.Seqs[0].Positions, cos, sin)
	mask := make([]float32, size)
	for i := place + 1; i < size; i++ {
		mask[i] = maskedOut
	}
	x := row
	for i := range caches {
		l, err := r.Model.Layer(i)
		if err != nil {
			return nil, err
		}
		args := append([]*tensors.Tensor{
			array(cos, 1, 1, t.HeadDim), array(sin, 1, 1, t.HeadDim), array(mask, 1, 1, size),
			array(x, 1, 1, t.Hidden), tensors.FromScalar(int32(place)),
			array(caches[i].k, 1, size, t.KVHeads, t.HeadDim), array(caches[i].v, 1, size, t.KVHeads, t.HeadDim),
		}, paramArrays(l.Params())...)
		out, err := r.call("decode/"+aq.key(), func(in []*node) []*node { return decode(t, in, aq) }, args...)
		if err != nil {
			return nil, err
		}
		x, caches[i].k, caches[i].v = out[0], out[1], out[2]
	}
	return x, nil
}

// decode is a block over one token with cached keys and values. The new ones
// enter by Where(iota == place, new, cache).
func decode(t *TextConfig, in []*node, aq *ActQuant) []*node {
	g, q := takeGeometry(in)
	x, place, keys, values := q.next(), q.next(), q.next(), q.next()
	l := q.layer(t)
	query, k, v := l.project(t, g, aq.apply(l.inputNorm.rms(x, t.Eps)))
	here := graph.Equal(graph.Iota(x.Graph(), shapes.Make(dtypes.Int32, keys.Shape().Dimensions...), 1), place)
	keys = graph.Where(here, graph.BroadcastToShape(k, keys.Shape()), keys)
	values = graph.Where(here, graph.BroadcastToShape(v, values.Shape()), values)
	h := graph.Add(x, l.o.apply(aq.apply(l.online.mixHeads(t, groupedAttention(query, keys, values, g.mask)))))
	y := graph.Add(h, l.down.apply(aq.apply(l.gated(aq.apply(l.postNorm.rms(h, t.Eps))))))
	return []*node{y, keys, values}
}
