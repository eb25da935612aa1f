package ptq

import (
	"context"
	"fmt"
	"math"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// State is where a calibration stands between two layers: everything that the
// next layer depends on besides the calibration's own fields. A calibration
// that continues from a stored State ends with the same bytes.
type State struct {
	Next    int         // the layer to calibrate next
	FP      [][]float32 // per batch [B, T, C]: the stream of the unquantized model in front of layer Next
	Exposed [][]float32 // per batch [B, T, C]: the stream of the quantized model
}

// Start returns the state in front of the first layer: both streams are the
// embeddings.
func (c *Calibration) Start() *State {
	st := &State{}
	for _, b := range c.Batches {
		st.FP = append(st.FP, b.X)
		st.Exposed = append(st.Exposed, b.X)
	}
	return st
}

// Advance runs both streams through a layer that is calibrated already, l as in the
// unquantized model and quantized: the state that [Calibration.CalibrateLayer] returned with
// it, bit for bit.
func (c *Calibration) Advance(ctx context.Context, st *State, l, quantized *models.Layer) (*State, error) {
	if err := c.checkState(st); err != nil {
		return nil, err
	}
	next := &State{Next: st.Next + 1, FP: make([][]float32, len(c.Batches)), Exposed: make([][]float32, len(c.Batches))}
	pass := func(from, to [][]float32, l *models.Layer, aq *models.ActQuant) error {
		return ordered(ctx, c.workers(), len(c.Batches), func(i int) ([]float32, error) {
			defer c.Spill.Rest(from[i])
			res, err := c.Runner.Block(c.Batches[i], from[i], l, models.BlockOptions{ActQuant: aq})
			if err != nil {
				return nil, err
			}
			return res.Y, nil
		}, func(i int, y []float32) (err error) {
			to[i], err = c.Spill.Keep(y)
			return err
		})
	}
	if err := pass(st.FP, next.FP, l, nil); err != nil {
		return nil, err
	}
	return next, pass(st.Exposed, next.Exposed, quantized, c.Format.ActQuant())
}

// Release gives what a state holds back to the calibration's Spill, except the
// embeddings, which belong to the batches. The state must not be used afterwards, nor
// may its slices.
func (c *Calibration) Release(st *State) {
	for i, b := range c.Batches {
		for _, stream := range [][][]float32{st.FP, st.Exposed} {
			if i < len(stream) && len(stream[i]) > 0 && &stream[i][0] != &b.X[0] {
				c.Spill.Free(stream[i])
			}
		}
	}
}

// checkState compares a state's shape with the batches.
func (c *Calibration) checkState(st *State) error {
	if st.Next < 0 || st.Next >= c.Model.NumLayers() {
		return fmt.Errorf("ptq: layer %d is to be calibrated next; the model has %d", st.Next, c.Model.NumLayers())
	}
	if len(st.FP) != len(c.Batches) || len(st.Exposed) != len(c.Batches) {
		return fmt.Errorf("ptq: state of %d and %d batches; the calibration has %d", len(st.FP), len(st.Exposed), len(c.Batches))
	}
	for i, b := range c.Batches {
		if len(st.FP[i]) != len(b.X) || len(st.Exposed[i]) != len(b.X) {
			return fmt.Errorf("ptq: state of batch %d has %d and %d values; expected %d", i, len(st.FP[i]), len(st.Exposed[i]), len(b.X))
		}
	}
	return nil
}

// Tensors stores the state: "next" [1], and "fp.I" and "exposed.I" [B·T·C] for
// batch I.
func (st *State) Tensors() []safetensors.Tensor {
	list := []safetensors.Tensor{intTensor("next", []int{st.Next})}
	for i := range st.FP {
		list = append(list,
			safetensors.FromFloat32(fmt.Sprintf("fp.%d", i), []int{len(st.FP[i])}, st.FP[i]),
			safetensors.FromFloat32(fmt.Sprintf("exposed.%d", i), []int{len(st.Exposed[i])}, st.Exposed[i]))
	}
	return list
}

// ReadState reads what [State.Tensors] stored. Its shape is compared with the
// batches when it is used.
func ReadState(f *safetensors.File) (*State, error) {
	next, err := readInts(f, "next")
	if err != nil {
		return nil, err
	}
	if len(next) != 1 {
		return nil, fmt.Errorf("ptq: a state stores %d numbers of the next layer; expected 1", len(next))
	}
	st := &State{Next: next[0]}
	for i := 0; f.Has(fmt.Sprintf("fp.%d", i)); i++ {
		fp, err := readFloats(f, fmt.Sprintf("fp.%d", i))
		if err != nil {
			return nil, err
		}
		exposed, err := readFloats(f, fmt.Sprintf("exposed.%d", i))
		if err != nil {
			return nil, err
		}
		st.FP, st.Exposed = append(st.FP, fp), append(st.Exposed, exposed)
	}
	return st, nil
}

// StreamError is the relative error ‖x̂ − x‖ / ‖x‖ of the exposed stream behind
// a layer, over all real tokens and per modality (0 where there are none).
type StreamError struct {
	All    float64 `json:"all"`
	Vision float64 `json:"vision"`
	Answer float64 `json:"answer"`
	Other  float64 `json:"other"`
}

// streamError compares two streams; samples are added in sample order.
func streamError(batches []*models.Batch, spill *Spill, samples int, fp, exposed [][]float32) StreamError {
	type sums struct{ difference, size [3]float64 }
	per := make([]sums, samples)
	for i, b := range batches {
		c := width(b, fp[i])
		for row, sample := range b.Index {
			s := &per[sample]
			for t, m := range b.Seqs[row].Modality {
				at := (row*b.T + t) * c
				for k := at; k < at+c; k++ {
					x := float64(fp[i][k])
					d := float64(exposed[i][k]) - x
					s.difference[m] += d * d
					s.size[m] += x * x
				}
			}
		}
		spill.Rest(fp[i], exposed[i])
	}
	var total sums
	for i := range per {
		for m := range total.size {
			total.difference[m] += per[i].difference[m]
			total.size[m] += per[i].size[m]
		}
	}
	relative := func(modalities ...models.Modality) float64 {
		var d, n float64
		for _, m := range modalities {
			d += total.difference[m]
			n += total.size[m]
		}
		if n == 0 {
			return 0
		}
		return math.Sqrt(d / n)
	}
	return StreamError{
		All:    relative(models.Other, models.Vision, models.Answer),
		Vision: relative(models.Vision), Answer: relative(models.Answer), Other: relative(models.Other),
	}
}
