package pixels

import (
	"encoding/json"
	"image"
	"math"
	"slices"
	"strings"
	"testing"
)

func small() *AnyRes {
	return &AnyRes{
		Normalization: Normalization{RescaleFactor: 1.0 / 255, Mean: [3]float32{0.5, 0.25, 0.2}, Std: [3]float32{0.5, 0.5, 0.25}},
		Size:          10, Grids: [][2]int{{10, 20}, {20, 10}, {20, 30}}, PatchSize: 3, Background: [3]uint8{127, 63, 51},
	}
}

// The settings come back as they were written, and keys left out have the published
// code's values.
func TestAnyResConfig(t *testing.T) {
	want := small()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseAnyRes(text, want.PatchSize)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := *got, *want; !slices.Equal(a.Grids, b.Grids) || a.Normalization != b.Normalization || a.Background != b.Background || a.Size != b.Size {
		t.Errorf("came back as %+v, was %+v", a, b)
	}
	if got, err = ParseAnyRes([]byte(`{}`), 14); err != nil {
		t.Fatal(err)
	}
	if got.Size != 384 || len(got.Grids) != 36 || got.Mean != DefaultConfig().Mean || got.Background != [3]uint8{122, 116, 104} {
		t.Errorf("defaults %+v", got)
	}
	for _, text := range []string{`{"size":30,"image_grid_pinpoints":[[30,60]]}`, `{"size":{"shortest_edge":30},"image_grid_pinpoints":[[30,60]]}`} {
		if got, err = ParseAnyRes([]byte(text), 14); err != nil || got.Size != 30 {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestAnyResRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"size":{"height":384,"width":336}}`:           "384 × 336",
		`{"size":{"longest_edge":3}}`:                   "shortest_edge",
		`{"size":0}`:                                    "size is 0",
		`{"image_grid_pinpoints":[]}`:                   "image_grid_pinpoints is empty",
		`{"image_grid_pinpoints":[[384]]}`:              "pairs",
		`{"image_grid_pinpoints":[[384,400]]}`:          "384 × 400",
		`{"image_grid_pinpoints":[[0,384]]}`:            "0 × 384",
		`{"image_grid_pinpoints":[[393216,393216]]}`:    "at most 1024 views",
		`{"image_processor_type":"CLIPImageProcessor"}`: "LlavaOnevisionImageProcessor",
		`{"resample":2}`:                                "resample is 2",
		`{"do_normalize":false}`:                        "do_normalize",
		`{"image_mean":[0.5]}`:                          "image_mean has 1",
		`{"image_std":[0,1,1]}`:                         "image_std",
		`[]`:                                            "not a preprocessor_config.json",
		`{"size":{"height":9,"width":9},"image_grid_pinpoints":[[9,9]]}`: "patch_size",
	} {
		_, err := ParseAnyRes([]byte(text), 14)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not name %q", text, err, want)
		}
	}
	if _, err := small().Process([]image.Image{NewRGB(4, 4), nil}); err == nil || !strings.Contains(err.Error(), "picture 2") {
		t.Errorf("no picture: %v", err)
	}
	if _, err := small().Process([]image.Image{NewRGB(0, 4)}); err == nil || !strings.Contains(err.Error(), "0 × 4") {
		t.Errorf("empty picture: %v", err)
	}
}

// A tile's pixel lies where the resized picture has it, an odd row of padding is at
// the bottom, and what a patch can't hold is not seen.
func TestViewsAndPatchesByHand(t *testing.T) {
	c := small()
	img := NewRGB(20, 9) // fits 10 × 20 without resizing, with 1 row of padding
	for i := range img.Pix {
		img.Pix[i] = uint8(i)
	}
	v, err := c.Views(img, true)
	if err != nil {
		t.Fatal(err)
	}
	if v.N != 3 || v.Tiles != [2]int{1, 2} || v.Height != 9 || v.Width != 20 {
		t.Fatalf("%d views, tiles %v, %d × %d", v.N, v.Tiles, v.Height, v.Width)
	}
	table := c.Table()
	for view := 1; view < 3; view++ {
		for ch := range 3 {
			for y := range 10 {
				for x := range 10 {
					level := uint8(0)
					if y < 9 {
						level = img.Pix[3*(y*20+(view-1)*10+x)+ch]
					}
					if got := v.Values[((view*3+ch)*10+y)*10+x]; got != table[ch][level] {
						t.Fatalf("view %d, channel %d, row %d, column %d: %v, want %v", view, ch, y, x, got, table[ch][level])
					}
				}
			}
		}
	}
	p := v.Patches(3)
	if p.N != 27 || p.Dim != 27 || p.GridTHW != [3]int{3, 3, 3} {
		t.Fatalf("%d patches of %d, grid %v", p.N, p.Dim, p.GridTHW)
	}
	// view 2, patch row 1, column 2, channel 1, row 2, column 0
	got := p.Values[(2*9+1*3+2)*27+1*9+2*3+0]
	if want := v.Values[((2*3+1)*10+3+2)*10+6]; got != want {
		t.Errorf("patch value %v, want %v", got, want)
	}
}

func TestUntiledPicturesStandOnTheMeanColour(t *testing.T) {
	c := small()
	v, err := c.Views(NewRGB(10, 4), false) // black, on a square of its own width
	if err != nil {
		t.Fatal(err)
	}
	if v.N != 1 || v.Tiles != [2]int{} {
		t.Fatalf("%d views, tiles %v", v.N, v.Tiles)
	}
	table := c.Table()
	for ch := range 3 {
		for y := range 10 {
			want := table[ch][c.Background[ch]]
			if y >= 3 && y < 7 {
				want = table[ch][0]
			}
			if got := v.Values[(ch*10+y)*10+5]; got != want {
				t.Errorf("channel %d, row %d: %v, want %v", ch, y, got, want)
			}
		}
	}
	list, err := c.Process([]image.Image{NewRGB(10, 4), NewRGB(4, 10)})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range list {
		if p.GridTHW != [3]int{1, 3, 3} || p.Features(9) != 10 || len(p.Packing(9)) != 10 || p.Packing(9)[9] != nil {
			t.Errorf("picture %d: grid %v, %d features", i, p.GridTHW, p.Features(9))
		}
	}
}

// Shrunk features are weighted means: a constant stays, and a ramp stays a ramp
// inside.
func TestBilinearPacking(t *testing.T) {
	p := &Patches{GridTHW: [3]int{1 + 4*3, 4, 4}, Tiles: [2]int{4, 3}, Height: 95, Width: 71}
	const maxTiles = 6
	g := Pack(95, 71, p.Tiles, 4, maxTiles)
	if g.Rows >= 16 || g.Cols >= 12 {
		t.Fatalf("%d × %d is not shrunk", g.Rows, g.Cols)
	}
	packing := p.Packing(maxTiles)
	if len(packing) != 16+g.Rows*(g.Cols+1) || len(packing) != p.Features(maxTiles) {
		t.Fatalf("%d rows, %d features", len(packing), p.Features(maxTiles))
	}
	for i, taps := range packing[16:] {
		y, x := i/(g.Cols+1), i%(g.Cols+1)
		if x == g.Cols {
			if taps != nil {
				t.Errorf("row %d doesn't end with the newline", y)
			}
			continue
		}
		sum, row := 0.0, 0.0
		for _, tap := range taps {
			view, in := tap.Row/16, tap.Row%16
			sum += float64(tap.Weight)
			row += float64(tap.Weight) * float64((view-1)/3*4+in/4-g.top)
		}
		want := max((float64(y)+0.5)*float64(g.height)/float64(g.Rows)-0.5, 0)
		if math.Abs(sum-1) > 1e-6 || math.Abs(row-want) > 1e-5 {
			t.Errorf("place %d, %d: weights %v, row %v, want 1 and %v", y, x, sum, row, want)
		}
	}
}

// Python's rounding and floor division, where plain truncation would differ.
func TestPythonArithmetic(t *testing.T) {
	for x, want := range map[float64]int{26.99999999: 27, 26.9999999: 26, 26.99999994: 26, 26.99999996: 27, 5: 5, 0.3: 0} {
		if got := floor7(x); got != want {
			t.Errorf("floor7(%v) = %d, want %d", x, got, want)
		}
	}
	// 3 // 0.1 is 29: 0.1 is above a tenth; the quotient rounds to 30.
	if got := floorDivide(3, 0.1); got != 29 {
		t.Errorf("3 // 0.1 = %d", got)
	}
	if got := floorDivide(10, 2.5); got != 4 {
		t.Errorf("10 // 2.5 = %d", got)
	}
}
