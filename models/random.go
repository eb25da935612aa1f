package models

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Randomize fills w for training from scratch: linears from a normal
// distribution of deviation 1/√in (÷ √(2·depth) where they write to a
// residual stream, so that its variance doesn't grow with depth; Radford et al. 2019),
// embeddings of deviation 0.1, gains 1, biases 0, the newline vector of deviation
// 1/√C.
func (w *Weights) Randomize(c *Config, rng *rand.Rand) {
	for _, p := range w.Params(c) {
		randomize(p, c, rng)
	}
}

func randomize(p Param, c *Config, rng *rand.Rand) {
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

// WriteRandom writes a checkpoint of p's configuration, filled as [Weights.Randomize]
// does, to a new folder in the Hugging Face layout, one tensor at a time and in
// shards where it is large: a stand-in of any size where only speed and memory count.
// dtype is F32, F16 or BF16; every tensor follows from seed and its name.
func WriteRandom(dir string, p *Processor, dtype string, seed uint64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := p.saveProcessor(dir); err != nil {
		return err
	}
	m := &Model{Processor: p}
	parts := map[string][]Param{}
	for q := range paramShapes(p.Config) {
		name := p.Config.arch().place(p.Config, q).name
		parts[name] = append(parts[name], q)
	}
	return safetensors.WriteDir(dir, map[string]string{"format": "pt"}, m.storedSpecs(dtype), safetensors.ShardBytes, func(s safetensors.Spec) (safetensors.Tensor, error) {
		var data []float32
		for _, q := range parts[s.Name] {
			h := fnv.New64a()
			h.Write([]byte(q.Name))
			q.Data = make([]float32, product(q.Shape))
			randomize(q, p.Config, rand.New(rand.NewPCG(seed, h.Sum64())))
			data = append(data, q.Data...)
		}
		return safetensors.FromFloat32As(s.Name, dtype, s.Shape, data)
	})
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
