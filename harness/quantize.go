package harness

import (
	"fmt"
	"sync"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

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
	if err := m.Check(q); err != nil {
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
