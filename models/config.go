package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Family names a vision-language architecture.
type Family string

// Families that load. Further ones are added here and in [families].
const (
	Qwen2VL Family = "qwen2vl" // ViT with 2-D rotary positions, 2×2 merger, M-RoPE Qwen2 language model
)

// families maps config.json's model_type to a family.
var families = map[string]Family{"qwen2_vl": Qwen2VL}

// Config describes a model: the fields of config.json that change its numbers.
type Config struct {
	Family Family       `json:"family"`
	Text   TextConfig   `json:"text"`
	Vision VisionConfig `json:"vision"`
	// Tokens that the prompt is built from.
	ImageToken int32 `json:"image_token"`
	EOSToken   int32 `json:"eos_token"`
}

// TextConfig describes the language model.
type TextConfig struct {
	Hidden       int     `json:"hidden"`
	Layers       int     `json:"layers"`
	Heads        int     `json:"heads"`
	KVHeads      int     `json:"kv_heads"`
	HeadDim      int     `json:"head_dim"`
	Intermediate int     `json:"intermediate"`
	Vocab        int     `json:"vocab"`
	Eps          float64 `json:"eps"`
	RopeTheta    float64 `json:"rope_theta"`
	// MRopeSection splits half of a head's frequencies into time, height and
	// width.
	MRopeSection [3]int `json:"mrope_section"`
	QKVBias      bool   `json:"qkv_bias"`
	TiedHead     bool   `json:"tied_head"`
	MaxPositions int    `json:"max_positions"`
}

// VisionConfig describes the vision tower and the merger behind it.
type VisionConfig struct {
	Depth         int     `json:"depth"`
	Hidden        int     `json:"hidden"`
	Heads         int     `json:"heads"`
	Intermediate  int     `json:"intermediate"`
	Channels      int     `json:"channels"`
	PatchSize     int     `json:"patch_size"`
	TemporalPatch int     `json:"temporal_patch"`
	Merge         int     `json:"merge"`
	Eps           float64 `json:"eps"`
}

// PatchDim is the length of one flattened patch.
func (v *VisionConfig) PatchDim() int {
	return v.Channels * v.TemporalPatch * v.PatchSize * v.PatchSize
}

// HeadDim is the width of one attention head of the vision tower.
func (v *VisionConfig) HeadDim() int { return v.Hidden / v.Heads }

// hubConfig is config.json of Qwen2-VL as the hub writes it; newer releases
// nest the language model's fields in text_config.
type hubConfig struct {
	ModelType          string      `json:"model_type"`
	HiddenAct          string      `json:"hidden_act"`
	HiddenSize         int         `json:"hidden_size"`
	Intermediate       int         `json:"intermediate_size"`
	Layers             int         `json:"num_hidden_layers"`
	Heads              int         `json:"num_attention_heads"`
	KVHeads            *int        `json:"num_key_value_heads"`
	Vocab              int         `json:"vocab_size"`
	Eps                *float64    `json:"rms_norm_eps"`
	RopeTheta          *float64    `json:"rope_theta"`
	RopeScaling        *hubRope    `json:"rope_scaling"`
	Tied               *bool       `json:"tie_word_embeddings"`
	MaxPositions       int         `json:"max_position_embeddings"`
	UseSlidingWindow   bool        `json:"use_sliding_window"`
	ImageToken         *int32      `json:"image_token_id"`
	EOSToken           *int32      `json:"eos_token_id"`
	Vision             *hubVision  `json:"vision_config"`
	Text               *hubConfig  `json:"text_config"`
	QuantizationConfig interface{} `json:"quantization_config"`
}

type hubRope struct {
	Type         string `json:"type"`
	RopeType     string `json:"rope_type"`
	MRopeSection []int  `json:"mrope_section"`
}

type hubVision struct {
	Depth         int     `json:"depth"`
	EmbedDim      int     `json:"embed_dim"`
	HiddenSize    int     `json:"hidden_size"`
	HiddenAct     string  `json:"hidden_act"`
	MLPRatio      float64 `json:"mlp_ratio"`
	Heads         int     `json:"num_heads"`
	InChannels    *int    `json:"in_channels"`
	InChans       *int    `json:"in_chans"`
	PatchSize     int     `json:"patch_size"`
	Merge         *int    `json:"spatial_merge_size"`
	TemporalPatch *int    `json:"temporal_patch_size"`
}

// LoadConfig reads DIR/config.json. A field that would change the numbers and
// is not supported fails the load by its name.
func LoadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("models: no model in %s: %w; expected a folder in the Hugging Face layout", dir, err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", path, err)
	}
	return c, nil
}

// ParseConfig reads the bytes of a config.json.
func ParseConfig(data []byte) (*Config, error) {
	var h hubConfig
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("not a config.json: %w", err)
	}
	family, ok := families[h.ModelType]
	if !ok {
		return nil, fmt.Errorf("model_type %q is not supported; expected qwen2_vl", h.ModelType)
	}
	c, err := fromHub(family, &h)
	if err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func fromHub(family Family, h *hubConfig) (*Config, error) {
	text := h
	if h.Text != nil {
		text = h.Text
	}
	switch {
	case h.Vision == nil:
		return nil, errors.New("vision_config is missing")
	case h.QuantizationConfig != nil:
		return nil, errors.New("quantization_config: packed checkpoints are not read; expected F32, F16 or BF16 weights")
	case text.UseSlidingWindow:
		return nil, errors.New("use_sliding_window: true is not supported; expected full attention")
	case text.HiddenAct != "" && text.HiddenAct != "silu":
		return nil, fmt.Errorf("hidden_act %q is not supported; expected silu", text.HiddenAct)
	case h.Vision.HiddenAct != "" && h.Vision.HiddenAct != "quick_gelu":
		return nil, fmt.Errorf("vision_config.hidden_act %q is not supported; expected quick_gelu", h.Vision.HiddenAct)
	}
	if text.Heads <= 0 || h.Vision.Heads <= 0 {
		return nil, fmt.Errorf("num_attention_heads %d, vision_config.num_heads %d: expected positive numbers", text.Heads, h.Vision.Heads)
	}
	c := &Config{
		Family: family,
		Text: TextConfig{
			Hidden: text.HiddenSize, Layers: text.Layers, Heads: text.Heads,
			KVHeads: or(text.KVHeads, text.Heads), HeadDim: text.HiddenSize / text.Heads,
			Intermediate: text.Intermediate, Vocab: text.Vocab,
			Eps: or(text.Eps, 1e-5), RopeTheta: or(text.RopeTheta, 1e6),
			QKVBias: true, TiedHead: or(or2(h.Tied, text.Tied), false), MaxPositions: text.MaxPositions,
		},
		Vision: VisionConfig{
			Depth: h.Vision.Depth, Hidden: h.Vision.EmbedDim, Heads: h.Vision.Heads,
			Intermediate:  int(float64(h.Vision.EmbedDim) * h.Vision.MLPRatio),
			Channels:      or(or2(h.Vision.InChannels, h.Vision.InChans), 3),
			PatchSize:     h.Vision.PatchSize,
			TemporalPatch: or(h.Vision.TemporalPatch, 2), Merge: or(h.Vision.Merge, 2), Eps: 1e-6,
		},
		ImageToken: or(or2(h.ImageToken, text.ImageToken), 151655),
		EOSToken:   or(or2(h.EOSToken, text.EOSToken), 151645),
	}
	if h.Vision.HiddenSize != c.Text.Hidden {
		return nil, fmt.Errorf("vision_config.hidden_size %d differs from the language model's hidden_size %d", h.Vision.HiddenSize, c.Text.Hidden)
	}
	return c, mropeFromHub(text.RopeScaling, &c.Text)
}

// mropeFromHub reads rope_scaling; its absence would mean plain positions,
// which no released Qwen2-VL checkpoint has.
func mropeFromHub(r *hubRope, t *TextConfig) error {
	if r == nil || len(r.MRopeSection) != 3 {
		return errors.New("rope_scaling.mrope_section is missing; expected three numbers")
	}
	if kind := r.Type + r.RopeType; strings.ReplaceAll(strings.ReplaceAll(kind, "mrope", ""), "default", "") != "" {
		return fmt.Errorf("rope_scaling type %q is not supported; expected mrope", kind)
	}
	t.MRopeSection = [3]int(r.MRopeSection)
	return nil
}

// Validate reports the first inconsistency of c.
func (c *Config) Validate() error {
	t, v := &c.Text, &c.Vision
	for _, f := range []struct {
		name  string
		value int
	}{
		{"hidden_size", t.Hidden},
		{"num_hidden_layers", t.Layers},
		{"num_attention_heads", t.Heads},
		{"num_key_value_heads", t.KVHeads},
		{"intermediate_size", t.Intermediate},
		{"vocab_size", t.Vocab},
		{"vision_config.depth", v.Depth},
		{"vision_config.embed_dim", v.Hidden},
		{"vision_config.num_heads", v.Heads},
		{"vision_config.mlp_ratio × embed_dim", v.Intermediate},
		{"vision_config.in_channels", v.Channels},
		{"vision_config.patch_size", v.PatchSize},
		{"vision_config.temporal_patch_size", v.TemporalPatch},
		{"vision_config.spatial_merge_size", v.Merge},
	} {
		if f.value <= 0 || f.value > 1<<24 {
			return fmt.Errorf("%s is %d; expected a positive number", f.name, f.value)
		}
	}
	switch {
	case t.Hidden%t.Heads != 0:
		return fmt.Errorf("hidden_size %d is not a multiple of num_attention_heads %d", t.Hidden, t.Heads)
	case t.Heads%t.KVHeads != 0:
		return fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", t.Heads, t.KVHeads)
	case t.HeadDim%2 != 0:
		return fmt.Errorf("head width %d is odd; rotary positions need an even one", t.HeadDim)
	case v.Hidden%v.Heads != 0 || v.HeadDim()%4 != 0:
		return fmt.Errorf("vision_config: embed_dim %d over num_heads %d must give a head width divisible by 4", v.Hidden, v.Heads)
	case 2*(t.MRopeSection[0]+t.MRopeSection[1]+t.MRopeSection[2]) != t.HeadDim:
		return fmt.Errorf("rope_scaling.mrope_section %v must add up to half the head width %d", t.MRopeSection, t.HeadDim)
	case t.Eps <= 0 || t.RopeTheta <= 0:
		return fmt.Errorf("rms_norm_eps %g and rope_theta %g must be positive", t.Eps, t.RopeTheta)
	}
	return nil
}

// HubJSON renders c as config.json of its family.
func (c *Config) HubJSON() ([]byte, error) {
	t, v := &c.Text, &c.Vision
	ratio := float64(v.Intermediate) / float64(v.Hidden)
	return json.MarshalIndent(map[string]any{
		"architectures":           []string{"Qwen2VLForConditionalGeneration"},
		"model_type":              "qwen2_vl",
		"hidden_act":              "silu",
		"hidden_size":             t.Hidden,
		"intermediate_size":       t.Intermediate,
		"num_hidden_layers":       t.Layers,
		"num_attention_heads":     t.Heads,
		"num_key_value_heads":     t.KVHeads,
		"vocab_size":              t.Vocab,
		"rms_norm_eps":            t.Eps,
		"rope_theta":              t.RopeTheta,
		"rope_scaling":            map[string]any{"type": "mrope", "mrope_section": t.MRopeSection},
		"tie_word_embeddings":     t.TiedHead,
		"use_sliding_window":      false,
		"max_position_embeddings": t.MaxPositions,
		"image_token_id":          c.ImageToken,
		"eos_token_id":            c.EOSToken,
		"torch_dtype":             "bfloat16",
		"vision_config": map[string]any{
			"depth": v.Depth, "embed_dim": v.Hidden, "num_heads": v.Heads, "mlp_ratio": ratio,
			"hidden_size": t.Hidden, "hidden_act": "quick_gelu", "in_channels": v.Channels,
			"patch_size": v.PatchSize, "spatial_patch_size": v.PatchSize, "spatial_merge_size": v.Merge,
			"temporal_patch_size": v.TemporalPatch,
		},
	}, "", "  ")
}

// or returns *p, or the default where the key was left out.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// or2 returns the first pointer that is set.
func or2[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}
