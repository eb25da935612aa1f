package tiny

import (
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/tokenizer"
)

// WriteLlavaOV saves a random llavaov model of three decoder layers in dir: hidden
// width 32, 2 heads over 1 of keys and values; views of 32 pixels with 16 patches, so
// that a 128×128 picture has 16 + 8·9 vision tokens. The same seed gives the same
// bytes.
func WriteLlavaOV(dir string, seed uint64) error {
	special := []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"}
	tok, err := tokenizer.Train(nil, 256+len(special), special)
	if err != nil {
		return fmt.Errorf("tiny: %w", err)
	}
	id := func(token string) int32 {
		n, _ := tok.ID(token)
		return n
	}
	half := [3]float32{0.5, 0.5, 0.5}
	px := &pixels.AnyRes{
		Normalization: pixels.Normalization{RescaleFactor: 1.0 / 255, Mean: half, Std: half},
		Size:          32, Grids: [][2]int{{32, 64}, {64, 32}, {64, 64}}, PatchSize: 8, Background: [3]uint8{127, 127, 127},
	}
	c := &models.Config{
		Family: models.LlavaOV,
		Text: models.TextConfig{
			Hidden: 32, Layers: 3, Heads: 2, KVHeads: 1, HeadDim: 16, Intermediate: 64, Vocab: tok.Size(),
			Eps: 1e-6, RopeTheta: 1e4, QKVBias: true, TiedHead: true, MaxPositions: 2048,
		},
		Vision: models.VisionConfig{
			Depth: 1, Hidden: 32, Heads: 2, Intermediate: 64, Channels: 3, PatchSize: 8, TemporalPatch: 1, Merge: 1, Eps: 1e-6,
			ImageSize: 32, FeatureLayer: 1, ProjectorBias: true, MaxTiles: 9, Grids: px.Grids,
		},
		ImageToken: id("<image>"), EOSToken: id("<|im_end|>"),
	}
	if err := c.Validate(); err != nil {
		return fmt.Errorf("tiny: %w", err)
	}
	w := models.NewWeights(c)
	w.Randomize(c, rand.New(rand.NewPCG(seed, 0)))
	return models.New(&models.Processor{Config: c, Tokenizer: tok, Pixels: px}, w).Save(dir, "BF16")
}
