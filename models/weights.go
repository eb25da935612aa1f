package models

import (
	"fmt"
	"iter"
	"slices"
)

// Site names a place in a decoder block where linears read their input: where
// activations are tapped, scaled and quantized.
type Site string

// The sites of a decoder block, in the order in which data meets them.
const (
	QKV    Site = "qkv"     // q_proj, k_proj, v_proj read the output of input_layernorm
	O      Site = "o"       // o_proj reads the attention's output
	GateUp Site = "gate_up" // gate_proj, up_proj read the output of post_attention_layernorm
	Down   Site = "down"    // down_proj reads silu(gate)·up
)

// Sites lists the sites of a block in order.
func Sites() []Site { return []Site{QKV, O, GateUp, Down} }

// Linear is a linear layer y = W·x + b.
type Linear struct {
	W       []float32 // [Out, In], row-major
	B       []float32 // [Out], or nil
	Out, In int
}

// Layer holds one decoder block's weights.
type Layer struct {
	Index               int
	InputNorm, PostNorm []float32 // [C]
	Q, K, V, O          Linear
	Gate, Up, Down      Linear
}

// Linears returns the linears that read site s.
func (l *Layer) Linears(s Site) []*Linear {
	switch s {
	case QKV:
		return []*Linear{&l.Q, &l.K, &l.V}
	case O:
		return []*Linear{&l.O}
	case GateUp:
		return []*Linear{&l.Gate, &l.Up}
	case Down:
		return []*Linear{&l.Down}
	}
	panic("models: unknown site " + string(s))
}

// Clone returns a deep copy.
func (l *Layer) Clone() *Layer {
	c := *l
	c.InputNorm, c.PostNorm = slices.Clone(l.InputNorm), slices.Clone(l.PostNorm)
	for _, s := range Sites() {
		for _, lin := range c.Linears(s) {
			lin.W, lin.B = slices.Clone(lin.W), slices.Clone(lin.B)
		}
	}
	return &c
}

// Weights holds a whole model in memory, as training needs it.
type Weights struct {
	Embed     []float32 // [vocab, C]
	Layers    []*Layer
	FinalNorm []float32      // [C]
	Head      []float32      // [vocab, C]; nil where the head is tied to Embed
	Vision    *VisionWeights // nil for a language model alone
}

// Param is a view of one named weight. Names are those of a language model alone
// and of the family's vision tower; a fused tensor of the checkpoint has one name
// for each of its parts, such as visual.blocks.N.attn.{q,k,v} of Qwen2-VL.
type Param struct {
	Name  string
	Shape []int
	Data  []float32
}

// Params lists all weights in a fixed order; Data aliases w.
func (w *Weights) Params(c *Config) []Param {
	list := []Param{{"model.embed_tokens.weight", []int{c.Text.Vocab, c.Text.Hidden}, w.Embed}}
	for _, l := range w.Layers {
		list = append(list, l.Params()...)
	}
	list = append(list, Param{"model.norm.weight", []int{c.Text.Hidden}, w.FinalNorm})
	if w.Head != nil {
		list = append(list, Param{"lm_head.weight", []int{c.Text.Vocab, c.Text.Hidden}, w.Head})
	}
	if tower := c.tower(); tower != nil {
		list = append(list, tower.params(w.Vision)...)
	}
	return list
}

// Params lists the block's weights in the order in which the block's graph takes
// them.
func (l *Layer) Params() []Param {
	prefix := fmt.Sprintf("model.layers.%d.", l.Index)
	list := []Param{{prefix + "input_layernorm.weight", []int{l.Q.In}, l.InputNorm}}
	list = l.Q.appendTo(list, prefix+"self_attn.q_proj")
	list = l.K.appendTo(list, prefix+"self_attn.k_proj")
	list = l.V.appendTo(list, prefix+"self_attn.v_proj")
	list = l.O.appendTo(list, prefix+"self_attn.o_proj")
	list = append(list, Param{prefix + "post_attention_layernorm.weight", []int{l.Gate.In}, l.PostNorm})
	list = l.Gate.appendTo(list, prefix+"mlp.gate_proj")
	list = l.Up.appendTo(list, prefix+"mlp.up_proj")
	return l.Down.appendTo(list, prefix+"mlp.down_proj")
}

func (l *Linear) appendTo(list []Param, name string) []Param {
	list = append(list, Param{name + ".weight", []int{l.Out, l.In}, l.W})
	if l.B != nil {
		list = append(list, Param{name + ".bias", []int{l.Out}, l.B})
	}
	return list
}

func (n *Norm) appendTo(list []Param, name string, width int) []Param {
	list = append(list, Param{name + ".weight", []int{width}, n.Gain})
	if n.Bias != nil {
		list = append(list, Param{name + ".bias", []int{width}, n.Bias})
	}
	return list
}

// maker allocates weights; an empty one makes their structure alone, so that the
// shapes of a large model cost no memory.
type maker struct{ empty bool }

func (m maker) floats(n int) []float32 {
	if m.empty {
		return []float32{}
	}
	return make([]float32, n)
}

func (m maker) linear(out, in int, bias bool) Linear {
	l := Linear{W: m.floats(out * in), Out: out, In: in}
	if bias {
		l.B = m.floats(out)
	}
	return l
}

func (m maker) norm(width int) Norm { return Norm{Gain: m.floats(width), Bias: m.floats(width)} }

func (m maker) layer(t *TextConfig, index int) *Layer {
	q, kv := t.Heads*t.HeadDim, t.KVHeads*t.HeadDim
	return &Layer{
		Index: index, InputNorm: m.floats(t.Hidden), PostNorm: m.floats(t.Hidden),
		Q: m.linear(q, t.Hidden, t.QKVBias), K: m.linear(kv, t.Hidden, t.QKVBias), V: m.linear(kv, t.Hidden, t.QKVBias),
		O:    m.linear(t.Hidden, q, t.OutBias),
		Gate: m.linear(t.Intermediate, t.Hidden, t.MLPBias), Up: m.linear(t.Intermediate, t.Hidden, t.MLPBias),
		Down: m.linear(t.Hidden, t.Intermediate, t.MLPBias),
	}
}

// ends makes everything but the decoder blocks.
func (m maker) ends(c *Config) *Weights {
	t := &c.Text
	w := &Weights{Embed: m.floats(t.Vocab * t.Hidden), FinalNorm: m.floats(t.Hidden)}
	if !t.TiedHead {
		w.Head = m.floats(t.Vocab * t.Hidden)
	}
	if tower := c.tower(); tower != nil {
		w.Vision = tower.alloc(m)
	}
	return w
}

// NewWeights allocates zeroed weights of c's shapes.
func NewWeights(c *Config) *Weights {
	w := maker{}.ends(c)
	for i := range c.Text.Layers {
		w.Layers = append(w.Layers, maker{}.layer(&c.Text, i))
	}
	return w
}

// paramShapes yields the parameters of c's model without data.
func paramShapes(c *Config) iter.Seq[Param] {
	return func(yield func(Param) bool) {
		for _, p := range (maker{empty: true}).ends(c).Params(c) {
			if !yield(p) {
				return
			}
		}
		for i := range c.Text.Layers {
			for _, p := range (maker{empty: true}).layer(&c.Text, i).Params() {
				if !yield(p) {
					return
				}
			}
		}
	}
}
