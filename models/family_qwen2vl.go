package models

import (
	"fmt"
	"math"
	"strings"

	"github.com/tlqlab/tlqlab/models/pixels"
)

// qwen2VL is Qwen2-VL (arXiv:2409.12191; modeling_qwen2_vl.py).
type qwen2VL struct{}

// qwen2VLText are the language model's defaults (configuration_qwen2_vl.py).
var qwen2VLText = textDefaults{
	hidden: 8192, intermediate: 29568, layers: 80, heads: 64, kvHeads: 8, vocab: 152064, maxPositions: 32768,
	eps: 1e-5, theta: 1e6,
}

func (qwen2VL) modelType() string { return "qwen2_vl" }

// parse reads both layouts: older releases keep the language model's fields at the
// top, newer ones in text_config.
func (qwen2VL) parse(f *fields) *Config {
	text := f
	if f.has("text_config") {
		text = f.sub("text_config")
	}
	if !f.has("vision_config") {
		f.fail("vision_config", "missing; expected an object")
	}
	c := &Config{Family: Qwen2VL, Text: parseText(text, qwen2VLText), Vision: qwen2VLVision(f.sub("vision_config")), EOSToken: -1}
	t := &c.Text
	t.QKVBias = true
	if !text.has("tie_word_embeddings") {
		t.TiedHead = f.bool("tie_word_embeddings", false)
	}
	if t.HeadDim*t.Heads != t.Hidden {
		text.fail("head_dim", "%d is not supported; expected hidden_size/num_attention_heads", t.HeadDim)
	}
	rope := parseRope(text, t, qwen2VLText.theta, "mrope", "default")
	section := rope.ints("mrope_section", nil)
	if len(section) == 3 {
		t.MRopeSection = [3]int(section)
	} else { // plain positions, which no released checkpoint has
		rope.fail("mrope_section", "missing; expected three numbers")
	}
	c.ImageToken = f.id("image_token_id", text.id("image_token_id", 151655))
	c.addStops(f.ids("eos_token_id", text.ids("eos_token_id", 151645)...))
	if hidden := f.sub("vision_config").int("hidden_size", 3584); hidden != t.Hidden {
		f.fail("vision_config.hidden_size", "%d differs from the language model's hidden_size %d", hidden, t.Hidden)
	}
	return c
}

func qwen2VLVision(f *fields) VisionConfig {
	f.refuseUnless("hidden_act", "quick_gelu")
	width := f.int("embed_dim", 1280)
	return VisionConfig{
		Depth: f.int("depth", 32), Hidden: width, Heads: f.int("num_heads", 16),
		Intermediate: int(float64(width) * f.float("mlp_ratio", 4)),
		Channels:     f.int("in_channels", f.int("in_chans", 3)),
		PatchSize:    f.int("patch_size", 14), TemporalPatch: f.int("temporal_patch_size", 2), Merge: f.int("spatial_merge_size", 2),
		Eps: 1e-6, // fixed in the modelling code
	}
}

func (qwen2VL) validate(c *Config) error {
	t, v := &c.Text, &c.Vision
	if err := checkSizes([]size{
		{"vision_config.depth", v.Depth, maxBlocks},
		{"vision_config.embed_dim", v.Hidden, maxSize},
		{"vision_config.num_heads", v.Heads, maxSize},
		{"vision_config.mlp_ratio × embed_dim", v.Intermediate, maxSize},
		{"vision_config.patch_size", v.PatchSize, 1 << 10},
		{"vision_config.temporal_patch_size", v.TemporalPatch, 1 << 6},
		{"vision_config.spatial_merge_size", v.Merge, 1 << 6},
	}); err != nil {
		return err
	}
	switch {
	case v.Channels != 3:
		return fmt.Errorf("vision_config.in_channels is %d; expected 3", v.Channels)
	case v.Hidden%v.Heads != 0 || v.HeadDim()%4 != 0:
		return fmt.Errorf("vision_config: embed_dim %d over num_heads %d must give a head width divisible by 4", v.Hidden, v.Heads)
	case t.MRopeSection == [3]int{}:
		return fmt.Errorf("rope_scaling.mrope_section %v must add up to half the head width %d", t.MRopeSection, t.HeadDim)
	}
	return nil
}

func (qwen2VL) hubJSON(c *Config) map[string]any {
	v := &c.Vision
	m := textJSON(&c.Text)
	m["architectures"] = []string{"Qwen2VLForConditionalGeneration"}
	m["model_type"] = "qwen2_vl"
	m["rope_scaling"] = map[string]any{"type": "mrope", "mrope_section": c.Text.MRopeSection}
	m["image_token_id"] = c.ImageToken
	m["eos_token_id"] = c.stops()
	m["torch_dtype"] = "bfloat16"
	m["vision_config"] = map[string]any{
		"depth": v.Depth, "embed_dim": v.Hidden, "num_heads": v.Heads, "mlp_ratio": v.mlpRatio(),
		"hidden_size": c.Text.Hidden, "hidden_act": "quick_gelu", "in_channels": v.Channels,
		"patch_size": v.PatchSize, "spatial_patch_size": v.PatchSize, "spatial_merge_size": v.Merge,
		"temporal_patch_size": v.TemporalPatch,
	}
	return m
}

// mlpRatio is the number whose product with the width, without its fraction, is the
// width of the MLP.
func (v *VisionConfig) mlpRatio() float64 {
	ratio := float64(v.Intermediate) / float64(v.Hidden)
	for int(float64(v.Hidden)*ratio) < v.Intermediate {
		ratio = math.Nextafter(ratio, math.Inf(1))
	}
	return ratio
}

// place: the checkpoint fuses q, k and v of the vision tower, and keeps the patch
// embedding as a convolution's kernel.
func (qwen2VL) place(c *Config, p Param) place {
	for part, name := range []string{".attn.q.", ".attn.k.", ".attn.v."} {
		if strings.HasPrefix(p.Name, "visual.blocks.") && strings.Contains(p.Name, name) {
			w := whole(strings.Replace(p.Name, name, ".attn.qkv.", 1), p.Shape...)
			w.shape = append([]int{3 * p.Shape[0]}, p.Shape[1:]...)
			w.part, w.parts = part, 3
			return w
		}
	}
	if v := &c.Vision; p.Name == "visual.patch_embed.proj.weight" {
		return whole(p.Name, v.Hidden, v.Channels, v.TemporalPatch, v.PatchSize, v.PatchSize)
	}
	return whole(p.Name, p.Shape...)
}

func (qwen2VL) aliases() []alias {
	return []alias{
		{"model.", []string{"model.language_model.", "language_model.model."}},
		{"lm_head.", []string{"language_model.lm_head."}},
		{"visual.", []string{"model.visual."}},
	}
}

func (qwen2VL) tower(c *Config) tower { return mergerTower{c} }

func (qwen2VL) parsePixels(data []byte, c *Config) (pixels.Processor, error) {
	p, err := pixels.ParseConfig(data)
	if err != nil {
		return nil, err
	}
	v := &c.Vision
	if p.PatchSize != v.PatchSize || p.MergeSize != v.Merge || p.TemporalPatchSize != v.TemporalPatch {
		return nil, fmt.Errorf("patch %d×%d, merge %d differ from config.json's patch %d×%d, merge %d",
			p.TemporalPatchSize, p.PatchSize, p.MergeSize, v.TemporalPatch, v.PatchSize, v.Merge)
	}
	return p, nil
}

func (qwen2VL) dialect() dialect {
	return dialect{
		system: func(text string) string { return "<|im_start|>system\n" + text + "<|im_end|>\n" },
		head:   "<|im_start|>user\n", before: "<|vision_start|>", after: "<|vision_end|>",
		end: "<|im_end|>\n<|im_start|>assistant\n", stop: "<|im_end|>",
		marks: []string{"<|im_start|>", "<|vision_start|><|image_pad|><|vision_end|>"},
		chat:  qwen2VLChat, template: qwen2VLTemplate,
	}
}
