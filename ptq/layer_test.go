package ptq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// formats that the engine's identities are tested on: weight-only with groups,
// weights and activations per channel, and both.
var testFormats = []string{"w3a16g16", "w4a8", "w4a4g8"}

// equalLayers compares all weights bit by bit.
func equalLayers(t *testing.T, name string, got, want *models.Layer) {
	t.Helper()
	g, w := got.Params(), want.Params()
	for i := range w {
		if !slices.Equal(g[i].Data, w[i].Data) {
			t.Errorf("%s: %s differs", name, w[i].Name)
		}
	}
}

// A search over the exponent 0 alone, and no search, are round-to-nearest bit for bit.
func TestAlphaZeroIsRTN(t *testing.T) {
	tm := getTiny(t, 2)
	for _, format := range testFormats {
		rtn := tm.calibration(t, mustFind(t, "rtn"), format)
		plain, states := rtn.calibrate(t, nil)
		m := mustFind(t, "tlq")
		m.Search.Points = 1
		c := tm.calibration(t, m, format)
		zero, zeroStates := c.calibrate(t, c.tokens(t))
		for i := range plain {
			l, _ := tm.model.Layer(i)
			q, _, err := QuantizeLayer(l, rtn.Format, RefuseGroup)
			if err != nil {
				t.Fatal(err)
			}
			equalLayers(t, format+" rtn", plain[i].Quantized.Layer, q.Layer)
			equalLayers(t, format+" alpha 0", zero[i].Quantized.Layer, q.Layer)
			if diff := cmp.Diff(q.Grids, zero[i].Quantized.Grids); diff != "" {
				t.Error(diff)
			}
		}
		if !reflect.DeepEqual(states[3], zeroStates[3]) {
			t.Errorf("%s: the streams differ", format)
		}
	}
}

// Whatever the rounding, the exposed stream in front of a layer is a fresh pass
// through the finally quantized layers, bit for bit.
func TestRoundedPathIsInferencePath(t *testing.T) {
	tm := getTiny(t, 4)
	for _, name := range []string{"gptq", "gptaq", "tlq-gptq", "awq-clip", "smoothquant"} {
		c := tm.calibration(t, with(t, mustFind(t, name), "path.expose=group"), "w4a8")
		results, states := c.calibrate(t, c.tokens(t))
		fresh := c.Start().Exposed
		for i, res := range results {
			for b, batch := range c.Batches {
				out, err := c.Runner.Block(batch, fresh[b], res.Quantized.Layer, models.BlockOptions{ActQuant: c.Format.ActQuant()})
				if err != nil {
					t.Fatal(err)
				}
				if fresh[b] = out.Y; !slices.Equal(fresh[b], states[i+1].Exposed[b]) {
					t.Errorf("%s: exposed stream behind layer %d differs from a fresh pass", name, i)
				}
			}
		}
	}
}

// The exposed stream in front of a layer is a fresh pass through the finally
// quantized layers, bit for bit; the final weights are the folded ones, rounded;
// biases and skipped sites stay as folding leaves them.
func TestExposedPathIsInferencePath(t *testing.T) {
	for _, kv := range []int{2, 4} {
		tm := getTiny(t, kv)
		for _, format := range testFormats {
			c := tm.calibration(t, mustFind(t, "tlq"), format)
			results, states := c.calibrate(t, c.tokens(t))
			fresh := c.Start().Exposed
			for i, res := range results {
				for b, batch := range c.Batches {
					out, err := c.Runner.Block(batch, fresh[b], res.Quantized.Layer, models.BlockOptions{ActQuant: c.Format.ActQuant()})
					if err != nil {
						t.Fatal(err)
					}
					fresh[b] = out.Y
					if !slices.Equal(fresh[b], states[i+1].Exposed[b]) {
						t.Errorf("kv %d, %s: exposed stream behind layer %d differs from a fresh pass", kv, format, i)
					}
				}
				checkFolded(t, tm, c, i, res)
			}
		}
	}
}

func checkFolded(t *testing.T, tm *tiny, c *Calibration, i int, res *LayerResult) {
	t.Helper()
	exact, _ := tm.model.Layer(i)
	folded := exact.Clone()
	for _, site := range models.Sites() {
		if s, ok := res.Smooth[site]; ok {
			if err := FoldScale(folded, site, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	q, _, err := QuantizeLayer(folded, c.Format, RefuseGroup)
	if err != nil {
		t.Fatal(err)
	}
	equalLayers(t, c.Format.String(), res.Quantized.Layer, q.Layer)
	if !slices.Equal(res.Quantized.Layer.Q.B, exact.Q.B) || !slices.Equal(res.Quantized.Layer.K.B, exact.K.B) {
		t.Error("the biases of q or k changed")
	}
	grouped := tm.model.Config.Text.KVHeads < tm.model.Config.Text.Heads
	if _, scaled := res.Smooth[models.O]; scaled == grouped || (res.Report.Sites[1].Skipped != "") != grouped {
		t.Errorf("grouped-query attention %v: o scaled %v, skipped %q", grouped, scaled, res.Report.Sites[1].Skipped)
	}
	if grouped && !slices.Equal(res.Quantized.Layer.V.B, exact.V.B) {
		t.Error("the bias of v changed")
	}
}

// Folding leaves the unquantized layer's outputs as they are.
func TestFoldingKeepsOutputs(t *testing.T) {
	for _, kv := range []int{2, 4} {
		tm := getTiny(t, kv)
		exact, _ := tm.model.Layer(1)
		for _, site := range models.Sites() {
			folded := exact.Clone()
			means := make([]float64, folded.Linears(site)[0].In)
			for c := range means {
				means[c] = math.Exp(math.Sin(float64(c)))
			}
			err := FoldScale(folded, site, ScaleFactors(means, 0.7))
			if site == models.O && kv == 2 {
				if err == nil || !strings.Contains(err.Error(), "grouped-query") {
					t.Errorf("o of grouped-query attention: got %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if reflect.DeepEqual(exact, folded) {
				t.Errorf("%s: nothing was folded", site)
			}
			b := tm.batches[0]
			want, err := tm.runner.Block(b, b.X, exact, models.BlockOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := tm.runner.Block(b, b.X, folded, models.BlockOptions{})
			if err != nil {
				t.Fatal(err)
			}
			b.Rows(want.Y, 32, func(seq, token int, row []float32) {
				at := (seq*b.T + token) * 32
				for c, v := range row {
					if math.Abs(float64(got.Y[at+c]-v)) > 2e-5*max(1, math.Abs(float64(v))) {
						t.Fatalf("%s: output %v became %v", site, v, got.Y[at+c])
					}
				}
			})
		}
	}
}

func TestScaleFactors(t *testing.T) {
	s := ScaleFactors([]float64{4, 0, 1, 0.25}, 0.5) // 2, 1e-4, 1, 0.5 over √(2·1e-4)
	for c, want := range []float64{2, 1e-4, 1, 0.5} {
		if math.Abs(float64(s[c])*math.Sqrt(2e-4)-want) > 1e-6*want {
			t.Errorf("factor %d is %v", c, s[c])
		}
	}
	for _, v := range ScaleFactors([]float64{4, 0, 1e9, 1e-9}, 0) {
		if v != 1 {
			t.Errorf("at exponent 0 a factor is %v", v)
		}
	}
}

// A layer continues from a stored state with the same bytes, and the stages
// change nothing that they are given.
func TestResumeIsIdentical(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "tlq"), "w4a8")
	set := c.tokens(t)
	results, states := c.calibrate(t, set)
	before := states[1].Tensors()
	stored, err := ReadState(reread(t, states[1].Tensors()))
	if err != nil {
		t.Fatal(err)
	}
	storedSet, err := ReadTokenSet(reread(t, set.Tensors()), 3)
	if err != nil {
		t.Fatal(err)
	}
	again, next, err := c.CalibrateLayer(context.Background(), stored, storedSet)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encode(t, again, next), encode(t, results[1], states[2])) {
		t.Error("a resumed layer differs")
	}
	if !reflect.DeepEqual(before, states[1].Tensors()) {
		t.Error("the state given was changed")
	}
	like, _ := tm.model.Layer(1)
	q, err := ReadQuantizedLayer(reread(t, again.Quantized.Tensors()), like)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again.Quantized, q); diff != "" {
		t.Error(diff)
	}
	smooth, err := ReadSmooth(reread(t, again.SmoothTensors()))
	if err != nil || !reflect.DeepEqual(smooth, again.Smooth) {
		t.Errorf("scaling factors differ after reading, %v", err)
	}
}

// encode writes everything that a durable step consists of.
func encode(t *testing.T, r *LayerResult, st *State) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := safetensors.Write(&buf, nil, slices.Concat(r.Quantized.Tensors(), r.SmoothTensors(), st.Tensors())...); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&buf).Encode(r.Report); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Neither how samples are cut into batches nor how many run side by side changes
// a bit of any result.
func TestBatchingChangesNothing(t *testing.T) {
	for _, name := range []string{"tlq", "tlq-gptq", "gptaq", "smoothquant", "awq-clip", "tlq-fewer", "qig", "vlmq"} {
		checkBatching(t, mustFind(t, name))
	}
	checkBatching(t, with(t, mustFind(t, "tlq"), "tokens.importance=attention", "tokens.control=random", "search.inspect=linear", "search.points=3"))
	checkBatching(t, with(t, mustFind(t, "tlq"), "tokens.refresh=true", "tokens.rest=mass", "search.points=3"))
	for _, strategy := range []string{"attention", "norm", "steady", "distance", "rarity"} {
		checkBatching(t, with(t, mustFind(t, "rsq"), "rotate=none", "tokens.importance="+strategy))
	}
}

func checkBatching(t *testing.T, m Method) {
	t.Helper()
	tm := getTiny(t, 2)
	seqs, xs := tinyEmbeddings(tm.model, tinyPatterns, 9)
	c := tm.calibration(t, m, "w4a8")
	c.Workers = 3
	want, _ := c.calibrate(t, c.tokens(t))
	alone := *c
	alone.Batches, alone.Workers = nil, 1
	for i := range seqs {
		one, err := tm.model.NewBatches(seqs[i:i+1], xs[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		one[0].Index = []int{i}
		alone.Batches = append(alone.Batches, one...)
	}
	slices.Reverse(alone.Batches)
	got, _ := alone.calibrate(t, alone.tokens(t))
	for i := range want {
		equalLayers(t, m.Name+", one sample per batch", got[i].Quantized.Layer, want[i].Quantized.Layer)
		if !reflect.DeepEqual(got[i].Report.Sites, want[i].Report.Sites) {
			t.Errorf("%s, layer %d: reports differ:\n%+v\n%+v", m.Name, i, got[i].Report.Sites, want[i].Report.Sites)
		}
	}
}

// Results come in order, and so do errors.
func TestOrdered(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		var got []int
		collect := func(i, v int) error {
			got = append(got, v-i)
			return nil
		}
		if err := ordered(context.Background(), workers, 5, func(i int) (int, error) { return 2 * i, nil }, collect); err != nil || !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("%d workers: got %v, %v", workers, got, err)
		}
		got = nil
		err := ordered(context.Background(), workers, 5, func(i int) (int, error) {
			if i >= 2 {
				return 0, fmt.Errorf("at %d", i)
			}
			return 2 * i, nil
		}, collect)
		if err == nil || err.Error() != "at 2" || !slices.Equal(got, []int{0, 1}) {
			t.Errorf("%d workers: got %v, %v", workers, got, err)
		}
	}
}

// A panic reaches the caller from wherever it happened.
func TestOrderedPanics(t *testing.T) {
	for _, at := range []int{0, 1, 4} {
		got := func() (p any) {
			defer func() { p = recover() }()
			produce := func(i int) (int, error) {
				if i == at {
					panic("broken")
				}
				return i, nil
			}
			_ = ordered(context.Background(), 3, 5, produce, func(int, int) error { return nil })
			return nil
		}()
		if text := fmt.Sprint(got); !strings.HasPrefix(text, "broken") {
			t.Errorf("at %d: got %q, want the panic", at, text)
		}
	}
}

func TestCalibrateErrors(t *testing.T) {
	tm := getTiny(t, 2)
	c := tm.calibration(t, mustFind(t, "tlq"), "w4a8")
	set := c.tokens(t)
	ctx := context.Background()
	fails := func(name, want string, c *Calibration, st *State, set *TokenSet) {
		t.Helper()
		if _, _, err := c.CalibrateLayer(ctx, st, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	fails("no set", "no token-level calibration set", c, c.Start(), nil)
	fails("past the end", "layer 3 is to be calibrated", c, &State{Next: 3}, set)
	fails("short state", "state of 0", c, &State{}, set)
	short := *set
	short.Layers = set.Layers[:2]
	fails("short set", "of 2 layers", c, c.Start(), &short)
	wrong := c.Start()
	wrong.FP[0] = wrong.FP[0][1:]
	fails("short stream", "state of batch 0", c, wrong, set)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := c.CalibrateLayer(canceled, c.Start(), set); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	nan := c.Start()
	nan.Exposed = slices.Clone(nan.Exposed)
	nan.Exposed[0] = slices.Clone(nan.Exposed[0])
	nan.Exposed[0][0] = float32(math.NaN())
	fails("NaN", "expected a finite number", c, nan, set)

	groups := *c
	groups.Format = Format{Bits: 4, Activation: 16, Group: 48}
	if err := groups.Check(); err == nil || !strings.Contains(err.Error(), "group size 48 does not divide the 32 input columns") {
		t.Errorf("got %v", err)
	}
	groups.Fallback = HalveGroup
	groups.Method = mustFind(t, "rtn")
	if err := groups.Check(); err == nil || !strings.Contains(err.Error(), "nor does 3, where halving it ends") { // 48, 24, 12, 6, 3
		t.Errorf("got %v", err)
	}
	groups.Format.Group = 64
	res, _, err := groups.CalibrateLayer(ctx, groups.Start(), nil)
	if err != nil || len(res.Report.Events) != 6 || res.Report.Events[0].Kind != "group-halved" {
		t.Errorf("got %v, %v", res, err)
	}
	empty := *c
	empty.Batches = nil
	if err := empty.Check(); err == nil || !strings.Contains(err.Error(), "no calibration samples") {
		t.Errorf("got %v", err)
	}
}

func TestQuantizeLayerNamesBadWeights(t *testing.T) {
	exact, _ := getTiny(t, 2).model.Layer(0)
	l := exact.Clone()
	l.Up.W[2*32+5] = float32(math.Inf(1))
	_, _, err := QuantizeLayer(l, Format{4, 8, 0, true}, RefuseGroup)
	if err == nil || !strings.Contains(err.Error(), "layer 0, up_proj: weight [2, 5] is +Inf") {
		t.Errorf("got %v", err)
	}
	for i := range l.Gate.W[:16] {
		l.Gate.W[i] = 0.37
	}
	l.Up.W[2*32+5] = 0
	_, events, err := QuantizeLayer(l, Format{4, 16, 16, false}, RefuseGroup)
	if err != nil || len(events) != 1 || !strings.Contains(events[0].Text, "gate_proj: 1 of 128 groups are constant") {
		t.Errorf("got %v, %v", events, err)
	}
}

func TestAverageBits(t *testing.T) {
	l, _ := getTiny(t, 2).model.Layer(0)
	got, err := AverageBits([]*models.Layer{l}, Format{4, 16, 16, false}, RefuseGroup)
	if err != nil || got != 4+20.0/16 {
		t.Errorf("got %v, %v", got, err)
	}
	// Per channel: 16 bits per row; rows of q, o 32, k, v 16, gate, up 64 and down 32.
	rows, weights := 32.0+16+16+32+64+64+32, 32.0*32*2+16*32*2+64*32*3
	got, err = AverageBits([]*models.Layer{l}, Format{4, 8, 0, true}, RefuseGroup)
	if want := 4 + 16*rows/weights; err != nil || math.Abs(got-want) > 1e-12 {
		t.Errorf("got %v, want %v, %v", got, want, err)
	}
}
