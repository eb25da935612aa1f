package models

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Edit is a change of a model's weights that is made on the way from the
// checkpoint, part by part, so that an edited model needs no more memory than the model
// itself. A nil function leaves its part as it is. The functions change copies,
// in place; they may be called from several goroutines and more than once.
type Edit struct {
	// Config is the edited model's configuration; nil: unchanged. Sizes stay; what may
	// differ is whether the head is tied, and the online transforms.
	Config *Config
	Layer  func(l *Layer) error             // one decoder block
	Embed  func(rows []float32) error       // embeddings of some tokens, [n, C]
	Ends   func(norm, head []float32) error // final norm [C] and output projection [vocab, C]
	Vision func(v *VisionWeights) error     // vision tower and what lies behind it
}

// editLimit is the number of bytes up to which an edited model keeps its parts: an
// edit costs more than reading does.
const editLimit = 1 << 28

// edited is an edit of a model with the parts that are kept.
type edited struct {
	Edit
	base *Model

	mu     sync.Mutex
	bytes  int
	layers map[int]*Layer
	ends   [2][]float32
	vision *VisionWeights
}

// Edited returns a model with changed weights. Layers that it returns are shared:
// they must not be changed.
func (m *Model) Edited(e Edit) *Model {
	c := &Model{Processor: m.Processor, Dir: m.Dir, edit: &edited{Edit: e, base: m, layers: map[int]*Layer{}}}
	if e.Config != nil {
		p := *m.Processor
		p.Config = e.Config
		c.Processor = &p
	}
	return c
}

// fits counts n values among those that are kept, unless they are too many.
func (e *edited) fits(n int) bool {
	if e.bytes+4*n > editLimit {
		return false
	}
	e.bytes += 4 * n
	return true
}

func (e *edited) layer(i int) (*Layer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l, ok := e.layers[i]; ok {
		return l, nil
	}
	l, err := e.base.Layer(i)
	if err != nil {
		return nil, err
	}
	if e.Layer == nil {
		return l, nil
	}
	l = l.Clone()
	if err := e.Layer(l); err != nil {
		return nil, fmt.Errorf("models: layer %d: %w", i, err)
	}
	n := 0
	for _, p := range l.Params() {
		n += len(p.Data)
	}
	if e.fits(n) {
		e.layers[i] = l
	}
	return l, nil
}

func (e *edited) endWeights() (norm, head []float32, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ends[0] != nil {
		return e.ends[0], e.ends[1], nil
	}
	if norm, head, err = e.base.ends(); err != nil || e.Ends == nil {
		return norm, head, err
	}
	norm, head = slices.Clone(norm), slices.Clone(head)
	if err := e.Ends(norm, head); err != nil {
		return nil, nil, fmt.Errorf("models: output projection: %w", err)
	}
	if e.fits(len(norm) + len(head)) {
		e.ends = [2][]float32{norm, head}
	}
	return norm, head, nil
}

func (e *edited) visionWeights(t tower) (*VisionWeights, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.vision != nil {
		return e.vision, nil
	}
	v, err := e.base.VisionWeights()
	if err != nil || v == nil || e.Vision == nil {
		return v, err
	}
	c := t.alloc(maker{})
	n := 0
	from := t.params(v)
	for i, p := range t.params(c) {
		n += copy(p.Data, from[i].Data)
	}
	if err := e.Vision(c); err != nil {
		return nil, fmt.Errorf("models: vision tower: %w", err)
	}
	if e.fits(n) {
		e.vision = c
	}
	return c, nil
}

func (e *edited) embedRows(ids []int32, dst []float32) error {
	if err := e.base.embedRows(ids, dst); err != nil || e.Embed == nil {
		return err
	}
	return e.Embed(dst)
}

// embedding is the whole table of token embeddings.
func (m *Model) embedding() ([]float32, error) {
	t := &m.Config.Text
	ids := make([]int32, t.Vocab)
	for i := range ids {
		ids[i] = int32(i)
	}
	table := make([]float32, t.Vocab*t.Hidden)
	return table, m.embedRows(ids, table)
}

// editedWeights reads an edited model into memory.
func (m *Model) editedWeights() (*Weights, error) {
	w := &Weights{}
	var err error
	if w.Embed, err = m.embedding(); err != nil {
		return nil, err
	}
	if w.FinalNorm, w.Head, err = m.ends(); err != nil {
		return nil, err
	}
	if m.Config.Text.TiedHead {
		w.Head = nil
	}
	if w.Vision, err = m.VisionWeights(); err != nil {
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

// partReader gives an edited model's parameters by name, holding the last layer only.
type partReader struct {
	m     *Model
	layer *Layer
	ends  map[string][]float32
}

// read returns the values of the listed parameters.
func (r *partReader) read(params []Param) ([][]float32, error) {
	list := make([][]float32, len(params))
	for i, p := range params {
		var err error
		if list[i], err = r.data(p); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (r *partReader) data(p Param) ([]float32, error) {
	if rest, ok := strings.CutPrefix(p.Name, "model.layers."); ok {
		var i int
		if _, err := fmt.Sscanf(rest, "%d.", &i); err != nil {
			return nil, fmt.Errorf("models: parameter %s: %w", p.Name, err)
		}
		if r.layer == nil || r.layer.Index != i {
			l, err := r.m.Layer(i)
			if err != nil {
				return nil, err
			}
			r.layer = l
		}
		return find(r.layer.Params(), p.Name)
	}
	if r.ends == nil {
		if err := r.readEnds(); err != nil {
			return nil, err
		}
	}
	if data, ok := r.ends[p.Name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("models: the edited model has no parameter %s", p.Name)
}

func (r *partReader) readEnds() (err error) {
	r.ends = map[string][]float32{}
	if r.ends["model.embed_tokens.weight"], err = r.m.embedding(); err != nil {
		return err
	}
	if r.ends["model.norm.weight"], r.ends["lm_head.weight"], err = r.m.ends(); err != nil {
		return err
	}
	v, err := r.m.VisionWeights()
	if err != nil || v == nil {
		return err
	}
	for _, p := range r.m.Config.tower().params(v) {
		r.ends[p.Name] = p.Data
	}
	return nil
}

func find(params []Param, name string) ([]float32, error) {
	for _, p := range params {
		if p.Name == name {
			return p.Data, nil
		}
	}
	return nil, fmt.Errorf("models: no parameter %s", name)
}
