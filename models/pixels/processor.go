package pixels

import (
	"fmt"
	"image"
)

// Processor prepares pictures for a family's vision tower. [Config] is Qwen2-VL's.
type Processor interface {
	// Process converts, resizes, normalizes and cuts the pictures of one prompt,
	// which come back in their order. The error names the picture.
	Process(images []image.Image) ([]*Patches, error)
}

// Process makes the patches of each picture; Qwen2-VL treats all alike.
func (c *Config) Process(images []image.Image) ([]*Patches, error) {
	list := make([]*Patches, len(images))
	for i, img := range images {
		var err error
		if list[i], err = c.Patches(img); err != nil {
			return nil, fmt.Errorf("picture %d: %w", i+1, err)
		}
	}
	return list, nil
}
