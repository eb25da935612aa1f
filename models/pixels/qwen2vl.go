package pixels

import (
	"errors"
	"fmt"
	"image"
	"math"
)

// Patches is one picture cut up for a vision tower.
type Patches struct {
	// Values is [N, Dim]. Of Qwen2-VL the patches go block by block of merge ×
	// merge, blocks in reading order and patches in reading order within a block,
	// so that N divided by merge² rows in a row make one token; inside a patch
	// the order is channel, time, row, column. Of LLaVA-OneVision they go view
	// by view in reading order; inside a patch channel, row, column.
	Values []float32
	N, Dim int // N: patches; Dim: 3 · temporal · patch · patch
	// GridTHW counts patches along time (of a still picture 1), height and width;
	// of LLaVA-OneVision views, and height and width of a view.
	GridTHW [3]int
	// Tiles are the rows and columns of LLaVA-OneVision's tiles behind the view of
	// the whole picture; zero where the picture isn't tiled.
	Tiles [2]int
	// Height and Width are LLaVA-OneVision's picture's own, in pixels.
	Height, Width int
}

// maxAspect is the longest side in terms of the shortest that Qwen2-VL accepts.
const maxAspect = 200

// SmartResize returns the size that Qwen2-VL resizes a picture of h × w pixels
// (height, width) to: multiples of factor near the picture's own size, within
// minPixels and maxPixels where the aspect ratio lets them
// (image_processing_qwen2_vl.py, smart_resize). Halves round to even. A side
// shorter than factor is allowed, as from release 4.53 on. Errors: no pixels, or
// one side more than 200 times the other.
func SmartResize(h, w, factor, minPixels, maxPixels int) (height, width int, err error) {
	if h < 1 || w < 1 {
		return 0, 0, fmt.Errorf("pixels: a picture of %d × %d pixels (height × width); expected at least 1 × 1", h, w)
	}
	if factor < 1 || minPixels < 1 || maxPixels < minPixels {
		return 0, 0, fmt.Errorf("pixels: cannot resize to multiples of %d within %d to %d pixels", factor, minPixels, maxPixels)
	}
	if float64(max(h, w))/float64(min(h, w)) > maxAspect {
		return 0, 0, fmt.Errorf("pixels: a picture of %d × %d pixels (height × width) is more than %d times as long as wide; cut it into parts", h, w, maxAspect)
	}
	fh, fw, f := float64(h), float64(w), float64(factor)
	nearest := func(side float64) int { return int(math.RoundToEven(side/f)) * factor }
	height, width = nearest(fh), nearest(fw)
	switch {
	case height*width > maxPixels:
		beta := math.Sqrt(fh * fw / float64(maxPixels))
		height = max(factor, int(math.Floor(fh/beta/f))*factor)
		width = max(factor, int(math.Floor(fw/beta/f))*factor)
	case height*width < minPixels:
		beta := math.Sqrt(float64(minPixels) / (fh * fw))
		height = int(math.Ceil(fh*beta/f)) * factor
		width = int(math.Ceil(fw*beta/f)) * factor
	}
	return height, width, nil
}

// Patches converts img to RGB, resizes it ([SmartResize], [ResizeBicubic]),
// rescales and normalizes it and cuts it up.
func (c *Config) Patches(img image.Image) (*Patches, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if img == nil {
		return nil, errors.New("pixels: no picture; expected an image.Image")
	}
	b := img.Bounds()
	height, width, err := SmartResize(b.Dy(), b.Dx(), c.PatchSize*c.MergeSize, c.MinPixels, c.MaxPixels)
	if err != nil {
		return nil, err
	}
	rgb, err := ResizeBicubic(ToRGB(img), width, height)
	if err != nil {
		return nil, err
	}
	return c.cut(rgb), nil
}

// cut normalizes a picture whose sides are multiples of patch · merge and puts
// its patches into the order that Patches documents.
func (c *Config) cut(rgb *RGB) *Patches {
	patch, temporal, merge := c.PatchSize, c.TemporalPatchSize, c.MergeSize
	rows, cols := rgb.Height/patch, rgb.Width/patch
	p := &Patches{N: rows * cols, Dim: 3 * temporal * patch * patch, GridTHW: [3]int{1, rows, cols}}
	p.Values = make([]float32, 0, p.N*p.Dim)
	table := c.Table()
	for block := range rows / merge * (cols / merge) {
		top, left := block/(cols/merge)*merge, block%(cols/merge)*merge
		for within := range merge * merge {
			y, x := (top+within/merge)*patch, (left+within%merge)*patch
			p.Values = appendPatch(p.Values, rgb, y, x, patch, temporal, table)
		}
	}
	return p
}

// appendPatch appends the values of the patch whose upper left pixel is (y, x).
func appendPatch(values []float32, rgb *RGB, y, x, patch, temporal int, table *[3][256]float32) []float32 {
	for c := range 3 {
		start := len(values)
		for dy := range patch {
			line := rgb.Pix[3*((y+dy)*rgb.Width+x):]
			for dx := range patch {
				values = append(values, table[c][line[3*dx+c]])
			}
		}
		still := values[start:]
		for range temporal - 1 {
			values = append(values, still...)
		}
	}
	return values
}
