package datasets

import (
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Kinds of questions of task text, in the order that they take turns in.
const (
	textRead   = "read"   // what a line says
	textColour = "colour" // of a line
	textLetter = "letter" // that a line begins with
	textWhere  = "line"   // that shows a word
	textLength = "length" // letters of a line
)

var textKinds = []string{textRead, textColour, textLetter, textWhere, textLength}

const (
	linesMost   = choices // lines of a page
	pageMargin  = 3       // pixels around the words
	pageSmall   = 13      // smallest size of letters, pixels per em
	textPicture = 8       // questions of the training stream about one page, at most
)

// pageLarge is the largest size of letters on pages of one to four lines.
var pageLarge = [linesMost + 1]int{0, 46, 36, 30, 24}

// page is a picture of words, one a line, from the top.
type page struct {
	words []string
	inks  []ink
}

// line is how a question calls a line of a page; empty on a page of one.
func (p *page) line(n int) string {
	if len(p.words) == 1 {
		return ""
	}
	return " in line " + strconv.Itoa(n+1)
}

// wordsLike returns k different words of one length, in half of the cases with the
// same first letter: all of them could stand where any of them stands.
func (w *wordPool) wordsLike(rng *rand.Rand, k int) []string {
	list := w.byLength[wordLeast+rng.IntN(wordMost-wordLeast+1)]
	if rng.IntN(2) == 0 {
		return sample(rng, list, k)
	}
	first := list[rng.IntN(len(list))][0]
	var alike []string
	for _, word := range list {
		if word[0] == first {
			alike = append(alike, word)
		}
	}
	if len(alike) < k {
		return sample(rng, list, k)
	}
	return sample(rng, alike, k)
}

// anyWords returns k different words, every length equally likely for each.
func (w *wordPool) anyWords(rng *rand.Rand, k int) []string {
	return fillUp(nil, k, func() string {
		list := w.byLength[wordLeast+rng.IntN(wordMost-wordLeast+1)]
		return list[rng.IntN(len(list))]
	})
}

// newPage puts the first n of the words on a page, the one to ask for, words[0], in line at.
func newPage(rng *rand.Rand, words []string, n, at int) *page {
	p := &page{words: slices.Clone(words[:n]), inks: pickInks(rng, n)}
	p.words[0], p.words[at] = p.words[at], p.words[0]
	return p
}

// askText is the [asker] of task text; kinds of questions take turns.
func askText(p *pack, split Split, seed uint64, i int) (Example, artwork) {
	rng := stream("text", split, seed, i)
	kind := textKinds[i%len(textKinds)]
	pg, at, qa, offered := askPage(rng, p.words.pools[split], kind)
	e := Example{
		ID:        fmt.Sprintf("text-%s-%d-%d", split, seed, i),
		Task:      "text",
		Question:  qa.Question,
		Answers:   []string{qa.Answer},
		Choices:   shuffled(rng, offered[0], offered[1:choices]),
		Source:    pg.words[at],
		Licence:   "words: " + wordSource.Licence,
		Attribute: fmt.Sprintf("%s, %d lines", kind, len(pg.words)),
	}
	return e, func() (*image.RGBA, error) { return pg.draw(rng) }
}

// askPage makes a page and one question about its line at; the choices are offered
// with the answer first.
func askPage(rng *rand.Rand, pool *wordPool, kind string) (pg *page, at int, qa QA, offered []string) {
	n := 1 + rng.IntN(linesMost)
	at = rng.IntN(n)
	switch kind {
	case textRead:
		words := pool.wordsLike(rng, choices)
		pg = newPage(rng, words, n, at)
		return pg, at, pg.read(at), words
	case textLetter:
		letters := sample(rng, pool.letters, choices)
		var words []string
		for _, letter := range letters {
			list := pool.byFirst[letter]
			words = append(words, list[rng.IntN(len(list))])
			offered = append(offered, string(letter))
		}
		pg = newPage(rng, words, n, at)
		return pg, at, pg.letter(at), offered
	case textWhere: // the answer first, then a page that has such a line
		at = rng.IntN(linesMost)
		n = at + 1 + rng.IntN(linesMost-at)
		pg = newPage(rng, pool.anyWords(rng, linesMost), n, at)
		return pg, at, pg.where(at), fillUp([]string{strconv.Itoa(at + 1)}, choices, func() string { return strconv.Itoa(1 + rng.IntN(linesMost)) })
	case textLength:
		pg = newPage(rng, pool.anyWords(rng, linesMost), n, at)
		qa = pg.length(at)
		return pg, at, qa, fillUp([]string{qa.Answer}, choices, func() string { return strconv.Itoa(wordLeast + rng.IntN(wordMost-wordLeast+1)) })
	}
	pg = newPage(rng, pool.anyWords(rng, linesMost), n, at)
	offered = []string{pg.inks[at].name}
	for i, c := range pg.inks {
		if i != at {
			offered = append(offered, c.name)
		}
	}
	return pg, at, pg.colour(rng, at), moreInks(rng, offered, choices)
}

func (p *page) read(at int) QA {
	return QA{"What is written" + p.line(at) + "?", p.words[at]}
}

func (p *page) letter(at int) QA {
	return QA{"What is the first letter" + p.line(at) + "?", p.words[at][:1]}
}

func (p *page) length(at int) QA {
	return QA{"How many letters" + p.line(at) + "?", strconv.Itoa(len(p.words[at]))}
}

func (p *page) where(at int) QA {
	return QA{"Which line says " + p.words[at] + "?", strconv.Itoa(at + 1)}
}

// colour asks for the colour of a line by its number or, harder, by its word.
func (p *page) colour(rng *rand.Rand, at int) QA {
	if rng.IntN(2) == 0 {
		return QA{"What colour is " + p.words[at] + "?", p.inks[at].name}
	}
	return QA{"What colour is the text" + p.line(at) + "?", p.inks[at].name}
}

// draw writes the page: every line in a font, a case and a size of its own, as large
// as fits or smaller, at a random place of its band.
func (p *page) draw(rng *rand.Rand) (*image.RGBA, error) {
	img, _, err := p.drawLabelled(rng)
	return img, err
}

// drawLabelled writes the page and says where each letter stands, whatever its case.
func (p *page) drawLabelled(rng *rand.Rand) (*image.RGBA, []Label, error) {
	faces, err := typefaces()
	if err != nil {
		return nil, nil, err
	}
	img := background(rng)
	var labels []Label
	const inner = canvas - 2*pageMargin
	band := inner / len(p.words)
	for i, word := range p.words {
		face := faces[rng.IntN(len(faces))]
		switch rng.IntN(3) {
		case 0:
			word = strings.ToUpper(word)
		case 1:
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		size := min(pageLarge[len(p.words)], band*9/10)
		width, err := face.width(word, size)
		if err != nil {
			return nil, nil, err
		}
		if width > inner {
			size = size * inner / width
		}
		if size > pageSmall {
			size = max(pageSmall, size-rng.IntN(1+size*2/5))
		}
		if width, err = face.width(word, size); err != nil {
			return nil, nil, err
		}
		x := pageMargin + rng.IntN(max(inner-width, 0)+1)
		y := pageMargin + i*band + size*3/4 + rng.IntN(max(band-size, 0)+1)
		if err := face.write(img, word, size, x, y, p.inks[i].color); err != nil {
			return nil, nil, err
		}
		ends, err := face.ends(word, size)
		if err != nil {
			return nil, nil, err
		}
		from := 0
		for k, end := range ends {
			labels = append(labels, Label{image.Rect(x+from, y-size*3/4, x+end, y+size/4), strings.ToLower(word[k : k+1])})
			from = end
		}
	}
	return img, labels, nil
}

// textText is picture i of the training stream without its picture: a page and
// questions of all kinds.
func textText(p *pack, seed uint64, i int) (*page, []QA, *rand.Rand) {
	rng := stream("text picture", Train, seed, i)
	n := 1 + rng.IntN(linesMost)
	pg := newPage(rng, p.words.pools[Train].anyWords(rng, n), n, 0)
	var all []QA
	for _, at := range rng.Perm(n) {
		all = append(all, pg.read(at))
	}
	at := rng.IntN(n)
	all = append(all, pg.letter(at), pg.colour(rng, at))
	for _, qa := range []QA{pg.length(rng.IntN(n)), pg.where(rng.IntN(n))} {
		if len(all) < textPicture {
			all = append(all, qa)
		}
	}
	return pg, all, rng
}

// textPictureAt is picture i of the training stream.
func textPictureAt(p *pack, seed uint64, i int) (Picture, error) {
	pg, qa, rng := textText(p, seed, i)
	img, labels, err := pg.drawLabelled(rng)
	return Picture{Image: img, QA: qa, Labels: labels}, err
}
