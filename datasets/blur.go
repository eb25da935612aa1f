package datasets

import (
	"fmt"
	"image"
	"math/rand/v2"
)

// unanswerable is the answer to a question about a picture that doesn't show what
// it takes, as in VizWiz.
const unanswerable = "unanswerable"

// damage is what has happened to a picture.
type damage int

const (
	damageBlur damage = iota
	damageNoise
	damageContrast
	damageCover
	damages // how many there are
)

// String is the damage's name, the Attribute of examples.
func (d damage) String() string { return [...]string{"blur", "noise", "contrast", "cover"}[d] }

// damageLevels are the grades of damage, easy to hard; one more leaves nothing.
const damageLevels = 3

// The strengths of every grade; the last leaves nothing of the picture.
var (
	blurRadius   = [damageLevels + 1]int{2, 4, 7, 60}       // pixels
	noiseAmount  = [damageLevels + 1]int{50, 100, 160, 255} // of 255
	contrastKept = [damageLevels + 1]int{40, 20, 10, 0}     // percent
	coverShare   = [damageLevels + 1]int{20, 35, 50, 100}   // percent of the emoji's square
)

// askBlur is the [asker] of task blur: an emoji, damaged; every fourth question on
// average can't be answered.
func askBlur(p *pack, split Split, seed uint64, i int) (Example, artwork) {
	pool := p.pools[split][false]
	order := stream("blur order", split, seed, i/len(pool)).Perm(len(pool))
	chosen := pool[order[i%len(pool)]]
	rng := stream("blur", split, seed, i)
	shown := pair{chosen.concept, chosen.vendors[rng.IntN(len(chosen.vendors))]}
	c := p.index.Concepts[shown.concept]
	kind, level := newDamage(rng)
	e := Example{
		ID:        fmt.Sprintf("blur-%s-%d-%d", split, seed, i),
		Task:      "blur",
		Question:  askName,
		Source:    c.ID,
		Licence:   p.licence(shown.vendor),
		Attribute: fmt.Sprintf("%s %d", kind, level+1),
	}
	names := p.distractors(rng, split, shown.concept)
	if level < damageLevels {
		e.Answers = []string{c.Name}
		e.Choices = shuffled(rng, c.Name, append(names[:choices-2], unanswerable))
	} else {
		e.Answers = []string{unanswerable}
		e.Choices = shuffled(rng, unanswerable, names)
	}
	return e, func() (*image.RGBA, error) {
		img, _, err := p.drawDamaged(rng, shown, kind, level)
		return img, err
	}
}

// newDamage draws a damage and its level; every fourth leaves nothing.
func newDamage(rng *rand.Rand) (damage, int) {
	kind := damage(rng.IntN(int(damages)))
	if rng.IntN(choices) == 0 {
		return kind, damageLevels
	}
	return kind, rng.IntN(damageLevels)
}

// drawDamaged draws an emoji as task emoji does and damages the picture. It returns the
// emoji's square too.
func (p *pack) drawDamaged(rng *rand.Rand, shown pair, kind damage, level int) (*image.RGBA, image.Rectangle, error) {
	img, area, err := p.drawEmoji(rng, shown, bigLeast)
	if err != nil {
		return nil, area, err
	}
	switch kind {
	case damageBlur:
		soften(img, blurRadius[level])
	case damageNoise:
		if level == damageLevels { // noise clips, so that even the strongest lets something through
			fade(img, 128, 0)
		}
		roughen(img, rng, noiseAmount[level])
	case damageContrast:
		fade(img, 48+rng.IntN(160), contrastKept[level])
		roughen(img, rng, 3)
	case damageCover:
		cover(img, rng, area, coverShare[level])
	}
	return img, area, nil
}

// blurPicture is picture i of the training stream: a damaged emoji and its name, or
// that it can't be told.
func blurPicture(p *pack, seed uint64, i int) (Picture, error) {
	rng := stream("blur picture", Train, seed, i)
	pool := p.pools[Train][false]
	chosen := pool[rng.IntN(len(pool))]
	shown := pair{chosen.concept, chosen.vendors[rng.IntN(len(chosen.vendors))]}
	kind, level := newDamage(rng)
	img, area, err := p.drawDamaged(rng, shown, kind, level)
	if err != nil {
		return Picture{}, err
	}
	c := p.index.Concepts[shown.concept]
	qa := emojiQA(c)
	if level == damageLevels {
		qa = []QA{{askName, unanswerable}, {askKind, unanswerable}}
	}
	return Picture{Image: img, QA: qa, Labels: []Label{{area, qa[0].Answer}}}, nil
}
