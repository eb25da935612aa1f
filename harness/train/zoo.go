package train

import (
	"slices"

	"github.com/tlqlab/tlqlab/models"
)

// scale is a size of model, the same for both families: the language model has the
// same blocks, and pictures pass towers of the same depth and width.
type scale struct {
	name string
	// The language model: width, blocks, heads of queries and of keys and values,
	// width of the MLP.
	hidden, layers, heads, kvHeads, intermediate int
	// The vision tower: width, blocks, heads, width of the MLP.
	visionHidden, visionDepth, visionHeads, visionIntermediate int
	steps                                                      int
	peak                                                       float64
}

// scales lists the zoo's sizes: about 0.5, 1.5 and 4.7 million parameters. They are
// deep and narrow, so that errors can grow; every linear's input is a multiple of 64
// wide, so that groups of 64 divide it. The towers are thin: what a picture shows is
// worked out by the language model's blocks, at the vision tokens, where rounding can
// then hurt (docs/premise.md).
//
// The learning rate falls so that the spectral norm of a Muon step stays the same:
// with one over the root of the widest matrix. Larger models get more steps: with 700,
// micro and mini answered less than nano with 1,000 (docs/zoo.md).
var scales = []scale{
	{"nano", 64, 8, 4, 2, 128, 64, 1, 2, 128, 1000, 6e-3},
	{"micro", 128, 8, 4, 2, 256, 64, 1, 2, 128, 1100, 4.2e-3},
	{"mini", 192, 12, 6, 2, 448, 64, 2, 2, 128, 1600, 3.2e-3},
}

// batch is what every step sees. Emoji and boards teach the names that blurred pictures
// ask for too.
var batch = []Portion{{"emoji", 8}, {"scene", 6}, {"chart", 4}, {"text", 4}, {"blur", 2}}

// Recipes lists what `tlq train` knows: both families at every scale, with the same
// data and steps.
func Recipes() []Recipe {
	var out []Recipe
	for _, s := range scales {
		for _, family := range []models.Family{models.Qwen2VL, models.LlavaOV} {
			out = append(out, s.recipe(family))
		}
	}
	return out
}

// recipe is the scale's recipe for a family.
func (s scale) recipe(family models.Family) Recipe {
	return Recipe{
		Name: string(family) + "-" + s.name, Scale: s.name,
		Config: models.Config{Family: family, Text: s.text(family), Vision: s.vision(family)},
		Seed:   1, Steps: s.steps, Batch: slices.Clone(batch), LabelWeight: 0.5,
		Peak: s.peak, Final: 0.01, Warmup: 100,
		Beta1: 0.9, Beta2: 0.98, Momentum: 0.95, Decay: 0.05, Clip: 1,
		EvaluateEvery: 250, CheckpointEvery: 50, Questions: 400,
	}
}

// vocabulary is that of every model: bytes, frequent pieces of the built-in texts,
// special tokens.
const vocabulary = 1280

// text is the language model. The base of its rotary positions suits short sequences:
// the longest wave spans one. With Qwen2-VL's sections columns get the slowest waves of
// a head of 16, and the base of 10,000 that pretrained models have would turn them by less
// than 0.02 radians over a whole picture.
func (s scale) text(family models.Family) models.TextConfig {
	c := models.TextConfig{
		Hidden: s.hidden, Layers: s.layers, Heads: s.heads, KVHeads: s.kvHeads, HeadDim: s.hidden / s.heads, Intermediate: s.intermediate,
		Vocab: vocabulary, Eps: 1e-6, RopeTheta: 100, QKVBias: true, TiedHead: true, MaxPositions: 1024,
	}
	if family == models.Qwen2VL {
		c.RopeTheta = 4
		c.MRopeSection = mropeSection(c.HeadDim)
	}
	return c
}

// mropeSection splits half of a head's frequencies into time, height and width as
// Qwen2-VL does: a quarter and three eighths twice.
func mropeSection(headDim int) [3]int {
	half := headDim / 2
	return [3]int{half - 2*(half*3/8), half * 3 / 8, half * 3 / 8}
}

// pictureSize is the side of the built-in pictures, in pixels.
const pictureSize = 128

func (s scale) vision(family models.Family) models.VisionConfig {
	c := models.VisionConfig{
		Depth: s.visionDepth, Hidden: s.visionHidden, Heads: s.visionHeads, Intermediate: s.visionIntermediate, Channels: 3, Eps: 1e-6,
	}
	if family == models.Qwen2VL { // 16×16 patches, merged to 64 tokens
		c.PatchSize, c.TemporalPatch, c.Merge = 8, 2, 2
		return c
	}
	// One view of 64 patches, and the same picture again as its only tile: 64 tokens,
	// 64 more, and 8 ends of rows. A patch has four times the pixels of the other
	// family's, so the tower is wider.
	c.Hidden, c.Heads, c.Intermediate = 2*s.visionHidden, 2*s.visionHeads, 2*s.visionIntermediate
	c.PatchSize, c.TemporalPatch, c.Merge = 16, 1, 1
	c.ImageSize, c.FeatureLayer, c.ProjectorBias, c.MaxTiles = pictureSize, s.visionDepth, true, 9
	c.Grids = [][2]int{{pictureSize, pictureSize}}
	return c
}
