package datasets

import (
	"fmt"
	"image"
	"math/rand/v2"
)

const (
	canvas  = 128 // side of every picture handed out, pixels
	choices = 4   // choices of every question

	bigLeast   = 96     // smallest side of the emoji of task emoji, pixels
	bigMost    = canvas // largest
	smallLeast = 26     // smallest in the training stream, where small pictures prepare for boards
	tint       = 32     // backgrounds are 255 − [0, tint) in every channel
)

// Questions of task emoji.
const (
	askName = "What is this?"
	askKind = "What kind of thing is it?"
)

// askEmoji is the [asker] of task emoji.
func askEmoji(p *pack, split Split, seed uint64, i int) (Example, artwork) {
	return askEmojiOf(p, p.pools[split][false], split, seed, i)
}

// askEmojiOf asks for the name of a concept of the pool. Each pass over the pool
// is a permutation, so that n examples show as many concepts as n allows.
func askEmojiOf(p *pack, pool []pooled, split Split, seed uint64, i int) (Example, artwork) {
	pass := i / len(pool)
	order := stream("emoji order", split, seed, pass).Perm(len(pool))
	chosen := pool[order[i%len(pool)]]
	rng := stream("emoji", split, seed, i)
	at := pair{chosen.concept, chosen.vendors[rng.IntN(len(chosen.vendors))]}
	c := p.index.Concepts[at.concept]
	e := Example{
		ID:        fmt.Sprintf("emoji-%s-%d-%d", split, seed, i),
		Task:      "emoji",
		Question:  askName,
		Answers:   []string{c.Name},
		Choices:   shuffled(rng, c.Name, p.distractors(rng, split, at.concept)),
		Source:    c.ID,
		Licence:   p.licence(at.vendor),
		Attribute: c.Kind,
	}
	return e, func() (*image.RGBA, error) {
		img, _, err := p.drawEmoji(rng, at, bigLeast)
		return img, err
	}
}

// distractors returns the names of choices−1 other concepts of the concept's group.
// The answer and its distractors thus come from one distribution: who knows which
// concepts a split asks for still can't tell the answer from the choices.
func (p *pack) distractors(rng *rand.Rand, split Split, concept int) []string {
	names := make([]string, 0, choices)
	for _, other := range sample(rng, p.groups[split][concept], choices) {
		if other != concept && len(names) < choices-1 {
			names = append(names, p.index.Concepts[other].Name)
		}
	}
	return names
}

// drawEmoji draws one emoji at a random size of at least so many pixels and at a random
// place on a light background. It returns the emoji's square too.
func (p *pack) drawEmoji(rng *rand.Rand, at pair, least int) (*image.RGBA, image.Rectangle, error) {
	source, err := p.picture(at)
	if err != nil {
		return nil, image.Rectangle{}, err
	}
	size := least + rng.IntN(bigMost-least+1)
	x, y := rng.IntN(canvas-size+1), rng.IntN(canvas-size+1)
	img := background(rng)
	source.resize(p.kernel(size)).onto(img, x, y)
	return img, image.Rect(x, y, x+size, y+size), nil
}

// background returns an opaque canvas, white or nearly so.
func background(rng *rand.Rand) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, canvas, canvas))
	pixel := [4]uint8{255 - uint8(rng.IntN(tint)), 255 - uint8(rng.IntN(tint)), 255 - uint8(rng.IntN(tint)), 255}
	copy(img.Pix, pixel[:])
	for n := len(pixel); n < len(img.Pix); n *= 2 {
		copy(img.Pix[n:], img.Pix[:n])
	}
	return img
}

// emojiPicture is picture i of the training stream: one emoji, its name and its kind,
// or a board of four and their names, so that a name is met more often.
func emojiPicture(p *pack, seed uint64, i int) (Picture, error) {
	rng := stream("emoji picture", Train, seed, i)
	pool := p.pools[Train][false]
	if rng.IntN(2) == 0 {
		return fourPicture(p, rng, newLoneBoard(rng, pool, grid2x2, grid2x2.cells()))
	}
	chosen := pool[rng.IntN(len(pool))]
	at := pair{chosen.concept, chosen.vendors[rng.IntN(len(chosen.vendors))]}
	img, area, err := p.drawEmoji(rng, at, smallLeast)
	if err != nil {
		return Picture{}, err
	}
	c := p.index.Concepts[at.concept]
	return Picture{Image: img, QA: emojiQA(c), Labels: []Label{{area, c.Name}}}, nil
}

// fourPicture draws a full board and asks for everything on it.
func fourPicture(p *pack, rng *rand.Rand, b *board) (Picture, error) {
	var all []QA
	for _, q := range b.ask(p, rng, askAt, len(b.order)) {
		all = append(all, q.QA)
	}
	img, labels, err := b.drawLabelled(p, rng)
	return Picture{Image: img, QA: all, Labels: labels}, err
}

// emojiQA is what the training stream asks about one concept.
func emojiQA(c Concept) []QA {
	return []QA{{askName, c.Name}, {askKind, c.Kind}}
}
