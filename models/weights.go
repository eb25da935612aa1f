package models

import (
	"fmt"
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

// Norm is the gain of an RMS norm, or gain and bias of a layer norm.
type Norm struct{ Gain, Bias []float32 }

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

// VisionBlock holds one block of the vision tower; the checkpoint's fused
// qkv is split in three, so that graphs need no slices.
type VisionBlock struct {
	Norm1, Norm2  Norm
	Q, K, V, Proj Linear
	FC1, FC2      Linear
}

// VisionWeights holds the vision tower and the merger.
type VisionWeights struct {
	PatchEmbed Linear // [hidden, patch dim], no bias
	Blocks     []VisionBlock
	MergeNorm  Norm
	Merge0     Linear // [4·hidden, 4·hidden]
	Merge2     Linear // [text hidden, 4·hidden]
}

// Weights holds a whole model in memory, as training needs it.
type Weights struct {
	Embed     []float32 // [vocab, C]
	Layers    []*Layer
	FinalNorm []float32 // [C]
	Head      []float32 // [vocab, C]; nil where the head is tied to Embed
	Vision    *VisionWeights
}

// Param is a view of one named weight. Names follow the checkpoint, except that
// visual.blocks.N.attn.{q,k,v} stand for the thirds of visual.blocks.N.attn.qkv.
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
	return append(list, w.Vision.params()...)
}

// Params lists the block's weights in the order in which the block's graph takes
// them.
func (l *Layer) Params() []Param {
	prefix := fmt.Sprintf("model.layers.%d.", l.Index)
	list := []Param{{prefix + "input_layernorm.weight", []int{len(l.InputNorm)}, l.InputNorm}}
	list = l.Q.appendTo(list, prefix+"self_attn.q_proj")
	list = l.K.appendTo(list, prefix+"self_attn.k_proj")
	list = l.V.appendTo(list, prefix+"self_attn.v_proj")
	list = l.O.appendTo(list, prefix+"self_attn.o_proj")
	list = append(list, Param{prefix + "post_attention_layernorm.weight", []int{len(l.PostNorm)}, l.PostNorm})
	list = l.Gate.appendTo(list, prefix+"mlp.gate_proj")
	list = l.Up.appendTo(list, prefix+"mlp.up_proj")
	return l.Down.appendTo(list, prefix+"mlp.down_proj")
}

func (v *VisionWeights) params() []Param {
	list := v.PatchEmbed.appendTo(nil, "visual.patch_embed.proj")
	for i := range v.Blocks {
		b, prefix := &v.Blocks[i], fmt.Sprintf("visual.blocks.%d.", i)
		list = b.Norm1.appendTo(list, prefix+"norm1")
		list = b.Q.appendTo(list, prefix+"attn.q")
		list = b.K.appendTo(list, prefix+"attn.k")
		list = b.V.appendTo(list, prefix+"attn.v")
		list = b.Proj.appendTo(list, prefix+"attn.proj")
		list = b.Norm2.appendTo(list, prefix+"norm2")
		list = b.FC1.appendTo(list, prefix+"mlp.fc1")
		list = b.FC2.appendTo(list, prefix+"mlp.fc2")
	}
	list = v.MergeNorm.appendTo(list, "visual.merger.ln_q")
	list = v.Merge0.appendTo(list, "visual.merger.mlp.0")
	return v.Merge2.appendTo(list, "visual.merger.mlp.2")
}

func (l *Linear) appendTo(list []Param, name string) []Param {
	list = append(list, Param{name + ".weight", []int{l.Out, l.In}, l.W})
	if l.B != nil {
		list = append(list, Param{name + ".bias", []int{l.Out}, l.B})
	}
	return list
}

func (n *Norm) appendTo(list []Param, name string) []Param {
	list = append(list, Param{name + ".weight", []int{len(n.Gain)}, n.Gain})
	if n.Bias != nil {
		list = append(list, Param{name + ".bias", []int{len(n.Bias)}, n.Bias})
	}
	return list
}

// NewWeights allocates zeroed weights of c's shapes.
func NewWeights(c *Config) *Weights {
	t, v := &c.Text, &c.Vision
	w := &Weights{
		Embed: make([]float32, t.Vocab*t.Hidden), FinalNorm: make([]float32, t.Hidden),
		Vision: newVision(v, t.Hidden),
	}
	if !t.TiedHead {
		w.Head = make([]float32, t.Vocab*t.Hidden)
	}
	for i := range t.Layers {
		w.Layers = append(w.Layers, newLayer(t, i))
	}
	return w
}

// paramShapes lists the parameters of c's model without data. Blocks are made
// one at a time, so a large model's shapes cost little memory.
func paramShapes(c *Config) []Param {
	ends := NewWeights(&Config{Text: withoutLayers(c.Text), Vision: c.Vision})
	list := ends.Params(c)
	for i := range c.Text.Layers {
		list = append(list, newLayer(&c.Text, i).Params()...)
	}
	for i := range list {
		list[i].Data = nil
	}
	return list
}

func withoutLayers(t TextConfig) TextConfig {
	t.Layers = 0
	return t
}

func newLayer(t *TextConfig, index int) *Layer {
	q, kv := t.Heads*t.HeadDim, t.KVHeads*t.HeadDim
	return &Layer{
		Index: index, InputNorm: make([]float32, t.Hidden), PostNorm: make([]float32, t.Hidden),
		Q: newLinear(q, t.Hidden, t.QKVBias), K: newLinear(kv, t.Hidden, t.QKVBias), V: newLinear(kv, t.Hidden, t.QKVBias),
		O:    newLinear(t.Hidden, q, false),
		Gate: newLinear(t.Intermediate, t.Hidden, false), Up: newLinear(t.Intermediate, t.Hidden, false),
		Down: newLinear(t.Hidden, t.Intermediate, false),
	}
}

func newVision(v *VisionConfig, textHidden int) *VisionWeights {
	wide := v.Hidden * v.Merge * v.Merge
	w := &VisionWeights{
		PatchEmbed: newLinear(v.Hidden, v.PatchDim(), false), Blocks: make([]VisionBlock, v.Depth),
		MergeNorm: newNorm(v.Hidden), Merge0: newLinear(wide, wide, true), Merge2: newLinear(textHidden, wide, true),
	}
	for i := range w.Blocks {
		w.Blocks[i] = VisionBlock{
			Norm1: newNorm(v.Hidden), Norm2: newNorm(v.Hidden),
			Q: newLinear(v.Hidden, v.Hidden, true), K: newLinear(v.Hidden, v.Hidden, true), V: newLinear(v.Hidden, v.Hidden, true),
			Proj: newLinear(v.Hidden, v.Hidden, true),
			FC1:  newLinear(v.Intermediate, v.Hidden, true), FC2: newLinear(v.Hidden, v.Intermediate, true),
		}
	}
	return w
}

func newLinear(out, in int, bias bool) Linear {
	l := Linear{W: make([]float32, out*in), Out: out, In: in}
	if bias {
		l.B = make([]float32, out)
	}
	return l
}

func newNorm(n int) Norm { return Norm{Gain: make([]float32, n), Bias: make([]float32, n)} }
