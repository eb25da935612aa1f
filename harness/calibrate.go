package harness

import (
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
	"github.com/tlqlab/tlqlab/ptq"
)

// calibrateStage is the search, folding and rounding of one layer; each layer
// is a durable step.
var calibrateStage = StageID{"calibrate", 5}

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
	if w.engine == nil {
		return
	}
	if w.state != nil { // there is none where choosing the tokens failed
		w.engine.Release(w.state)
	}
	closeEngine(w.engine)
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
