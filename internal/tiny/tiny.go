// Package tiny makes a vision-language model of a few thousand random weights,
// for tests that need a whole checkpoint and no knowledge in it.
package tiny

import (
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/tokenizer"
)

// special are the tokens of Qwen2-VL's chat template.
var special = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"}

// Write saves a random qwen2vl model of three decoder layers in dir, in the
// Hugging Face layout: hidden width 32, 2 heads over 1 of keys and values, 16
// vision tokens for a 128×128 picture. The same seed gives the same bytes.
func Write(dir string, seed uint64) error {
	tok, err := tokenizer.Train(nil, 256+len(special), special)
	if err != nil {
		return fmt.Errorf("tiny: %w", err)
	}
	id := func(token string) int32 {
		n, _ := tok.ID(token)
		return n
	}
	c := &models.Config{
		Family: models.Qwen2VL,
		Text: models.TextConfig{
			Hidden: 32, Layers: 3, Heads: 2, KVHeads: 1, HeadDim: 16, Intermediate: 64, Vocab: tok.Size(),
			Eps: 1e-6, RopeTheta: 1e4, MRopeSection: [3]int{2, 3, 3}, QKVBias: true, TiedHead: true, MaxPositions: 2048,
		},
		Vision: models.VisionConfig{
			Depth: 1, Hidden: 32, Heads: 2, Intermediate: 64, Channels: 3, PatchSize: 16, TemporalPatch: 2, Merge: 2, Eps: 1e-6,
		},
		ImageToken: id("<|image_pad|>"), EOSToken: id("<|im_end|>"),
	}
	if err := c.Validate(); err != nil {
		return fmt.Errorf("tiny: %w", err)
	}
	px := pixels.DefaultConfig()
	px.PatchSize, px.MinPixels, px.MaxPixels = 16, 128*128, 128*128
	w := models.NewWeights(c)
	w.Randomize(c, rand.New(rand.NewPCG(seed, 0)))
	return models.New(&models.Processor{Config: c, Tokenizer: tok, Pixels: px}, w).Save(dir, "BF16")
}
