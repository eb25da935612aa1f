package pixels

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Fixtures of the checkout; testdata holds copies of some for runs without them.
const shared = "../../../shared/fixtures/models"

// pixelTolerance is absolute. The same float32 operations give the same bits; one
// grey level off shows as at least 0.0078.
const pixelTolerance = 2e-6

func readPicture(t *testing.T, f *safetensors.File, name string) *RGB {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	if x.DType != safetensors.U8 || len(x.Shape) != 3 || x.Shape[2] != 3 {
		t.Fatalf("%s is %s %v, no RGB picture", name, x.DType, x.Shape)
	}
	return &RGB{Pix: slices.Clone(x.Data), Height: x.Shape[0], Width: x.Shape[1]}
}

func open(t *testing.T, path string) *safetensors.File {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func tableFolders() []string {
	folders := []string{"testdata"}
	if exists(filepath.Join(shared, "preprocessing")) {
		folders = append(folders, filepath.Join(shared, "preprocessing"))
	}
	return folders
}

type tables struct {
	ResizeBicubic []struct {
		Height, Width                      int
		ToHeight                           int    `json:"to_height"`
		ToWidth                            int    `json:"to_width"`
		SHA256                             string `json:"sha256_of_output_bytes"`
		FirstPixel, MiddlePixel, LastPixel [3]uint8
	} `json:"resize_bicubic"`
	SmartResize []struct {
		Height, Width, Factor int
		MinPixels             int `json:"min_pixels"`
		MaxPixels             int `json:"max_pixels"`
		ResizedHeight         int `json:"resized_height"`
		ResizedWidth          int `json:"resized_width"`
	} `json:"smart_resize"`
	AnyRes []struct {
		Height, Width int
		BestHeight    int `json:"best_height"`
		BestWidth     int `json:"best_width"`
		ResizedHeight int `json:"resized_height"`
		ResizedWidth  int `json:"resized_width"`
		PadTop        int `json:"pad_top"`
		PadLeft       int `json:"pad_left"`
		Tiles         int // views, the whole picture among them
		Rows          int `json:"rows_after_packing"`
		Columns       int `json:"columns_after_packing"`
		Tokens        int `json:"image_tokens"`
	} `json:"anyres_384"`
}

func readTables(t *testing.T, dir string) tables {
	t.Helper()
	var out tables
	data, err := os.ReadFile(filepath.Join(dir, "tables.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.ResizeBicubic) == 0 || len(out.SmartResize) == 0 || len(out.AnyRes) == 0 {
		t.Fatalf("%s: empty tables", dir)
	}
	return out
}

// madeUp is the picture of the resize_bicubic table.
func madeUp(width, height int) *RGB {
	p := NewRGB(width, height)
	for y := range height {
		for x := range width {
			i := 3 * (y*width + x)
			p.Pix[i], p.Pix[i+1], p.Pix[i+2] = uint8(7*x+13*y), uint8(x*x+3*y), uint8(5*(x>>3^y>>2))
		}
	}
	return p
}

func TestResizeBicubicIsPillows(t *testing.T) {
	for _, dir := range tableFolders() {
		for _, c := range readTables(t, dir).ResizeBicubic {
			got, err := ResizeBicubic(madeUp(c.Width, c.Height), c.ToWidth, c.ToHeight)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(got.Pix)
			if hex.EncodeToString(sum[:]) != c.SHA256 {
				t.Errorf("%d×%d to %d×%d: bytes differ from Pillow's", c.Width, c.Height, c.ToWidth, c.ToHeight)
			}
		}
		f := open(t, filepath.Join(dir, "resize_cases.safetensors"))
		cases := 0
		for ; f.Has(fmt.Sprintf("case.%d.input", cases)); cases++ {
			in := readPicture(t, f, fmt.Sprintf("case.%d.input", cases))
			want := readPicture(t, f, fmt.Sprintf("case.%d.output", cases))
			got, err := ResizeBicubic(in, want.Width, want.Height)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Pix, want.Pix) {
				t.Errorf("case %d: bytes differ from Pillow's", cases)
			}
		}
		if cases < 5 {
			t.Errorf("%s: only %d resize cases", dir, cases)
		}
	}
}

func TestSmartResizeIsQwen2VLs(t *testing.T) {
	for _, dir := range tableFolders() {
		for _, c := range readTables(t, dir).SmartResize {
			h, w, err := SmartResize(c.Height, c.Width, c.Factor, c.MinPixels, c.MaxPixels)
			if err != nil || h != c.ResizedHeight || w != c.ResizedWidth {
				t.Errorf("SmartResize(%d, %d, %d, %d, %d) = %d, %d, %v, want %d, %d", c.Height, c.Width, c.Factor, c.MinPixels, c.MaxPixels, h, w, err, c.ResizedHeight, c.ResizedWidth)
			}
		}
	}
}

func TestAnyResIsLlavaOneVisions(t *testing.T) {
	const tile, side, maxTiles = 384, 27, 9
	for _, dir := range tableFolders() {
		for _, c := range readTables(t, dir).AnyRes {
			grid := BestGrid(c.Height, c.Width, PublishedGrids())
			h, w := FitSize(c.Height, c.Width, grid)
			tiles := [2]int{grid[0] / tile, grid[1] / tile}
			p := Pack(c.Height, c.Width, tiles, side, maxTiles)
			patches := &Patches{Tiles: tiles, Height: c.Height, Width: c.Width, GridTHW: [3]int{1 + tiles[0]*tiles[1], side, side}}
			got := []int{grid[0], grid[1], h, w, (grid[0] - h) / 2, (grid[1] - w) / 2, 1 + tiles[0]*tiles[1], p.Rows, p.Cols, patches.Features(maxTiles), len(patches.Packing(maxTiles))}
			want := []int{c.BestHeight, c.BestWidth, c.ResizedHeight, c.ResizedWidth, c.PadTop, c.PadLeft, c.Tiles, c.Rows, c.Columns, c.Tokens, c.Tokens}
			if !slices.Equal(got, want) {
				t.Errorf("%d × %d: %v, want %v", c.Height, c.Width, got, want)
			}
		}
	}
}

func TestNormalizedGreyLevels(t *testing.T) {
	half := [3]float32{0.5, 0.5, 0.5}
	families := map[string]*Normalization{
		"normalized.qwen2vl":         &DefaultConfig().Normalization,
		"normalized.llava_onevision": {RescaleFactor: 1.0 / 255, Mean: half, Std: half},
	}
	for _, dir := range tableFolders() {
		f := open(t, filepath.Join(dir, "resize_cases.safetensors"))
		for name, n := range families {
			x, err := f.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			want, err := x.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			table := n.Table()
			for i, w := range want {
				if got := table[i/256][i%256]; math.Abs(float64(got-w)) > pixelTolerance {
					t.Errorf("%s: channel %d, grey level %d: %v, want %v", name, i/256, i%256, got, w)
				}
			}
		}
	}
}

func TestPatchesAreHuggingFaces(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(shared, "qwen2vl*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(folders, "testdata") {
		c, err := LoadConfig(filepath.Join(dir, "preprocessor_config.json"))
		if err != nil {
			t.Fatal(err)
		}
		pictures := comparePatches(t, c, filepath.Join(dir, "inputs.safetensors"), filepath.Join(dir, "inputs.safetensors"), "")
		if extra := filepath.Join(dir, "extra_inputs.safetensors"); exists(extra) {
			for _, name := range open(t, extra).Names() {
				prefix, _ := strings.CutSuffix(name, "image.0")
				pictures += comparePatches(t, c, extra, filepath.Join(dir, "extra_expected.safetensors"), prefix)
			}
		}
		if pictures == 0 {
			t.Errorf("%s: no pictures", dir)
		}
	}
}

// TestViewsAreHuggingFaces compares the views of a whole picture and its tiles, and
// of pictures that are not tiled.
func TestViewsAreHuggingFaces(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(shared, "llava*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(folders, "../testdata/llava-onevision-bf16-anyres") {
		data, err := os.ReadFile(filepath.Join(dir, "preprocessor_config.json"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseAnyRes(data, 6)
		if err != nil {
			t.Fatal(err)
		}
		compareViews(t, c, filepath.Join(dir, "inputs.safetensors"), filepath.Join(dir, "inputs.safetensors"), "")
		if extra := filepath.Join(dir, "extra_inputs.safetensors"); exists(extra) {
			for _, name := range open(t, extra).Names() {
				if prefix, ok := strings.CutSuffix(name, "image.0"); ok {
					compareViews(t, c, extra, filepath.Join(dir, "extra_expected.safetensors"), prefix)
				}
			}
		}
	}
}

// compareViews compares the views of a case's pictures; those with fewer views than
// the others are padded with zeros in the file. Copies in testdata lack some cases.
func compareViews(t *testing.T, c *AnyRes, inputs, expected, prefix string) {
	t.Helper()
	f, wanted := open(t, inputs), open(t, expected)
	if !wanted.Has(prefix + "pixel_values") {
		return
	}
	x, err := wanted.Tensor(prefix + "pixel_values")
	if err != nil {
		t.Fatal(err)
	}
	want, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	stride := len(want) / x.Shape[0]
	for k := range x.Shape[0] {
		v, err := c.Views(readPicture(t, f, fmt.Sprintf("%simage.%d", prefix, k)), x.Shape[0] == 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Values) > stride || x.Shape[0] == 1 && len(v.Values) != stride {
			t.Fatalf("%s %s: picture %d has %d values, want %d", inputs, prefix, k, len(v.Values), stride)
		}
		worst := 0.0
		for i, got := range v.Values {
			worst = max(worst, math.Abs(float64(got-want[k*stride+i])))
		}
		if worst > pixelTolerance {
			t.Errorf("%s %s: pixel values differ by %g, tolerance %g", inputs, prefix, worst, pixelTolerance)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// comparePatches compares the patches of all pictures of a case, which lie one
// after the other, and returns the number of pictures. The case's name is the
// tensors' prefix.
func comparePatches(t *testing.T, c *Config, inputs, expected, prefix string) int {
	t.Helper()
	f, wanted := open(t, inputs), open(t, expected)
	path := inputs + " " + prefix
	var values []float32
	var grid []int64
	pictures := 0
	for ; f.Has(fmt.Sprintf("%simage.%d", prefix, pictures)); pictures++ {
		p, err := c.Patches(readPicture(t, f, fmt.Sprintf("%simage.%d", prefix, pictures)))
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Values) != p.N*p.Dim {
			t.Errorf("%s: %d values, but N %d and Dim %d", path, len(p.Values), p.N, p.Dim)
		}
		values = append(values, p.Values...)
		for _, g := range p.GridTHW {
			grid = append(grid, int64(g))
		}
	}
	x, err := wanted.Tensor(prefix + "pixel_values")
	if err != nil {
		t.Fatal(err)
	}
	want, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	g, err := wanted.Tensor(prefix + "image_grid_thw")
	if err != nil {
		t.Fatal(err)
	}
	wantGrid, err := g.Int64s()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(grid, wantGrid) || len(values) != len(want) {
		t.Fatalf("%s: grid %v with %d values, want %v with %d", path, grid, len(values), wantGrid, len(want))
	}
	worst := 0.0
	for i := range want {
		worst = max(worst, math.Abs(float64(values[i]-want[i])))
	}
	if worst > pixelTolerance {
		t.Errorf("%s: pixel values differ by %g, tolerance %g", path, worst, pixelTolerance)
	}
	t.Logf("%s: %d pictures, largest difference %g", path, pictures, worst)
	return pictures
}
