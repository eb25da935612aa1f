package harness

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
	"github.com/tlqlab/tlqlab/ptq"
)

// calibrateStage is the search, folding and rounding of one layer; each layer
// is a durable step.
var calibrateStage = StageID{"calibrate", 4}

// layerKeys are the keys of the calibrated layers, in order. Each depends on
// the one before it.
func layerKeys(m *Model, c *Samples, q Quantization) []Key {
	keys := make([]Key, m.NumLayers())
	inputs := []Key{c.key}
	if q.Method.NeedsTokens() {
		inputs = append(inputs, tokensKey(c, q))
	}
	for i := range keys {
		keys[i] = NewKey(calibrateStage, struct {
			Layer    int      `json:"layer"`
			Settings settings `json:"settings"`
		}{i, q.settings()}, inputs...)
		inputs = []Key{keys[i]}
	}
	return keys
}

// calibratedLayer is the artifact of one layer.
type calibratedLayer struct {
	layer  *models.Layer
	grids  []safetensors.Tensor // steps and zero points, by the weight's name
	late   map[models.Site]ptq.SiteTokens
	report layerReport
}

// layerReport is its JSON part.
type layerReport struct {
	Report  ptq.LayerReport       `json:"report"`
	FPNorm  float64               `json:"fp_norm"`
	Local   TokenErrors           `json:"local"`
	Factors map[string][3]float64 `json:"factors"` // by site: minimum, median, maximum
}

// walk calibrates the layers in order. What the store has is taken from there;
// the streams in front of the first layer that it doesn't have are brought
// forward through the stored layers, which gives the same bits as having
// calibrated them here.
type walk struct {
	c      *Samples
	q      Quantization
	keys   []Key
	done   *quantizedLayers // those in front of the next layer
	engine *ptq.Calibration // set with state
	state  *ptq.State       // in front of layer state.Next; nil: not needed yet
	tokens *ptq.TokenSet    // nil for methods that read no tokens
}

// calibrate calibrates all layers. Stage calibrate.
func (m *Model) calibrate(c *Samples, q Quantization) (*quantizedLayers, error) {
	w := &walk{c: c, q: q, keys: layerKeys(m, c, q)}
	defer w.close()
	defer m.boundGarbage()()
	w.done = &quantizedLayers{read: func(i int) (*calibratedLayer, error) { return m.storedLayer(c, q, w.keys, i) }}
	for i := range w.keys {
		name := fmt.Sprintf("calibrate layer %d of %s, %s", i, m.Name, q)
		l, err := once(m, name, w.keys[i], m.layerCodec(i), func(m *Model) (*calibratedLayer, error) { return w.layer(m, i) })
		if err != nil {
			return nil, err
		}
		w.done.append(l)
		m.settle()
		m.s.step(layerSteps)
	}
	return w.done, nil
}

// storedLayer reads a layer that is calibrated. What the store has lost since is
// calibrated again.
func (m *Model) storedLayer(c *Samples, q Quantization, keys []Key, i int) (*calibratedLayer, error) {
	a, err := m.s.Store.Get(keys[i])
	if err != nil {
		layers, err := m.WithProgress(nil).calibrate(c, q)
		if err != nil {
			return nil, err
		}
		if l := layers.kept; l != nil {
			return l[i], nil
		}
		if a, err = m.s.Store.Get(keys[i]); err != nil {
			return nil, fmt.Errorf("harness: layer %d of %s, %s, was calibrated, but the store does not keep it: raise its limit %s: %w", i, m.Name, q, EnvStoreLimit, err)
		}
	}
	return m.layerCodec(i).decode(a)
}

// close gives the walk's streams back.
func (w *walk) close() {
	if w.engine != nil {
		w.engine.Release(w.state)
		closeEngine(w.engine)
	}
}

// quantizedLayers are a quantized model's layers: all in memory where they are small,
// else one at a time, made by read.
type quantizedLayers struct {
	reports []layerReport
	kept    []*calibratedLayer // nil where read is asked each time
	bytes   int64
	read    func(i int) (*calibratedLayer, error)
}

// keptLayers is the size in bytes up to which quantized layers stay in memory.
const keptLayers = 1 << 28

// append takes the next layer.
func (l *quantizedLayers) append(c *calibratedLayer) {
	first := len(l.reports) == 0
	l.reports = append(l.reports, c.report)
	for _, p := range c.layer.Params() {
		l.bytes += 4 * int64(len(p.Data))
	}
	switch {
	case l.bytes > keptLayers:
		l.kept = nil
	case first || l.kept != nil:
		l.kept = append(l.kept, c)
	}
}

// at returns a layer, shared or read anew.
func (l *quantizedLayers) at(i int) (*calibratedLayer, error) {
	if l.kept != nil {
		return l.kept[i], nil
	}
	return l.read(i)
}

// weights returns a layer's weights.
func (l *quantizedLayers) weights(i int) (*models.Layer, error) {
	c, err := l.at(i)
	if err != nil {
		return nil, err
	}
	return c.layer, nil
}

// layer calibrates layer i.
func (w *walk) layer(m *Model, i int) (*calibratedLayer, error) {
	if err := w.reach(m, i); err != nil {
		return nil, err
	}
	result, next, err := w.engine.CalibrateLayer(m.s.ctx, w.state, w.tokens)
	if err != nil {
		return nil, err
	}
	reportEngine(m.s.ctx, result.Report.Events)
	out := &calibratedLayer{
		layer: result.Quantized.Layer, grids: gridTensors(result.Quantized), late: result.Late,
		report: layerReport{Report: result.Report, Factors: map[string][3]float64{}},
	}
	for site, s := range result.Smooth {
		out.report.Factors[string(site)] = spread(s)
	}
	if err := w.measure(out, next); err != nil {
		return nil, err
	}
	w.engine.Release(w.state)
	w.state = next
	return out, nil
}

// reach makes the state in front of layer i. Events of earlier stages belong
// to the first layer's artifact, wherever the walk begins.
func (w *walk) reach(m *Model, i int) error {
	if w.state == nil {
		if i > 0 {
			m = m.in(m.s.WithContext(WithEvents(m.s.ctx, &EventLog{})))
		}
		var err error
		if w.engine, err = m.engine(w.c, w.q); err != nil {
			return err
		}
		if err := w.engine.Check(); err != nil {
			return err
		}
		if w.q.Method.NeedsTokens() {
			if w.tokens, err = m.Tokens(w.c, w.q); err != nil {
				return err
			}
		}
		w.state = w.engine.Start()
	}
	for w.state.Next < i {
		quantized, err := w.done.weights(w.state.Next)
		if err != nil {
			return err
		}
		if err := w.replay(m, quantized); err != nil {
			return err
		}
	}
	return nil
}

// replay brings both streams through a layer that is already calibrated.
func (w *walk) replay(m *Model, quantized *models.Layer) error {
	exact, err := m.Layer(w.state.Next)
	if err != nil {
		return err
	}
	next, err := w.engine.Advance(m.s.ctx, w.state, exact, quantized)
	if err != nil {
		return err
	}
	w.engine.Release(w.state)
	w.state = next
	return nil
}

// measure adds what the figures need: the size of the unquantized stream, and
// the error that the layer makes alone.
func (w *walk) measure(l *calibratedLayer, next *ptq.State) error {
	var local streamSums
	for i, b := range w.engine.Batches {
		y, err := w.engine.Runner.Block(b, w.state.FP[i], l.layer, models.BlockOptions{ActQuant: w.q.Format.ActQuant()})
		if err != nil {
			return err
		}
		local.add(b, next.FP[i], y.Y)
		w.engine.Spill.Rest(w.state.FP[i], next.FP[i])
	}
	l.report.Local, l.report.FPNorm = local.errors(), local.norm()
	return nil
}

// streamSums compares a stream with the unquantized one.
type streamSums struct {
	difference, size [3]float64 // by modality: Σ(x̂−x)², Σx²
	values           int
}

func (s *streamSums) add(b *models.Batch, fp, x []float32) {
	width := len(fp) / (b.B * b.T)
	for row, seq := range b.Seqs {
		for t, m := range seq.Modality {
			at := (row*b.T + t) * width
			for k := at; k < at+width; k++ {
				d := float64(x[k]) - float64(fp[k])
				s.difference[m] += d * d
				s.size[m] += float64(fp[k]) * float64(fp[k])
			}
		}
		s.values += seq.Len() * width
	}
}

func (s *streamSums) relative(modalities ...models.Modality) float64 {
	var d, n float64
	for _, m := range modalities {
		d, n = d+s.difference[m], n+s.size[m]
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}

func (s *streamSums) errors() TokenErrors {
	return TokenErrors{
		All:    s.relative(models.Other, models.Vision, models.Answer),
		Vision: s.relative(models.Vision), Answer: s.relative(models.Answer), Other: s.relative(models.Other),
	}
}

// norm is the root mean square of the unquantized stream.
func (s *streamSums) norm() float64 {
	if s.values == 0 {
		return 0
	}
	return math.Sqrt((s.size[0] + s.size[1] + s.size[2]) / float64(s.values))
}

// spread is the minimum, median and maximum of smoothing factors.
func spread(factors []float32) [3]float64 {
	sorted := slices.Sorted(slices.Values(factors))
	return [3]float64{float64(sorted[0]), float64(sorted[len(sorted)/2]), float64(sorted[len(sorted)-1])}
}

// layerCodec keeps a calibrated layer: dequantized weights with their grids,
// and the report.
func (m *Model) layerCodec(i int) codec[*calibratedLayer] {
	return codec[*calibratedLayer]{
		encode: func(l *calibratedLayer) (*Artifact, error) {
			return NewArtifact(l.report, slices.Concat(paramTensors(l.layer), l.grids, ptq.LateTensors(l.late))...)
		},
		decode: func(a *Artifact) (*calibratedLayer, error) {
			out := &calibratedLayer{}
			if err := a.Decode(&out.report); err != nil {
				return nil, err
			}
			var err error
			if out.layer, err = m.readLayer(a, i); err != nil {
				return nil, err
			}
			for _, t := range a.Tensors {
				if isGrid(t.Name) {
					out.grids = append(out.grids, t)
				}
			}
			f, err := a.File()
			if err != nil {
				return nil, err
			}
			out.late, err = ptq.ReadLate(f)
			return out, err
		},
	}
}

// readLayer reads the weights of layer i from an artifact.
func (m *Model) readLayer(a *Artifact, i int) (*models.Layer, error) {
	l := m.NewLayer(i)
	f, err := a.File()
	if err != nil {
		return nil, err
	}
	for _, p := range l.Params() {
		t, err := f.Tensor(p.Name)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(t.Shape, p.Shape) {
			return nil, fmt.Errorf("tensor %s has shape %v, the model's %v", p.Name, t.Shape, p.Shape)
		}
		if err := t.ReadFloat32s(p.Data, 0); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// quantizeStage describes a quantized model: its bits and its hash.
var quantizeStage = StageID{"quantize", 2}

// quantizedInfo is that stage's artifact. The layers are those of calibrate,
// or are rounded again where nothing was searched.
type quantizedInfo struct {
	AvgBits       float64 `json:"avg_bits"`
	WeightsSHA256 string  `json:"weights_sha256"`
}

// quantizeKey names a quantized model. Where a method looks at no sample, none
// plays a part.
func quantizeKey(m *Model, c *Samples, q Quantization) Key {
	if !q.Method.NeedsSamples() {
		return NewKey(quantizeStage, struct {
			Rotate   ptq.Rotate        `json:"rotate"`
			Rounding ptq.Rounding      `json:"rounding"`
			After    ptq.After         `json:"after"`
			Format   ptq.Format        `json:"format"`
			Fallback ptq.GroupFallback `json:"group_fallback"`
		}{q.Method.Rotate, q.Method.Rounding, q.Method.After, q.Format, q.Fallback}, m.key)
	}
	keys := layerKeys(m, c, q)
	return NewKey(quantizeStage, q.settings(), keys[len(keys)-1])
}

// Quantize calibrates and rounds the decoder layers: stages gradients,
// importance, tokens, calibrate and quantize.
func (m *Model) Quantize(c *Samples, q Quantization) (*Quantized, error) {
	if err := firstError(q.Method.Validate(), q.Format.Validate(), m.checkUnquantized(), checkGroups(m, q.Format, q.Fallback)); err != nil {
		return nil, err
	}
	m, c, err := m.prepared(c, q)
	if err != nil {
		return nil, err
	}
	if err := m.reportEdits(); err != nil {
		return nil, err
	}
	out := &Quantized{Quantization: q, on: m, key: quantizeKey(m, c, q)}
	silent := m.WithProgress(nil) // loading again is no progress
	out.layers = sync.OnceValues(func() (*quantizedLayers, error) { return silent.quantizedLayers(c, q) })
	info, err := once(m, fmt.Sprintf("quantize %s, %s", m.Name, q), out.key, jsonCodec[quantizedInfo](), func(m *Model) (info quantizedInfo, err error) {
		quantized, err := m.quantizedLayers(c, q)
		if err != nil {
			return info, err
		}
		if info.AvgBits, err = m.averageBits(q); err != nil {
			return info, err
		}
		defer m.boundGarbage()()
		info.WeightsSHA256, err = m.WithSource(quantized.weights).Hash()
		return info, err
	})
	out.AvgBits, out.WeightsSHA256 = info.AvgBits, info.WeightsSHA256
	return out, err
}

// checkUnquantized refuses to quantize what is quantized already.
func (m *Model) checkUnquantized() error {
	if m.Manifest == nil {
		return nil
	}
	return fmt.Errorf("harness: model %s is quantized already (%s, %s): name the model that it was made from, %s",
		m.Name, m.Manifest.Method.Name, m.Manifest.Format, m.Manifest.Model)
}

// layerShapes are the layers without their weights.
func (m *Model) layerShapes() []*models.Layer {
	out := make([]*models.Layer, m.NumLayers())
	for i := range out {
		out[i] = m.ShapeOf(i)
	}
	return out
}

// quantizedLayers are the calibrated layers or, where the method looks at no
// sample, the model's own, rounded.
func (m *Model) quantizedLayers(c *Samples, q Quantization) (*quantizedLayers, error) {
	if q.Method.NeedsSamples() {
		return m.calibrate(c, q)
	}
	layers := &quantizedLayers{read: func(i int) (*calibratedLayer, error) {
		l, _, err := m.roundedLayer(q, i)
		return l, err
	}}
	for i := range m.NumLayers() {
		l, events, err := m.roundedLayer(q, i)
		if err != nil {
			return nil, err
		}
		reportEngine(m.s.ctx, events)
		layers.append(l)
	}
	return layers, nil
}

// roundedLayer rounds one of the model's layers to nearest.
func (m *Model) roundedLayer(q Quantization, i int) (*calibratedLayer, []ptq.Event, error) {
	l, err := m.Layer(i)
	if err != nil {
		return nil, nil, err
	}
	rounded, events, err := ptq.QuantizeLayer(l, q.Format, q.Fallback)
	if err != nil {
		return nil, nil, err
	}
	return &calibratedLayer{layer: rounded.Layer, grids: gridTensors(rounded)}, events, nil
}
