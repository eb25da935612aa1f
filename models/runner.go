package models

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	_ "github.com/gomlx/compute/gobackend" // GoMLX's own backend, registered as "go"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	_ "github.com/tlqlab/tlqlab/kernels/backend" // ours, registered as "tlq"
)

const float32Type = dtypes.Float32

// NewBackend opens the backend that GOMLX_BACKEND names, by default ours,
// in pure Go.
func NewBackend() (compute.Backend, error) {
	config := os.Getenv("GOMLX_BACKEND")
	if config == "" {
		config = "tlq"
	}
	b, err := compute.NewWithConfig(config)
	if err != nil {
		return nil, fmt.Errorf("models: GOMLX_BACKEND %q: %w; this build has %v", config, err, compute.List())
	}
	return b, nil
}

// sharedBackend is the process's backend: executables and buffers belong to one.
var sharedBackend = sync.OnceValues(NewBackend)

// Runner runs a model's parts on a backend. Graphs are compiled once per kind
// and shape and kept. A Runner may be used by several goroutines.
type Runner struct {
	Model   *Model
	backend compute.Backend

	// execs is shared with the runners made by With: blocks of one configuration
	// differ only in their weights, which are inputs.
	execs *execCache
}

type execCache struct {
	mu    sync.Mutex
	execs map[string]*graph.Exec
}

// NewRunner prepares to run m on the process's backend.
func NewRunner(m *Model) (*Runner, error) {
	b, err := sharedBackend()
	if err != nil {
		return nil, err
	}
	return &Runner{Model: m, backend: b, execs: &execCache{execs: map[string]*graph.Exec{}}}, nil
}

// With runs another model of the same configuration, for example a quantized
// one, on the same compiled graphs.
func (r *Runner) With(m *Model) *Runner {
	c := *r
	c.Model = m
	return &c
}

// call runs the graph of the given kind, building it on first use, and returns
// the outputs as float32 slices.
func (r *Runner) call(kind string, build func(in []*node) []*node, args ...*tensors.Tensor) (out [][]float32, err error) {
	exec, err := r.execs.get(r.backend, r.Model.Config.Text.Online.key()+kind, build)
	if err != nil {
		return nil, err
	}
	inputs := make([]any, len(args))
	for i, a := range args {
		inputs[i] = a
	}
	results, err := exec.Call(inputs...)
	if err != nil {
		return nil, fmt.Errorf("models: graph %s: %w", kind, err)
	}
	_, own := r.backend.(aliaser)
	for _, t := range results {
		var flat []float32
		err := tensors.ConstFlatData(t, func(v []float32) {
			if flat = v; !own {
				flat = slices.Clone(v)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("models: graph %s: %w", kind, err)
		}
		out = append(out, flat)
		if err := t.FinalizeAll(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *execCache) get(b compute.Backend, kind string, build func(in []*node) []*node) (*graph.Exec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.execs[kind]; ok {
		return e, nil
	}
	e, err := graph.NewExec(b, build)
	if err != nil {
		return nil, fmt.Errorf("models: graph %s: %w", kind, err)
	}
	e.SetMaxCache(-1)
	c.execs[kind] = e.WithName(kind)
	return e, nil
}

// aliaser is a backend whose inputs can be slices of the caller's, and whose
// results are the garbage collector's: our own.
type aliaser interface {
	AliasFlatData(flat any, shape shapes.Shape) (compute.Buffer, error)
}

// array wraps a slice as a tensor of the given shape: the slice itself where the
// backend allows it, so that it must not change while a graph runs, else a copy.
func array(data []float32, dims ...int) *tensors.Tensor {
	if b, err := sharedBackend(); err == nil {
		if own, ok := b.(aliaser); ok {
			if buffer, err := own.AliasFlatData(data, shapes.Make(float32Type, dims...)); err == nil {
				if t, err := tensors.FromBuffer(buffer); err == nil {
					return t
				}
			}
		}
	}
	return tensors.FromFlatDataAndDimensions(data, dims...)
}

// paramArrays wraps weights as tensors, in order.
func paramArrays(params []Param) []*tensors.Tensor {
	list := make([]*tensors.Tensor, len(params))
	for i, p := range params {
		list[i] = array(p.Data, p.Shape...)
	}
	return list
}

// takeGeometry reads the three geometry inputs that lead every block graph.
func takeGeometry(in []*node) (geometry, nodeQueue) {
	return geometry{cos: in[0], sin: in[1], mask: in[2]}, in[3:]
}

func (b *Batch) geometryArgs(more ...*tensors.Tensor) []*tensors.Tensor {
	cos, sin, mask := b.cos, b.sin, b.mask
	if cos == nil {
		cos, sin, mask = b.geometry(b.text)
	}
	return append([]*tensors.Tensor{cos, sin, mask}, more...)
}

// BlockOptions says what a pass through a block quantizes and returns.
type BlockOptions struct {
	// ActQuant quantizes the input of every linear of the block; nil: none.
	ActQuant *ActQuant
	// Taps returns the inputs of the linears at all sites, before quantization.
	Taps bool
	// Outputs returns the outputs of o_proj and down_proj.
	Outputs bool
}

// BlockResult is what a pass through a block returns.
type BlockResult struct {
	Y          []float32          // [B, T, C], the residual stream behind the block
	Inputs     map[Site][]float32 // [B, T, In of the site]
	OOut, Down []float32          // [B, T, C]: outputs of o_proj and down_proj
}

// Block runs one decoder block on x [B, T, C].
func (r *Runner) Block(b *Batch, x []float32, l *Layer, o BlockOptions) (*BlockResult, error) {
	t := &r.Model.Config.Text
	kind := fmt.Sprintf("block/%s/taps=%t/outputs=%t", o.ActQuant.key(), o.Taps, o.Outputs)
	args := append(b.geometryArgs(array(x, b.B, b.T, t.Hidden)), paramArrays(l.Params())...)
	out, err := r.call(kind, func(in []*node) []*node {
		g, q := takeGeometry(in)
		x := q.next()
		y, taps := q.layer(t).block(t, g, x, o.ActQuant, nil)
		nodes := []*node{y}
		if o.Taps {
			for _, s := range Sites() {
				nodes = append(nodes, taps.inputs[s])
			}
		}
		if o.Outputs {
			nodes = append(nodes, taps.oOut, taps.downOut)
		}
		return nodes
	}, args...)
	if err != nil {
		return nil, err
	}
	res := &BlockResult{Y: out[0]}
	if o.Taps {
		res.Inputs = map[Site][]float32{}
		for i, s := range Sites() {
			res.Inputs[s] = out[1+i]
		}
	}
	if o.Outputs {
		res.OOut, res.Down = out[len(out)-2], out[len(out)-1]
	}
	return res, nil
}

// Input runs one decoder block on x [B, T, C] up to site s and returns what the
// site's linears read there, before quantization, [B, T, In]: the bits of
// [BlockResult].Inputs, without the work behind the site.
func (r *Runner) Input(b *Batch, s Site, x []float32, l *Layer, aq *ActQuant) ([]float32, error) {
	t := &r.Model.Config.Text
	args := append(b.geometryArgs(array(x, b.B, b.T, t.Hidden)), paramArrays(l.Params())...)
	out, err := r.call(fmt.Sprintf("input/%s/%s", s, aq.key()), func(in []*node) []*node {
		g, q := takeGeometry(in)
		x := q.next()
		_, taps := q.layer(t).block(t, g, x, aq, nil)
		return []*node{taps.inputs[s]}
	}, args...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// siteWidth is the input width of a site.
func siteWidth(l *Layer, s Site) int { return l.Linears(s)[0].In }

// Module runs the inspected module of site s on x, the site's input [B, T, In]:
// the whole attention for qkv, o_proj for o, the whole MLP for gate_up,
// down_proj for down. x is divided by smooth ([In]; nil: ones) first and passes aq
// on its way into the site's linears. Result: [B, T, C].
func (r *Runner) Module(b *Batch, s Site, x []float32, l *Layer, smooth []float32, aq *ActQuant) ([]float32, error) {
	out, err := r.module(b, s, x, l, smooth, aq, nil, "")
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// TokenError runs the inspected module like [Runner.Module] and returns, per
// token, the distance of its output from target [B, T, C]: Σ_c |Y−Ŷ| for the
// metric "mae", Σ_c (Y−Ŷ)² for "mse". Result: [B, T]. The sum over channels is
// taken inside the graph, so that a candidate of a search costs one call.
func (r *Runner) TokenError(b *Batch, s Site, x []float32, l *Layer, smooth []float32, aq *ActQuant, target []float32, metric string) ([]float32, error) {
	if metric != "mae" && metric != "mse" {
		return nil, fmt.Errorf("models: error metric %q; expected mae or mse", metric)
	}
	out, err := r.module(b, s, x, l, smooth, aq, target, metric)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (r *Runner) module(b *Batch, s Site, x []float32, l *Layer, smooth []float32, aq *ActQuant, target []float32, metric string) ([][]float32, error) {
	t := &r.Model.Config.Text
	in := siteWidth(l, s)
	args := []*tensors.Tensor{array(x, b.B, b.T, in)}
	if smooth != nil {
		args = append(args, array(smooth, in))
	}
	if metric != "" {
		args = append(args, array(target, b.B, b.T, t.Hidden))
	}
	args = append(b.geometryArgs(args...), paramArrays(l.Params())...)
	kind := fmt.Sprintf("module/%s/%s/smooth=%t/%s", s, aq.key(), smooth != nil, metric)
	smoothed := smooth != nil // the closure outlives this call
	return r.call(kind, func(in []*node) []*node {
		g, q := takeGeometry(in)
		x := q.next()
		if smoothed {
			x = graph.Div(x, graph.ExpandLeftToRank(q.next(), 3))
		}
		var want *node
		if metric != "" {
			want = q.next()
		}
		return []*node{distance(want, q.layer(t).module(t, g, s, x, aq), metric)}
	}, args...)
}
