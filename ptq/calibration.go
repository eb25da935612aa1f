package ptq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models"
)

// Runner runs parts of a model; [*models.Runner] is one. It is used by several
// goroutines, and its results must not depend on what else is run.
type Runner interface {
	Block(b *models.Batch, x []float32, l *models.Layer, o models.BlockOptions) (*models.BlockResult, error)
	Input(b *models.Batch, s models.Site, x []float32, l *models.Layer, aq *models.ActQuant) ([]float32, error)
	Module(b *models.Batch, s models.Site, x []float32, l *models.Layer, smooth []float32, aq *models.ActQuant) ([]float32, error)
	TokenError(b *models.Batch, s models.Site, x []float32, l *models.Layer, smooth []float32, aq *models.ActQuant, target []float32, metric string) ([]float32, error)
	Linears(b *models.Batch, s models.Site, x []float32, l *models.Layer, smooth []float32, aq *models.ActQuant) ([]float32, error)
	LinearsError(b *models.Batch, s models.Site, x []float32, l *models.Layer, smooth []float32, aq *models.ActQuant, target []float32, metric string) ([]float32, error)
	Gradients(b *models.Batch, visit func(layer int, o, down []float32) error) error
	Head() (*models.Head, error)
	LossGradient(b *models.Batch, x []float32, h *models.Head) ([]float32, error)
	BlockGradient(b *models.Batch, x, dy []float32, l *models.Layer) (dx, dO []float32, err error)
	NormGradients(b *models.Batch, x []float32, l *models.Layer, aq *models.ActQuant, target []float32) (loss float32, input, post []float32, err error)
	AttentionMass(b *models.Batch, x []float32, l *models.Layer) ([]float32, error)
	ModuleErrorGradient(b *models.Batch, s models.Site, x []float32, l, rounded *models.Layer, aq *models.ActQuant) ([]float32, error)
	BlockErrorGradients(b *models.Batch, x []float32, l *models.Layer, target []float32) (map[models.Site][]float32, error)
}

// Model gives the unquantized layers; [*models.Model] is one.
type Model interface {
	NumLayers() int
	Layer(i int) (*models.Layer, error)
	NewBatches(seqs []*models.Sequence, x [][]float32) ([]*models.Batch, error)
}

// Calibration is what the stages share. Its fields are set once, before the
// first stage runs; stages neither change them nor remember anything, so they
// can be called in any process, in any order that their inputs allow.
type Calibration struct {
	Model  Model
	Runner Runner
	// Batches are the embedded calibration samples; a sample's number is its
	// place in the list that was embedded, Batch.Index.
	Batches  []*models.Batch
	Method   Method
	Format   Format
	Fallback GroupFallback
	// Workers is how many calls of the runner are made side by side; 0: one per
	// processor. It changes no bit of any result.
	Workers int
	// Spill is where streams and whatever else is kept of all samples live; nil:
	// ordinary memory. It changes no bit of any result.
	Spill *Spill
	// Progress, when set, is told how far the current stage is.
	Progress func(done, total int)
}

// Check reports the first reason why the calibration cannot run: an invalid
// method or format, a group size
// that does not fit the model, no samples.
func (c *Calibration) Check() error {
	if err := firstError(c.Method.Validate(), c.Method.Tokens.checkOwn(), c.Format.Validate()); err != nil {
		return err
	}
	if err := oneOf("group fallback", c.Fallback, RefuseGroup, HalveGroup); err != nil {
		return fmt.Errorf("ptq: %w", err)
	}
	if r := c.Method.Rounding; r.ActOrder && !r.StaticGroups && c.Format.Group != 0 {
		return fmt.Errorf("ptq: method %s at %s: rounding.act_order with groups scatters a group's columns; set rounding.static_groups=true", c.Method.Name, c.Format)
	}
	l, err := c.Model.Layer(0)
	if err != nil {
		return err
	}
	if err := checkRotated(c.Method, l); err != nil {
		return err
	}
	for _, site := range models.Sites() {
		for i, lin := range l.Linears(site) {
			if _, _, err := c.Format.GroupSize(lin.In, c.Fallback); err != nil {
				return fmt.Errorf("%w (%s)", err, linearNames(site)[i])
			}
		}
	}
	_, err = c.samples()
	return err
}

// samples lists the sequences in sample order.
func (c *Calibration) samples() ([]*models.Sequence, error) {
	n := 0
	for _, b := range c.Batches {
		if len(b.Index) != len(b.Seqs) || len(b.Seqs) > b.B {
			return nil, fmt.Errorf("ptq: a batch of %d rows holds %d sequences and %d sample numbers", b.B, len(b.Seqs), len(b.Index))
		}
		n += len(b.Seqs)
	}
	if n == 0 {
		return nil, errors.New("ptq: no calibration samples; expected at least one")
	}
	list := make([]*models.Sequence, n)
	for _, b := range c.Batches {
		for row, i := range b.Index {
			if i < 0 || i >= n || list[i] != nil {
				return nil, fmt.Errorf("ptq: sample number %d among %d samples is out of range or given twice; all batches of one embedding are expected", i, n)
			}
			list[i] = b.Seqs[row]
		}
	}
	return list, nil
}

// step reports progress and asks whether to go on.
func (c *Calibration) step(ctx context.Context, done, total int) error {
	if c.Progress != nil {
		c.Progress(done, total)
	}
	return ctx.Err()
}

// width is the number of channels of the residual stream.
func width(b *models.Batch, x []float32) int { return len(x) / (b.B * b.T) }

// Gradients measures mean_c |g| per token, g the gradient of each sample's answer
// loss (its mean cross-entropy over scored tokens) with respect to the outputs of
// o_proj and down_proj in the unquantized model. It depends on the model and
// the samples alone, not on the method or the format.
func (c *Calibration) Gradients(ctx context.Context) (*TokenStats, error) {
	samples, err := c.samples()
	if err != nil {
		return nil, err
	}
	st := newTokenStats(c.Model.NumLayers(), len(samples))
	err = c.eachWalk(ctx, 1, 2, func(w *walk) error {
		err := w.eachLayer(ctx, true, c.Model.Layer, func(_, k int, l *models.Layer, x []float32) ([]float32, error) {
			res, err := c.Runner.Block(w.chunk[k], x, l, models.BlockOptions{})
			if err != nil {
				return nil, err
			}
			return res.Y, nil
		})
		if err != nil {
			return err
		}
		return w.back(ctx, func(layer, k int, o, down []float32) {
			st.Layers[layer].set(models.O, w.chunk[k], o, meanAbs)
			st.Layers[layer].set(models.Down, w.chunk[k], down, meanAbs)
		})
	})
	if err != nil {
		return nil, err
	}
	return st, st.check("gradients", c.Model.NumLayers(), samples)
}

// set reduces the rows of x [B, T, C] to one number per token.
func (l *LayerStats) set(site models.Site, b *models.Batch, x []float32, reduce func(row []float32) float32) {
	for row, sample := range b.Index {
		l.At(site)[sample] = make([]float32, 0, b.Seqs[row].Len())
	}
	b.Rows(x, width(b, x), func(seq, _ int, row []float32) {
		values := &l.At(site)[b.Index[seq]]
		*values = append(*values, reduce(row))
	})
}

func meanAbs(row []float32) float32 {
	var sum float64
	for _, v := range row {
		sum += abs(v)
	}
	return float32(sum / float64(len(row)))
}

func abs(v float32) float64 { return float64(max(v, -v)) }

// Importance computes the named importance of every token at every output site.
// gradients is the result of [Calibration.Gradients], nil where the importance
// does not need it. Errors that it looks at are those of rounding to nearest on the
// method's path: see [TokenView]. rng seeds random importances.
func (c *Calibration) Importance(ctx context.Context, name string, gradients *TokenStats, rng *rand.Rand) (*TokenStats, error) {
	out, _, err := c.importance(ctx, name, gradients, false, rng)
	return out, err
}

// ImportanceAndGradients computes an importance that needs [Needs].Product, and what
// [Calibration.Gradients] would give, bit for bit, from the same backward pass.
func (c *Calibration) ImportanceAndGradients(ctx context.Context, name string, rng *rand.Rand) (importance, gradients *TokenStats, err error) {
	if imp, err := c.Method.Tokens.find(name); err != nil || !imp.Needs.Product || imp.Needs.Gradient {
		return nil, nil, errors.Join(err, fmt.Errorf("ptq: importance %q takes no backward pass of its own, or needs the gradients beforehand; measure them by themselves", name))
	}
	return c.importance(ctx, name, nil, true, rng)
}

// importance also returns the gradients where it is asked to and they are at hand.
func (c *Calibration) importance(ctx context.Context, name string, gradients *TokenStats, also bool, rng *rand.Rand) (*TokenStats, *TokenStats, error) {
	imp, err := c.Method.Tokens.find(name)
	if err != nil {
		return nil, nil, err
	}
	if imp.Needs.Late() {
		return nil, nil, fmt.Errorf("ptq: importance %q is measured while layers are calibrated, on the streams found there; expected one of %s", name, strings.Join(c.Method.Tokens.earlyNames(), ", "))
	}
	samples, err := c.samples()
	if err != nil {
		return nil, nil, err
	}
	layers := c.Model.NumLayers()
	if imp.Needs.Gradient {
		if err := gradients.check("gradients", layers, samples); err != nil {
			return nil, nil, err
		}
	}
	measured, err := c.measure(ctx, imp.Needs, also, len(samples))
	if err != nil {
		return nil, nil, err
	}
	seed := [2]uint64{rng.Uint64(), rng.Uint64()}
	frequency := frequencies(samples)
	out := newTokenStats(layers, len(samples))
	for i := range layers {
		for k, site := range outputSites {
			for s, sample := range samples {
				v := &TokenView{Layer: i, Site: site, Sample: s, Modality: sample.Modality, Rand: viewRand(seed, i, k, s)}
				v.Gradient = gradients.row(i, site, s)
				v.Error = measured.error.row(i, site, s)
				v.Product = measured.product.row(i, site, s)
				v.Frequency, v.Parts = frequency[s], c.Method.Tokens.Parts
				scores := imp.Score(v)
				if err := checkScores(name, v, scores); err != nil {
					return nil, nil, err
				}
				out.Layers[i].At(site)[s] = slices.Clone(scores)
			}
		}
	}
	return out, measured.gradient, nil
}

// row returns one sample's numbers, nil where nothing was measured.
func (t *TokenStats) row(layer int, site models.Site, sample int) []float32 {
	if t == nil {
		return nil
	}
	return t.Layers[layer].At(site)[sample]
}
