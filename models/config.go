package models

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Config describes a model: the fields of config.json that change its numbers.
type Config struct {
	Family Family       `json:"family"`
	Text   TextConfig   `json:"text"`
	Vision VisionConfig `json:"vision"` // zero for a language model alone
	// ImageToken stands in a prompt for the rows of a picture; −1: there is none.
	ImageToken int32 `json:"image_token"`
	// EOSToken ends an answer; −1: there is none.
	EOSToken int32 `json:"eos_token"`
	// StopTokens are further tokens at which generation stops.
	StopTokens []int32 `json:"stop_tokens,omitempty"`
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
	// width. Zero: all of them turn with one position.
	MRopeSection [3]int `json:"mrope_section"`
	QKVBias      bool   `json:"qkv_bias"`
	OutBias      bool   `json:"out_bias,omitempty"` // of o_proj
	MLPBias      bool   `json:"mlp_bias,omitempty"` // of gate_proj, up_proj and down_proj
	TiedHead     bool   `json:"tied_head"`
	// Online are transforms of activations that belong to the weights.
	Online       OnlineHadamard `json:"online_hadamard,omitzero"`
	MaxPositions int            `json:"max_positions"`
}

// VisionConfig describes the vision tower and the merger or projector behind it.
type VisionConfig struct {
	Depth         int     `json:"depth"`
	Hidden        int     `json:"hidden"`
	Heads         int     `json:"heads"`
	Intermediate  int     `json:"intermediate"`
	Channels      int     `json:"channels"`
	PatchSize     int     `json:"patch_size"`
	TemporalPatch int     `json:"temporal_patch"` // frames in a patch
	Merge         int     `json:"merge"`          // patches along the side of a block that becomes one token
	Eps           float64 `json:"eps"`

	// Inputs is what the input of every linear of the tower's blocks passes through; nil:
	// nothing. It is no part of a config.json.
	Inputs *ActQuant `json:"-"`

	// What LLaVA-OneVision has besides.
	ImageSize int `json:"image_size,omitempty"` // side of a view, in pixels
	// FeatureLayer counts the blocks whose output the projector reads.
	FeatureLayer int  `json:"feature_layer,omitempty"`
	PoolingHead  bool `json:"pooling_head,omitempty"` // weights of a head that nothing reads
	// ProjectorBias tells whether the projector's linears have one.
	ProjectorBias bool `json:"projector_bias,omitempty"`
	// MaxTiles bounds the rows of a tiled picture: what takes more than 1.1 times
	// the side of as many tiles is shrunk.
	MaxTiles int `json:"max_tiles,omitempty"`
	// Grids are the shapes of tiled pictures, (height, width) in pixels.
	Grids [][2]int `json:"grids,omitempty"`
}

// PatchDim is the length of one flattened patch.
func (v *VisionConfig) PatchDim() int {
	return v.Channels * v.TemporalPatch * v.PatchSize * v.PatchSize
}

// HeadDim is the width of one attention head of the vision tower.
func (v *VisionConfig) HeadDim() int { return v.Hidden / v.Heads }

// LoadConfig reads DIR/config.json and the stop tokens of
// DIR/generation_config.json where there is one. A field that would change the
// numbers and is not supported fails the load by its name.
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
	return c, c.loadStops(dir)
}

// loadStops reads the end tokens of generation_config.json; the first of
// config.json stays the one that ends an answer.
func (c *Config) loadStops(dir string) error {
	path := filepath.Join(dir, "generation_config.json")
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("models: %w", err)
	}
	f, err := parseFields(data)
	if err != nil {
		return fmt.Errorf("models: %s: %w", path, err)
	}
	c.addStops(f.ids("eos_token_id"))
	if *f.err != nil {
		return fmt.Errorf("models: %s: %w", path, *f.err)
	}
	return nil
}

// addStops takes end tokens: the first becomes the one that ends an answer where
// there is none yet.
func (c *Config) addStops(ids []int32) {
	for _, id := range ids {
		switch {
		case c.EOSToken < 0:
			c.EOSToken = id
		case id != c.EOSToken:
			c.StopTokens = append(c.StopTokens, id)
		}
	}
}

// ParseConfig reads the bytes of a config.json.
func ParseConfig(data []byte) (*Config, error) {
	f, err := parseFields(data)
	if err != nil {
		return nil, err
	}
	a, err := findArchitecture(f.text("model_type", ""))
	if err != nil {
		return nil, err
	}
	online := parseOnline(f)
	c := a.parse(f)
	c.Text.Online = online
	if *f.err != nil {
		return nil, *f.err
	}
	return c, c.Validate()
}

// HubJSON renders c as config.json of its family.
func (c *Config) HubJSON() ([]byte, error) {
	m := c.arch().hubJSON(c)
	if c.Text.Online != (OnlineHadamard{}) {
		m["quantization_config"] = c.Text.Online.hubJSON()
	}
	return json.MarshalIndent(m, "", "  ")
}

// size is a field with its bounds.
type size struct {
	name  string
	value int
	limit int
}

// Bounds of sizes: far above any model, low enough that products of three don't
// overflow and that a hostile config.json makes no long loops.
const (
	maxSize   = 1 << 20
	maxVocab  = 1 << 24
	maxBlocks = 1 << 12
)

func checkSizes(list []size) error {
	for _, s := range list {
		if s.value <= 0 || s.value > s.limit {
			return fmt.Errorf("%s is %d; expected 1 to %d", s.name, s.value, s.limit)
		}
	}
	return nil
}

// Validate reports the first inconsistency of c.
func (c *Config) Validate() error {
	a, ok := architectures[c.Family]
	if !ok {
		return fmt.Errorf("unknown family %q", c.Family)
	}
	if err := c.Text.validate(); err != nil {
		return err
	}
	return a.validate(c)
}

func (t *TextConfig) validate() error {
	if err := checkSizes([]size{
		{"hidden_size", t.Hidden, maxSize},
		{"num_hidden_layers", t.Layers, maxBlocks},
		{"num_attention_heads", t.Heads, maxSize},
		{"num_key_value_heads", t.KVHeads, maxSize},
		{"head_dim", t.HeadDim, maxSize},
		{"intermediate_size", t.Intermediate, maxSize},
		{"vocab_size", t.Vocab, maxVocab},
	}); err != nil {
		return err
	}
	sections := t.MRopeSection[0] + t.MRopeSection[1] + t.MRopeSection[2]
	switch {
	case t.Heads%t.KVHeads != 0:
		return fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", t.Heads, t.KVHeads)
	case t.HeadDim%2 != 0:
		return fmt.Errorf("head width %d is odd; rotary positions need an even one", t.HeadDim)
	case min(t.MRopeSection[0], t.MRopeSection[1], t.MRopeSection[2]) < 0 || sections != 0 && 2*sections != t.HeadDim:
		return fmt.Errorf("rope_scaling.mrope_section %v must add up to half the head width %d", t.MRopeSection, t.HeadDim)
	case !(t.Eps > 0) || !(t.RopeTheta > 0):
		return fmt.Errorf("rms_norm_eps %g and rope_theta %g must be positive", t.Eps, t.RopeTheta)
	}
	return nil
}
