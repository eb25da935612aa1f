package models

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
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
}

// Load opens a folder in the Hugging Face layout: config.json,
// model.safetensors (or shards with an index), tokenizer.json,
// preprocessor_config.json and chat_template.json. Every tensor's presence and
// shape is checked; values are read later.
func Load(dir string) (*Model, error) {
	c, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	p, err := loadProcessor(dir, c)
	if err != nil {
		return nil, err
	}
	file, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	m := &Model{Processor: p, Dir: dir, file: file}
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
	for _, p := range paramShapes(m.Config) {
		name, shape := hubName(p.Name), p.Shape
		if part, ok := qkvPart(p.Name); ok {
			shape = slices.Clone(shape)
			shape[0] *= 3
			if part > 0 {
				continue
			}
		}
		stored := m.storedName(name)
		t, err := m.file.Tensor(stored)
		if err != nil {
			return fmt.Errorf("models: %s: %w", m.Dir, err)
		}
		if !sameShape(name, t.Shape, shape) {
			return fmt.Errorf("models: %s: tensor %s has shape %v; config.json asks for %v", m.Dir, stored, t.Shape, shape)
		}
		known[stored] = true
	}
	for _, name := range m.file.Names() {
		if !known[name] && !strings.HasSuffix(name, "rotary_emb.inv_freq") && !(m.Config.Text.TiedHead && name == "lm_head.weight") {
			return fmt.Errorf("models: %s: tensor %s is not part of a %s model with this config.json", m.Dir, name, m.Config.Family)
		}
	}
	return nil
}

// sameShape compares shapes; the patch embedding is stored as a convolution
// kernel [out, channels, time, height, width].
func sameShape(name string, got, want []int) bool {
	if name == "visual.patch_embed.proj.weight" && len(got) == 5 {
		return got[0] == want[0] && got[1]*got[2]*got[3]*got[4] == want[1]
	}
	return slices.Equal(got, want)
}

// qkvPart tells which third of a fused qkv a parameter stands for.
func qkvPart(name string) (int, bool) {
	if !strings.HasPrefix(name, "visual.blocks.") {
		return 0, false
	}
	for i, part := range []string{".attn.q.", ".attn.k.", ".attn.v."} {
		if strings.Contains(name, part) {
			return i, true
		}
	}
	return 0, false
}

// hubName is the checkpoint's name of a parameter.
func hubName(name string) string {
	if part, ok := qkvPart(name); ok {
		return strings.Replace(name, []string{".attn.q.", ".attn.k.", ".attn.v."}[part], ".attn.qkv.", 1)
	}
	return name
}

// storedName finds the prefix under which a checkpoint keeps a tensor: releases
// of the library wrote "model.", "language_model.model." or
// "model.language_model.", and "visual." or "model.visual.".
func (m *Model) storedName(name string) string {
	if m.file.Has(name) {
		return name
	}
	var others []string
	if rest, ok := strings.CutPrefix(name, "model."); ok {
		others = []string{"model.language_model." + rest, "language_model.model." + rest}
	} else if name == "lm_head.weight" {
		others = []string{"language_model.lm_head.weight"}
	} else {
		others = []string{"model." + name}
	}
	for _, o := range others {
		if m.file.Has(o) {
			return o
		}
	}
	return name
}

// fill reads the listed parameters from the checkpoint.
func (m *Model) fill(params []Param) error {
	for _, p := range params {
		t, err := m.file.Tensor(m.storedName(hubName(p.Name)))
		if err != nil {
			return err
		}
		values, err := t.Float32s()
		if err != nil {
			return err
		}
		if part, ok := qkvPart(p.Name); ok {
			values = values[part*len(p.Data) : (part+1)*len(p.Data)]
		}
		if len(values) != len(p.Data) {
			return fmt.Errorf("models: tensor %s has %d values; expected %d", p.Name, len(values), len(p.Data))
		}
		for i, v := range values {
			if v != v || math.IsInf(float64(v), 0) {
				return fmt.Errorf("models: %s: tensor %s holds %v at index %d; expected finite numbers", m.Dir, p.Name, v, i)
			}
		}
		copy(p.Data, values)
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
	case m.weights != nil:
		return m.weights.Layers[i], nil
	}
	l := newLayer(&m.Config.Text, i)
	return l, m.fill(l.Params())
}

// VisionWeights returns the vision tower's weights.
func (m *Model) VisionWeights() (*VisionWeights, error) {
	if m.weights != nil {
		return m.weights.Vision, nil
	}
	v := newVision(&m.Config.Vision, m.Config.Text.Hidden)
	return v, m.fill(v.params())
}

// ends returns the embedding, the final norm and the head (the embedding where
// tied).
func (m *Model) ends() (embed, norm, head []float32, err error) {
	if m.weights != nil {
		head = m.weights.Head
		if head == nil {
			head = m.weights.Embed
		}
		return m.weights.Embed, m.weights.FinalNorm, head, nil
	}
	t := &m.Config.Text
	embed, norm = make([]float32, t.Vocab*t.Hidden), make([]float32, t.Hidden)
	list := []Param{{Name: "model.embed_tokens.weight", Data: embed}, {Name: "model.norm.weight", Data: norm}}
	head = embed
	if !t.TiedHead {
		head = make([]float32, t.Vocab*t.Hidden)
		list = append(list, Param{Name: "lm_head.weight", Data: head})
	}
	return embed, norm, head, m.fill(list)
}

// Weights reads the whole model into memory.
func (m *Model) Weights() (*Weights, error) {
	w := &Weights{}
	var err error
	if w.Embed, w.FinalNorm, w.Head, err = m.ends(); err != nil {
		return nil, err
	}
	if m.Config.Text.TiedHead {
		w.Head = nil
	}
	for i := range m.NumLayers() {
		l, err := m.Layer(i)
		if err != nil {
			return nil, err
		}
		w.Layers = append(w.Layers, l)
	}
	w.Vision, err = m.VisionWeights()
	return w, err
}

// Hash is the SHA-256 over names, shapes and float32 bytes of all weights in
// name order: equal hashes mean the identical model, in whatever type it is
// stored.
func (m *Model) Hash() (string, error) {
	w, err := m.Weights()
	if err != nil {
		return "", err
	}
	params := hubParams(w, m.Config)
	h := sha256.New()
	for _, p := range params {
		fmt.Fprintf(h, "%s %v\n", p.Name, p.Shape)
		buf := make([]byte, 4*len(p.Data))
		for i, v := range p.Data {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
		}
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hubParams lists w's parameters under the checkpoint's names and shapes, sorted
// by name; fused tensors are joined.
func hubParams(w *Weights, c *Config) []Param {
	var list []Param
	at := map[string]int{}
	for _, p := range w.Params(c) {
		name := hubName(p.Name)
		if i, ok := at[name]; ok { // the next third of a fused qkv
			list[i].Data = append(list[i].Data, p.Data...)
			list[i].Shape[0] += p.Shape[0]
			continue
		}
		if name != p.Name {
			p.Data = slices.Clone(p.Data)
		}
		p.Shape = slices.Clone(p.Shape)
		if v := &c.Vision; name == "visual.patch_embed.proj.weight" {
			p.Shape = []int{v.Hidden, v.Channels, v.TemporalPatch, v.PatchSize, v.PatchSize}
		}
		at[name] = len(list)
		p.Name = name
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Save writes the model as a folder in the Hugging Face layout. dtype is F32,
// F16 or BF16.
func (m *Model) Save(dir, dtype string) error {
	w, err := m.Weights()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var list []safetensors.Tensor
	for _, p := range hubParams(w, m.Config) {
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
