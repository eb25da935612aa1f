package datasets

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

const (
	boardSide  = 4                  // cells per row and column
	cellSize   = canvas / boardSide // pixels
	boardEmoji = 26                 // side of an emoji on a board, pixels
	boardLeast = 6                  // fewest filled cells
	boardMost  = 10                 // most filled cells
	loners     = 3                  // concepts that appear once, at least
)

// Kind of a question of task scene.
type questionKind int

const (
	askAt questionKind = iota // What is at B3?
	askWhere
	askNeighbour
	askCount
	questionKinds // how many there are
)

// String returns the kind's name, the Attribute of examples.
func (k questionKind) String() string {
	return [...]string{"name", "position", "neighbour", "count"}[k]
}

// directions of a neighbour question, as steps in (column, row).
var directions = []struct {
	words       string
	column, row int
}{{"left of", -1, 0}, {"right of", 1, 0}, {"above", 0, 1}, {"below", 0, -1}}

// board is a 4×4 board. Cell n lies in column n%4 (A to D from the left) and in row n/4
// (1 to 4 from the bottom), as on a chess board.
type board struct {
	cells   [boardSide * boardSide]pair // where filled
	filled  [boardSide * boardSide]bool
	counted [2]int      // concepts that count questions ask for
	places  map[int]int // concept → how many cells show it
	order   []int       // distinct concepts, in drawing order
}

// newBoard draws a board of concepts from the pool.
//
// Two concepts may be asked for their count. Their counts are different numbers
// from 1 to 4, all pairs equally likely: each number is the answer equally often, and
// neither "the one that repeats" nor the board's fill gives it away. The other
// concepts, at least three, appear once.
func newBoard(rng *rand.Rand, pool []pooled) *board {
	first := 1 + rng.IntN(4)
	second := 1 + rng.IntN(3)
	if second >= first {
		second++
	}
	least := max(boardLeast, first+second+loners)
	n := least + rng.IntN(boardMost-least+1)
	chosen := sample(rng, pool, n-first-second+2)
	b := &board{places: map[int]int{}}
	b.counted = [2]int{chosen[0].concept, chosen[1].concept}
	var pairs []pair
	for i, c := range chosen {
		copies := 1
		if i < 2 {
			copies = [2]int{first, second}[i]
		}
		b.order = append(b.order, c.concept)
		b.places[c.concept] = copies
		for range copies {
			pairs = append(pairs, pair{c.concept, c.vendors[rng.IntN(len(c.vendors))]})
		}
	}
	for b.place(rng, pairs); len(b.neighbours()) < 2; {
		b.place(rng, pairs)
	}
	return b
}

// newSparseBoard draws a board of few pictures: one concept that appears one to four
// times and at least so many others, up to two. What is on such a board can be named
// before one has learned to find a cell, so finding is learned sooner.
func newSparseBoard(rng *rand.Rand, pool []pooled, others int) *board {
	copies := 1 + rng.IntN(4)
	chosen := sample(rng, pool, 1+others+rng.IntN(3-others))
	b := &board{places: map[int]int{}, counted: [2]int{chosen[0].concept, chosen[0].concept}}
	var pairs []pair
	for i, c := range chosen {
		n := 1
		if i == 0 {
			n = copies
		}
		b.order = append(b.order, c.concept)
		b.places[c.concept] = n
		for range n {
			pairs = append(pairs, pair{c.concept, c.vendors[rng.IntN(len(c.vendors))]})
		}
	}
	for b.place(rng, pairs); len(b.neighbours()) < others; {
		b.place(rng, pairs)
	}
	return b
}

// place puts the pairs into random cells.
func (b *board) place(rng *rand.Rand, pairs []pair) {
	b.filled = [len(b.filled)]bool{}
	for i, cell := range rng.Perm(len(b.cells))[:len(pairs)] {
		b.filled[cell], b.cells[cell] = true, pairs[i]
	}
}

// neighbour is a possible question: what lies beside a concept that appears once.
type neighbour struct{ from, direction, answer int } // concept, index into directions, concept

// neighbours lists all possible neighbour questions in cell order.
func (b *board) neighbours() []neighbour {
	var all []neighbour
	for cell, ok := range b.filled {
		if !ok || b.places[b.cells[cell].concept] != 1 {
			continue
		}
		for d, step := range directions {
			column, row := cell%boardSide+step.column, cell/boardSide+step.row
			if column < 0 || column >= boardSide || row < 0 || row >= boardSide {
				continue
			}
			if other := row*boardSide + column; b.filled[other] {
				all = append(all, neighbour{b.cells[cell].concept, d, b.cells[other].concept})
			}
		}
	}
	return all
}

// cellName is "A1" for cell 0, at the bottom left, and "D4" for the last.
func cellName(cell int) string {
	return string([]byte{'A' + byte(cell%boardSide), '1' + byte(cell/boardSide)})
}

// cellsOf lists the cells that show a concept.
func (b *board) cellsOf(concept int) []int {
	var cells []int
	for cell, ok := range b.filled {
		if ok && b.cells[cell].concept == concept {
			cells = append(cells, cell)
		}
	}
	return cells
}

// lone lists the concepts that appear once.
func (b *board) lone() []int {
	var all []int
	for _, c := range b.order {
		if b.places[c] == 1 {
			all = append(all, c)
		}
	}
	return all
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
			all = append(all, question{QA{"What is at " + cellName(cell) + "?", name(c)}, others(c)})
		}
	case askWhere:
		lone := b.lone()
		for _, c := range sample(rng, lone, min(n, len(lone))) {
			cell := b.cellsOf(c)[0]
			all = append(all, question{QA{"Where is the " + name(c) + "?", cellName(cell)}, b.otherCells(cell)})
		}
	case askNeighbour:
		possible := b.neighbours()
		for _, q := range sample(rng, possible, min(n, len(possible))) {
			text := "What is " + directions[q.direction].words + " the " + name(q.from) + "?"
			all = append(all, question{QA{text, name(q.answer)}, others(q.from, q.answer)})
		}
	case askCount:
		for _, c := range sample(rng, b.counted[:], min(n, len(b.counted))) {
			count := b.places[c]
			all = append(all, question{QA{"Count: " + name(c), strconv.Itoa(count)}, otherCounts(count)})
		}
	}
	return all
}

// otherCells names the filled cells but one.
func (b *board) otherCells(except int) []string {
	var names []string
	for cell, ok := range b.filled {
		if ok && cell != except {
			names = append(names, cellName(cell))
		}
	}
	return names
}

// otherCounts names the counts from 1 to 4 but one.
func otherCounts(except int) []string {
	var names []string
	for n := 1; n <= 4; n++ {
		if n != except {
			names = append(names, strconv.Itoa(n))
		}
	}
	return names
}

// columnColors are the backgrounds of columns A to D in row 1, and rowShade is what is
// left of them, in percent, in rows 1 to 4: where a cell lies can be seen in the cell
// itself, also by a vision tower that knows only relative positions.
var (
	columnColors = [boardSide]color.RGBA{{255, 205, 205, 255}, {255, 240, 180, 255}, {200, 240, 200, 255}, {200, 215, 255, 255}}
	rowShade     = [boardSide]int{100, 88, 76, 64}
)

// draw paints the board: coloured columns, darker towards the top, and an emoji in each
// filled cell, off its centre by up to three pixels.
func (b *board) draw(p *pack, rng *rand.Rand) (*image.RGBA, error) {
	img := background(rng)
	const slack = cellSize - boardEmoji
	for cell, ok := range b.filled {
		left, top := cell%boardSide*cellSize, (boardSide-1-cell/boardSide)*cellSize
		paint(img, left, top, columnColors[cell%boardSide], rowShade[cell/boardSide])
		dx, dy := rng.IntN(slack+1), rng.IntN(slack+1)
		if !ok {
			continue
		}
		small, err := p.boardPicture(b.cells[cell])
		if err != nil {
			return nil, err
		}
		small.onto(img, left+dx, top+dy)
	}
	return img, nil
}

// paint fills a cell with percent of a colour.
func paint(img *image.RGBA, left, top int, c color.RGBA, percent int) {
	shade := func(v uint8) uint8 { return uint8(int(v) * percent / 100) }
	cell := image.Rect(left, top, left+cellSize, top+cellSize)
	draw.Draw(img, cell, image.NewUniform(color.RGBA{shade(c.R), shade(c.G), shade(c.B), 255}), image.Point{}, draw.Src)
}

// askScene is the [asker] of task scene: question i%4 about board i/4, one of every kind per board.
func askScene(p *pack, split Split, seed uint64, i int) (Example, artwork) {
	number := i / int(questionKinds)
	kind := questionKind(i % int(questionKinds))
	brush := stream("scene board", split, seed, number)
	b := exampleBoard(brush, p.pools[split][true])
	rng := stream("scene question", split, seed, i)
	q := b.ask(p, rng, kind, 1)[0]
	q.alternate = p.enough(rng, q, p.pools[split][true])
	e := Example{
		ID:        fmt.Sprintf("scene-%s-%d-%d", split, seed, i),
		Task:      "scene",
		Question:  q.Question,
		Answers:   []string{q.Answer},
		Choices:   shuffled(rng, q.Answer, sample(rng, q.alternate, choices-1)),
		Source:    fmt.Sprintf("board-%s-%d-%d", split, seed, number),
		Licence:   p.licence(b.vendors()...),
		Attribute: kind.String(),
	}
	return e, func() (*image.RGBA, error) { return b.draw(p, brush) }
}

// exampleBoard draws the board of an example: every other one is sparse, with at least
// two concepts.
func exampleBoard(rng *rand.Rand, pool []pooled) *board {
	if rng.IntN(sparseEvery) == 0 {
		return newSparseBoard(rng, pool, 1)
	}
	return newBoard(rng, pool)
}

// enough fills a question's distractors up where a sparse board has too few: with
// names of the split's concepts, or with empty cells.
func (p *pack) enough(rng *rand.Rand, q question, pool []pooled) []string {
	all := q.alternate
	missing := func(name string) bool {
		return name != q.Answer && !slices.Contains(all, name) && !strings.Contains(q.Question, " "+name+"?")
	}
	for len(all) < choices-1 {
		name := p.index.Concepts[pool[rng.IntN(len(pool))].concept].Name
		if strings.HasPrefix(q.Question, "Where") {
			name = cellName(rng.IntN(boardSide * boardSide))
		}
		if missing(name) {
			all = append(all, name)
		}
	}
	return all
}

// vendors lists the vendors shown, with repetitions.
func (b *board) vendors() []int {
	var all []int
	for cell, ok := range b.filled {
		if ok {
			all = append(all, b.cells[cell].vendor)
		}
	}
	return all
}

const (
	sceneQAs    = 8 // questions of the training stream about one board, at most
	sparseEvery = 2 // one in so many boards of the training stream is sparse
)

// sceneText is picture i of the training stream without its picture: the board, its questions and the generator for drawing.
func sceneText(p *pack, seed uint64, i int) (*board, []QA, *rand.Rand) {
	rng := stream("scene picture", Train, seed, i)
	var board *board
	if rng.IntN(sparseEvery) == 0 {
		board = newSparseBoard(rng, p.pools[Train][true], 0)
	} else {
		board = newBoard(rng, p.pools[Train][true])
	}
	var all []QA
	for _, ask := range []struct {
		kind questionKind
		most int
	}{{askCount, 1}, {askWhere, 2}, {askNeighbour, 1}} {
		for _, q := range board.ask(p, rng, ask.kind, ask.most) {
			all = append(all, q.QA)
		}
	}
	for _, q := range board.ask(p, rng, askAt, sceneQAs-len(all)) {
		all = append(all, q.QA)
	}
	return board, all, rng
}

// scenePicture is picture i of the training stream: a board and eight questions of all kinds.
func scenePicture(p *pack, seed uint64, i int) (Picture, error) {
	b, qa, rng := sceneText(p, seed, i)
	img, err := b.draw(p, rng)
	if err != nil {
		return Picture{}, err
	}
	return Picture{Image: img, QA: qa}, nil
}
