package datasets

import (
	"image/color"
	"math/rand/v2"
)

// ink is a colour that questions name.
type ink struct {
	name  string
	color color.RGBA
}

// inks are the colours of words, bars and lines: dark enough for light paper, and
// far enough from each other to be told apart by name.
var inks = []ink{
	{"red", color.RGBA{210, 30, 35, 255}},
	{"orange", color.RGBA{245, 140, 0, 255}},
	{"green", color.RGBA{25, 150, 50, 255}},
	{"blue", color.RGBA{30, 80, 225, 255}},
	{"purple", color.RGBA{135, 40, 175, 255}},
	{"pink", color.RGBA{245, 105, 180, 255}},
	{"brown", color.RGBA{120, 70, 25, 255}},
	{"black", color.RGBA{20, 20, 20, 255}},
}

// pickInks returns k different colours.
func pickInks(rng *rand.Rand, k int) []ink { return sample(rng, inks, k) }

// moreNames fills names up to n with names of other colours.
func moreInks(rng *rand.Rand, names []string, n int) []string {
	return fillUp(names, n, func() string { return inks[rng.IntN(len(inks))].name })
}

// fillUp draws further names until there are n different ones.
func fillUp(names []string, n int, draw func() string) []string {
	seen := map[string]bool{}
	for _, name := range names {
		seen[name] = true
	}
	for len(names) < n {
		if name := draw(); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}
