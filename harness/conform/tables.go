package conform

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Names under which results of preprocessing are reported.
const preprocessing = "preprocessing"

// runTables compares the tables of resizing, target sizes and tilings.
func (f *folder) runTables() {
	var tables map[string]json.RawMessage
	if err := f.readJSON(tableFile, &tables); err != nil {
		f.fail(preprocessing, tableFile, err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		var t tally
		var err error
		switch size, anyres := strings.CutPrefix(name, "anyres_"); {
		case name == "resize_bicubic":
			err = eachRow(tables[name], t.resize)
		case name == "smart_resize":
			err = eachRow(tables[name], t.smartResize)
		case anyres:
			tile, convErr := strconv.Atoi(size)
			if err = convErr; err == nil {
				err = eachRow(tables[name], func(r anyResRow) { t.anyRes(tile, r) })
			}
		default:
			err = fmt.Errorf("unknown table; expected resize_bicubic, smart_resize or anyres_SIZE")
		}
		if err != nil {
			f.fail(preprocessing, name, err)
			continue
		}
		f.count(preprocessing, name, t)
	}
}

// eachRow decodes the rows of a table; an unknown column would be a check left out.
func eachRow[T any](data json.RawMessage, check func(T)) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	var rows []T
	if err := d.Decode(&rows); err != nil {
		return err
	}
	for _, r := range rows {
		check(r)
	}
	return nil
}

type resizeRow struct {
	Height   int      `json:"height"`
	Width    int      `json:"width"`
	ToHeight int      `json:"to_height"`
	ToWidth  int      `json:"to_width"`
	SHA256   string   `json:"sha256_of_output_bytes"`
	First    [3]uint8 `json:"first_pixel"`
	Middle   [3]uint8 `json:"middle_pixel"`
	Last     [3]uint8 `json:"last_pixel"`
}

func (t *tally) resize(r resizeRow) {
	got, err := pixels.ResizeBicubic(madeUp(r.Width, r.Height), r.ToWidth, r.ToHeight)
	if err != nil {
		t.check(false, "%d × %d: %v", r.Height, r.Width, err)
		return
	}
	sum := sha256.Sum256(got.Pix)
	pixel := func(y, x int) [3]uint8 { return [3]uint8(got.Pix[3*(y*got.Width+x):][:3]) }
	shown := [3][3]uint8{pixel(0, 0), pixel(got.Height/2, got.Width/2), pixel(got.Height-1, got.Width-1)}
	t.check(hex.EncodeToString(sum[:]) == r.SHA256 && shown == [3][3]uint8{r.First, r.Middle, r.Last},
		"%d × %d to %d × %d: pixels %v, expected %v", r.Height, r.Width, r.ToHeight, r.ToWidth, shown, [3][3]uint8{r.First, r.Middle, r.Last})
}

// madeUp is the picture of the resize_bicubic table.
func madeUp(width, height int) *pixels.RGB {
	p := pixels.NewRGB(width, height)
	for y := range height {
		for x := range width {
			i := 3 * (y*width + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8(7*x+13*y), uint8(x*x+3*y), uint8(5*(x>>3^y>>2))
		}
	}
	return p
}

type smartRow struct {
	Height        int `json:"height"`
	Width         int `json:"width"`
	Factor        int `json:"factor"`
	MinPixels     int `json:"min_pixels"`
	MaxPixels     int `json:"max_pixels"`
	ResizedHeight int `json:"resized_height"`
	ResizedWidth  int `json:"resized_width"`
}

func (t *tally) smartResize(r smartRow) {
	h, w, err := pixels.SmartResize(r.Height, r.Width, r.Factor, r.MinPixels, r.MaxPixels)
	t.check(err == nil && h == r.ResizedHeight && w == r.ResizedWidth, "%d × %d: %d × %d (%v), expected %d × %d", r.Height, r.Width, h, w, err, r.ResizedHeight, r.ResizedWidth)
}

type anyResRow struct {
	Height        int `json:"height"`
	Width         int `json:"width"`
	BestHeight    int `json:"best_height"`
	BestWidth     int `json:"best_width"`
	ResizedHeight int `json:"resized_height"`
	ResizedWidth  int `json:"resized_width"`
	PadTop        int `json:"pad_top"`
	PadBottom     int `json:"pad_bottom"`
	PadLeft       int `json:"pad_left"`
	PadRight      int `json:"pad_right"`
	Views         int `json:"tiles"` // the whole picture among them
	Rows          int `json:"rows_after_packing"`
	Columns       int `json:"columns_after_packing"`
	Tokens        int `json:"image_tokens"`
}

// The anyres table is of patches of 14 pixels, 1 to 6 tiles along a side and a
// maximum of 9 tiles.
const (
	tablePatch    = 14
	tableTiles    = 6
	tableMaxTiles = 9
)

func (t *tally) anyRes(tile int, r anyResRow) {
	var grids [][2]int
	for h := 1; h <= tableTiles; h++ {
		for w := 1; w <= tableTiles; w++ {
			grids = append(grids, [2]int{h * tile, w * tile})
		}
	}
	side := tile / tablePatch
	grid := pixels.BestGrid(r.Height, r.Width, grids)
	h, w := pixels.FitSize(r.Height, r.Width, grid)
	top, left := (grid[0]-h)/2, (grid[1]-w)/2
	tiles := [2]int{grid[0] / tile, grid[1] / tile}
	packed := pixels.Pack(r.Height, r.Width, tiles, side, tableMaxTiles)
	p := &pixels.Patches{GridTHW: [3]int{1 + tiles[0]*tiles[1], side, side}, Tiles: tiles, Height: r.Height, Width: r.Width}
	got := anyResRow{
		r.Height, r.Width, grid[0], grid[1], h, w, top, grid[0] - h - top, left, grid[1] - w - left,
		p.GridTHW[0], packed.Rows, packed.Cols, p.Features(tableMaxTiles),
	}
	t.check(got == r, "%+v, expected %+v", got, r)
}

// runResizeCases compares small pictures with their resized forms, and the numbers
// of all grey levels.
func (f *folder) runResizeCases() {
	file, err := safetensors.Open(filepath.Join(f.dir, resizeFile))
	if err != nil {
		f.fail(preprocessing, resizeFile, err)
		return
	}
	defer file.Close()
	for _, name := range file.Names() {
		switch {
		case strings.HasSuffix(name, ".output"):
			err = f.resizeCase(file, strings.TrimSuffix(name, ".output"))
		case strings.HasSuffix(name, ".input") && file.Has(strings.TrimSuffix(name, ".input")+".output"):
			continue // read with its output
		case strings.HasPrefix(name, "normalized."):
			err = f.greyLevels(file, name)
		default:
			err = fmt.Errorf("unknown tensor; expected case.N.input, case.N.output or normalized.FAMILY")
		}
		if err != nil {
			f.fail(preprocessing, name, err)
		}
	}
}

func (f *folder) resizeCase(file *safetensors.File, name string) error {
	in, err := readPicture(file, name+".input")
	if err != nil {
		return err
	}
	want, err := readPicture(file, name+".output")
	if err != nil {
		return err
	}
	got, err := pixels.ResizeBicubic(in, want.Width, want.Height)
	if err != nil {
		return err
	}
	c := Check{Fixture: f.dir, Case: preprocessing, Name: name, Kind: exact, Values: len(want.Pix)}
	for i, v := range want.Pix {
		c.MaxAbs = max(c.MaxAbs, math.Abs(float64(got.Pix[i])-float64(v)))
	}
	c.Pass = c.MaxAbs == 0
	f.report(c)
	return nil
}

// normalizations are the families' published means and deviations.
var normalizations = map[string]pixels.Normalization{
	"qwen2vl":         pixels.DefaultConfig().Normalization,
	"llava_onevision": {RescaleFactor: 1.0 / 255, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.5, 0.5, 0.5}},
}

// greyTolerance is absolute: one grey level is at least 0.0078.
const greyTolerance = 2e-6

func (f *folder) greyLevels(file *safetensors.File, name string) error {
	n, ok := normalizations[strings.TrimPrefix(name, "normalized.")]
	if !ok {
		return fmt.Errorf("unknown family; expected one of %v", slices.Sorted(maps.Keys(normalizations)))
	}
	want, err := readArray(file, name)
	if err != nil {
		return err
	}
	if !slices.Equal(want.shape, []int{3, 256}) || want.floats == nil {
		return fmt.Errorf("shape %v; expected numbers [3, 256]", want.shape)
	}
	table := n.Table()
	c := Check{Fixture: f.dir, Case: preprocessing, Name: name, Kind: absolute, Tolerance: greyTolerance}
	c.measure(floatArray(slices.Concat(table[0][:], table[1][:], table[2][:]), 3, 256), want)
	f.report(c)
	return nil
}

// readPicture reads a raw picture, U8 [height, width, 3].
func readPicture(f *safetensors.File, name string) (*pixels.RGB, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	if t.DType != safetensors.U8 || len(t.Shape) != 3 || t.Shape[2] != 3 {
		return nil, fmt.Errorf("%s is %s %v; expected a picture, U8 [height, width, 3]", name, t.DType, t.Shape)
	}
	return &pixels.RGB{Pix: slices.Clone(t.Data), Height: t.Shape[0], Width: t.Shape[1]}, nil
}
