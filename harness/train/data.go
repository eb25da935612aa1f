package train

import (
	"fmt"
	"image"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/tokenizer"
)

// specialTokens are those of a family's prompts, in the order of the published
// tokenizers; the ones that no prompt of ours uses are left out. The last stands for
// a picture.
func specialTokens(f models.Family) []string {
	chat := []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
	if f == models.LlavaOV {
		return append(chat, "<image>")
	}
	return append(chat, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
}

// newProcessor trains the tokenizer and sets the size of pictures to that of the
// built-in ones, so nothing is resized.
func newProcessor(c *models.Config) (*models.Processor, error) {
	texts, err := datasets.Texts()
	if err != nil {
		return nil, err
	}
	special := specialTokens(c.Family)
	tok, err := tokenizer.Train(texts, c.Text.Vocab, special)
	if err != nil {
		return nil, err
	}
	ids := map[string]int32{}
	for _, s := range special {
		id, ok := tok.ID(s)
		if !ok {
			return nil, fmt.Errorf("train: the tokenizer lost its token %s", s)
		}
		ids[s] = id
	}
	c.ImageToken, c.EOSToken = ids[special[len(special)-1]], ids["<|im_end|>"]
	return &models.Processor{Config: c, Tokenizer: tok, Pixels: pictures(c)}, nil
}

// pictures prepares pictures as the family's published processor does.
func pictures(c *models.Config) pixels.Processor {
	v := &c.Vision
	if c.Family == models.LlavaOV {
		half := [3]float32{0.5, 0.5, 0.5} // SigLIP's mean and deviation
		return &pixels.AnyRes{
			Normalization: pixels.Normalization{RescaleFactor: 1.0 / 255, Mean: half, Std: half},
			Size:          v.ImageSize, Grids: v.Grids, PatchSize: v.PatchSize, Background: [3]uint8{127, 127, 127},
		}
	}
	p := pixels.DefaultConfig()
	p.PatchSize, p.MergeSize, p.TemporalPatchSize = v.PatchSize, v.Merge, v.TemporalPatch
	p.MinPixels, p.MaxPixels = 64*64, 512*512
	return p
}

// stream makes the batches of a run: step k sees a task's pictures k·n … k·n+n−1,
// where n is the task's portion.
type stream struct {
	recipe *Recipe
	model  *models.Model
}

// batch makes the batch of one task at a step.
func (s stream) batch(part Portion, step int) (*models.TrainingBatch, error) {
	n := part.Pictures
	seqs, labels := make([]*models.Sequence, n), make([][]int32, n)
	var room models.TrainingRoom
	for i := range n {
		p, err := datasets.PictureAt([]string{part.Task}, s.recipe.Seed, step*n+i)
		if err != nil {
			return nil, err
		}
		turns := make([]models.Turn, len(p.QA))
		for k, qa := range p.QA {
			turns[k] = models.Turn(qa)
		}
		if seqs[i], err = s.model.Dialog([]image.Image{p.Image}, turns); err != nil {
			return nil, err
		}
		labels[i] = s.labels(seqs[i].Images[0], p.Labels)
		room.Tokens = max(room.Tokens, seqs[i].Len())
		room.Scored += len(seqs[i].Scored)
		for _, label := range labels[i] {
			if label >= 0 {
				room.Labels++
			}
		}
	}
	// Few shapes are compiled: lengths by 16, predictions by 32, labels by 128.
	room.Tokens, room.Scored, room.Labels = models.Bucket(room.Tokens), (room.Scored+31)/32*32, max(room.Labels+127, 128)/128*128
	return s.model.NewTrainingBatch(seqs, labels, room)
}

// labels gives each vision token the first token of what stands at its centre, or −1.
func (s stream) labels(picture *pixels.Patches, labels []datasets.Label) []int32 {
	rows, cols, places := s.model.Config.Places(picture)
	out := make([]int32, len(places))
	for k, at := range places {
		out[k] = -1
		if k > 0 && at == places[k-1] { // the newline behind a row
			continue
		}
		centre := image.Pt((2*at[1]+1)*pictureSize/(2*cols), (2*at[0]+1)*pictureSize/(2*rows))
		for _, label := range labels {
			if centre.In(label.Area) {
				out[k] = s.model.Tokenizer.Encode(label.Text)[0]
			}
		}
	}
	return out
}

// steps yields the batches of all tasks for each step from first on, one step
// ahead of the consumer.
func (s stream) steps(first int, stop <-chan struct{}) <-chan batches {
	out := make(chan batches, 1)
	go func() {
		defer close(out)
		for step := first; step < s.recipe.Steps; step++ {
			b := batches{}
			for _, part := range s.recipe.Batch {
				one, err := s.batch(part, step)
				if err != nil {
					b.err = err
					break
				}
				b.list = append(b.list, one)
			}
			select {
			case out <- b:
			case <-stop:
				return
			}
			if b.err != nil {
				return
			}
		}
	}()
	return out
}

type batches struct {
	list []*models.TrainingBatch
	err  error
}
