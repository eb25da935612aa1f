package models

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/models/pixels"
)

// llavaOV is LLaVA-OneVision (arXiv:2408.03326; modeling_llava_onevision.py and
// modeling_siglip.py).
type llavaOV struct{}

func (llavaOV) modelType() string { return "llava_onevision" }

// llavaOVText are the language models that may stand behind the projector.
var llavaOVText = map[string]plainText{"qwen2": plainQwen2, "llama": plainLlama}

func (llavaOV) parse(f *fields) *Config {
	f.refuseUnless("projector_hidden_act", "gelu")
	f.refuseUnless("vision_feature_select_strategy", "full")
	text := f.sub("text_config")
	kind := text.text("model_type", "qwen2")
	lm, ok := llavaOVText[kind]
	if !ok {
		text.fail("model_type", "%q is not supported; expected qwen2 or llama", kind)
		lm = plainQwen2
	}
	c := &Config{Family: LlavaOV, Text: lm.text(text), Vision: siglipVision(f.sub("vision_config")), EOSToken: -1}
	v := &c.Vision
	v.ProjectorBias = f.bool("multimodal_projector_bias", true)
	v.FeatureLayer = featureLayer(f, v.Depth)
	v.MaxTiles = maxTiles(f)
	v.Grids = f.pairs("image_grid_pinpoints", pixels.PublishedGrids())
	c.ImageToken = f.id("image_token_id", f.id("image_token_index", 151646))
	c.addStops(text.ids("eos_token_id", f.ids("eos_token_id")...))
	return c
}

func siglipVision(f *fields) VisionConfig {
	f.refuseUnless("model_type", "siglip_vision_model")
	f.refuseUnless("hidden_act", "gelu_pytorch_tanh")
	return VisionConfig{
		Depth: f.int("num_hidden_layers", 12), Hidden: f.int("hidden_size", 768), Heads: f.int("num_attention_heads", 12),
		Intermediate: f.int("intermediate_size", 3072), Channels: f.int("num_channels", 3),
		PatchSize: f.int("patch_size", 16), ImageSize: f.int("image_size", 224), TemporalPatch: 1, Merge: 1,
		Eps:         f.float("layer_norm_eps", 1e-6),
		PoolingHead: f.bool("vision_use_head", true),
	}
}

// featureLayer turns vision_feature_layer, an index into the embedded patches and the
// outputs of the blocks, into the number of blocks to run.
func featureLayer(f *fields, depth int) int {
	if f.isList("vision_feature_layer") {
		f.fail("vision_feature_layer", "a list of layers is not supported; expected one number")
		return depth
	}
	layer := f.int("vision_feature_layer", -1)
	n := layer
	if n < 0 {
		n += depth + 1
	}
	if n < 0 || n > depth {
		f.fail("vision_feature_layer", "%d; the vision tower has %d blocks", layer, depth)
		return depth
	}
	return n
}

// maxTiles reads the maximum in vision_aspect_ratio.
func maxTiles(f *fields) int {
	ratio := f.text("vision_aspect_ratio", "anyres_max_9")
	digits, ok := strings.CutPrefix(ratio, "anyres_max_")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > 1<<10 {
		f.fail("vision_aspect_ratio", "%q is not supported; expected anyres_max_N with N from 1 to 1024, such as anyres_max_9", ratio)
		return 9
	}
	return n
}

func (llavaOV) validate(c *Config) error {
	v := &c.Vision
	if err := checkSizes([]size{
		{"vision_config.num_hidden_layers", v.Depth, maxBlocks},
		{"vision_config.hidden_size", v.Hidden, maxSize},
		{"vision_config.num_attention_heads", v.Heads, maxSize},
		{"vision_config.intermediate_size", v.Intermediate, maxSize},
		{"vision_config.patch_size", v.PatchSize, 1 << 10},
		{"vision_config.image_size", v.ImageSize, 1 << 13},
		{"vision_aspect_ratio's maximum", v.MaxTiles, 1 << 10},
	}); err != nil {
		return err
	}
	switch {
	case v.Channels != 3:
		return fmt.Errorf("vision_config.num_channels is %d; expected 3", v.Channels)
	case v.TemporalPatch != 1 || v.Merge != 1:
		return fmt.Errorf("temporal patch %d and merge %d; a SigLIP tower has 1 and 1", v.TemporalPatch, v.Merge)
	case v.Hidden%v.Heads != 0:
		return fmt.Errorf("vision_config.hidden_size %d is not a multiple of num_attention_heads %d", v.Hidden, v.Heads)
	case v.PatchSize > v.ImageSize:
		return fmt.Errorf("vision_config.patch_size %d exceeds image_size %d", v.PatchSize, v.ImageSize)
	case !(v.Eps > 0):
		return fmt.Errorf("vision_config.layer_norm_eps %g must be positive", v.Eps)
	case v.FeatureLayer < 0 || v.FeatureLayer > v.Depth:
		return fmt.Errorf("vision_feature_layer counts %d blocks; the tower has %d", v.FeatureLayer, v.Depth)
	case len(v.Grids) == 0:
		return fmt.Errorf("image_grid_pinpoints is empty; expected pairs of height and width")
	}
	return nil
}

func (llavaOV) hubJSON(c *Config) map[string]any {
	v := &c.Vision
	text := textJSON(&c.Text)
	text["model_type"], text["eos_token_id"] = "qwen2", c.stops()
	if !c.Text.QKVBias || c.Text.OutBias || c.Text.MLPBias {
		text["model_type"] = "llama"
		text["attention_bias"], text["mlp_bias"] = c.Text.QKVBias, c.Text.MLPBias
	}
	return map[string]any{
		"architectures":                  []string{"LlavaOnevisionForConditionalGeneration"},
		"model_type":                     "llava_onevision",
		"text_config":                    text,
		"tie_word_embeddings":            false, // text_config's counts
		"image_token_index":              c.ImageToken,
		"image_grid_pinpoints":           v.Grids,
		"multimodal_projector_bias":      v.ProjectorBias,
		"projector_hidden_act":           "gelu",
		"torch_dtype":                    "bfloat16",
		"use_image_newline_parameter":    true,
		"vision_aspect_ratio":            fmt.Sprintf("anyres_max_%d", v.MaxTiles),
		"vision_feature_layer":           v.FeatureLayer - v.Depth - 1,
		"vision_feature_select_strategy": "full",
		"vision_config": map[string]any{
			"model_type": "siglip_vision_model", "num_hidden_layers": v.Depth, "hidden_size": v.Hidden,
			"num_attention_heads": v.Heads, "intermediate_size": v.Intermediate, "num_channels": v.Channels,
			"patch_size": v.PatchSize, "image_size": v.ImageSize, "layer_norm_eps": v.Eps,
			"hidden_act": "gelu_pytorch_tanh", "vision_use_head": v.PoolingHead,
		},
	}
}

// place: the language model's tensors have a prefix, and the patch embedding is a
// convolution's kernel.
func (llavaOV) place(c *Config, p Param) place {
	v := &c.Vision
	switch {
	case p.Name == siglip+"embeddings.patch_embedding.weight":
		return whole(p.Name, v.Hidden, v.Channels, v.PatchSize, v.PatchSize)
	case strings.HasPrefix(p.Name, "model.") || strings.HasPrefix(p.Name, "lm_head."):
		return whole("language_model."+p.Name, p.Shape...)
	}
	return whole(p.Name, p.Shape...)
}

func (llavaOV) aliases() []alias {
	return []alias{
		{"language_model.model.", []string{"model.language_model.", "model."}},
		{"language_model.lm_head.", []string{"lm_head."}},
		{siglip, []string{"model." + siglip, "model.vision_tower.", "vision_tower."}},
		{"multi_modal_projector.", []string{"model.multi_modal_projector."}},
		{"image_newline", []string{"model.image_newline"}},
	}
}

func (llavaOV) tower(c *Config) tower { return siglipTower{c} }

func (llavaOV) parsePixels(data []byte, c *Config) (pixels.Processor, error) {
	v := &c.Vision
	p, err := pixels.ParseAnyRes(data, v.PatchSize)
	if err != nil {
		return nil, err
	}
	if p.Size != v.ImageSize {
		return nil, fmt.Errorf("views of %d pixels differ from config.json's vision_config.image_size %d", p.Size, v.ImageSize)
	}
	if !slices.Equal(p.Grids, v.Grids) {
		return nil, errors.New("image_grid_pinpoints differ from config.json's; they must be the same")
	}
	return p, nil
}

func (llavaOV) dialect() dialect {
	return dialect{
		system: func(text string) string { return "<|im_start|>system \n" + text + "<|im_end|>" },
		head:   "<|im_start|>user ", ask: "\n",
		end: "<|im_end|><|im_start|>assistant\n", stop: "<|im_end|>",
		marks: []string{"'<|im_start|>' + message['role'] + ' '", "<image>"},
		chat:  llavaOVChat, template: llavaOVTemplate,
	}
}
