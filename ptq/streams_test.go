package ptq

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/tlqlab/tlqlab/models"
)

// spilling is a calibration whose streams all lie in a file.
func spilling(t testing.TB, c *Calibration, workers int) *Calibration {
	t.Helper()
	s, err := NewSpill(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	out := *c
	out.Spill, out.Workers = s, workers
	return &out
}

// streamMethods covers every kind of search, rounding and exposure.
var streamMethods = []string{"tlq", "mbq", "smoothquant", "awq-clip", "gptq", "gptaq", "tlq-gptq", "qig", "rsq", "vlmq"}

// Where streams live, how many calls run side by side, how samples are packed: nothing
// of it changes a bit of a layer, a report or a stream, and what was taken from the
// spill is given back.
func TestSpilledCalibrationIsIdentical(t *testing.T) {
	tm := getTiny(t, 2)
	seqs, xs := tinyEmbeddings(tm.model, tinyPatterns, 9)
	for _, name := range streamMethods {
		plain := tm.calibration(t, mustFind(t, name), "w4a8")
		plain.Workers = 1
		set := plain.tokens(t)
		want, states := plain.calibrate(t, set)
		for _, workers := range []int{1, 4} {
			c := spilling(t, plain, workers)
			var err error
			if c.Batches, err = tm.model.Pack(seqs, xs, models.Packing{Size: workers, Window: 3, Lean: workers > 1}); err != nil {
				t.Fatal(err)
			}
			if again := c.tokens(t); !reflect.DeepEqual(again, set) {
				t.Errorf("%s, %d workers: other tokens", name, workers)
			}
			st := c.Start()
			for i := range want {
				res, next, err := c.CalibrateLayer(context.Background(), st, set)
				if err != nil {
					t.Fatal(err)
				}
				sameStep(t, c, plain, res, next, want[i], states[i+1])
				c.Release(st)
				st = next
			}
			c.Release(st)
			c.Spill.mu.Lock()
			if len(c.Spill.used) > 0 || canMap && c.Spill.size == 0 {
				t.Errorf("%s: %d arrays were not given back, the file has %d bytes", name, len(c.Spill.used), c.Spill.size)
			}
			c.Spill.mu.Unlock()
		}
	}
}

// sameStep compares what two calibrations with other packings made of a layer.
func sameStep(t *testing.T, c, plain *Calibration, res *LayerResult, st *State, want *LayerResult, wantState *State) {
	t.Helper()
	name := c.Method.Name
	equalLayers(t, name, res.Quantized.Layer, want.Quantized.Layer)
	res.Report.Stream, want.Report.Stream = StreamError{}, StreamError{} // compared below, value by value
	if !reflect.DeepEqual(res.Report, want.Report) || !reflect.DeepEqual(res.Smooth, want.Smooth) || !reflect.DeepEqual(res.Quantized.Grids, want.Quantized.Grids) {
		t.Errorf("%s, layer %d: other report, factors or grids", name, want.Report.Layer)
	}
	rows := func(c *Calibration, stream [][]float32) map[int][]byte {
		out := map[int][]byte{}
		for i, b := range c.Batches {
			b.Rows(stream[i], width(b, stream[i]), func(seq, _ int, row []float32) {
				for _, v := range row {
					out[b.Index[seq]] = append(out[b.Index[seq]], binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))...)
				}
			})
		}
		return out
	}
	for _, streams := range [][2]map[int][]byte{{rows(c, st.FP), rows(plain, wantState.FP)}, {rows(c, st.Exposed), rows(plain, wantState.Exposed)}} {
		for sample, v := range streams[1] {
			if !bytes.Equal(streams[0][sample], v) {
				t.Errorf("%s, layer %d: another stream of sample %d", name, want.Report.Layer, sample)
			}
		}
	}
}

// One backward pass gives an importance and the gradients, with the bits of the two
// stages.
func TestImportanceAndGradients(t *testing.T) {
	c := getTiny(t, 2).calibration(t, mustFind(t, "tlq"), "w4a8")
	ctx := context.Background()
	rng := func() *rand.Rand { return rand.New(rand.NewPCG(1, 1)) }
	gradients, err := c.Gradients(ctx)
	if err != nil {
		t.Fatal(err)
	}
	importance, err := c.Importance(ctx, "gradient*error", nil, rng())
	if err != nil {
		t.Fatal(err)
	}
	bothImportance, bothGradients, err := c.ImportanceAndGradients(ctx, "gradient*error", rng())
	if err != nil || !reflect.DeepEqual(importance, bothImportance) || !reflect.DeepEqual(gradients, bothGradients) {
		t.Errorf("together they differ (%v)", err)
	}
	if _, _, err := c.ImportanceAndGradients(ctx, "error", rng()); err == nil {
		t.Error("an importance without a backward pass gave gradients")
	}
}

// Whatever is searched, however weights are rounded, however far the search's inputs are
// exposed: the exposed stream in front of a layer is a fresh pass through the finally
// quantized layers, bit for bit, and so is a resumed one.
func TestEveryPathIsInferencePath(t *testing.T) {
	tm := getTiny(t, 4)
	for i, name := range streamMethods {
		for k, expose := range []Expose{ExposeNone, ExposeLayer, ExposeGroup} {
			format := testFormats[(i+k)%len(testFormats)]
			c := tm.calibration(t, with(t, mustFind(t, name), "path.expose="+string(expose), "search.points=3"), format)
			results, states := c.calibrate(t, c.tokens(t))
			fresh, resumed := c.Start().Exposed, c.Start()
			for l, res := range results {
				exact, err := tm.model.Layer(l)
				if err != nil {
					t.Fatal(err)
				}
				if resumed, err = c.Advance(context.Background(), resumed, exact, res.Quantized.Layer); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(resumed, states[l+1]) {
					t.Errorf("%s, %s, %s: the state behind layer %d differs when it is resumed", name, expose, format, l)
				}
				for b, batch := range c.Batches {
					out, err := c.Runner.Block(batch, fresh[b], res.Quantized.Layer, models.BlockOptions{ActQuant: c.Format.ActQuant()})
					if err != nil {
						t.Fatal(err)
					}
					if fresh[b] = out.Y; !reflect.DeepEqual(fresh[b], states[l+1].Exposed[b]) {
						t.Errorf("%s, %s, %s: the exposed stream behind layer %d differs from a fresh pass", name, expose, format, l)
					}
				}
			}
		}
	}
}
