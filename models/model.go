package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Model is a checkpoint with its processor. Weights are read from the mapped
// file when asked for, layer by layer, unless they were given in memory.
type Model struct {
	*Processor
	// Dir is the folder the model was loaded from; empty for one made in memory.
	Dir string

	file    *safetensors.File
	weights *Weights                    // set instead of file for a model in memory
	layers  []*Layer                    // replaces the checkpoint's decoder blocks where set
	source  func(i int) (*Layer, error) // gives them one by one where set
	edit    *edited                     // set instead of both for an edited model
}

// Load opens a folder in the Hugging Face layout: config.json,
// model.safetensors (or shards with an index), tokenizer.json,
// preprocessor_config.json and chat_template.json. Every tensor's presence, type
// and shape is checked; values are read later. A language model alone may lack
// tokenizer.json: token streams need none.
func Load(dir string) (*Model, error) {
	p, err := LoadProcessor(dir)
	if err != nil {
		return nil, err
	}
	file, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	m := &Model{Processor: p, Dir: dir, file: file}
	if m.storedName(siglip+"head.probe") == siglip+"head.probe" && !file.Has(siglip+"head.probe") {
		p.Config.Vision.PoolingHead = false // the config's default, but nothing reads it
	}
	if err := m.checkTensors(); err != nil {
		file.Close()
		return nil, err
	}
	return m, nil
}

// New makes a model of weights in memory.
func New(p *Processor, w *Weights) *Model { return &Model{Processor: p, weights: w} }

// WithLayers returns a model that runs other decoder blocks, for example
// quantized ones; everything else is shared.
func (m *Model) WithLayers(layers []*Layer) *Model {
	c := *m
	c.layers = layers
	return &c
}

// WithSource returns a model that takes its decoder blocks from source, one at a time
// and each time anew, so that it runs, hashes and saves with one in memory; everything
// else is shared. source may be called by several goroutines; what it returns is not changed.
func (m *Model) WithSource(source func(i int) (*Layer, error)) *Model {
	c := *m
	c.layers, c.source = nil, source
	return &c
}

// ShapeOf is block i's structure, with weights of no length.
func (m *Model) ShapeOf(i int) *Layer { return maker{empty: true}.layer(&m.Config.Text, i) }

// NewLayer is a zeroed block i.
func (m *Model) NewLayer(i int) *Layer { return maker{}.layer(&m.Config.Text, i) }

// Close releases the mapped checkpoint.
func (m *Model) Close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}

// NumLayers is the number of decoder blocks.
func (m *Model) NumLayers() int { return m.Config.Text.Layers }

// checkTensors compares the checkpoint's names and shapes with the config's.
func (m *Model) checkTensors() error {
	known := map[string]bool{}
	a := m.Config.arch()
	for p := range paramShapes(m.Config) {
		at := a.place(m.Config, p)
		if at.part > 0 {
			continue
		}
		stored := m.storedName(at.name)
		t, err := m.file.Tensor(stored)
		if err != nil {
			return fmt.Errorf("models: %s: %w", m.Dir, err)
		}
		if !slices.Equal(t.Shape, at.shape) {
			return fmt.Errorf("models: %s: tensor %s has shape %v; config.json asks for %v", m.Dir, stored, t.Shape, at.shape)
		}
		if !floats[t.DType] {
			return fmt.Errorf("models: %s: tensor %s has type %s; expected F32, F16 or BF16", m.Dir, stored, t.DType)
		}
		known[stored] = true
	}
	for _, name := range m.file.Names() {
		if !known[name] && !m.unused(name) {
			return fmt.Errorf("models: %s: tensor %s is not part of a %s model with this config.json", m.Dir, name, m.Config.Family)
		}
	}
	return nil
}

// floats are the element types of weights.
var floats = map[string]bool{safetensors.F32: true, safetensors.F16: true, safetensors.BF16: true}

// unused tells whether a tensor may lie in a checkpoint though nothing reads it:
// tables that older releases stored, and the head where it is the embedding.
func (m *Model) unused(name string) bool {
	return strings.HasSuffix(name, ".inv_freq") || strings.HasSuffix(name, ".embeddings.position_ids") ||
		m.Config.Text.TiedHead && strings.HasSuffix(name, "lm_head.weight")
}

// storedName finds the name under which the checkpoint keeps a tensor: releases of
// the library wrote other prefixes.
func (m *Model) storedName(name string) string {
	if m.file.Has(name) {
		return name
	}
	for _, a := range m.Config.arch().aliases() {
		rest, ok := strings.CutPrefix(name, a.from)
		if !ok {
			continue
		}
		for _, prefix := range a.to {
			if m.file.Has(prefix + rest) {
				return prefix + rest
			}
		}
	}
	return name
}

// tensor reads a tensor of the checkpoint as float32 and refuses NaN and Inf. The pages
// it was read from don't stay in memory.
func (m *Model) tensor(name string) ([]float32, error) {
	t, err := m.file.Tensor(m.storedName(name))
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", m.Dir, err)
	}
	values := make([]float32, t.Len())
	return values, m.read(t, values, 0)
}

// readPart is how many values of a tensor are read at once: the pages they lie on are let
// go of before the next.
const readPart = 1 << 20

// read fills dst with a tensor's values from, from+1, … as float32 and refuses NaN and
// Inf.
func (m *Model) read(t safetensors.Tensor, dst []float32, from int) error {
	defer m.file.Rest(t.Name)
	for len(dst) > 0 {
		part := dst[:min(readPart, len(dst))]
		if err := t.ReadFloat32s(part, from); err != nil {
			return fmt.Errorf("models: %s: %w", m.Dir, err)
		}
		if err := m.checkFinite(t.Name, part, from); err != nil {
			return err
		}
		dst, from = dst[len(part):], from+len(part)
		if len(dst) > 0 {
			m.file.Rest(t.Name)
		}
	}
	return nil
}

// checkFinite refuses NaN and Inf among the values from, from+1, … of a tensor.
func (m *Model) checkFinite(name string, values []float32, from int) error {
	for i, v := range values {
		if v-v != 0 { // NaN and infinities alone
			return fmt.Errorf("models: %s: tensor %s holds %v at index %d; expected finite numbers", m.Dir, name, v, from+i)
		}
	}
	return nil
}

// fill reads the listed parameters from the checkpoint, each to where it belongs.
func (m *Model) fill(params []Param) error {
	for _, p := range params {
		at := m.Config.arch().place(m.Config, p)
		t, err := m.file.Tensor(m.storedName(at.name))
		if err != nil {
			return fmt.Errorf("models: %s: %w", m.Dir, err)
		}
		if t.Len() != at.parts*len(p.Data) {
			return fmt.Errorf("models: tensor %s has %d values; expected %d", at.name, t.Len(), at.parts*len(p.Data))
		}
		if err := m.read(t, p.Data, at.part*len(p.Data)); err != nil {
			return err
		}
	}
	return nil
}

// Layer returns block i's weights as float32. A layer read from the checkpoint
// is the caller's own; one given in memory must not be changed.
func (m *Model) Layer(i int) (*Layer, error) {
	switch {
	case i < 0 || i >= m.NumLayers():
		return nil, fmt.Errorf("models: no layer %d; the model has %d", i, m.NumLayers())
	case m.source != nil:
		return m.source(i)
	case m.layers != nil:
		return m.layers[i], nil
	case m.edit != nil:
		return m.edit.layer(i)
	case m.weights != nil:
		return m.weights.Layers[i], nil
	}
	l := maker{}.layer(&m.Config.Text, i)
	return l, m.fill(l.Params())
}

// VisionWeights returns the vision tower's weights; nil for a language model alone.
func (m *Model) VisionWeights() (*VisionWeights, error) {
	t := m.Config.tower()
	switch {
	case t == nil:
		return nil, nil
	case m.edit != nil:
		return m.edit.visionWeights(t)
	case m.weights != nil:
		return m.weights.Vision, nil
	}
	v := t.alloc(maker{})
	return v, m.fill(t.params(v))
}

// embedRows copies the embeddings of tokens to dst, row by row, reading no others.
func (m *Model) embedRows(ids []int32, dst []float32) error {
	t := &m.Config.Text
	for _, id := range ids {
		if id < 0 || int(id) >= t.Vocab {
			return fmt.Errorf("token id %d; the vocabulary has %d", id, t.Vocab)
		}
	}
	c := t.Hidden
	if m.edit != nil {
		return m.edit.embedRows(ids, dst)
	}
	if m.weights != nil {
		for i, id := range ids {
			copy(dst[i*c:(i+1)*c], m.weights.Embed[int(id)*c:])
		}
		return nil
	}
	name := m.storedName(m.Config.arch().place(m.Config, Param{Name: "model.embed_tokens.weight"}).name)
	table, err := m.file.Tensor(name)
	if err != nil {
		return err
	}
	size := len(table.Data) / t.Vocab
	for i, id := range ids {
		row := safetensors.Tensor{Name: name, DType: table.DType, Shape: []int{c}, Data: table.Data[int(id)*size : (int(id)+1)*size]}
		values, err := row.Float32s()
		if err != nil {
			return err
		}
		if err := m.checkFinite(name, values, 0); err != nil {
			return err
		}
		copy(dst[i*c:(i+1)*c], values)
	}
	return nil
}

// ends returns the final norm and the head (the embedding where tied).
func (m *Model) ends() (norm, head []float32, err error) {
	if m.edit != nil {
		return m.edit.endWeights()
	}
	if m.weights != nil {
		head = m.weights.Head
		if head == nil {
			head = m.weights.Embed
		}
		return m.weights.FinalNorm, head, nil
	}
	t := &m.Config.Text
	norm, head = make([]float32, t.Hidden), make([]float32, t.Vocab*t.Hidden)
	name := "lm_head.weight"
	if t.TiedHead {
		name = "model.embed_tokens.weight"
	}
	return norm, head, m.fill([]Param{{Name: "model.norm.weight", Data: norm}, {Name: name, Data: head}})
}

// Weights reads the whole model into memory.
func (m *Model) Weights() (*Weights, error) {
	if m.edit != nil {
		return m.editedWeights()
	}
	if m.weights != nil && m.layers == nil && m.source == nil {
		return m.weights, nil
	}
	w := maker{}.ends(m.Config)
	if m.weights != nil {
		*w = *m.weights
		w.Layers = nil
	} else if err := m.fill(w.Params(m.Config)); err != nil {
		return nil, err
	}
	for i := range m.NumLayers() {
		l, err := m.Layer(i)
		if err != nil {
			return nil, err
		}
		w.Layers = append(w.Layers, l)
	}
	return w, nil
}

// stored yields the model's tensors under the checkpoint's names and with its
// shapes, sorted by name, one at a time; the parts of a fused tensor are joined.
func (m *Model) stored() iter.Seq2[Param, error] {
	return func(yield func(Param, error) bool) {
		memory := m.inMemory()
		var list []place
		parts := map[string][][]float32{}
		params := map[string][]Param{}
		for p := range paramShapes(m.Config) {
			at := m.Config.arch().place(m.Config, p)
			if at.part == 0 {
				list = append(list, at)
			}
			params[at.name] = append(params[at.name], p)
			if data, ok := memory[p.Name]; ok {
				parts[at.name] = append(parts[at.name], data)
			}
		}
		slices.SortFunc(list, func(a, b place) int { return strings.Compare(a.name, b.name) })
		edited := partReader{m: m}
		for _, at := range list {
			p := Param{Name: at.name, Shape: at.shape}
			held, err := parts[at.name], error(nil)
			if m.edit != nil || m.source != nil && strings.HasPrefix(params[at.name][0].Name, layerPrefix) {
				held, err = edited.read(params[at.name])
			}
			if err != nil {
				yield(p, err)
				return
			}
			switch len(held) {
			case 0:
				p.Data, err = m.tensor(at.name)
			case 1:
				p.Data = held[0]
			default:
				p.Data = slices.Concat(held...)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// layerPrefix begins the names of the decoder blocks' parameters.
const layerPrefix = "model.layers."

// inMemory lists the parameters that are not read from the checkpoint.
func (m *Model) inMemory() map[string][]float32 {
	held := map[string][]float32{}
	if m.weights != nil {
		for _, p := range m.weights.Params(m.Config) {
			if m.source == nil || !strings.HasPrefix(p.Name, layerPrefix) {
				held[p.Name] = p.Data
			}
		}
	}
	for _, l := range m.layers {
		for _, p := range l.Params() {
			held[p.Name] = p.Data
		}
	}
	return held
}

// Hash is the SHA-256 over names, shapes and float32 bytes of all weights in
// name order: equal hashes mean the identical model, in whatever type it is
// stored. One tensor at a time is in memory, and of the checkpoint's own a part of one.
func (m *Model) Hash() (string, error) {
	h := sha256.New()
	for p, err := range m.storedParts(readPart) {
		if err != nil {
			return "", err
		}
		if p.from == 0 {
			fmt.Fprintf(h, "%s %v\n", p.Name, p.Shape)
		}
		t := safetensors.ViewFloat32(p.Name, []int{len(p.Data)}, p.Data)
		h.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Save writes the model as a folder in the Hugging Face layout, in shards where it
// takes more than [safetensors.ShardBytes]. dtype is F32, F16 or BF16. One tensor at a
// time is in memory.
func (m *Model) Save(dir, dtype string) error {
	return m.saveShards(dir, dtype, safetensors.ShardBytes)
}

func (m *Model) saveShards(dir, dtype string, limit int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := m.saveProcessor(dir); err != nil {
		return err
	}
	next, stop := iter.Pull2(m.stored())
	defer stop()
	return safetensors.WriteDir(dir, map[string]string{"format": "pt"}, m.storedSpecs(dtype), limit, func(s safetensors.Spec) (safetensors.Tensor, error) {
		p, err, ok := next()
		switch {
		case err != nil:
			return safetensors.Tensor{}, err
		case !ok || p.Name != s.Name:
			return safetensors.Tensor{}, fmt.Errorf("models: tensor %s came where %s belongs", p.Name, s.Name)
		case dtype == safetensors.F32:
			return safetensors.ViewFloat32(p.Name, p.Shape, p.Data), nil
		}
		return safetensors.FromFloat32As(p.Name, dtype, p.Shape, p.Data)
	})
}
