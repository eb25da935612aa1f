package train

import (
	"fmt"
	"image"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/tokenizer"
)

// specialTokens are Qwen2-VL's, in its order; the ones that no prompt of ours
// uses are left out.
var specialTokens = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"}

// newProcessor trains the tokenizer and sets the picture size: the smallest and the
// largest number of pixels are those of the built-in pictures, so nothing is
// resized.
func newProcessor(c *models.Config) (*models.Processor, error) {
	texts, err := datasets.Texts()
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Train(texts, c.Text.Vocab, specialTokens)
	if err != nil {
		return nil, err
	}
	ids := map[string]int32{}
	for _, s := range specialTokens {
		id, ok := tok.ID(s)
		if !ok {
			return nil, fmt.Errorf("train: the tokenizer lost its token %s", s)
		}
		ids[s] = id
	}
	c.ImageToken, c.EOSToken = ids["<|image_pad|>"], ids["<|im_end|>"]
	p := pixels.DefaultConfig()
	p.PatchSize, p.MergeSize, p.TemporalPatchSize = c.Vision.PatchSize, c.Vision.Merge, c.Vision.TemporalPatch
	p.MinPixels, p.MaxPixels = 64*64, 512*512
	return &models.Processor{Config: c, Tokenizer: tok, Pixels: p}, nil
}

// stream makes the batches of a run: batch k of a task holds that task's pictures
// k·n … k·n+n−1.
type stream struct {
	recipe *Recipe
	model  *models.Model
}

// batch makes the batch of one task at a step.
func (s stream) batch(task string, step int) (*models.TrainingBatch, error) {
	n := s.recipe.PicturesPerTask
	seqs := make([]*models.Sequence, n)
	longest, scored := 0, 0
	for i := range n {
		p, err := datasets.PictureAt([]string{task}, s.recipe.Seed, step*n+i)
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
		longest = max(longest, seqs[i].Len())
		scored += len(seqs[i].Scored)
	}
	// Few shapes are compiled: lengths by 16, predictions by 32.
	return s.model.NewTrainingBatch(seqs, models.Bucket(longest), (scored+31)/32*32)
}

// steps yields the batches of all tasks for each step from first on, one step
// ahead of the consumer.
func (s stream) steps(first int, stop <-chan struct{}) <-chan batches {
	out := make(chan batches, 1)
	go func() {
		defer close(out)
		for step := first; step < s.recipe.Steps; step++ {
			b := batches{}
			for _, task := range s.recipe.Tasks {
				one, err := s.batch(task, step)
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
