package models

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/tlqlab/tlqlab/kernels"
)

// OnlineHadamard says which inputs of a block's linears pass an orthogonal
// Hadamard transform while the model runs, before they are quantized; the inverse is in
// the weights (QuaRot, arXiv:2404.00456). The zero value transforms nothing.
type OnlineHadamard struct {
	// Heads mixes the heads of o_proj's input: x[h'] = Σ_h x[h]·M[h, h'].
	Heads bool `json:"heads,omitempty"`
	// Down transforms the input of down_proj: x = x·M.
	Down bool `json:"down,omitempty"`
}

// key tells compiled graphs apart.
func (o OnlineHadamard) key() string {
	if o == (OnlineHadamard{}) {
		return ""
	}
	return fmt.Sprintf("hadamard=%t,%t/", o.Heads, o.Down)
}

// mixHeads is what the attention's output [B, T, heads·D] passes through.
func (o OnlineHadamard) mixHeads(t *TextConfig, x *node) *node {
	if !o.Heads {
		return x
	}
	dims := x.Shape().Dimensions
	x = graph.Reshape(x, dims[0], dims[1], t.Heads, t.HeadDim)
	h, blocks := HadamardBlocks(t.Heads)
	x = graph.Einsum("bthd,hk->btkd", x, matrixConst(x, h, blocks))
	return graph.Reshape(x, dims...)
}

// hadamardSplit is the width above which a transform runs as two smaller ones.
const hadamardSplit = 128

// mixDown is what the input of down_proj [B, T, I] passes through. A wide transform goes
// along two axes: B ⊗ S_{pq} = (B ⊗ S_p) ⊗ S_q.
func (o OnlineHadamard) mixDown(x *node) *node {
	if !o.Down {
		return x
	}
	dims := x.Shape().Dimensions
	h, blocks := HadamardBlocks(dims[2])
	inner := 1
	for n := h.Len(); n/inner > hadamardSplit && n/inner/h.Base() > 1; {
		inner *= 2
	}
	outer, err := kernels.NewHadamardBase(h.Len()/inner, h.Base())
	if err != nil {
		panic(fmt.Sprintf("models: %v", err)) // HadamardBlocks gave the base
	}
	x = graph.Reshape(x, dims[0], dims[1]*blocks, h.Len()/inner, inner)
	x = graph.Einsum("btpr,pq->btqr", x, matrixConst(x, outer, 1))
	if inner > 1 {
		second, _ := HadamardBlocks(inner) // a power of two
		x = graph.DotGeneral(x, []int{3}, nil, matrixConst(x, second, 1), []int{0}, nil)
	}
	return graph.Reshape(x, dims...)
}

func matrixConst(x *node, h *kernels.Hadamard, blocks int) *node {
	n := h.Len() * blocks
	return graph.ConstTensor(x.Graph(), tensors.FromFlatDataAndDimensions(hadamardMatrix(h, blocks), n, n))
}

// onlineMethod is the quant_method of a checkpoint that needs online transforms. Loaders
// that don't know it refuse the checkpoint, where they would run it wrong otherwise.
const onlineMethod = "online_hadamard"

// hubJSON is the quantization_config of a config.json.
func (o OnlineHadamard) hubJSON() map[string]any {
	return map[string]any{"quant_method": onlineMethod, "o_proj_heads": o.Heads, "down_proj": o.Down}
}

// parseOnline reads what hubJSON wrote. Other quantized checkpoints are packed.
func parseOnline(f *fields) OnlineHadamard {
	if !f.has("quantization_config") {
		return OnlineHadamard{}
	}
	q := f.sub("quantization_config")
	if q.text("quant_method", "") != onlineMethod {
		f.fail("quantization_config", "packed checkpoints are not read; expected F32, F16 or BF16 weights")
		return OnlineHadamard{}
	}
	return OnlineHadamard{Heads: q.bool("o_proj_heads", false), Down: q.bool("down_proj", false)}
}
