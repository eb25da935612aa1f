package conform

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
)

// picture is one raw picture and what the processor makes of it.
type picture struct {
	row     int // of the batch
	rgb     *pixels.RGB
	patches *pixels.Patches
	views   *pixels.Views // LLaVA-OneVision
}

// loadPictures reads the raw pictures in their order and preprocesses them.
func (c *modelCase) loadPictures() error {
	var numbers []int
	for _, name := range c.inputs.Names() {
		if m := pictureName.FindStringSubmatch(name); m != nil && m[1] == c.prefix {
			numbers = append(numbers, suffixNumber(name))
		}
	}
	sort.Ints(numbers)
	var rows []int64
	if len(numbers) > 0 && c.inputs.Has(c.prefix+"image_row") {
		a, err := c.whole("image_row")
		if err != nil {
			return err
		}
		if rows = a.ints; len(rows) != len(numbers) {
			return fmt.Errorf("image_row names %d rows for %d pictures", len(rows), len(numbers))
		}
	}
	perRow := map[int]int{}
	for i, k := range numbers {
		if k != i {
			return fmt.Errorf("pictures %v; expected them numbered from 0 on", numbers)
		}
		p := &picture{}
		if rows != nil {
			p.row = int(rows[i])
		}
		var err error
		if p.rgb, err = readPicture(c.inputs, fmt.Sprintf("%simage.%d", c.prefix, k)); err != nil {
			return err
		}
		perRow[p.row]++
		c.pictures = append(c.pictures, p)
	}
	for i, p := range c.pictures {
		if err := c.preprocess(i, p, perRow[p.row] == 1); err != nil {
			return fmt.Errorf("picture %d: %w", i, err)
		}
	}
	return nil
}

// preprocess makes a picture's patches. Whether LLaVA-OneVision tiles a picture that
// is not alone in its prompt depends on the library's release; the file's own number
// of views tells which one made it.
func (c *modelCase) preprocess(i int, p *picture, alone bool) (err error) {
	switch config := c.r.Model.Pixels.(type) {
	case *pixels.Config:
		p.patches, err = config.Patches(p.rgb)
	case *pixels.AnyRes:
		tiled, err := c.tiled(i, alone)
		if err != nil {
			return err
		}
		if p.views, err = config.Views(p.rgb, tiled); err != nil {
			return err
		}
		p.patches = p.views.Patches(config.PatchSize)
	default:
		err = fmt.Errorf("a %s model reads no pictures", c.r.Model.Config.Family)
	}
	return err
}

// tiled tells whether the file's picture i has more than one view that isn't padding.
func (c *modelCase) tiled(i int, alone bool) (bool, error) {
	file := c.inputs
	if !file.Has(c.prefix + "pixel_values") {
		file = c.expected
	}
	if !file.Has(c.prefix + "pixel_values") {
		return alone, nil
	}
	a, err := c.read(file, "pixel_values")
	if err != nil {
		return false, err
	}
	if len(a.shape) != 5 || a.shape[0] != len(c.pictures) || a.floats == nil {
		return false, fmt.Errorf("pixel_values has shape %v; expected [%d pictures, views, 3, side, side]", a.shape, len(c.pictures))
	}
	if a.shape[1] < 2 {
		return false, nil
	}
	view := len(a.floats) / a.shape[0] / a.shape[1]
	second := a.floats[(i*a.shape[1]+1)*view:][:view]
	return slices.ContainsFunc(second, func(v float32) bool { return v != 0 }), nil
}

// vision runs the vision tower on all pictures together.
func (c *modelCase) vision(got results) error {
	c.pixelResults(got)
	list := make([]*pixels.Patches, len(c.pictures))
	for i, p := range c.pictures {
		list[i] = p.patches
	}
	res, err := c.r.Vision(list)
	if err != nil {
		return err
	}
	v := &c.r.Model.Config.Vision
	hidden := c.r.Model.Config.Text.Hidden
	// Qwen2-VL's patches lie one behind the other; LLaVA-OneVision's by view.
	shape := func(x []float32, width int) []int {
		if c.pictures[0].views == nil {
			return []int{len(x) / width, width}
		}
		n := list[0].GridTHW[1] * list[0].GridTHW[2]
		return []int{len(x) / width / n, n, width}
	}
	join := func(of func(*models.VisionResult) []float32) []float32 {
		var all []float32
		for _, r := range res {
			all = append(all, of(r)...)
		}
		return all
	}
	add := func(name string, width int, of func(*models.VisionResult) []float32) {
		x := join(of)
		got[name] = floatArray(x, shape(x, width)...)
	}
	for k := range res[0].Hidden {
		add(fmt.Sprintf("vision.hidden.%d", k), v.Hidden, func(r *models.VisionResult) []float32 { return r.Hidden[k] })
	}
	add("vision_tower.output", v.Hidden, func(r *models.VisionResult) []float32 { return r.Output })
	features := join(func(r *models.VisionResult) []float32 { return r.Features })
	got["image_features"] = floatArray(features, len(features)/hidden, hidden)
	if c.pictures[0].views != nil {
		add("projector.output", hidden, func(r *models.VisionResult) []float32 { return r.Rows })
		return nil
	}
	var angles []float32
	for _, p := range list {
		for _, a := range v.RotaryAngles(p.GridTHW) {
			angles = append(angles, float32(a))
		}
	}
	half := v.HeadDim() / 2
	got["vision.rotary_angles"] = floatArray(angles, len(angles)/half, half)
	return nil
}

// pixelResults are the processor's tensors: views padded with zero views to the
// largest number, or patches one behind the other.
func (c *modelCase) pixelResults(got results) {
	n := len(c.pictures)
	if c.pictures[0].views == nil {
		var values []float32
		var grids []int64
		for _, p := range c.pictures {
			values = append(values, p.patches.Values...)
			for _, g := range p.patches.GridTHW {
				grids = append(grids, int64(g))
			}
		}
		dim := c.pictures[0].patches.Dim
		got["pixel_values"] = floatArray(values, len(values)/dim, dim)
		got["image_grid_thw"] = intArray(grids, n, 3)
		return
	}
	most := 0
	for _, p := range c.pictures {
		most = max(most, p.views.N)
	}
	side := c.pictures[0].views.Side
	stride := most * 3 * side * side
	values := make([]float32, n*stride)
	var sizes []int64
	for i, p := range c.pictures {
		copy(values[i*stride:], p.views.Values)
		sizes = append(sizes, int64(p.views.Height), int64(p.views.Width))
	}
	got["pixel_values"] = floatArray(values, n, most, 3, side, side)
	got["image_sizes"] = intArray(sizes, n, 2)
}

// logProb is log softmax(scores)[target] in float64.
func logProb(scores []float32, target int32) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range scores {
		top = math.Max(top, float64(v))
	}
	for _, v := range scores {
		sum += math.Exp(float64(v) - top)
	}
	return float64(scores[target]) - top - math.Log(sum)
}
