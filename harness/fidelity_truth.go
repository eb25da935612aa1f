package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// truthWalk carries what measuring true losses needs from layer to layer. The streams
// are those of the unquantized model, in front of layer at.
type truthWalk struct {
	r      *fidelityRun
	p      *promptSet
	sites  []models.Site
	alphas []float64

	runner      *models.Runner
	at          int
	streams     [][]float32     // of the prompts, per batch
	calibration [][]float32     // of the calibration samples, per batch
	batches     []*models.Batch // of the calibration samples
	above       []*models.Layer // all layers, unquantized
	reference   [][][]float32   // logits, [prompt][answer token]
	base        []float64       // NLL of the unquantized model, per prompt
}

// start embeds, and runs the unquantized model once.
func (w *truthWalk) start(m *Model) error {
	if w.runner != nil {
		return nil
	}
	var err error
	if w.runner, err = m.Runner(); err != nil {
		return err
	}
	if w.batches, err = w.r.samples.batches(m); err != nil {
		return err
	}
	for i := range m.NumLayers() {
		l, err := m.Layer(i)
		if err != nil {
			return err
		}
		w.above = append(w.above, l)
	}
	for _, b := range w.batches {
		w.calibration = append(w.calibration, b.X)
	}
	for _, b := range w.p.batches {
		w.streams = append(w.streams, b.X)
	}
	ends, err := w.finish(m, w.streams, 0)
	if err != nil {
		return err
	}
	if w.reference, err = promptLogits(m.s.ctx, w.runner, w.p, ends); err != nil {
		return err
	}
	w.base = make([]float64, len(w.reference))
	for i, q := range w.p.questions {
		sample, _, err := q.Score(w.reference[i], nil)
		if err != nil {
			return err
		}
		w.base[i] = sample.NLL
	}
	return nil
}

// finish runs streams through the unquantized layers from a layer on.
func (w *truthWalk) finish(m *Model, streams [][]float32, from int) ([][]float32, error) {
	out := make([][]float32, len(streams))
	return out, eachBatch(m.s.ctx, len(streams), func(i int) error {
		var err error
		out[i], err = w.through(w.p.batches[i], streams[i], from)
		return err
	})
}

// through runs one batch through the unquantized layers from a layer on.
func (w *truthWalk) through(b *models.Batch, x []float32, from int) ([]float32, error) {
	for _, l := range w.above[from:] {
		res, err := w.runner.Block(b, x, l, models.BlockOptions{})
		if err != nil {
			return nil, err
		}
		x = res.Y
	}
	return x, nil
}

// reach brings all streams in front of a layer.
func (w *truthWalk) reach(m *Model, layer int) error {
	if err := w.start(m); err != nil {
		return err
	}
	for ; w.at < layer; w.at++ {
		for _, side := range []struct {
			batches []*models.Batch
			streams [][]float32
		}{{w.batches, w.calibration}, {w.p.batches, w.streams}} {
			err := eachBatch(m.s.ctx, len(side.batches), func(i int) error {
				res, err := w.runner.Block(side.batches[i], side.streams[i], w.above[w.at], models.BlockOptions{})
				if err != nil {
					return err
				}
				side.streams[i] = res.Y
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// layer measures all candidates of one layer's sites.
func (w *truthWalk) layer(m *Model, layer int) ([]*truth, error) {
	if err := w.reach(m, layer); err != nil {
		return nil, err
	}
	means, err := w.means(m, layer)
	if err != nil {
		return nil, err
	}
	out := make([]*truth, len(w.sites))
	for k, site := range w.sites {
		out[k] = &truth{}
		for _, alpha := range w.alphas {
			candidate, err := w.r.candidate(w.above[layer], site, ptq.ScaleFactors(means[site], alpha))
			if err != nil {
				return nil, err
			}
			kl, nll, err := w.losses(m, layer, site, candidate)
			if err != nil {
				return nil, fmt.Errorf("%s, α = %v: %w", site, alpha, err)
			}
			out[k].kl, out[k].nll = append(out[k].kl, kl), append(out[k].nll, nll)
		}
	}
	return out, nil
}

// candidate is a layer with one site's linears scaled and rounded, their scales folded
// into what feeds them, and everything else exact.
func (r *fidelityRun) candidate(exact *models.Layer, site models.Site, s []float32) (*models.Layer, error) {
	folded := exact.Clone()
	if err := ptq.FoldScale(folded, site, s); err != nil {
		return nil, err
	}
	q, _, err := ptq.QuantizeLayer(folded, r.format, ptq.RefuseGroup)
	if err != nil {
		return nil, err
	}
	rounded := q.Layer.Linears(site)
	for i, lin := range folded.Linears(site) {
		*lin = *rounded[i]
	}
	return folded, nil
}

// losses runs a candidate on all prompts.
func (w *truthWalk) losses(m *Model, layer int, site models.Site, candidate *models.Layer) (kl, nll []float64, err error) {
	aq := w.r.format.ActQuant()
	if aq != nil {
		aq.Only = site
	}
	kl, nll = make([]float64, len(w.p.seqs)), make([]float64, len(w.p.seqs))
	err = eachBatch(m.s.ctx, len(w.p.batches), func(i int) error {
		b := w.p.batches[i]
		res, err := w.runner.Block(b, w.streams[i], candidate, models.BlockOptions{ActQuant: aq})
		if err != nil {
			return err
		}
		y, err := w.through(b, res.Y, layer+1)
		if err != nil {
			return err
		}
		rows, err := w.runner.Logits(b, y)
		if err != nil {
			return err
		}
		for k, at := range b.Index {
			n := len(b.Seqs[k].Scored)
			sample, _, err := w.p.questions[at].Score(rows[:n], w.reference[at])
			if err != nil {
				return err
			}
			kl[at], nll[at] = single(*sample.KL), single(sample.NLL-w.base[at])
			rows = rows[n:]
		}
		return nil
	})
	return kl, nll, err
}

// means are the channel means of the sites' inputs over all real calibration tokens,
// summed per sample and then in sample order, as the engine does.
func (w *truthWalk) means(m *Model, layer int) (map[models.Site][]float64, error) {
	l := w.above[layer]
	sums := map[models.Site][][]float64{}
	tokens := make([]int, w.r.samples.N)
	for _, s := range w.sites {
		sums[s] = make([][]float64, w.r.samples.N)
	}
	err := eachBatch(m.s.ctx, len(w.batches), func(i int) error {
		b := w.batches[i]
		res, err := w.runner.Block(b, w.calibration[i], l, models.BlockOptions{Taps: true})
		if err != nil {
			return err
		}
		for _, s := range w.sites {
			in := l.Linears(s)[0].In
			for row, at := range b.Index {
				tokens[at] = b.Seqs[row].Len()
				sums[s][at] = make([]float64, in)
			}
			b.Rows(res.Inputs[s], in, func(seq, _ int, x []float32) {
				sum := sums[s][b.Index[seq]]
				for c, v := range x {
					sum[c] += float64(max(v, -v))
				}
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[models.Site][]float64{}
	for _, s := range w.sites {
		total, n := make([]float64, l.Linears(s)[0].In), 0
		for at, sum := range sums[s] {
			for c, v := range sum {
				total[c] += v
			}
			n += tokens[at]
		}
		for c := range total {
			total[c] /= float64(n)
		}
		out[s] = total
	}
	return out, nil
}
