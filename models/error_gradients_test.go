package models_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// errorModel is a decoder of one layer with biases everywhere, and a copy of the layer
// whose weights are disturbed.
func errorModel(t *testing.T) (r *models.Runner, exact, other *models.Layer) {
	t.Helper()
	c := &models.Config{Family: models.Qwen2, ImageToken: -1, EOSToken: -1, Text: models.TextConfig{
		Hidden: 16, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 4, Intermediate: 24, Vocab: 8, Eps: 1e-6, RopeTheta: 1e4,
		QKVBias: true, OutBias: true, MLPBias: true, MaxPositions: 64,
	}}
	w := models.NewWeights(c)
	rng := rand.New(rand.NewPCG(3, 4))
	w.Randomize(c, rng)
	m := models.New(&models.Processor{Config: c}, w)
	r, err := models.NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	exact, err = m.Layer(0)
	if err != nil {
		t.Fatal(err)
	}
	other = exact.Clone()
	for _, s := range models.Sites() {
		for _, lin := range other.Linears(s) {
			for i := range lin.W {
				lin.W[i] += float32(0.1 * rng.NormFloat64())
			}
		}
	}
	return r, exact, other
}

// errorBatch packs random inputs of the given lengths, which share a bucket.
func errorBatch(t *testing.T, m *models.Model, lengths ...int) *models.Batch {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	var seqs []*models.Sequence
	var xs [][]float32
	for _, n := range lengths {
		x := make([]float32, n*16)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		seqs, xs = append(seqs, models.TextSequence(make([]int32, n))), append(xs, x)
	}
	batches, err := m.NewBatches(seqs, xs)
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	return batches[0]
}

// Attention mass against the equations, one head and query at a time.
func TestAttentionMass(t *testing.T) {
	r, l, _ := errorModel(t)
	b := errorBatch(t, r.Model, 11, 5)
	got, err := r.AttentionMass(b, b.X, l)
	if err != nil {
		t.Fatal(err)
	}
	ref := reference{t: &r.Model.Config.Text}
	for row, s := range b.Seqs {
		want := make([]float64, s.Len())
		var keys [][]float64
		for i := range s.Len() {
			h := ref.norm(l.InputNorm, toFloat64(b.X[(row*b.T+i)*16:][:16]))
			keys = append(keys, ref.rotate(apply(&l.K, h), i))
			q := ref.rotate(apply(&l.Q, h), i)
			for head := range 4 {
				scores, sum := make([]float64, i+1), 0.0
				for j := range scores {
					for e := range 4 {
						scores[j] += q[head*4+e] * keys[j][head/2*4+e] / 2
					}
					scores[j] = math.Exp(scores[j])
					sum += scores[j]
				}
				for j, v := range scores {
					want[j] += v / sum
				}
			}
		}
		closeRow(t, "attention mass", got[row*b.T:][:s.Len()], want)
		for _, v := range got[row*b.T+s.Len() : (row+1)*b.T] {
			if v != 0 {
				t.Errorf("padding of sequence %d receives %v", row, v)
			}
		}
	}
}

// The gradient of a module's error against differences of the error itself, along random
// directions; padding has no part in it.
func TestModuleErrorGradientEqualsDifference(t *testing.T) {
	r, exact, other := errorModel(t)
	b := errorBatch(t, r.Model, 11, 5)
	rng := rand.New(rand.NewPCG(7, 8))
	for _, site := range models.Sites() {
		in := exact.Linears(site)[0].In
		x := make([]float32, b.B*b.T*in)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		moduleError := func(x []float32) float64 {
			var total float64
			a, err := r.Module(b, site, x, exact, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := r.Module(b, site, x, other, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			b.Rows(a, 16, func(seq, token int, row []float32) {
				for k, v := range row {
					total += math.Abs(float64(v)-float64(c[(seq*b.T+token)*16+k])) / 16
				}
			})
			return total
		}
		g, err := r.ModuleErrorGradient(b, site, x, exact, other, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			const h = 1e-3
			up, down := make([]float32, len(x)), make([]float32, len(x))
			var want, size float64
			for i := range x {
				v := rng.NormFloat64()
				up[i], down[i] = x[i]+float32(h*v), x[i]-float32(h*v)
				want += float64(g[i]) * v
				size += float64(g[i]) * float64(g[i])
			}
			// Float32 errors weigh 1e-6/h, and kinks of the absolute value as much.
			if got := (moduleError(up) - moduleError(down)) / (2 * h); math.Abs(got-want) > 0.03*math.Sqrt(size) {
				t.Errorf("%s: difference %v, gradient %v of size %v", site, got, want, math.Sqrt(size))
			}
		}
	}
}

// With an activation quantizer the rounded module is a constant: the gradient is that of the
// exact module alone, Fᵀ·sign(e).
func TestModuleErrorGradientOfAConstant(t *testing.T) {
	r, exact, other := errorModel(t)
	b := errorBatch(t, r.Model, 11, 5)
	x := b.X
	got, err := r.ModuleErrorGradient(b, models.O, x, exact, other, models.Unrounded())
	if err != nil {
		t.Fatal(err)
	}
	b.Rows(x, 16, func(seq, token int, row []float32) {
		want := make([]float64, 16)
		e, f := apply(&exact.O, toFloat64(row)), apply(&other.O, toFloat64(row))
		for o := range e {
			for k := range want {
				want[k] += math.Copysign(float64(exact.O.W[o*16+k]), (e[o]-f[o])*float64(exact.O.W[o*16+k])) / 16
			}
		}
		closeRow(t, "gradient", got[(seq*b.T+token)*16:][:16], want)
	})
}

// The gradients at the outputs of linears against differences of the block's error with
// respect to their biases, which for a sequence of one token are the outputs.
func TestBlockErrorGradientsEqualDifferences(t *testing.T) {
	r, exact, other := errorModel(t)
	b := errorBatch(t, r.Model, 1)
	target, err := r.Block(b, b.X, exact, models.BlockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.BlockErrorGradients(b, b.X, other, target.Y)
	if err != nil {
		t.Fatal(err)
	}
	loss := func() float64 {
		res, err := r.Block(b, b.X, other, models.BlockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var sum float64
		for i, v := range res.Y[:16] {
			d := float64(v) - float64(target.Y[i])
			sum += d * d
		}
		return sum
	}
	for _, site := range models.Sites() {
		var sum float64
		n := 0
		for _, lin := range other.Linears(site) {
			for k := range lin.B {
				const h = 1e-2
				was := lin.B[k]
				lin.B[k] = was + h
				up := loss()
				lin.B[k] = was - h
				down := loss()
				lin.B[k] = was
				sum += math.Abs(up-down) / (2 * h)
				n++
			}
		}
		if want := sum / float64(n); math.Abs(float64(got[site][0])-want) > 1e-2*want {
			t.Errorf("%s: mean gradient %v, differences give %v", site, got[site][0], want)
		}
	}
}

// The linears themselves, side by side, and the distance of their outputs.
func TestLinears(t *testing.T) {
	r, exact, other := errorModel(t)
	b := errorBatch(t, r.Model, 11, 5)
	smooth := make([]float32, 16)
	for i := range smooth {
		smooth[i] = 1 + float32(i)/4
	}
	target, err := r.Linears(b, models.QKV, b.X, exact, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const width = 16 + 8 + 8
	for metric, size := range map[string]func(float64) float64{"mae": math.Abs, "mse": func(e float64) float64 { return e * e }} {
		distance, err := r.LinearsError(b, models.QKV, b.X, other, smooth, nil, target, metric)
		if err != nil {
			t.Fatal(err)
		}
		b.Rows(b.X, 16, func(seq, token int, row []float32) {
			x, scaled := toFloat64(row), make([]float64, 16)
			for k := range x {
				scaled[k] = x[k] / float64(smooth[k])
			}
			var want, other16 []float64
			for i, lin := range exact.Linears(models.QKV) {
				want, other16 = append(want, apply(lin, x)...), append(other16, apply(other.Linears(models.QKV)[i], scaled)...)
			}
			at := seq*b.T + token
			closeRow(t, "linears", target[at*width:][:width], want)
			var sum float64
			for k := range want {
				sum += size(want[k] - other16[k])
			}
			closeRow(t, metric, distance[at:at+1], []float64{sum})
		})
	}
	if _, err := r.LinearsError(b, models.QKV, b.X, other, nil, nil, target, "max"); err == nil {
		t.Error("an unknown metric was taken")
	}
}

// The gradients of the channel moments' distance against differences with respect to every
// gain.
func TestNormGradientsEqualDifferences(t *testing.T) {
	r, exact, other := errorModel(t)
	b := errorBatch(t, r.Model, 11, 5)
	target, err := r.Block(b, b.X, exact, models.BlockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, input, post, err := r.NormGradients(b, b.X, other, nil, target.Y)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2][]float32{"input": {other.InputNorm, input}, "post": {other.PostNorm, post}} {
		for k := range pair[0] {
			const h = 1e-3
			at := func(v float32) float64 {
				was := pair[0][k]
				pair[0][k] = was + v
				loss, _, _, err := r.NormGradients(b, b.X, other, nil, target.Y)
				pair[0][k] = was
				if err != nil {
					t.Fatal(err)
				}
				return float64(loss)
			}
			// The loss is about 1 and its float32 errors 1e-7, so that differences err by 1e-3.
			if want := (at(h) - at(-h)) / (2 * h); math.Abs(float64(pair[1][k])-want) > 5e-3 {
				t.Errorf("%s norm, gain %d: gradient %v, difference %v", name, k, pair[1][k], want)
			}
		}
	}
}
