package models

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
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
	weights *Weights // set instead of file for a model in memory
	layers  []*Layer // replaces the checkpoint's decoder blocks where set
	edit    *edited  // set instead of both for an edited model
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

// tensor reads a tensor of the checkpoint as float32 and refuses NaN and Inf.
func (m *Model) tensor(name string) ([]float32, error) {
	t, err := m.file.Tensor(m.storedName(name))
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", m.Dir, err)
	}
	values, err := t.Float32s()
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", m.Dir, err)
	}
	return values, m.checkFinite(t.Name, values)
}

func (m *Model) checkFinite(name string, values []float32) error {
	for i, v := range values {
		if v != v || math.IsInf(float64(v), 0) {
			return fmt.Errorf("models: %s: tensor %s holds %v at index %d; expected finite numbers", m.Dir, name, v, i)
		}
	}
	return nil
}

// fill reads the listed parameters from the checkpoint.
func (m *Model) fill(params []Param) error {
	for _, p := range params {
		at := m.Config.arch().place(m.Config, p)
		values, err := m.tensor(at.name)
		if err != nil {
			return err
		}
		if len(values) != at.parts*len(p.Data) {
			return fmt.Errorf("models: tensor %s has %d values; expected %d", at.name, len(values), at.parts*len(p.Data))
		}
		copy(p.Data, values[at.part*len(p.Data):])
	}
	return nil
}

// Layer returns block i's weights as float32. A layer read from the checkpoint
// is the caller's own; one given in memory must not be changed.
func (m *Model) Layer(i int) (*Layer, error) {
	switch {
	case i < 0 || i >= m.NumLayers():
		return nil, fmt.Errorf("models: no layer %d; the model has %d", i, m.NumLayers())
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
		if err := m.checkFinite(name, values); err != nil {
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
	if m.weights != nil && m.layers == nil {
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
			var err error
			if m.edit != nil {
				parts[at.name], err = edited.read(params[at.name])
			}
			if err != nil {
				yield(p, err)
				return
			}
			switch held := parts[at.name]; len(held) {
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

// inMemory lists the parameters that are not read from the checkpoint.
func (m *Model) inMemory() map[string][]float32 {
	held := map[string][]float32{}
	if m.weights != nil {
		for _, p := range m.weights.Params(m.Config) {
			held[p.Name] = p.Data
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
// stored. One tensor at a time is in memory.
func (m *Model) Hash() (string, error) {
	h := sha256.New()
	for p, err := range m.stored() {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %v\n", p.Name, p.Shape)
		buf := make([]byte, 4*len(p.Data))
		for i, v := range p.Data {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
		}
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Save writes the model as a folder in the Hugging Face layout. dtype is F32,
// F16 or BF16. The whole model is in memory in that type.
func (m *Model) Save(dir, dtype string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var list []safetensors.Tensor
	for p, err := range m.stored() {
		if err != nil {
			return err
		}
		t, err := safetensors.FromFloat32As(p.Name, dtype, p.Shape, p.Data)
		if err != nil {
			return err
		}
		list = append(list, t)
	}
	if err := m.saveProcessor(dir); err != nil {
		return err
	}
	return safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), map[string]string{"format": "pt"}, list...)
}
