package datasets

import (
	"image"
	"image/color"
	"math/rand/v2"
)

// soften blurs an opaque picture: three passes of a box of 2·radius+1 pixels each
// way, which is nearly a Gaussian of standard deviation √(radius·(radius+1)) pixels.
// Outside, the picture goes on as its edge.
func soften(img *image.RGBA, radius int) {
	b := img.Rect
	line := make([]uint8, max(b.Dx(), b.Dy()))
	for range 3 {
		for channel := range 3 {
			for y := range b.Dy() {
				boxFilter(img.Pix[y*img.Stride+channel:], 4, b.Dx(), radius, line)
			}
			for x := range b.Dx() {
				boxFilter(img.Pix[4*x+channel:], img.Stride, b.Dy(), radius, line)
			}
		}
	}
}

// boxFilter replaces n values, step apart, by the rounded means of their neighbourhoods.
func boxFilter(pix []uint8, step, n, radius int, line []uint8) {
	for i := range n {
		line[i] = pix[i*step]
	}
	width := 2*radius + 1
	total := 0
	for i := -radius; i <= radius; i++ {
		total += int(line[min(max(i, 0), n-1)])
	}
	for i := range n {
		pix[i*step] = uint8((total + width/2) / width)
		total += int(line[min(i+radius+1, n-1)]) - int(line[max(i-radius, 0)])
	}
}

// roughen adds to every channel of every pixel a random number from −amount to amount.
func roughen(img *image.RGBA, rng *rand.Rand, amount int) {
	for i := 0; i < len(img.Pix); i += 4 {
		bits := rng.Uint64()
		for c := range 3 {
			noise := int(bits&0xffff)*(2*amount+1)>>16 - amount
			img.Pix[i+c] = uint8(min(max(int(img.Pix[i+c])+noise, 0), 255))
			bits >>= 16
		}
	}
}

// fade keeps percent of the contrast around a grey level.
func fade(img *image.RGBA, level, percent int) {
	var table [256]uint8
	for v := range table {
		table[v] = uint8(min(max(level+(v-level)*percent/100, 0), 255))
	}
	for i := 0; i < len(img.Pix); i += 4 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2] = table[img.Pix[i]], table[img.Pix[i+1]], table[img.Pix[i+2]]
	}
}

// cover paints rectangles of random colours over an area until at least percent of
// it is hidden; 100 hides all of it.
func cover(img *image.RGBA, rng *rand.Rand, area image.Rectangle, percent int) {
	paint := func(r image.Rectangle) {
		c := color.RGBA{uint8(rng.IntN(256)), uint8(rng.IntN(256)), uint8(rng.IntN(256)), 255}
		box(at(r.Min.X, r.Min.Y), at(r.Max.X, r.Max.Y)).draw(img, c)
	}
	if percent >= 100 {
		paint(area) // and go on, so that it looks like the others
		percent = 50
	}
	hidden := make([]bool, area.Dx()*area.Dy())
	for n := 0; n*100 < len(hidden)*percent; {
		w, h := area.Dx()/6+rng.IntN(area.Dx()/4), area.Dy()/6+rng.IntN(area.Dy()/4)
		x, y := area.Min.X+rng.IntN(area.Dx()-w+1), area.Min.Y+rng.IntN(area.Dy()-h+1)
		paint(image.Rect(x, y, x+w, y+h))
		for row := y - area.Min.Y; row < y-area.Min.Y+h; row++ {
			for column := x - area.Min.X; column < x-area.Min.X+w; column++ {
				if i := row*area.Dx() + column; !hidden[i] {
					hidden[i] = true
					n++
				}
			}
		}
	}
}
