package pixels

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// anyResFile is LLaVA-OneVision's preprocessor_config.json; nil where a key is left
// out.
type anyResFile struct {
	Type        *string   `json:"image_processor_type,omitempty"`
	Resample    *int      `json:"resample,omitempty"`
	DoResize    *bool     `json:"do_resize,omitempty"`
	DoRescale   *bool     `json:"do_rescale,omitempty"`
	DoNormalize *bool     `json:"do_normalize,omitempty"`
	Rescale     *float64  `json:"rescale_factor"`
	Mean        []float64 `json:"image_mean"`
	Std         []float64 `json:"image_std"`
	Grids       [][]int   `json:"image_grid_pinpoints"`
	Size        *viewSize `json:"size"`
}

// viewSize is height and width, or one number for both.
type viewSize struct {
	Height       *int `json:"height,omitempty"`
	Width        *int `json:"width,omitempty"`
	ShortestEdge *int `json:"shortest_edge,omitempty"`
}

// UnmarshalJSON reads an object or one number.
func (s *viewSize) UnmarshalJSON(data []byte) error {
	var one int
	if json.Unmarshal(data, &one) == nil {
		s.ShortestEdge = &one
		return nil
	}
	type plain viewSize
	return json.Unmarshal(data, (*plain)(s))
}

// ParseAnyRes reads the bytes of LLaVA-OneVision's preprocessor_config.json for a
// vision tower with patches of the given side. Keys left out get the published code's
// values: views of 384 pixels, [PublishedGrids], CLIP's mean and deviation. A file of
// another processor, another resampling filter, views that aren't square or a step
// switched off is refused by name.
func ParseAnyRes(data []byte, patch int) (*AnyRes, error) {
	var f anyResFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("pixels: not a preprocessor_config.json: %w", err)
	}
	steps := configFile{Type: f.Type, Resample: f.Resample, DoResize: f.DoResize, DoRescale: f.DoRescale, DoNormalize: f.DoNormalize}
	if err := steps.supported("LlavaOnevisionImageProcessor", "LlavaOnevisionImageProcessorFast"); err != nil {
		return nil, err
	}
	c := &AnyRes{Normalization: DefaultConfig().Normalization, Size: 384, Grids: PublishedGrids(), PatchSize: patch}
	override(&c.RescaleFactor, f.Rescale)
	mean, std := float32s(f.Mean), float32s(f.Std)
	if err := errors.Join(channels(&c.Mean, "image_mean", mean), channels(&c.Std, "image_std", std)); err != nil {
		return nil, err
	}
	c.setBackground(f.Mean)
	if err := c.setShapes(&f); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func float32s(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// setBackground takes the mean colour in bytes, without its fraction.
func (c *AnyRes) setBackground(mean []float64) {
	for i := range 3 {
		v := float64(c.Mean[i])
		if len(mean) == 3 {
			v = mean[i]
		}
		c.Background[i] = uint8(min(max(v*255, 0), 255))
	}
}

func (c *AnyRes) setShapes(f *anyResFile) error {
	if s := f.Size; s != nil {
		h, w := s.Height, s.Width
		if h == nil || w == nil {
			h, w = s.ShortestEdge, s.ShortestEdge
		}
		if h == nil {
			return errors.New("pixels: size has neither height and width nor shortest_edge")
		}
		if *h != *w {
			return fmt.Errorf("pixels: size is %d × %d (height × width), which is not supported; expected a square", *h, *w)
		}
		c.Size = *h
	}
	if f.Grids == nil {
		return nil
	}
	c.Grids = nil
	for _, g := range f.Grids {
		if len(g) != 2 {
			return fmt.Errorf("pixels: image_grid_pinpoints has %v, expected pairs of height and width", g)
		}
		c.Grids = append(c.Grids, [2]int(slices.Clone(g)))
	}
	return nil
}

// shortest is the number that a float32's shortest decimal form stands for.
func shortest(v float32) float64 {
	d, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil {
		panic("pixels: " + err.Error())
	}
	return d
}

// MarshalJSON writes the settings as a preprocessor_config.json, which [ParseAnyRes]
// reads. The patches' side belongs to the model's config.
func (c *AnyRes) MarshalJSON() ([]byte, error) {
	name, on, cubic := "LlavaOnevisionImageProcessor", true, 3
	f := anyResFile{
		Type: &name, Resample: &cubic, DoResize: &on, DoRescale: &on, DoNormalize: &on, Rescale: &c.RescaleFactor,
		Size: &viewSize{Height: &c.Size, Width: &c.Size},
	}
	for i := range 3 {
		f.Mean, f.Std = append(f.Mean, shortest(c.Mean[i])), append(f.Std, shortest(c.Std[i]))
	}
	for _, g := range c.Grids {
		f.Grids = append(f.Grids, g[:])
	}
	return json.Marshal(f)
}
