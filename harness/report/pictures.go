package report

import (
	"bytes"
	"fmt"
	"image"
	_ "image/png" // pictures of token maps
	"os"
	"path/filepath"

	"github.com/tlqlab/tlqlab/harness"
)

// picture reads the image below a token map; nil where it cannot be had.
func (r *run) picture(t *harness.TokenMap, where string) image.Image {
	if t.Image == "" {
		return nil
	}
	img, err := readImage(r.dir, t.Image)
	if err != nil {
		r.leaveOut("the picture below the token importance "+where, t.Image, err)
		return nil
	}
	return img
}

// maxPixels bounds the pictures that are decoded: a small file may claim any
// size.
const maxPixels = 1 << 26

func readImage(dir, name string) (image.Image, error) {
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return nil, fmt.Errorf("%q: expected a path inside the run's folder", name)
	}
	data, err := os.ReadFile(filepath.Join(dir, local))
	if err != nil {
		return nil, err
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err == nil && config.Width*config.Height > maxPixels {
		err = fmt.Errorf("%d × %d pixels: at most %d in all", config.Width, config.Height, maxPixels)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return img, nil
}
