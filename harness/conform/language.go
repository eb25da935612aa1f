package conform

import (
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
)

// row is one row of a batch without its padding.
type row struct {
	places []int // of its tokens in the padded row
	seq    *models.Sequence
	prompt *models.Sequence // what generation continues; nil where nothing is generated
}

// loadRows reads the batch: ids without padding, pictures, labels as scored
// predictions.
func (c *modelCase) loadRows() error {
	ids, places, err := c.tokens("input_ids", "attention_mask")
	if err != nil {
		return err
	}
	for i := range ids {
		seq, err := c.sequence(ids[i], i)
		if err != nil {
			return fmt.Errorf("input_ids, row %d: %w", i, err)
		}
		c.rows = append(c.rows, &row{places: places[i], seq: seq})
	}
	for _, p := range c.pictures {
		if p.row < 0 || p.row >= len(c.rows) {
			return fmt.Errorf("image_row names row %d of %d", p.row, len(c.rows))
		}
	}
	if err := c.readLabels(); err != nil {
		return err
	}
	if !c.inputs.Has(c.prefix + "generate_input_ids") {
		return nil
	}
	if ids, _, err = c.tokens("generate_input_ids", "generate_attention_mask"); err != nil {
		return err
	}
	if len(ids) != len(c.rows) {
		return fmt.Errorf("generate_input_ids has %d rows, input_ids %d", len(ids), len(c.rows))
	}
	for i, r := range c.rows {
		if r.prompt, err = c.sequence(ids[i], i); err != nil {
			return fmt.Errorf("generate_input_ids, row %d: %w", i, err)
		}
	}
	return nil
}

// tokens reads ids [rows, length] and drops what the mask leaves out.
func (c *modelCase) tokens(name, mask string) (ids [][]int32, places [][]int, err error) {
	a, err := c.whole(name)
	if err != nil {
		return nil, nil, err
	}
	if len(a.shape) != 2 {
		return nil, nil, fmt.Errorf("%s has shape %v; expected [rows, length]", name, a.shape)
	}
	var real []int64
	if c.inputs.Has(c.prefix + mask) {
		m, err := c.whole(mask)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Equal(m.shape, a.shape) {
			return nil, nil, fmt.Errorf("%s has shape %v, %s %v", mask, m.shape, name, a.shape)
		}
		real = m.ints
	}
	n := a.shape[1]
	if name == "input_ids" {
		c.length = n
	}
	ids, places = make([][]int32, a.shape[0]), make([][]int, a.shape[0])
	for i, id := range a.ints {
		if real == nil || real[i] != 0 {
			ids[i/n] = append(ids[i/n], int32(id))
			places[i/n] = append(places[i/n], i%n)
		}
	}
	return ids, places, nil
}

// sequence builds a row with its pictures.
func (c *modelCase) sequence(ids []int32, i int) (*models.Sequence, error) {
	var images []*pixels.Patches
	for _, p := range c.pictures {
		if p.row == i {
			images = append(images, p.patches)
		}
	}
	return c.r.Model.FromIDs(ids, images)
}

// readLabels marks the labelled tokens as scored by the token before them.
func (c *modelCase) readLabels() error {
	if !c.inputs.Has(c.prefix + "labels") {
		return nil
	}
	a, err := c.whole("labels")
	if err != nil {
		return err
	}
	if len(a.ints) != len(c.rows)*c.length {
		return fmt.Errorf("labels has shape %v, input_ids [%d, %d]", a.shape, len(c.rows), c.length)
	}
	for i, r := range c.rows {
		for k, place := range r.places {
			if label := a.ints[i*c.length+place]; label >= 0 && k > 0 {
				r.seq.Scored = append(r.seq.Scored, models.Scored{Pos: int32(k - 1), Target: int32(label)})
				r.seq.Modality[k-1] = models.Answer
			}
		}
	}
	return nil
}

// language runs the language model over the batch and generates.
func (c *modelCase) language(got results) error {
	seqs := make([]*models.Sequence, len(c.rows))
	for i, r := range c.rows {
		seqs[i] = r.seq
	}
	if err := c.rebuildIDs(got); err != nil {
		return err
	}
	c.positions(got)
	batches, err := c.r.Embed(seqs)
	if err != nil {
		return err
	}
	c.scoredPlaces(got)
	scores := newScores(c)
	for _, b := range batches {
		if err := c.forward(b, got, scores); err != nil {
			return err
		}
		if err := c.gradients(b, got, scores.total); err != nil {
			return err
		}
	}
	scores.add(got)
	return c.generate(got)
}

// padded returns the tensor of a name for activations [rows, length, width], zero at
// padding, making it at first use.
func (c *modelCase) padded(got results, name string, width int) *array {
	if a := got[name]; a != nil {
		return a
	}
	a := floatArray(make([]float32, len(c.rows)*c.length*width), len(c.rows), c.length, width)
	a.real = make([]bool, len(c.rows)*c.length)
	for i, r := range c.rows {
		for _, place := range r.places {
			a.real[i*c.length+place] = true
		}
	}
	got[name] = a
	return a
}

// scatter puts a batch's activations x [B, T, width] into the padded tensor.
func (c *modelCase) scatter(got results, name string, b *models.Batch, x []float32, factor func(row int) float64) {
	width := len(x) / (b.B * b.T)
	a := c.padded(got, name, width)
	b.Rows(x, width, func(seq, token int, values []float32) {
		i := b.Index[seq]
		dst := a.floats[(i*c.length+c.rows[i].places[token])*width:][:width]
		for k, v := range values {
			dst[k] = v
			if factor != nil {
				dst[k] = float32(float64(v) * factor(i))
			}
		}
	})
}

// forward runs the blocks of a batch and its scores.
func (c *modelCase) forward(b *models.Batch, got results, s *scores) error {
	c.scatter(got, "inputs_embeds", b, b.X, nil)
	c.scatter(got, "lm.hidden.0", b, b.X, nil)
	x := b.X
	for i := range c.r.Model.NumLayers() {
		l, err := c.r.Model.Layer(i)
		if err != nil {
			return err
		}
		res, err := c.r.Block(b, x, l, models.BlockOptions{Outputs: true})
		if err != nil {
			return err
		}
		x = res.Y
		c.scatter(got, fmt.Sprintf("lm.hidden.%d", i+1), b, x, nil)
		c.scatter(got, fmt.Sprintf("lm.layers.%d.self_attn.o_proj", i), b, res.OOut, nil)
		c.scatter(got, fmt.Sprintf("lm.layers.%d.mlp.down_proj", i), b, res.Down, nil)
	}
	return s.read(b, x)
}

// gradients are of the mean over all labelled tokens of the batch; ours of each
// row's own mean, so that a row weighs as much as its share of them.
func (c *modelCase) gradients(b *models.Batch, got results, total int) error {
	share := func(i int) float64 { return float64(len(c.rows[i].seq.Scored)) / float64(total) }
	names := func(layer int) (o, down string) {
		return fmt.Sprintf("grad.layers.%d.self_attn.o_proj", layer), fmt.Sprintf("grad.layers.%d.mlp.down_proj", layer)
	}
	scored := 0
	for _, i := range b.Index {
		scored += len(c.rows[i].seq.Scored)
	}
	if total == 0 {
		return nil
	}
	if scored == 0 { // nothing of these rows enters the loss
		for layer := range c.r.Model.NumLayers() {
			o, down := names(layer)
			c.padded(got, o, c.r.Model.Config.Text.Hidden)
			c.padded(got, down, c.r.Model.Config.Text.Hidden)
		}
		return nil
	}
	return c.r.Gradients(b, func(layer int, o, down []float32) error {
		nameO, nameDown := names(layer)
		c.scatter(got, nameO, b, o, share)
		c.scatter(got, nameDown, b, down, share)
		return nil
	})
}

// positions as the library's bare forward pass has them. Qwen2-VL: three axes, 1 at
// padding, and what generation adds to the padded length. Others: the place in the
// padded row.
func (c *modelCase) positions(got results) {
	n := c.length
	if c.r.Model.Config.Text.MRopeSection == [3]int{} {
		all := make([]int64, len(c.rows)*n)
		for i, r := range c.rows {
			for k := range n {
				all[i*n+k] = int64(k)
			}
			for k, place := range r.places { // padding counts
				all[i*n+place] = int64(r.places[0]) + int64(r.seq.Positions[0][k])
			}
		}
		a := intArray(all, len(c.rows), n)
		a.same = true
		got["position_ids"] = a
		return
	}
	all, deltas := make([]int64, 3*len(c.rows)*n), make([]int64, len(c.rows))
	for i := range all {
		all[i] = 1
	}
	for i, r := range c.rows {
		top := int64(0)
		for axis, list := range r.seq.Positions {
			for k, p := range list {
				all[(axis*len(c.rows)+i)*n+r.places[k]] = int64(p)
				top = max(top, int64(p))
			}
		}
		deltas[i] = top + 1 - int64(n)
	}
	got["position_ids"] = intArray(all, 3, len(c.rows), n)
	got["rope_deltas"] = intArray(deltas, len(c.rows), 1)
}

// rebuildIDs writes the batch's text again from its ids, one placeholder per picture,
// and tokenizes and expands it.
func (c *modelCase) rebuildIDs(got results) error {
	original, err := c.whole("input_ids")
	if err != nil {
		return err
	}
	if c.r.Model.Tokenizer == nil {
		original.note = "token streams: there is no tokenizer to make them again"
		got["input_ids"] = original
		return nil
	}
	all := intArray(slices.Clone(original.ints), original.shape...)
	for i, r := range c.rows {
		again := c.tokenizeAgain(r.seq)
		for k, place := range r.places {
			id := int64(-1)
			if k < len(again) {
				id = int64(again[k])
			}
			all.ints[i*c.length+place] = id
		}
		if len(again) != r.seq.Len() {
			all.note = fmt.Sprintf("row %d: %d tokens when tokenized again, %d in the file", i, len(again), r.seq.Len())
		}
	}
	got["input_ids"] = all
	return nil
}

// tokenizeAgain decodes a row with one placeholder per picture and encodes the text,
// as a whole or, where that differs, prompt and answer by themselves.
func (c *modelCase) tokenizeAgain(s *models.Sequence) []int32 {
	m := c.r.Model
	var short []int32
	var counts []int
	answer := 0 // where it begins in short; 0: there is none
	for k := 0; k < s.Len(); {
		if len(s.Scored) > 0 && k == int(s.Scored[0].Pos)+1 {
			answer = len(short)
		}
		n := 1
		if s.Modality[k] == models.Vision {
			n = m.Config.Tokens(s.Images[len(counts)])
			counts = append(counts, n)
		}
		short = append(short, s.IDs[k])
		k += n
	}
	again := func(ids []int32) []int32 { return m.Tokenizer.Encode(m.Tokenizer.Decode(ids, false)) }
	whole := again(short)
	if !slices.Equal(whole, short) {
		whole = append(again(short[:answer]), again(short[answer:])...)
	}
	return expand(whole, m.Config.ImageToken, counts)
}

// expand repeats the picture token as often as each picture needs.
func expand(ids []int32, token int32, counts []int) []int32 {
	var out []int32
	for _, id := range ids {
		n := 1
		if id == token && len(counts) > 0 {
			n, counts = counts[0], counts[1:]
		}
		for range n {
			out = append(out, id)
		}
	}
	return out
}

// generate continues each prompt by as many tokens as are expected, past any end
// token.
func (c *modelCase) generate(got results) error {
	steps := 0
	for _, name := range []string{"generated_ids", "generated_margin"} {
		if c.expected.Has(c.prefix + name) {
			a, err := c.read(c.expected, name)
			if err != nil {
				return err
			}
			if len(a.shape) != 2 || a.shape[0] != len(c.rows) {
				return fmt.Errorf("%s has shape %v; expected [%d rows, steps]", name, a.shape, len(c.rows))
			}
			steps = max(steps, a.shape[1])
		}
	}
	if steps == 0 {
		return nil
	}
	var ids []int64
	var margins []float32
	for i, r := range c.rows {
		if r.prompt == nil {
			return fmt.Errorf("%s is expected, but there is no %sgenerate_input_ids", "generated_ids", c.prefix)
		}
		err := c.r.Continue(r.prompt, steps, nil, func(id int32, scores []float32) bool {
			ids = append(ids, int64(id))
			margins = append(margins, margin(scores, id))
			return true
		})
		if err != nil {
			return fmt.Errorf("generating row %d: %w", i, err)
		}
	}
	got["generated_ids"] = intArray(ids, len(c.rows), steps)
	got["generated_margin"] = floatArray(margins, len(c.rows), steps)
	return nil
}

// margin is how far the best score is above the second.
func margin(scores []float32, best int32) float32 {
	second := -1
	for i, v := range scores {
		if int32(i) != best && (second < 0 || v > scores[second]) {
			second = i
		}
	}
	if second < 0 {
		return 0
	}
	return scores[best] - scores[second]
}
