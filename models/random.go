package models

import (
	"math"
	"math/rand/v2"
	"strings"
)

// Randomize fills w for training from scratch: linears from a normal
// distribution of deviation 1/√in (÷ √(2·depth) where they write to a
// residual stream, so that its variance doesn't grow with depth; Radford et al. 2019),
// embeddings of deviation 0.1, gains 1, biases 0, the newline vector of deviation
// 1/√C.
func (w *Weights) Randomize(c *Config, rng *rand.Rand) {
	for _, p := range w.Params(c) {
		switch {
		case p.Name == "image_newline":
			normal(p.Data, 1/math.Sqrt(float64(len(p.Data))), rng)
		case len(p.Shape) == 1 && strings.HasSuffix(p.Name, ".weight"):
			for i := range p.Data {
				p.Data[i] = 1
			}
		case len(p.Shape) == 1:
			clear(p.Data)
		default:
			normal(p.Data, deviation(c, p), rng)
		}
	}
}

func deviation(c *Config, p Param) float64 {
	if strings.HasSuffix(p.Name, "embed_tokens.weight") || strings.HasSuffix(p.Name, "lm_head.weight") {
		return 0.1
	}
	d := 1 / math.Sqrt(float64(p.Shape[1]))
	for _, end := range []string{".o_proj.weight", ".down_proj.weight"} {
		if strings.HasSuffix(p.Name, end) {
			d /= math.Sqrt(2 * float64(c.Text.Layers))
		}
	}
	for _, end := range []string{".attn.proj.weight", ".out_proj.weight", ".fc2.weight"} {
		if strings.HasSuffix(p.Name, end) {
			d /= math.Sqrt(2 * float64(c.Vision.Depth))
		}
	}
	return d
}

func normal(x []float32, deviation float64, rng *rand.Rand) {
	for i := range x {
		x[i] = float32(rng.NormFloat64() * deviation)
	}
}
