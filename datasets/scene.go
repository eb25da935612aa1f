package datasets

import (
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Kind of a question of task scene.
type questionKind int

const (
	askAt questionKind = iota // What is at B3?
	askWhere
	askNeighbour
	askCount
	askMost
)

// boardQuestions are the examples about one board.
const boardQuestions = 4

// String returns the kind's name, the beginning of an example's Attribute.
func (k questionKind) String() string {
	return [...]string{"name", "position", "neighbour", "count", "most"}[k]
}

// question is a QA with what its distractors are drawn from.
type question struct {
	QA                 // question and answer
	alternate []string // all other choices that could stand beside the answer
}

// ask makes up to n different questions of a kind.
func (b *board) ask(p *pack, rng *rand.Rand, kind questionKind, n int) []question {
	name := func(c int) string { return p.index.Concepts[c].Name }
	// others are the names on the board but for the answer and the concept asked for.
	others := func(except ...int) []string {
		var names []string
		for _, c := range b.order {
			if !slices.Contains(except, c) {
				names = append(names, name(c))
			}
		}
		return names
	}
	var all []question
	switch kind {
	case askAt:
		for _, c := range sample(rng, b.order, min(n, len(b.order))) {
			cells := b.cellsOf(c)
			cell := cells[rng.IntN(len(cells))]
			all = append(all, question{QA{"What is at " + b.name(cell) + "?", name(c)}, others(c)})
		}
	case askWhere:
		lone := b.lone()
		for _, c := range sample(rng, lone, min(n, len(lone))) {
			cell := b.cellsOf(c)[0]
			all = append(all, question{QA{"Where is the " + name(c) + "?", b.name(cell)}, b.otherCells(cell)})
		}
	case askNeighbour:
		possible := b.neighbours()
		for _, q := range sample(rng, possible, min(n, len(possible))) {
			text := "What is " + directions[q.direction].words + " the " + name(q.from) + "?"
			all = append(all, question{QA{text, name(q.answer)}, others(q.from, q.answer)})
		}
	case askCount:
		for _, c := range sample(rng, b.counted, min(n, len(b.counted))) {
			count := b.places[c]
			all = append(all, question{QA{"Count: " + name(c), strconv.Itoa(count)}, otherCounts(count)})
		}
	case askMost:
		if b.most >= 0 {
			all = append(all, question{QA{"What appears most often?", name(b.most)}, others(b.most)})
		}
	}
	return all
}

// otherCells names the filled cells but one.
func (b *board) otherCells(except int) []string {
	var names []string
	for cell, ok := range b.filled {
		if ok && cell != except {
			names = append(names, b.name(cell))
		}
	}
	return names
}

// otherCounts names the possible counts but one.
func otherCounts(except int) []string {
	var names []string
	for n := 1; n <= countMost; n++ {
		if n != except {
			names = append(names, strconv.Itoa(n))
		}
	}
	return names
}

// kind is what question 0 to boardQuestions−1 about a board asks; the last one depends on the board.
func (b *board) kind(rng *rand.Rand, slot int) questionKind {
	switch kind := questionKind(slot); {
	case kind != askCount:
		return kind
	case len(b.counted) == 0:
		return askAt
	case b.most >= 0 && b.grid == grid4x4 && len(b.counted) == 2 && rng.IntN(2) == 0:
		return askMost
	}
	return askCount
}

// askScene is the [asker] of task scene: question i%4 about board i/4.
func askScene(p *pack, split Split, seed uint64, i int) (Example, artwork) {
	number, slot := i/boardQuestions, i%boardQuestions
	brush := stream("scenes board", split, seed, number)
	b := exampleBoard(brush, p.pools[split][true])
	rng := stream("scenes question", split, seed, i)
	kind := b.kind(rng, slot)
	var q question
	if kind == askAt { // twice about a board too small to count on: about different things
		q = b.ask(p, stream("scenes names", split, seed, number), kind, 2)[slot/(boardQuestions-1)]
	} else {
		q = b.ask(p, rng, kind, 1)[0]
	}
	q.alternate = b.enough(p, rng, q, p.pools[split][true])
	e := Example{
		ID:        fmt.Sprintf("scene-%s-%d-%d", split, seed, i),
		Task:      "scene",
		Question:  q.Question,
		Answers:   []string{q.Answer},
		Choices:   shuffled(rng, q.Answer, sample(rng, q.alternate, choices-1)),
		Source:    fmt.Sprintf("board-%s-%d-%d", split, seed, number),
		Licence:   p.licence(b.vendors()...),
		Attribute: fmt.Sprintf("%s, %s", kind, b.grid),
	}
	return e, func() (*image.RGBA, error) { return b.draw(p, brush) }
}

// enough fills a question's distractors up where a board has too few: with names of
// the split's concepts, or with the board's empty cells.
func (b *board) enough(p *pack, rng *rand.Rand, q question, pool []pooled) []string {
	all := q.alternate
	missing := func(name string) bool {
		return name != q.Answer && !slices.Contains(all, name) && !strings.Contains(q.Question, " "+name+"?")
	}
	for len(all) < choices-1 {
		name := p.index.Concepts[pool[rng.IntN(len(pool))].concept].Name
		if strings.HasPrefix(q.Question, "Where") {
			name = b.name(rng.IntN(len(b.cells)))
		}
		if missing(name) {
			all = append(all, name)
		}
	}
	return all
}

const sceneQAs = 8 // questions of the training stream about one board, at most

// sceneText is picture i of the training stream without its picture: the board, its questions and the generator for drawing.
func sceneText(p *pack, seed uint64, i int) (*board, []QA, *rand.Rand) {
	rng := stream("scenes picture", Train, seed, i)
	board := trainingBoard(rng, p.pools[Train][true])
	var all []QA
	for _, ask := range []struct {
		kind questionKind
		most int
	}{{askCount, 1}, {askMost, 1}, {askWhere, 2}, {askNeighbour, 1}} {
		for _, q := range board.ask(p, rng, ask.kind, ask.most) {
			all = append(all, q.QA)
		}
	}
	for _, q := range board.ask(p, rng, askAt, sceneQAs-len(all)) {
		all = append(all, q.QA)
	}
	return board, all, rng
}

// scenePicture is picture i of the training stream: a board and up to eight questions of all kinds.
func scenePicture(p *pack, seed uint64, i int) (Picture, error) {
	b, qa, rng := sceneText(p, seed, i)
	img, labels, err := b.drawLabelled(p, rng)
	if err != nil {
		return Picture{}, err
	}
	return Picture{Image: img, QA: qa, Labels: labels}, nil
}
