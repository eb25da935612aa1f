package ptq

import (
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/models"
)

// packer collects rows of the token-level calibration set into batches of
// rowsPerCall.
type packer struct {
	c       *Calibration
	in, out int
	hidden  int           // channels of the residual stream
	batch   *models.Batch // of any content: see open
	siteData
	rows []weightedRow
	work []workload
}

// add appends the tokens of one sample.
func (p *packer) add(b *models.Batch, row int, d siteData, tokens SampleTokens) error {
	for i, t := range tokens.Index {
		if tokens.Weight[i] == 0 {
			continue
		}
		if len(p.rows) == 0 {
			if err := p.open(); err != nil {
				return err
			}
		}
		at, k := row*b.T+t, len(p.rows)
		p.rows = append(p.rows, weightedRow{at: k, sample: b.Index[row], weight: float64(tokens.Weight[i])})
		copy(p.x[k*p.in:], d.x[at*p.in:(at+1)*p.in])
		copy(p.target[k*p.out:], d.target[at*p.out:(at+1)*p.out])
		if len(p.rows) == rowsPerCall {
			p.flush()
		}
	}
	return nil
}

// open begins a batch of zeros. The module looks at no other token, so that the
// sequence's content and its positions play no part.
func (p *packer) open() (err error) {
	if p.batch == nil {
		batches, err := p.c.Model.NewBatches([]*models.Sequence{models.TextSequence(make([]int32, rowsPerCall))}, [][]float32{make([]float32, rowsPerCall*p.hidden)})
		if err != nil {
			return err
		}
		if len(batches) != 1 || batches[0].B != 1 || batches[0].T != rowsPerCall {
			return fmt.Errorf("a sequence of %d tokens was not packed as one row of that length", rowsPerCall)
		}
		p.batch = batches[0]
	}
	if p.x, err = p.c.Spill.Floats(rowsPerCall * p.in); err != nil {
		return err
	}
	p.target, err = p.c.Spill.Floats(rowsPerCall * p.out)
	return err
}

// flush closes the current batch.
func (p *packer) flush() {
	p.c.Spill.Rest(p.x, p.target)
	p.work = append(p.work, workload{batch: p.batch, siteData: p.siteData, rows: p.rows})
	p.siteData, p.rows = siteData{}, nil
}

func (p *packer) finish() []workload {
	if len(p.rows) > 0 {
		p.flush()
	}
	return p.work
}

// channelMeans accumulates Σ_t|x_tc| per sample in float64.
type channelMeans struct {
	sums   [][]float64 // [sample][in]
	counts []int
	in     int
}

func newChannelMeans(samples, in int) *channelMeans {
	return &channelMeans{sums: make([][]float64, samples), counts: make([]int, samples), in: in}
}

// add takes the given tokens of row of the batch.
func (m *channelMeans) add(b *models.Batch, row int, x []float32, tokens []int) {
	sum := make([]float64, m.in)
	for _, t := range tokens {
		at := (row*b.T + t) * m.in
		for c, v := range x[at : at+m.in] {
			sum[c] += abs(v)
		}
	}
	m.sums[b.Index[row]], m.counts[b.Index[row]] = sum, len(tokens)
}

// means adds the samples in their order.
func (m *channelMeans) means() ([]float64, error) {
	total := make([]float64, m.in)
	n := 0
	for i, sum := range m.sums {
		for c, v := range sum {
			total[c] += v
		}
		n += m.counts[i]
	}
	for c := range total {
		total[c] /= float64(n)
		if math.IsNaN(total[c]) || math.IsInf(total[c], 0) {
			return nil, fmt.Errorf("the mean input magnitude of channel %d is %v; expected a finite number", c, total[c])
		}
	}
	return total, nil
}
