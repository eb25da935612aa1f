package pixels

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Config holds the settings of Qwen2-VL's image processor, with the field names
// of preprocessor_config.json.
type Config struct {
	Normalization
	MinPixels         int `json:"min_pixels"`          // of a picture after resizing
	MaxPixels         int `json:"max_pixels"`          // of a picture after resizing
	PatchSize         int `json:"patch_size"`          // pixels along a patch's side
	TemporalPatchSize int `json:"temporal_patch_size"` // times that a still picture is repeated in a patch
	MergeSize         int `json:"merge_size"`          // patches along the side of a block that becomes one token
}

// maxPicture bounds the pixels of a resized picture: 2³⁰ take 24 GB as patches.
const maxPicture = 1 << 30

// DefaultConfig returns the settings of the published Qwen2-VL code: what holds
// for keys that a preprocessor_config.json leaves out.
func DefaultConfig() *Config {
	return &Config{
		Normalization: Normalization{
			RescaleFactor: 1.0 / 255,
			Mean:          [3]float32{0.48145466, 0.4578275, 0.40821073}, // OpenAI CLIP's
			Std:           [3]float32{0.26862954, 0.26130258, 0.27577711},
		},
		MinPixels:         56 * 56,
		MaxPixels:         28 * 28 * 1280,
		PatchSize:         14,
		TemporalPatchSize: 2,
		MergeSize:         2,
	}
}

// Validate reports the first setting that is not usable.
func (c *Config) Validate() error {
	if err := c.Normalization.Validate(); err != nil {
		return err
	}
	for _, s := range []struct {
		key          string
		value, limit int
	}{
		{"patch_size", c.PatchSize, 1 << 12},
		{"temporal_patch_size", c.TemporalPatchSize, 1 << 6},
		{"merge_size", c.MergeSize, 1 << 6},
		{"min_pixels", c.MinPixels, maxPicture},
		{"max_pixels", c.MaxPixels, maxPicture},
	} {
		if s.value < 1 || s.value > s.limit {
			return fmt.Errorf("pixels: %s is %d, expected 1 to %d", s.key, s.value, s.limit)
		}
	}
	if c.MinPixels > c.MaxPixels {
		return fmt.Errorf("pixels: min_pixels %d exceeds max_pixels %d", c.MinPixels, c.MaxPixels)
	}
	return nil
}

// LoadConfig reads a preprocessor_config.json of Qwen2-VL. Keys left out get
// [DefaultConfig]'s values; pixel bounds may also come as size.shortest_edge and
// size.longest_edge, where min_pixels and max_pixels go first. A file of another
// processor, another resampling filter or a step switched off is refused by name.
func LoadConfig(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("pixels: %w", err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%w (file %s)", err, path)
	}
	return c, nil
}

// configFile is a preprocessor_config.json; nil where a key is left out.
type configFile struct {
	Type        *string   `json:"image_processor_type"`
	Resample    *int      `json:"resample"`
	DoResize    *bool     `json:"do_resize"`
	DoRescale   *bool     `json:"do_rescale"`
	DoNormalize *bool     `json:"do_normalize"`
	Rescale     *float64  `json:"rescale_factor"`
	Mean        []float32 `json:"image_mean"`
	Std         []float32 `json:"image_std"`
	MinPixels   *int      `json:"min_pixels"`
	MaxPixels   *int      `json:"max_pixels"`
	Patch       *int      `json:"patch_size"`
	Temporal    *int      `json:"temporal_patch_size"`
	Merge       *int      `json:"merge_size"`
	Size        struct {
		ShortestEdge *int `json:"shortest_edge"`
		LongestEdge  *int `json:"longest_edge"`
	} `json:"size"`
}

// ParseConfig reads the bytes of a preprocessor_config.json as [LoadConfig] does.
func ParseConfig(data []byte) (*Config, error) {
	var f configFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("pixels: not a preprocessor_config.json: %w", err)
	}
	if err := f.supported("Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast"); err != nil {
		return nil, err
	}
	c := DefaultConfig()
	override(&c.RescaleFactor, f.Rescale)
	override(&c.MinPixels, f.Size.ShortestEdge)
	override(&c.MaxPixels, f.Size.LongestEdge)
	override(&c.MinPixels, f.MinPixels)
	override(&c.MaxPixels, f.MaxPixels)
	override(&c.PatchSize, f.Patch)
	override(&c.TemporalPatchSize, f.Temporal)
	override(&c.MergeSize, f.Merge)
	if err := errors.Join(channels(&c.Mean, "image_mean", f.Mean), channels(&c.Std, "image_std", f.Std)); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// supported reports the first setting that asks for something other than
// bicubic resizing, rescaling and normalizing by one of the known processors.
func (f *configFile) supported(known ...string) error {
	if f.Type != nil && !slices.Contains(known, *f.Type) {
		return fmt.Errorf("pixels: image_processor_type is %q, expected one of %q", *f.Type, known)
	}
	if f.Resample != nil && *f.Resample != 3 {
		return fmt.Errorf("pixels: resample is %d, expected 3 (bicubic)", *f.Resample)
	}
	for _, step := range []struct {
		key string
		on  *bool
	}{{"do_resize", f.DoResize}, {"do_rescale", f.DoRescale}, {"do_normalize", f.DoNormalize}} {
		if step.on != nil && !*step.on {
			return fmt.Errorf("pixels: %s is false, which is not supported; expected true", step.key)
		}
	}
	return nil
}

func override[T any](value, given *T) {
	if given != nil {
		*value = *given
	}
}

func channels(value *[3]float32, key string, given []float32) error {
	switch len(given) {
	case 0:
		return nil
	case 3:
		*value = [3]float32(given)
		return nil
	}
	return fmt.Errorf("pixels: %s has %d numbers, expected 3", key, len(given))
}
