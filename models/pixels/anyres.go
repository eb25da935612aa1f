package pixels

import (
	"errors"
	"fmt"
	"image"
	"math"
	"strconv"
)

// AnyRes holds the settings of LLaVA-OneVision's image processor: a picture is
// seen once as a whole, squeezed to a square, and once more in tiles of that size,
// set on the grid that suits its shape best.
type AnyRes struct {
	Normalization
	// Size is the side of a view in pixels.
	Size int
	// Grids are the shapes that a tiled picture may take, (height, width) in
	// pixels, multiples of Size.
	Grids [][2]int
	// Background is the colour around a picture that isn't tiled.
	Background [3]uint8
	// PatchSize is the side of a patch in pixels, which the vision tower decides.
	// What is left over at the right and the bottom of a view is not seen.
	PatchSize int
}

// maxViews bounds the tiles of a picture.
const maxViews = 1 << 10

// PublishedGrids are the 36 shapes of the released checkpoints: 1 to 6 tiles of
// 384 pixels along either side.
func PublishedGrids() [][2]int {
	var list [][2]int
	for h := 1; h <= 6; h++ {
		for w := 1; w <= 6; w++ {
			list = append(list, [2]int{384 * h, 384 * w})
		}
	}
	return list
}

// Validate reports the first setting that is not usable.
func (c *AnyRes) Validate() error {
	if err := c.Normalization.Validate(); err != nil {
		return err
	}
	if c.Size < 1 || c.Size > 1<<13 {
		return fmt.Errorf("pixels: size is %d, expected 1 to %d", c.Size, 1<<13)
	}
	if c.PatchSize < 1 || c.PatchSize > c.Size {
		return fmt.Errorf("pixels: patch_size is %d, expected 1 to the view's size of %d", c.PatchSize, c.Size)
	}
	if len(c.Grids) == 0 {
		return errors.New("pixels: image_grid_pinpoints is empty; expected pairs of height and width")
	}
	for _, g := range c.Grids {
		h, w := g[0]/c.Size, g[1]/c.Size
		if h < 1 || w < 1 || h*c.Size != g[0] || w*c.Size != g[1] || h > maxViews || w > maxViews/h {
			return fmt.Errorf("pixels: image_grid_pinpoints has %d × %d (height × width); expected multiples of the view's size %d, at most %d views", g[0], g[1], c.Size, maxViews)
		}
	}
	return nil
}

// Views is a picture as the views that a vision tower sees one by one.
type Views struct {
	// Values is [N, 3, Side, Side]: view, channel, row, column. View 0 is the
	// whole picture, tiles follow in reading order.
	Values  []float32
	N, Side int
	// Tiles are the rows and columns of the grid of tiles; zero where the picture
	// is not tiled.
	Tiles [2]int
	// Height and Width are the picture's own, in pixels.
	Height, Width int
}

// Process prepares the pictures of one prompt. A single picture is tiled; of
// several each is one view, as releases of the library from 4.53 on have it.
func (c *AnyRes) Process(images []image.Image) ([]*Patches, error) {
	list := make([]*Patches, len(images))
	for i, img := range images {
		v, err := c.Views(img, len(images) == 1)
		if err != nil {
			return nil, fmt.Errorf("picture %d: %w", i+1, err)
		}
		list[i] = v.Patches(c.PatchSize)
	}
	return list, nil
}

// Views converts img to RGB and makes its views (image_processing_llava_onevision.py):
// the whole picture, resized to a square; then, tiled, the picture resized to fit
// the best grid, centred on black, and cut into tiles. Not tiled, its only view is
// the picture on a square of the background colour, resized.
func (c *AnyRes) Views(img image.Image, tiled bool) (*Views, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if img == nil {
		return nil, errors.New("pixels: no picture; expected an image.Image")
	}
	rgb := ToRGB(img)
	if err := rgb.check(); err != nil {
		return nil, err
	}
	v := &Views{Side: c.Size, Height: rgb.Height, Width: rgb.Width}
	first := rgb
	if !tiled {
		first = onSquare(rgb, c.Background)
	}
	whole, err := ResizeBicubic(first, c.Size, c.Size)
	if err != nil {
		return nil, err
	}
	table := c.Table()
	v.add(whole, 0, 0, table)
	if !tiled {
		return v, nil
	}
	grid := BestGrid(rgb.Height, rgb.Width, c.Grids)
	canvas, err := fit(rgb, grid)
	if err != nil {
		return nil, err
	}
	v.Tiles = [2]int{grid[0] / c.Size, grid[1] / c.Size}
	for row := range v.Tiles[0] {
		for col := range v.Tiles[1] {
			v.add(canvas, row*c.Size, col*c.Size, table)
		}
	}
	return v, nil
}

// add appends the view whose upper left pixel in p is (top, left).
func (v *Views) add(p *RGB, top, left int, table *[3][256]float32) {
	for c := range 3 {
		for y := range v.Side {
			line := p.Pix[3*((top+y)*p.Width+left):]
			for x := range v.Side {
				v.Values = append(v.Values, table[c][line[3*x+c]])
			}
		}
	}
	v.N++
}

// Patches cuts the views into patches of the given side, in reading order within
// a view; inside a patch the order is channel, row, column.
func (v *Views) Patches(patch int) *Patches {
	side := v.Side / patch
	p := &Patches{
		N: v.N * side * side, Dim: 3 * patch * patch, GridTHW: [3]int{v.N, side, side},
		Tiles: v.Tiles, Height: v.Height, Width: v.Width,
	}
	p.Values = make([]float32, 0, p.N*p.Dim)
	for n := range v.N {
		for row := range side {
			for col := range side {
				for c := range 3 {
					for y := range patch {
						at := ((n*3+c)*v.Side+row*patch+y)*v.Side + col*patch
						p.Values = append(p.Values, v.Values[at:at+patch]...)
					}
				}
			}
		}
	}
	return p
}

// onSquare sets a picture in the middle of a square as large as its longer side.
func onSquare(src *RGB, background [3]uint8) *RGB {
	side := max(src.Width, src.Height)
	out := NewRGB(side, side)
	for i := range out.Pix {
		out.Pix[i] = background[i%3]
	}
	out.paste(src, (side-src.Height)/2, (side-src.Width)/2)
	return out
}

// paste copies src into p with its upper left pixel at (top, left).
func (p *RGB) paste(src *RGB, top, left int) {
	for y := range src.Height {
		copy(p.Pix[3*((top+y)*p.Width+left):], src.Pix[3*y*src.Width:3*(y+1)*src.Width])
	}
}

// BestGrid chooses the shape, (height, width), that keeps most of the pixels of an
// h × w picture after it is scaled to fit, and among equals the one that wastes
// fewest; earlier shapes win ties (image_processing_utils.py,
// select_best_resolution).
func BestGrid(h, w int, grids [][2]int) [2]int {
	var best [2]int
	most, least := 0, math.MaxInt
	for _, g := range grids {
		scale := min(float64(g[1])/float64(w), float64(g[0])/float64(h))
		kept := min(int(float64(w)*scale)*int(float64(h)*scale), w*h)
		wasted := g[0]*g[1] - kept
		if kept > most || kept == most && wasted < least {
			most, least, best = kept, wasted, g
		}
	}
	return best
}

// FitSize is the size, (height, width), of an h × w picture that fills a grid as
// far as its shape allows; the shorter side is rounded up.
func FitSize(h, w int, grid [2]int) (height, width int) {
	scaleW, scaleH := float64(grid[1])/float64(w), float64(grid[0])/float64(h)
	if scaleW < scaleH {
		return min(int(math.Ceil(float64(h)*scaleW)), grid[0]), grid[1]
	}
	return grid[0], min(int(math.Ceil(float64(w)*scaleH)), grid[1])
}

// fit resizes a picture to a grid and centres it on black; an odd row or column of
// padding is at the bottom or right.
func fit(src *RGB, grid [2]int) (*RGB, error) {
	h, w := FitSize(src.Height, src.Width, grid)
	resized, err := ResizeBicubic(src, w, h)
	if err != nil {
		return nil, err
	}
	canvas := NewRGB(grid[1], grid[0])
	canvas.paste(resized, (grid[0]-h)/2, (grid[1]-w)/2)
	return canvas, nil
}

// PackedGrid is the part of a tiled picture's features that stays: of the rows and
// columns of all tiles together, [top, top+rows) × [left, left+cols) hold the
// picture, and what is above the maximum is shrunk to Rows × Cols.
type PackedGrid struct {
	top, left, height, width int // the picture's part of the tiles
	Rows, Cols               int // after shrinking
}

// Pack computes the packing of an h × w picture of which side × side features per
// tile come (modeling_llava_onevision.py, unpad_image and pack_image_features):
// padding is cut off, its extent computed with floor after rounding to 7 digits;
// above 1.1 times the size of maxTiles tiles the rest is shrunk to that size.
func Pack(h, w int, tiles [2]int, side, maxTiles int) PackedGrid {
	p := PackedGrid{height: tiles[0] * side, width: tiles[1] * side}
	if float64(w)/float64(h) > float64(p.width)/float64(p.height) {
		kept := floor7(float64(h) * (float64(p.width) / float64(w)))
		p.top = (p.height - kept) / 2
		p.height -= 2 * p.top
	} else {
		kept := floor7(float64(w) * (float64(p.height) / float64(h)))
		p.left = (p.width - kept) / 2
		p.width -= 2 * p.left
	}
	p.Rows, p.Cols = p.height, p.width
	ratio := math.Sqrt(float64(p.height*p.width) / float64(maxTiles*side*side))
	if ratio > 1.1 {
		p.Rows, p.Cols = floorDivide(p.height, ratio), floorDivide(p.width, ratio)
	}
	return p
}

// floor7 is x without its fraction, after rounding to 7 decimal digits as Python's
// round does: of the exact binary value.
func floor7(x float64) int {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 7, 64), 64)
	if err != nil {
		panic("pixels: " + err.Error())
	}
	return int(rounded)
}

// floorDivide is Python's a // b for floats, which doesn't round the quotient up
// to an integer that it falls short of.
func floorDivide(a int, b float64) int {
	return int(math.Round((float64(a) - math.Mod(float64(a), b)) / b))
}

// Tap is a weighted feature of a tiled picture.
type Tap struct {
	Row    int // among the rows of all views
	Weight float32
}

// Packed is a row of a picture's packed features: a weighted sum of the projector's
// rows, or, without taps, the newline vector.
type Packed []Tap

// Packing lists the rows that stand for a picture in the prompt: those of the
// whole picture, then the tiles' in reading order over the picture, every row of the
// grid closed by the newline vector. A picture that isn't tiled has its one view
// and a newline. maxTiles bounds the tiles' part ([Pack]).
func (p *Patches) Packing(maxTiles int) []Packed {
	side := p.GridTHW[1]
	var list []Packed
	for i := range side * side {
		list = append(list, Packed{{i, 1}})
	}
	if p.Tiles[0] == 0 {
		return append(list, nil)
	}
	g := Pack(p.Height, p.Width, p.Tiles, side, maxTiles)
	at := func(y, x int) int { // the feature's row among all views
		y, x = y+g.top, x+g.left
		view := 1 + y/side*p.Tiles[1] + x/side
		return view*side*side + y%side*side + x%side
	}
	ys, xs := bilinear(g.height, g.Rows), bilinear(g.width, g.Cols)
	for _, y := range ys {
		for _, x := range xs {
			list = append(list, blend(y, x, at))
		}
		list = append(list, nil)
	}
	return list
}

// Features is the number of rows that stand for a picture in the prompt: the
// length of [Patches.Packing].
func (p *Patches) Features(maxTiles int) int {
	side := p.GridTHW[1]
	if p.Tiles[0] == 0 {
		return side*side + 1
	}
	g := Pack(p.Height, p.Width, p.Tiles, side, maxTiles)
	return side*side + g.Rows*(g.Cols+1)
}

// between is a place along an axis: between the elements low and high, with the
// weight of high.
type between struct {
	low, high int
	weight    float32
}

// bilinear gives the places of out elements along an axis of in: half-pixel
// centres, no antialiasing (torch.nn.functional.interpolate, align_corners false),
// in float32 as there.
func bilinear(in, out int) []between {
	list := make([]between, out)
	scale := float32(in) / float32(out)
	for i := range list {
		place := max(scale*(float32(i)+0.5)-0.5, 0)
		low := min(int(place), in-1)
		list[i] = between{low: low, high: min(low+1, in-1), weight: place - float32(low)}
	}
	if in == out {
		for i := range list {
			list[i] = between{low: i, high: i}
		}
	}
	return list
}

// blend makes the taps of one place; weights of zero are left out.
func blend(y, x between, at func(y, x int) int) Packed {
	var row Packed
	for _, v := range []struct {
		y, x   int
		weight float32
	}{
		{y.low, x.low, (1 - y.weight) * (1 - x.weight)},
		{y.low, x.high, (1 - y.weight) * x.weight},
		{y.high, x.low, y.weight * (1 - x.weight)},
		{y.high, x.high, y.weight * x.weight},
	} {
		if v.weight != 0 {
			row = append(row, Tap{at(v.y, v.x), v.weight})
		}
	}
	return row
}
