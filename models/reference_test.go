package models_test

import (
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// reference is a decoder as its equations read, in float64, one token and head at
// a time: what the graphs are compared with.
type reference struct {
	t *models.TextConfig
	w *models.Weights
}

// logits returns the scores behind every token of a stream, [n, vocab].
func (r reference) logits(ids []int32) [][]float64 {
	c := r.t.Hidden
	x := make([][]float64, len(ids))
	for i, id := range ids {
		x[i] = toFloat64(r.w.Embed[int(id)*c : (int(id)+1)*c])
	}
	for _, l := range r.w.Layers {
		r.block(l, x)
	}
	head := models.Linear{W: r.w.Head, Out: r.t.Vocab, In: c}
	if head.W == nil {
		head.W = r.w.Embed
	}
	out := make([][]float64, len(ids))
	for i := range x {
		out[i] = apply(&head, r.norm(r.w.FinalNorm, x[i]))
	}
	return out
}

func (r reference) block(l *models.Layer, x [][]float64) {
	d := r.t.HeadDim
	var keys, values [][]float64
	for i := range x {
		h := r.norm(l.InputNorm, x[i])
		q, k := apply(&l.Q, h), apply(&l.K, h)
		keys, values = append(keys, r.rotate(k, i)), append(values, apply(&l.V, h))
		q = r.rotate(q, i)
		mixed := make([]float64, len(q))
		for head := range r.t.Heads {
			group := head / (r.t.Heads / r.t.KVHeads)
			scores, sum := make([]float64, i+1), 0.0
			for j := range scores {
				for e := range d {
					scores[j] += q[head*d+e] * keys[j][group*d+e] / math.Sqrt(float64(d))
				}
				scores[j] = math.Exp(scores[j])
				sum += scores[j]
			}
			for j, s := range scores {
				for e := range d {
					mixed[head*d+e] += s / sum * values[j][group*d+e]
				}
			}
		}
		add(x[i], apply(&l.O, mixed))
	}
	for i := range x {
		h := r.norm(l.PostNorm, x[i])
		gate, up := apply(&l.Gate, h), apply(&l.Up, h)
		for k, g := range gate {
			up[k] *= g / (1 + math.Exp(-g))
		}
		add(x[i], apply(&l.Down, up))
	}
}

func (r reference) norm(gain []float32, x []float64) []float64 {
	ms := 0.0
	for _, v := range x {
		ms += v * v / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(ms+r.t.Eps) * float64(gain[i])
	}
	return y
}

// rotate turns the pair (i, i + d/2) of each head by position · θ^(−2i/d).
func (r reference) rotate(x []float64, position int) []float64 {
	d := r.t.HeadDim
	y := make([]float64, len(x))
	for at := 0; at < len(x); at += d {
		for i := range d / 2 {
			s, c := math.Sincos(float64(position) * math.Pow(r.t.RopeTheta, -2*float64(i)/float64(d)))
			a, b := x[at+i], x[at+i+d/2]
			y[at+i], y[at+i+d/2] = a*c-b*s, b*c+a*s
		}
	}
	return y
}

func apply(l *models.Linear, x []float64) []float64 {
	y := make([]float64, l.Out)
	for o := range y {
		for i, v := range x {
			y[o] += float64(l.W[o*l.In+i]) * v
		}
		if l.B != nil {
			y[o] += float64(l.B[o])
		}
	}
	return y
}

func add(x, y []float64) {
	for i, v := range y {
		x[i] += v
	}
}

func toFloat64(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
