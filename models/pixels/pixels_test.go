package pixels

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func random(width, height int) *RGB {
	r := rand.New(rand.NewPCG(3, uint64(width)<<32|uint64(height)))
	p := NewRGB(width, height)
	for i := range p.Pix {
		p.Pix[i] = uint8(r.Uint32())
	}
	return p
}

// slowResize is Pillow's algorithm with float64 weights, one output value at a
// time. Fixed-point weights move a value by less than half a grey level, so a pass
// differs by at most 1.
func slowResize(src *RGB, width, height int) *RGB {
	pass := func(in, out int, at func(int) float64, i int) float64 {
		scale := float64(in) / float64(out)
		stretch := max(1, scale)
		center := (float64(i) + 0.5) * scale
		sum, total := 0.0, 0.0
		for k := range in {
			if w := bicubic((float64(k) + 0.5 - center) / stretch); w != 0 {
				sum += w * at(k)
				total += w
			}
		}
		return math.Round(min(255, max(0, sum/total)))
	}
	wide := NewRGB(width, src.Height)
	for i := range wide.Pix {
		y, x, c := i/3/width, i/3%width, i%3
		wide.Pix[i] = uint8(pass(src.Width, width, func(k int) float64 { return float64(src.Pix[3*(y*src.Width+k)+c]) }, x))
	}
	out := NewRGB(width, height)
	for i := range out.Pix {
		y, x, c := i/3/width, i/3%width, i%3
		out.Pix[i] = uint8(pass(src.Height, height, func(k int) float64 { return float64(wide.Pix[3*(k*width+x)+c]) }, y))
	}
	return out
}

func TestResizeBicubicAgainstFormula(t *testing.T) {
	for _, s := range [][4]int{{1, 1, 1, 1}, {1, 1, 7, 3}, {5, 4, 5, 9}, {5, 4, 11, 4}, {40, 3, 2, 50}, {33, 64, 16, 17}, {2, 90, 3, 1}} {
		src := random(s[0], s[1])
		before := slices.Clone(src.Pix)
		got, err := ResizeBicubic(src, s[2], s[3])
		if err != nil {
			t.Fatal(err)
		}
		want := slowResize(src, s[2], s[3])
		if got.Width != want.Width || got.Height != want.Height || len(got.Pix) != len(want.Pix) {
			t.Fatalf("%v: %d × %d with %d bytes", s, got.Width, got.Height, len(got.Pix))
		}
		for i := range want.Pix {
			// 1 from either pass; the second weighs the first's by up to 1.3
			if d := int(got.Pix[i]) - int(want.Pix[i]); d < -2 || d > 2 {
				t.Fatalf("%v: byte %d is %d, want about %d", s, i, got.Pix[i], want.Pix[i])
			}
		}
		if !slices.Equal(src.Pix, before) {
			t.Errorf("%v: the source is changed", s)
		}
	}
}

func TestResizeKeepsConstantPictures(t *testing.T) {
	for _, v := range []uint8{0, 1, 127, 254, 255} {
		src := &RGB{Pix: bytes.Repeat([]byte{v}, 3*13*7), Width: 13, Height: 7}
		got, err := ResizeBicubic(src, 29, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range got.Pix {
			if w != v {
				t.Fatalf("grey level %d became %d", v, w)
			}
		}
	}
}

func TestResizeRefuses(t *testing.T) {
	for _, c := range []struct {
		src  *RGB
		w, h int
		want string
	}{
		{NewRGB(0, 5), 3, 3, "0 × 5 pixels"},
		{NewRGB(5, 5), 0, 3, "cannot resize to 0 × 3"},
		{NewRGB(5, 5), 3, -1, "cannot resize to 3 × -1"},
		{&RGB{Pix: make([]uint8, 5), Width: 2, Height: 2}, 3, 3, "has 5 bytes, expected 12"},
	} {
		if _, err := ResizeBicubic(c.src, c.w, c.h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error with %q", err, c.want)
		}
	}
}

func TestSmartResizeRefuses(t *testing.T) {
	for _, c := range []struct {
		h, w, factor, low, high int
		want                    string
	}{
		{0, 5, 28, 3136, 9999, "0 × 5 pixels"},
		{5, -1, 28, 3136, 9999, "expected at least 1 × 1"},
		{1, 201, 28, 3136, 9999, "more than 200 times"},
		{10, 10, 0, 3136, 9999, "multiples of 0"},
		{10, 10, 28, 0, 9999, "within 0 to 9999"},
		{10, 10, 28, 10, 9, "within 10 to 9"},
	} {
		if _, _, err := SmartResize(c.h, c.w, c.factor, c.low, c.high); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error with %q", err, c.want)
		}
	}
	if h, w, err := SmartResize(5, 900, 28, 3136, 1<<20); err != nil || h != 28 || w < 28 {
		t.Errorf("a side below the factor: %d, %d, %v", h, w, err)
	}
}

func TestToRGBDropsAlpha(t *testing.T) {
	c := color.NRGBA{200, 100, 50, 0}
	nrgba := image.NewNRGBA(image.Rect(3, 5, 5, 6))
	nrgba.SetNRGBA(4, 5, c)
	wide := image.NewNRGBA64(nrgba.Rect)
	wide.SetNRGBA64(4, 5, color.NRGBA64{200<<8 | 255, 100 << 8, 50<<8 | 7, 9})
	opaque := image.NewRGBA(nrgba.Rect)
	opaque.Set(4, 5, color.NRGBA{200, 100, 50, 255})
	half := image.NewRGBA(nrgba.Rect)
	half.SetRGBA(4, 5, color.RGBA{100, 50, 25, 128})
	gray := image.NewGray(nrgba.Rect)
	gray.SetGray(4, 5, color.Gray{90})
	gray16 := image.NewGray16(nrgba.Rect)
	gray16.SetGray16(4, 5, color.Gray16{90<<8 | 200})
	palette := image.NewPaletted(nrgba.Rect, color.Palette{color.NRGBA{}, c})
	palette.SetColorIndex(4, 5, 1)
	cmyk := image.NewCMYK(nrgba.Rect)
	cmyk.SetCMYK(3, 5, color.CMYK{0, 0, 0, 255})
	cmyk.SetCMYK(4, 5, color.CMYK{0, 255, 128, 0})
	ycc := image.NewYCbCr(nrgba.Rect, image.YCbCrSubsampleRatio444)
	for i, v := range []uint8{0, 120} {
		ycc.Y[i], ycc.Cb[i], ycc.Cr[i] = v, 128, 128
	}
	for name, s := range map[string]struct {
		img  image.Image
		want [3]uint8
	}{
		"NRGBA": {nrgba, [3]uint8{200, 100, 50}}, "NRGBA64": {wide, [3]uint8{200, 100, 50}}, "RGBA": {opaque, [3]uint8{200, 100, 50}},
		"RGBA half": {half, [3]uint8{199, 99, 49}}, "Gray": {gray, [3]uint8{90, 90, 90}}, "Gray16": {gray16, [3]uint8{90, 90, 90}},
		"Paletted": {palette, [3]uint8{200, 100, 50}}, "CMYK": {cmyk, [3]uint8{255, 0, 127}}, "YCbCr": {ycc, [3]uint8{120, 120, 120}},
		"sub-image": {nrgba.SubImage(image.Rect(3, 5, 5, 6)), [3]uint8{200, 100, 50}},
	} {
		p := ToRGB(s.img)
		if p.Width != 2 || p.Height != 1 || [3]uint8(p.Pix[3:]) != s.want || [3]uint8(p.Pix[:3]) != [3]uint8{} {
			t.Errorf("%s: %v, want black and %v", name, p, s.want)
		}
		if ToRGB(p) != p {
			t.Errorf("%s: an *RGB is copied", name)
		}
		if r, g, b, a := p.At(1, 0).RGBA(); r>>8 != uint32(s.want[0]) || g>>8 != uint32(s.want[1]) || b>>8 != uint32(s.want[2]) || a != 0xffff {
			t.Errorf("%s: At gives %v", name, p.At(1, 0))
		}
	}
	if _, _, _, a := NewRGB(2, 2).At(2, 0).RGBA(); a != 0 {
		t.Error("a colour outside the picture")
	}
}

// Pictures as the standard decoders give them.
func TestToRGBOfDecodedFiles(t *testing.T) {
	src := madeUp(9, 5)
	var p, g, j bytes.Buffer
	if err := png.Encode(&p, src); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&g, src, nil); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&j, src, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]*bytes.Buffer{"png": &p, "gif": &g, "jpeg": &j} {
		img, kind, err := image.Decode(file)
		if err != nil || kind != name {
			t.Fatal(kind, err)
		}
		got := ToRGB(img)
		if name == "png" && !slices.Equal(got.Pix, src.Pix) {
			t.Error("png: other pixels")
		}
		for i := range got.Width * got.Height {
			r, g, b, _ := img.At(i%got.Width, i/got.Width).RGBA()
			if [3]uint8(got.Pix[3*i:]) != [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)} {
				t.Fatalf("%s: pixel %d is %v, the decoder says %d %d %d", name, i, got.Pix[3*i:3*i+3], r>>8, g>>8, b>>8)
			}
		}
	}
}

// Patches put back into a picture give its normalized pixels, both times.
func TestPatchOrder(t *testing.T) {
	c := &Config{Normalization: DefaultConfig().Normalization, MinPixels: 1, MaxPixels: 1 << 20, PatchSize: 2, TemporalPatchSize: 3, MergeSize: 3}
	src := random(18, 12)
	p, err := c.Patches(src)
	if err != nil {
		t.Fatal(err)
	}
	if p.GridTHW != [3]int{1, 6, 9} || p.N != 54 || p.Dim != 36 {
		t.Fatalf("grid %v, N %d, Dim %d", p.GridTHW, p.N, p.Dim)
	}
	table := c.Table()
	n := 0
	for by := range 2 {
		for bx := range 3 {
			for py := range 3 {
				for px := range 3 {
					for ch := range 3 {
						for range 3 {
							for dy := range 2 {
								for dx := range 2 {
									y, x := (3*by+py)*2+dy, (3*bx+px)*2+dx
									if want := table[ch][src.Pix[3*(y*18+x)+ch]]; p.Values[n] != want {
										t.Fatalf("value %d is %v, want %v", n, p.Values[n], want)
									}
									n++
								}
							}
						}
					}
				}
			}
		}
	}
}

func TestPatchesRefuses(t *testing.T) {
	if _, err := DefaultConfig().Patches(nil); err == nil {
		t.Error("no picture")
	}
	if _, err := (&Config{}).Patches(NewRGB(9, 9)); err == nil {
		t.Error("an empty configuration")
	}
	if _, err := DefaultConfig().Patches(NewRGB(1, 500)); err == nil {
		t.Error("a picture too long")
	}
	if _, err := DefaultConfig().Patches(image.NewRGBA(image.Rect(0, 0, 0, 0))); err == nil {
		t.Error("an empty picture")
	}
}

func TestLoadConfig(t *testing.T) {
	load := func(text string) (*Config, error) {
		path := filepath.Join(t.TempDir(), "preprocessor_config.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(path)
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%v does not name the file", err)
		}
		return c, err
	}
	c, err := load(`{}`)
	if err != nil || *c != *DefaultConfig() {
		t.Errorf("empty: %v, %v", c, err)
	}
	text, err := json.Marshal(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if c, err = load(string(text)); err != nil || *c != *DefaultConfig() {
		t.Errorf("written and read back: %v, %v", c, err)
	}
	c, err = load(`{"size":{"shortest_edge":100,"longest_edge":900},"max_pixels":800,"min_pixels":null,"patch_size":4,"image_processor_type":"Qwen2VLImageProcessorFast"}`)
	if err != nil || c.MinPixels != 100 || c.MaxPixels != 800 || c.PatchSize != 4 {
		t.Errorf("size: %v, %v", c, err)
	}
	for text, want := range map[string]string{
		``: "not a preprocessor_config.json",
		`{"image_processor_type":"LlavaOnevisionImageProcessor"}`: `image_processor_type is "LlavaOnevisionImageProcessor"`,
		`{"resample":2}`:                  "resample is 2, expected 3",
		`{"do_normalize":false}`:          "do_normalize is false",
		`{"image_mean":[0.5]}`:            "image_mean has 1 numbers, expected 3",
		`{"image_mean":0.5}`:              "not a preprocessor_config.json",
		`{"image_std":[1,0,1]}`:           "image_std is [1 0 1]",
		`{"rescale_factor":0}`:            "rescale_factor is 0",
		`{"patch_size":0}`:                "patch_size is 0, expected 1",
		`{"merge_size":-2}`:               "merge_size is -2",
		`{"temporal_patch_size":999}`:     "temporal_patch_size is 999",
		`{"min_pixels":5,"max_pixels":4}`: "min_pixels 5 exceeds max_pixels 4",
		`{"max_pixels":99999999999}`:      "max_pixels is 99999999999",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a missing file")
	}
	bad := DefaultConfig()
	bad.Mean[1] = float32(math.NaN())
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "image_mean") {
		t.Errorf("NaN mean: %v", err)
	}
}

func BenchmarkResizeBicubic(b *testing.B) {
	src := madeUp(640, 480)
	for name, size := range map[string][2]int{"640x480 to 384x384": {384, 384}, "640x480 to 1288x952": {1288, 952}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(3 * size[0] * size[1]))
			for b.Loop() {
				if _, err := ResizeBicubic(src, size[0], size[1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPatches(b *testing.B) {
	src, c := madeUp(640, 480), DefaultConfig()
	for b.Loop() {
		if _, err := c.Patches(src); err != nil {
			b.Fatal(err)
		}
	}
}
