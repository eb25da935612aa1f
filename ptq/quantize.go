package ptq

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Grid holds the steps and zero points of a quantized weight, one per group of a
// row: code = value/step + zero.
type Grid struct {
	Group int       // columns per group
	Step  []float32 // [out, in/Group]
	Zero  []float32 // [out, in/Group], whole numbers; nil for symmetric weights
}

// QuantizedLayer is a decoder block whose linears hold dequantized values, with
// the grids that the values lie on. Norms and biases are as they were.
type QuantizedLayer struct {
	Layer *models.Layer
	Grids map[string]*Grid // by the weight's name within the block, such as "q_proj"
}

// linearNames names the linears of a site in the order of [models.Layer.Linears].
func linearNames(s models.Site) []string {
	switch s {
	case models.QKV:
		return []string{"q_proj", "k_proj", "v_proj"}
	case models.O:
		return []string{"o_proj"}
	case models.GateUp:
		return []string{"gate_proj", "up_proj"}
	}
	return []string{"down_proj"}
}

// QuantizeLayer rounds all linears of l to nearest, and nothing else: l is not
// changed, and norms and biases are shared with it. The scaling factors of a search
// must already be folded into l ([FoldScale]). Events tell of groups that were
// halved and of constant groups, which an asymmetric grid cannot hold. The error names
// a weight that is not finite or a group size that does not fit.
func QuantizeLayer(l *models.Layer, f Format, fallback GroupFallback) (*QuantizedLayer, []Event, error) {
	out := *l
	q := &QuantizedLayer{Layer: &out, Grids: map[string]*Grid{}}
	var events []Event
	for _, site := range models.Sites() {
		events = append(events, formatEvents(l, site, f, fallback)...)
		if err := q.roundSite(l, site, f, fallback); err != nil {
			return nil, nil, err
		}
	}
	return q, events, nil
}

// roundSite replaces the linears of a site in q by those of l, rounded.
func (q *QuantizedLayer) roundSite(l *models.Layer, site models.Site, f Format, fallback GroupFallback) error {
	targets := q.Layer.Linears(site)
	for i, lin := range l.Linears(site) {
		name := linearNames(site)[i]
		grid, w, err := roundLinear(lin, f, fallback)
		if err != nil {
			return fmt.Errorf("ptq: layer %d, %s: %w", l.Index, name, err)
		}
		*targets[i] = models.Linear{W: w, B: lin.B, Out: lin.Out, In: lin.In}
		q.Grids[name] = grid
	}
	return nil
}

// checkLinear refuses weights that cannot be rounded, and returns the group size.
func checkLinear(lin *models.Linear, f Format, fallback GroupFallback) (group int, err error) {
	if i := firstNotFinite(lin.W); i >= 0 {
		return 0, fmt.Errorf("weight [%d, %d] is %v; expected finite numbers", i/lin.In, i%lin.In, lin.W[i])
	}
	group, _, err = f.GroupSize(lin.In, fallback)
	return group, err
}

// roundLinear rounds one weight to nearest.
func roundLinear(lin *models.Linear, f Format, fallback GroupFallback) (*Grid, []float32, error) {
	group, err := checkLinear(lin, f, fallback)
	if err != nil {
		return nil, nil, err
	}
	groups := lin.In / group
	w := make([]float32, len(lin.W))
	grid := &Grid{Group: group, Step: make([]float32, lin.Out*groups)}
	if f.Symmetric {
		kernels.RoundSymmetric(w, grid.Step, lin.W, lin.Out, lin.In, group, f.Bits)
	} else {
		grid.Zero = make([]float32, lin.Out*groups)
		kernels.RoundAsymmetric(w, grid.Step, grid.Zero, lin.W, lin.Out, lin.In, group, f.Bits)
	}
	return grid, w, nil
}

// formatEvents tells what f does to a site's weights beyond rounding.
func formatEvents(l *models.Layer, site models.Site, f Format, fallback GroupFallback) []Event {
	var events []Event
	for i, lin := range l.Linears(site) {
		name := linearNames(site)[i]
		group, halved, err := f.GroupSize(lin.In, fallback)
		if err != nil {
			continue // the caller meets the error itself
		}
		if halved {
			events = append(events, event("group-halved", "layer %d, %s: groups of %d instead of %d, for %d input columns", l.Index, name, group, f.Group, lin.In))
		}
		if f.Symmetric {
			continue
		}
		if n := kernels.CollapsedGroups(lin.W, lin.Out, lin.In, group); n > 0 {
			events = append(events, event("constant-group", "layer %d, %s: %d of %d groups are constant and not zero; the asymmetric grid maps them to about zero", l.Index, name, n, len(lin.W)/group))
		}
	}
	return events
}

func firstNotFinite(v []float32) int {
	for i, x := range v {
		if math.IsInf(float64(x), 0) || x != x {
			return i
		}
	}
	return -1
}

// roundScaled writes Q(W·diag(s)) to dst without allocating: a candidate of the
// search. The arithmetic is that of folding s and rounding afterwards.
func roundScaled(dst []float32, lin *models.Linear, s []float32, f Format, group int) {
	kernels.ScaleColumns(dst, lin.W, s, lin.Out, lin.In)
	if f.Symmetric {
		kernels.RoundSymmetric(dst, nil, dst, lin.Out, lin.In, group, f.Bits)
	} else {
		kernels.RoundAsymmetric(dst, nil, nil, dst, lin.Out, lin.In, group, f.Bits)
	}
}

// AverageBits is the average number of bits of the linears of the layers, steps
// and zero points counted. Norms and biases are not.
func AverageBits(layers []*models.Layer, f Format, fallback GroupFallback) (float64, error) {
	var bits, weights float64
	for _, l := range layers {
		for _, site := range models.Sites() {
			for _, lin := range l.Linears(site) {
				group, _, err := f.GroupSize(lin.In, fallback)
				if err != nil {
					return 0, err
				}
				n := float64(lin.Out) * float64(lin.In)
				bits += n * f.BitsPerWeight(group)
				weights += n
			}
		}
	}
	if weights == 0 {
		return 0, fmt.Errorf("ptq: average bits of no layers")
	}
	return bits / weights, nil
}

// ActQuant returns the activation quantizer of the format for the block's graph,
// nil at 16 bits. For every token, in float32,
//
//	s = max(max_c|x_c|, 1e-5) / (2^(bits-1) − 1)
//	x ← s · clamp(roundEven(x/s), −2^(bits-1), 2^(bits-1) − 1)
//
// which is [kernels.RoundSymmetric] with tokens as rows, bit for bit (MBQ's dynamic
// per-token quantizer).
func (f Format) ActQuant() *models.ActQuant {
	if f.Activation == 16 {
		return nil
	}
	bits := f.Activation
	return &models.ActQuant{Key: fmt.Sprintf("a%d", bits), Apply: func(x *graph.Node) *graph.Node { return roundTokens(x, bits) }}
}

// roundTokens is the graph of ActQuant; the last axis of x is channels.
func roundTokens(x *graph.Node, bits int) *graph.Node {
	high := float64(int(1)<<(bits-1) - 1)
	top := graph.ReduceAndKeep(graph.Abs(x), graph.ReduceMax, -1)
	// Not DivScalar, which multiplies by the reciprocal.
	s := graph.Div(graph.MaxScalar(top, float32(kernels.MinRange)), graph.Scalar(x.Graph(), x.DType(), high))
	q := graph.Round(graph.Div(x, s))
	q = graph.MinScalar(graph.MaxScalar(q, -high-1), high)
	return graph.Mul(q, s)
}

// Tensors stores a quantized layer: the dequantized weights under their
// checkpoint names, and beside each weight "NAME.step" and, for asymmetric
// formats, "NAME.zero", [out, groups].
func (q *QuantizedLayer) Tensors() []safetensors.Tensor {
	var list []safetensors.Tensor
	for _, p := range q.Layer.Params() {
		list = append(list, safetensors.FromFloat32(p.Name, p.Shape, p.Data))
	}
	for _, site := range models.Sites() {
		for i, lin := range q.Layer.Linears(site) {
			name := linearNames(site)[i]
			grid := q.Grids[name]
			shape := []int{lin.Out, lin.In / grid.Group}
			prefix := fmt.Sprintf("model.layers.%d.%s.%s.", q.Layer.Index, blockPart(site), name)
			list = append(list, safetensors.FromFloat32(prefix+"step", shape, grid.Step))
			if grid.Zero != nil {
				list = append(list, safetensors.FromFloat32(prefix+"zero", shape, grid.Zero))
			}
		}
	}
	return list
}

// ReadQuantizedLayer reads what [QuantizedLayer.Tensors] stored. like is any layer
// of the same index and shapes, for example the unquantized one.
func ReadQuantizedLayer(f *safetensors.File, like *models.Layer) (*QuantizedLayer, error) {
	q := &QuantizedLayer{Layer: like.Clone(), Grids: map[string]*Grid{}}
	for _, p := range q.Layer.Params() {
		values, err := readFloats(f, p.Name)
		if err != nil {
			return nil, err
		}
		if len(values) != len(p.Data) {
			return nil, fmt.Errorf("ptq: %s has %d values; expected %d", p.Name, len(values), len(p.Data))
		}
		copy(p.Data, values)
	}
	for _, site := range models.Sites() {
		for i, lin := range q.Layer.Linears(site) {
			name := linearNames(site)[i]
			prefix := fmt.Sprintf("model.layers.%d.%s.%s.", like.Index, blockPart(site), name)
			grid := &Grid{}
			var err error
			if grid.Step, err = readFloats(f, prefix+"step"); err != nil {
				return nil, err
			}
			if f.Has(prefix + "zero") {
				if grid.Zero, err = readFloats(f, prefix+"zero"); err != nil {
					return nil, err
				}
			}
			groups := len(grid.Step) / lin.Out
			if groups == 0 || groups*lin.Out != len(grid.Step) || lin.In%groups != 0 || (grid.Zero != nil && len(grid.Zero) != len(grid.Step)) {
				return nil, fmt.Errorf("ptq: %s: %d steps and %d zero points do not fit a weight [%d, %d]", prefix, len(grid.Step), len(grid.Zero), lin.Out, lin.In)
			}
			grid.Group = lin.In / groups
			q.Grids[name] = grid
		}
	}
	return q, nil
}

// blockPart is the checkpoint's name of the part of a block that a site is in.
func blockPart(s models.Site) string {
	if outputIndex(s) == 0 {
		return "self_attn"
	}
	return "mlp"
}
