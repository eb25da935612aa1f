package ptq

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// RotateFolded is RotateHadamard without what must happen while the model runs: only
// what can be folded into weights, so that any loader runs the result. The input of
// down_proj is then not transformed, that of o_proj only within heads.
const RotateFolded Rotate = "hadamard-folded"

// Rotation is QuaRot's edit of a model (arXiv:2404.00456): orthogonal transforms
// that leave its function as it is and spread outliers over all channels. With W
// [out, in], tokens as rows x, M_n the Hadamard transform of n columns and Q = diag(±1)·M_C,
//
//  1. norm gains go into the linears that read them, the final norm's into the head,
//     which a tied head parts from the embedding;
//  2. what writes the residual stream writes x·Q: embeddings and the vision tower's rows
//     times Q, o_proj and down_proj W ← Qᵀ·W, b ← b·Q;
//  3. what reads it undoes that: q, k, v, gate, up and the head W ← W·Q;
//  4. v_proj's output is transformed head by head, weight and bias, and o_proj reads it
//     so: W ← W·(M_heads ⊗ M_D), where M_heads is the identity without online transforms;
//  5. online, the heads of o_proj's input are mixed by M_heads and down_proj's input is
//     transformed by M_I, before they are quantized; down_proj's W ← W·M_I.
//
// An RMS norm without gain commutes with Q. Embedding means are not subtracted:
// that is for layer norms, and changes the function of these models. Steps are float64,
// rounded to float32 once per weight.
//
// Deviations from the released code: v_proj's bias is transformed as well; o_proj takes
// M_heads ⊗ M_D whatever the head count; a size without a transform of its own is
// transformed in equal blocks; queries and keys are left alone, since caches stay as they
// are.
type Rotation struct {
	config *models.Config
	kind   Rotate
	signs  []float64 // [C], ±1

	stream, heads, head, down *transform // heads and down nil without online transforms
}

// NewRotation prepares the rotation of a model of that configuration; rng draws the
// signs of Q.
func NewRotation(c *models.Config, kind Rotate, rng *rand.Rand) (*Rotation, error) {
	signs := make([]float64, c.Text.Hidden)
	for i := range signs {
		signs[i] = float64(1 - 2*int(rng.Uint64()&1))
	}
	return RotationOf(c, kind, signs)
}

// RotationOf prepares the rotation with given signs ±1, one per channel of the residual
// stream.
func RotationOf(c *models.Config, kind Rotate, signs []float64) (*Rotation, error) {
	if err := oneOf("rotate", kind, RotateHadamard, RotateFolded); err != nil {
		return nil, fmt.Errorf("ptq: rotation: %w", err)
	}
	t := &c.Text
	if len(signs) != t.Hidden {
		return nil, fmt.Errorf("ptq: rotation: %d signs for a residual stream of %d channels", len(signs), t.Hidden)
	}
	for i, s := range signs {
		if s != 1 && s != -1 {
			return nil, fmt.Errorf("ptq: rotation: sign %d is %v; expected 1 or -1", i, s)
		}
	}
	if t.Online != (models.OnlineHadamard{}) {
		return nil, errors.New("ptq: rotation: the model is rotated already: its config.json asks for online transforms; expected the model that it was made from")
	}
	r := &Rotation{config: c, kind: kind, signs: signs, stream: newTransform(t.Hidden), head: newTransform(t.HeadDim)}
	if kind == RotateHadamard {
		r.heads, r.down = newTransform(t.Heads), newTransform(t.Intermediate)
	}
	return r, nil
}

// Config is the configuration of the rotated model: its head is not tied to the
// embedding, and it names the online transforms.
func (r *Rotation) Config() *models.Config {
	c := *r.config
	c.Text.TiedHead = false
	c.Text.Online = models.OnlineHadamard{Heads: r.heads != nil, Down: r.down != nil}
	return &c
}

// Edit is the rotation as an edit of the model.
func (r *Rotation) Edit() models.Edit {
	return models.Edit{
		Config: r.Config(),
		Layer:  func(l *models.Layer) error { r.Layer(l); return nil },
		Embed:  func(rows []float32) error { r.rotateRows(rows); return nil },
		Ends: func(norm, head []float32) error {
			r.read(&models.Linear{W: head, Out: len(head) / len(norm), In: len(norm)}, norm)
			ones(norm)
			return nil
		},
		Vision: func(v *models.VisionWeights) error {
			r.write(&v.Project[1])
			r.rotateRows(v.Newline)
			return nil
		},
	}
}

// Events tells of sizes that are transformed in blocks.
func (r *Rotation) Events() []Event {
	var events []Event
	for _, part := range []struct {
		what string
		t    *transform
	}{{"the residual stream", r.stream}, {"a head", r.head}, {"the heads", r.heads}, {"the input of down_proj", r.down}} {
		if part.t != nil && part.t.blocks > 1 {
			events = append(events, event("hadamard-blocks", "%s: no Hadamard matrix of order %d is known here; %d blocks are transformed one by one", part.what, part.t.Len()*part.t.blocks, part.t.blocks))
		}
	}
	return events
}

// Layer rotates one decoder block in place.
func (r *Rotation) Layer(l *models.Layer) {
	for _, lin := range l.Linears(models.QKV) {
		r.read(lin, l.InputNorm)
	}
	for _, lin := range l.Linears(models.GateUp) {
		r.read(lin, l.PostNorm)
	}
	ones(l.InputNorm)
	ones(l.PostNorm)
	r.rotateValues(&l.V)
	r.readHeads(&l.O)
	r.write(&l.O)
	if r.down != nil {
		w := widen(l.Down.W)
		r.down.ApplyWide(w, 1)
		narrow(l.Down.W, w)
	}
	r.write(&l.Down)
}

// read is W ← (W·diag(gain))·Q.
func (r *Rotation) read(lin *models.Linear, gain []float32) {
	w := widen(lin.W)
	for i := range w {
		c := i % lin.In
		w[i] *= float64(gain[c]) * r.signs[c]
	}
	r.stream.ApplyWide(w, 1)
	narrow(lin.W, w)
}

// write is W ← Qᵀ·W, b ← b·Q.
func (r *Rotation) write(lin *models.Linear) {
	w := widen(lin.W)
	for i := range w {
		w[i] *= r.signs[i/lin.In]
	}
	r.stream.ApplyWide(w, lin.In)
	narrow(lin.W, w)
	r.rotateRows(lin.B)
}

// rotateRows is x ← x·Q for rows of the residual stream.
func (r *Rotation) rotateRows(x []float32) {
	w := widen(x)
	for i := range w {
		w[i] *= r.signs[i%len(r.signs)]
	}
	r.stream.ApplyWide(w, 1)
	narrow(x, w)
}

// rotateValues transforms what v_proj writes, head by head.
func (r *Rotation) rotateValues(v *models.Linear) {
	w, b := widen(v.W), widen(v.B)
	r.head.ApplyWide(w, v.In)
	r.head.ApplyWide(b, 1)
	narrow(v.W, w)
	narrow(v.B, b)
}

// readHeads is what o_proj does to undo the transforms of its input: W ← W·(M_heads ⊗ M_D).
func (r *Rotation) readHeads(o *models.Linear) {
	w := widen(o.W)
	r.head.ApplyWide(w, 1)
	if r.heads != nil {
		r.heads.ApplyWide(w, r.config.Text.HeadDim)
	}
	narrow(o.W, w)
}

// checkRotated refuses a rotating method on a model that isn't rotated: what the
// engine is given must be the model that [Rotation.Edit] makes.
func checkRotated(m Method, l *models.Layer) error {
	if m.Rotate == RotateNone {
		return nil
	}
	for _, gains := range [][]float32{l.InputNorm, l.PostNorm} {
		for _, g := range gains {
			if g != 1 {
				return fmt.Errorf("ptq: method %s rotates by %q, and the norms of layer %d have gains; expected the rotated model (ptq.Rotation)", m.Name, m.Rotate, l.Index)
			}
		}
	}
	return nil
}

// transform is x ← x·M on n values, in blocks where M_n is not known.
type transform struct {
	*kernels.Hadamard
	blocks int
}

func newTransform(n int) *transform {
	h, blocks := models.HadamardBlocks(n)
	return &transform{h, blocks}
}

func ones(v []float32) {
	for i := range v {
		v[i] = 1
	}
}

func widen(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

func narrow(dst []float32, v []float64) {
	for i, x := range v {
		dst[i] = float32(x)
	}
}
