package harness

import (
	"github.com/tlqlab/tlqlab/models"
)

// MemoryEstimate is the peak of resident memory that calibrating a model takes, in bytes, and
// what it is made of: a layer and its copies as float32, one micro-batch per call, and what the
// tokens that count leave. Beyond streamBytes streams lie in a file, so that the peak
// does not grow with the number of samples. The parts add up to Total where a scale search is the
// peak; Solve is the peak of a method that solves for its weights instead (GPTQ).
// BenchmarkCalibrationMemory compares with what is measured.
type MemoryEstimate struct {
	Samples int `json:"samples"` // that the estimate is for
	Tokens  int `json:"tokens"`  // of one sample
	// Layer is the layer as it is, rounded, and scaled or tried copies of the sites at
	// work; or, where more, the output projection while gradients are taken, and the last
	// layer as it is and rounded.
	Layer      int64 `json:"layer"`
	Streams    int64 `json:"streams"`     // what stays in memory of embeddings, streams and inputs of candidates
	Spilled    int64 `json:"spilled"`     // what lies in a file
	MicroBatch int64 `json:"micro_batch"` // values of the calls that run side by side
	Base       int64 `json:"base"`        // the program, its graphs, and garbage that may gather
	Total      int64 `json:"total"`
	Solve      int64 `json:"solve"`
}

// programBytes is what the program takes that calibrates the smallest model: code,
// compiled graphs, data, the garbage collector's own.
const programBytes = 92 << 20

// estimate measures one sample and adds up what calibration keeps.
func (out *Inspection) estimate(m *Model, samples int) error {
	longest, vision, err := m.sampleTokens(samples)
	if err != nil {
		return err
	}
	out.PerImage = vision
	e := &out.Memory
	*e = MemoryEstimate{Samples: samples, Tokens: longest}
	t := &m.Config.Text
	size := map[models.Site]int64{} // of a site's weights in one layer
	var layer, widest int64
	for _, s := range out.Sites {
		size[s.Site] = 4 * s.Parameters / int64(m.NumLayers())
		layer += size[s.Site]
		widest = max(widest, int64(s.In))
	}
	head := 4 * int64(t.Vocab) * int64(t.Hidden)
	// As it is and rounded; down_proj and what feeds it scaled; what feeds it rounded anew.
	search := 2*layer + size[models.Down] + size[models.GateUp] + size[models.GateUp]/2
	// Beside the head lies what the walk through the layers left for the collector.
	e.Layer = max(search, head+2*layer)
	e.streams(t, samples, longest)
	e.calls(m, samples, longest)
	garbage := int64(100) // percent of what is alive
	if layer > smallLayer {
		garbage = largeGarbage
	}
	e.Base = programBytes + (e.Layer+e.Streams+e.MicroBatch)*garbage/100
	e.Total = e.Layer + e.Streams + e.MicroBatch + e.Base
	// As it is and rounded; codes and weights at work of the widest site's linear; its
	// Hessian in double precision, which is factored in place, and the factor as float32.
	solve := 2*layer + 2*size[models.Down] + (8+4)*widest*widest
	e.Solve = e.Total + max(0, solve-e.Layer)*(100+garbage)/100
	return nil
}

// streams adds embeddings, both streams in front of a layer and behind it, two outputs, and the
// inputs of attention's candidates.
func (e *MemoryEstimate) streams(t *models.TextConfig, samples, longest int) {
	const copies = 8
	all := copies * 4 * int64(samples) * int64(longest) * int64(t.Hidden)
	e.Streams = min(all, streamBytes)
	e.Spilled = all - e.Streams
}

// calls adds the values of the calls that run side by side. An executable keeps the
// memory of its last call, and a search has several.
func (e *MemoryEstimate) calls(m *Model, samples, longest int) {
	t := &m.Config.Text
	size := int64(1)
	for 2*size <= min(8, int64(samples)) && 2*size*int64(longest)*4*rowFloats(t, longest) <= microBatchBytes {
		size *= 2
	}
	call := size * int64(longest) * 4 * rowFloats(t, longest)
	e.MicroBatch = call * max(1, min(2, callBytes/call))
}
