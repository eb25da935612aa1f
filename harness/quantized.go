package harness

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
	"github.com/tlqlab/tlqlab/ptq"
)

// Quantization is a method at a format, and what is done to the model before.
type Quantization struct {
	Method   ptq.Method
	Format   ptq.Format
	Fallback ptq.GroupFallback
	Outliers ptq.Outliers // injected into the model first; zero: none
	Tower    bool         // round the vision tower's blocks too, to nearest
}

// NewQuantization looks a method and a format up by name; the error lists the
// valid ones.
func NewQuantization(method, format string) (q Quantization, err error) {
	if q.Method, err = ptq.FindMethod(method); err != nil {
		return q, err
	}
	if err := CheckFormat(format); err != nil {
		return q, fmt.Errorf("harness: %w", err)
	}
	q.Format, err = ptq.ParseFormat(format)
	return q, err
}

// Check refuses what can't be done to the model: settings that are none, a group size that
// divides no input width, a model that is quantized already. [Model.Quantize] begins with it.
func (m *Model) Check(q Quantization) error {
	return firstError(q.Method.Validate(), q.Format.Validate(), m.checkUnquantized(), checkGroups(m, q.Format, q.Fallback))
}

// settings are what a Quantization's result depends on: not what it is called.
type settings struct {
	Tokens   ptq.Tokens        `json:"tokens"`
	Path     ptq.Path          `json:"path"`
	Search   ptq.Search        `json:"search"`
	Rotate   ptq.Rotate        `json:"rotate"`
	Rounding ptq.Rounding      `json:"rounding"`
	After    ptq.After         `json:"after"`
	Tweak    ptq.Tweak         `json:"tweak,omitzero"`
	Format   ptq.Format        `json:"format"`
	Fallback ptq.GroupFallback `json:"group_fallback"`
}

func (q Quantization) settings() settings {
	m := q.Method
	return settings{m.Tokens, m.Path, m.Search, m.Rotate, m.Rounding, m.After, m.Tweak, q.Format, q.Fallback}
}

// String is "w4a8 tlq", with the outliers where there are any.
func (q Quantization) String() string {
	return fmt.Sprintf("%s %s", settingName(q.Format.String(), q.Outliers.String()), q.Method.Name)
}

// Quantized is a quantized model. Its layers are loaded when they are needed.
type Quantized struct {
	Quantization
	AvgBits       float64 // bits per quantized weight, scales and zeros counted
	WeightsSHA256 string  // of all weights of the model, the dequantized ones in their places

	on     *Model // the model whose layers were rounded: edited where the method or its outliers ask for it
	key    Key
	layers func() (*quantizedLayers, error)
}

// Layers returns the decoder layers, all in memory: dequantized values, smoothing
// factors folded in. They are shared: don't change them. For a large model use
// [Quantized.Layer].
func (q *Quantized) Layers() ([]*models.Layer, error) {
	out := make([]*models.Layer, q.on.NumLayers())
	for i := range out {
		var err error
		if out[i], err = q.Layer(i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Layer returns decoder layer i, which may be shared: don't change it.
func (q *Quantized) Layer(i int) (*models.Layer, error) {
	layers, err := q.layers()
	if err != nil {
		return nil, err
	}
	return layers.weights(i)
}

// Grids returns the steps, and for asymmetric formats the zero points, of all
// quantized weights: "NAME.step" and "NAME.zero", [out, groups], NAME the
// weight's checkpoint name without ".weight".
func (q *Quantized) Grids() ([]safetensors.Tensor, error) {
	layers, err := q.layers()
	if err != nil {
		return nil, err
	}
	var list []safetensors.Tensor
	for i := range q.on.NumLayers() {
		l, err := layers.at(i)
		if err != nil {
			return nil, err
		}
		for _, t := range l.grids {
			t.Data = slices.Clone(t.Data) // not a view of the whole layer's file
			list = append(list, t)
		}
	}
	return list, nil
}

func gridTensors(q *ptq.QuantizedLayer) []safetensors.Tensor {
	var list []safetensors.Tensor
	for _, t := range q.Tensors() {
		if isGrid(t.Name) {
			list = append(list, t)
		}
	}
	return list
}

func isGrid(name string) bool {
	return strings.HasSuffix(name, ".step") || strings.HasSuffix(name, ".zero")
}

// Key names the quantized model.
func (q *Quantized) Key() Key { return q.key }

// quantizedRunner runs the model as it is, or where q is not nil the quantized
// one, with its activation quantizer. A folder that WriteQuantized wrote is run
// with the quantizer that its manifest names.
func (m *Model) quantizedRunner(q *Quantized) (*models.Runner, *models.ActQuant, error) {
	r, err := m.Runner()
	if err != nil {
		return nil, nil, err
	}
	if q == nil {
		if m.Manifest != nil {
			return r, m.Manifest.Format.ActQuant(), nil
		}
		return r, nil, nil
	}
	if _, err := q.layers(); err != nil {
		return nil, nil, err
	}
	return r.With(q.on.WithSource(q.Layer)), q.Format.ActQuant(), nil
}

// paramTensors are a layer's weights under their checkpoint names.
func paramTensors(l *models.Layer) []safetensors.Tensor {
	var list []safetensors.Tensor
	for _, p := range l.Params() {
		list = append(list, safetensors.ViewFloat32(p.Name, p.Shape, p.Data))
	}
	return list
}
