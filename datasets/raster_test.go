package datasets

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// slowCover is how much of a pixel a shape covers, 0 to 1, by the winding numbers of
// 64×64 points in it, from the definition.
func slowCover(s shape, x, y int) float64 {
	const n = 64
	inside := 0
	for row := range n {
		for column := range n {
			px, py := float64(x)+(float64(column)+0.5)/n, float64(y)+(float64(row)+0.5)/n
			winding := 0.0
			for _, polygon := range s {
				for i, p := range polygon {
					q := polygon[(i+1)%len(polygon)]
					ax, ay := float64(p.x)/unit-px, float64(p.y)/unit-py
					bx, by := float64(q.x)/unit-px, float64(q.y)/unit-py
					winding += math.Atan2(ax*by-ay*bx, ax*bx+ay*by)
				}
			}
			if math.Abs(winding) > math.Pi { // a full turn or more
				inside++
			}
		}
	}
	return float64(inside) / (n * n)
}

// TestFillMatchesDefinition fills shapes of all kinds. The tolerance is 1/16 of a
// pixel's height along an edge of slope up to one and the rounding to 255 levels.
func TestFillMatchesDefinition(t *testing.T) {
	const tolerance = 0.07
	rng := rand.New(rand.NewPCG(1, 1))
	somewhere := func() point { return point{rng.IntN(6 * unit), rng.IntN(6 * unit)} }
	shapes := map[string]shape{
		"box":     box(point{70, 100}, point{300, 201}),
		"stroke":  stroke(point{40, 300}, point{330, 60}, 70),
		"dot":     stroke(point{100, 100}, point{100, 100}, 80),
		"disc":    disc(point{190, 200}, 150),
		"ring":    append(disc(point{190, 200}, 150), slices.Clone(disc(point{190, 200}, 60)[0])),
		"outside": box(point{-200, -200}, point{100, 100}),
		"empty":   {},
	}
	slices.Reverse(shapes["ring"][1]) // the other way round: a hole
	for range 4 {
		shapes["random"+string(rune('0'+len(shapes)))] = shape{{somewhere(), somewhere(), somewhere()}, {somewhere(), somewhere(), somewhere(), somewhere()}}
	}
	for name, s := range shapes {
		img := image.NewRGBA(image.Rect(0, 0, 6, 6))
		s.draw(img, color.RGBA{255, 0, 0, 255})
		worst := 0.0
		for y := range 6 {
			for x := range 6 {
				worst = max(worst, math.Abs(float64(img.RGBAAt(x, y).R)/255-slowCover(s, x, y)))
			}
		}
		if worst > tolerance {
			t.Errorf("%s: a pixel's coverage is %.3f off", name, worst)
		}
	}
}

func TestSquareRoot(t *testing.T) {
	for _, v := range []int{0, 1, 2, 3, 4, 8, 9, 10, 99, 100, 1 << 20, 1<<40 - 1, 1 << 40} {
		if r := squareRoot(v); r*r > v || (r+1)*(r+1) <= v {
			t.Errorf("squareRoot(%d) = %d", v, r)
		}
	}
}

func TestGlyphs(t *testing.T) {
	faces, err := typefaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(faces) != 15 {
		t.Errorf("%d fonts, want 15", len(faces))
	}
	for _, f := range faces {
		for _, char := range "abcxyzABCXYZ0123456789" {
			g, err := f.glyph(char, 20)
			if err != nil {
				t.Fatal(err)
			}
			ink := 0
			for _, v := range g.mask.cover {
				ink += int(v)
			}
			if g.advance < 3*unit || g.advance > 22*unit || ink < 255*10 || g.mask.bounds.Dy() > 24 {
				t.Errorf("%s %q: advance %d, ink %d, bounds %v", f.name, char, g.advance, ink/255, g.mask.bounds)
			}
		}
		narrow, err := f.width("ill", 30)
		if err != nil {
			t.Fatal(err)
		}
		if wide, _ := f.width("WWW", 30); narrow > wide {
			t.Errorf("%s: ill is %d wide, WWW %d", f.name, narrow, wide)
		}
	}
	if _, err := faces[0].glyph('語', 20); err == nil {
		t.Error("a missing character gave no error")
	}
}

// TestSoften compares the running sums with means taken one by one.
func TestSoften(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, radius := range []int{1, 3, 9, 40} {
		const n = 17
		pix, line := make([]uint8, n*3), make([]uint8, n)
		for i := range pix {
			pix[i] = uint8(rng.IntN(256))
		}
		before := slices.Clone(pix)
		boxFilter(pix[1:], 3, n, radius, line)
		for i := range n {
			total := 0
			for k := -radius; k <= radius; k++ {
				total += int(before[1+3*min(max(i+k, 0), n-1)])
			}
			if want := uint8(math.Floor(float64(total)/float64(2*radius+1) + 0.5)); pix[1+3*i] != want {
				t.Fatalf("radius %d, value %d: %d, want %d", radius, i, pix[1+3*i], want)
			}
			if pix[3*i] != before[3*i] || pix[3*i+2] != before[3*i+2] {
				t.Fatalf("radius %d changed other channels", radius)
			}
		}
	}
}

// TestDamage checks that the last level of every damage leaves nothing of the emoji:
// two different emoji with the same random numbers give the same picture, but for
// covers, whose place is the emoji's, and blur, which leaves a wash of colour.
func TestDamage(t *testing.T) {
	p := testPack(t)
	for kind := range damages {
		var pictures [2]*image.RGBA
		for i := range pictures {
			rng := rand.New(rand.NewPCG(5, uint64(kind)))
			img, _, err := p.drawDamaged(rng, pair{40 + 300*i, 0}, kind, damageLevels)
			if err != nil {
				t.Fatal(err)
			}
			pictures[i] = img
		}
		worst := 0
		for i, v := range pictures[0].Pix {
			worst = max(worst, max(int(v), int(pictures[1].Pix[i]))-min(int(v), int(pictures[1].Pix[i])))
		}
		limit := 0
		if kind == damageBlur {
			limit = 160 // of two emoji's mean colours
		}
		if worst > limit {
			t.Errorf("%s: pictures of two emoji differ by %d after the last level", kind, worst)
		}
		if kind != damageBlur {
			continue
		}
		for _, img := range pictures { // flat: neighbours 32 pixels apart hardly differ
			for x := 0; x+32 < canvas; x++ {
				a, b := img.RGBAAt(x, 64), img.RGBAAt(x+32, 64)
				if d := max(int(a.R), int(b.R)) - min(int(a.R), int(b.R)); d > 24 {
					t.Fatalf("blur: %d steps of red within 32 pixels", d)
				}
			}
		}
	}
	for level := range damageLevels { // what can be answered is covered in part only
		if coverShare[level] >= 100 || contrastKept[level] == 0 {
			t.Errorf("level %d leaves nothing", level+1)
		}
	}
}
