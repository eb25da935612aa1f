package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif"  // formats that ReadPicture takes
	_ "image/jpeg" // the same
	_ "image/png"  // the same
	"io"
	"os"

	_ "golang.org/x/image/bmp"  // the same
	_ "golang.org/x/image/webp" // the same
)

// Limits of pictures that come from outside.
const (
	MaxPicture      = 32 << 20 // pixels of a picture: 8192×4096
	maxPictureBytes = 64 << 20 // of its file
)

// ReadPicture reads a PNG, JPEG, GIF (its first frame), WebP or BMP file as an opaque
// picture, on white where it is transparent. Files of more than 64 MiB and pictures of
// more than [MaxPicture] pixels are refused before they are decoded.
func ReadPicture(path string) (*image.RGBA, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxPictureBytes+1))
	if err != nil {
		return nil, err
	}
	img, err := DecodePicture(data)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", path, err)
	}
	return img, nil
}

// DecodePicture decodes the bytes of a picture file; see [ReadPicture].
func DecodePicture(data []byte) (*image.RGBA, error) {
	if len(data) > maxPictureBytes {
		return nil, fmt.Errorf("more than %d bytes: make the picture smaller", maxPictureBytes)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if errors.Is(err, image.ErrFormat) {
		return nil, errors.New("expected PNG, JPEG, GIF, WebP or BMP")
	}
	if err != nil {
		return nil, fmt.Errorf("damaged %s: %w", format, err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > MaxPicture/config.Height {
		return nil, fmt.Errorf("%d×%d pixels, expected 1 to %d: make the picture smaller", config.Width, config.Height, MaxPicture)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("damaged %s: %w", format, err)
	}
	b := img.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(out, out.Rect, img, b.Min, draw.Over)
	return out, nil
}
