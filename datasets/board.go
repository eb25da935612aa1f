package datasets

import (
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
)

const (
	boardSide  = 4  // cells per row and column of the largest board
	boardLeast = 6  // fewest filled cells of a full board
	boardMost  = 10 // most filled cells
	loners     = 3  // concepts that appear once on a full board, at least
	countMost  = 4  // pictures of a concept, at most
)

// grid is the shape of a board; its cells share the picture evenly.
type grid struct {
	columns, rows int
	emoji         int // side of an emoji, pixels
	size          int // index into boardSizes
}

// boardSizes are the sides of emoji on boards, in pixels.
var boardSizes = [3]int{52, 38, 26}

// The boards, small to large: on a small one what there is can be told before one
// has learned to find a cell, so finding is learned sooner.
var (
	grid2x1 = grid{2, 1, boardSizes[0], 0}
	grid2x2 = grid{2, 2, boardSizes[0], 0}
	grid3x2 = grid{3, 2, boardSizes[1], 1}
	grid3x3 = grid{3, 3, boardSizes[1], 1}
	grid4x4 = grid{4, 4, boardSizes[2], 2}
)

// cells is the number of cells.
func (g grid) cells() int { return g.columns * g.rows }

// name is "A1" for cell 0, at the bottom left: columns are A to D from the left,
// rows 1 to 4 from the bottom, as on a chess board.
func (g grid) name(cell int) string {
	return string([]byte{'A' + byte(cell%g.columns), '1' + byte(cell/g.columns)})
}

// area is a cell's part of the picture.
func (g grid) area(cell int) image.Rectangle {
	column, row := cell%g.columns, g.rows-1-cell/g.columns
	return image.Rect(column*canvas/g.columns, row*canvas/g.rows, (column+1)*canvas/g.columns, (row+1)*canvas/g.rows)
}

// String is the shape, columns × rows.
func (g grid) String() string { return string([]byte{'0' + byte(g.columns), 'x', '0' + byte(g.rows)}) }

// directions of a neighbour question, as steps in (column, row).
var directions = []struct {
	words       string
	column, row int
}{{"left of", -1, 0}, {"right of", 1, 0}, {"above", 0, 1}, {"below", 0, -1}}

// board is a grid with a picture in some of its cells.
type board struct {
	grid
	cells   []pair // where filled
	filled  []bool
	counted []int       // concepts that count questions ask for; none on boards too small for every count
	most    int         // the concept that appears most often, more than once; −1: none
	places  map[int]int // concept → how many cells show it
	order   []int       // distinct concepts, in drawing order
}

// exampleBoard draws the board of an example: one of five kinds, equally often.
func exampleBoard(rng *rand.Rand, pool []pooled) *board {
	switch rng.IntN(5) {
	case 0:
		return newLoneBoard(rng, pool, grid2x2, 2+rng.IntN(3))
	case 1:
		return newSparseBoard(rng, pool, grid3x2, 1+rng.IntN(2), 1)
	case 2:
		return newSparseBoard(rng, pool, grid3x3, 2+rng.IntN(3), 1)
	case 3:
		return newSparseBoard(rng, pool, grid4x4, 1+rng.IntN(2), 1)
	}
	return newBoard(rng, pool)
}

// trainingBoard draws the board of a training picture: those of examples, boards of
// two cells and boards of one concept alone.
func trainingBoard(rng *rand.Rand, pool []pooled) *board {
	switch rng.IntN(7) {
	case 0:
		return newLoneBoard(rng, pool, grid2x1, 2)
	case 1:
		return newSparseBoard(rng, pool, []grid{grid3x2, grid3x3, grid4x4}[rng.IntN(3)], 0, 0)
	}
	return exampleBoard(rng, pool)
}

// newBoard draws a full board of 4×4 cells.
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
	copies := make([]int, len(chosen))
	for i := range copies {
		copies[i] = 1
	}
	copies[0], copies[1] = first, second
	return fillBoard(rng, grid4x4, chosen, copies, 2, 2)
}

// newSparseBoard draws a board of few pictures: one concept that appears one to four
// times, each equally likely, and others that appear once; so many neighbour questions
// can be asked at least.
func newSparseBoard(rng *rand.Rand, pool []pooled, g grid, others, neighbours int) *board {
	chosen := sample(rng, pool, 1+others)
	copies := make([]int, len(chosen))
	for i := range copies {
		copies[i] = 1
	}
	copies[0] = 1 + rng.IntN(min(countMost, g.cells()-others))
	return fillBoard(rng, g, chosen, copies, 1, neighbours)
}

// newLoneBoard draws a board of n concepts that appear once.
func newLoneBoard(rng *rand.Rand, pool []pooled, g grid, n int) *board {
	copies := make([]int, n)
	for i := range copies {
		copies[i] = 1
	}
	return fillBoard(rng, g, sample(rng, pool, n), copies, 0, 1)
}

// fillBoard places so many pictures of each concept, until at least so many
// neighbour questions can be asked; the first counted concepts may be counted.
func fillBoard(rng *rand.Rand, g grid, chosen []pooled, copies []int, counted, neighbours int) *board {
	b := &board{grid: g, cells: make([]pair, g.cells()), filled: make([]bool, g.cells()), most: -1, places: map[int]int{}}
	var pairs []pair
	best, ties := 0, 0
	for i, c := range chosen {
		if i < counted {
			b.counted = append(b.counted, c.concept)
		}
		b.order = append(b.order, c.concept)
		b.places[c.concept] = copies[i]
		switch {
		case copies[i] > copies[best]:
			best, ties = i, 0
		case i != best && copies[i] == copies[best]:
			ties++
		}
		for range copies[i] {
			pairs = append(pairs, pair{c.concept, c.vendors[rng.IntN(len(c.vendors))]})
		}
	}
	if copies[best] > 1 && ties == 0 && len(chosen) > 1 {
		b.most = chosen[best].concept
	}
	for b.place(rng, pairs); len(b.neighbours()) < neighbours; {
		b.place(rng, pairs)
	}
	return b
}

// place puts the pairs into random cells.
func (b *board) place(rng *rand.Rand, pairs []pair) {
	clear(b.filled)
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
			column, row := cell%b.columns+step.column, cell/b.columns+step.row
			if column < 0 || column >= b.columns || row < 0 || row >= b.rows {
				continue
			}
			if other := row*b.columns + column; b.filled[other] {
				all = append(all, neighbour{b.cells[cell].concept, d, b.cells[other].concept})
			}
		}
	}
	return all
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

// columnColors are the backgrounds of columns A to D in row 1, and rowShade is what is
// left of them, in percent, in rows 1 to 4: where a cell lies can be seen in the cell
// itself, also by a vision tower that knows only relative positions.
var (
	columnColors = [boardSide]color.RGBA{{255, 205, 205, 255}, {255, 240, 180, 255}, {200, 240, 200, 255}, {200, 215, 255, 255}}
	rowShade     = [boardSide]int{100, 88, 76, 64}
)

// draw paints the board: coloured columns, darker towards the top, and an emoji in each
// filled cell, off its centre by a few pixels.
func (b *board) draw(p *pack, rng *rand.Rand) (*image.RGBA, error) {
	img, _, err := b.drawLabelled(p, rng)
	return img, err
}

// drawLabelled draws the board and says where each emoji stands.
func (b *board) drawLabelled(p *pack, rng *rand.Rand) (*image.RGBA, []Label, error) {
	img := background(rng)
	var labels []Label
	for cell, ok := range b.filled {
		area := b.area(cell)
		paint(img, area, columnColors[cell%b.columns], rowShade[cell/b.columns])
		x, y := area.Min.X+rng.IntN(area.Dx()-b.emoji+1), area.Min.Y+rng.IntN(area.Dy()-b.emoji+1)
		if !ok {
			continue
		}
		small, err := p.boardPicture(b.cells[cell], b.size)
		if err != nil {
			return nil, nil, err
		}
		small.onto(img, x, y)
		labels = append(labels, Label{image.Rect(x, y, x+b.emoji, y+b.emoji), p.index.Concepts[b.cells[cell].concept].Name})
	}
	return img, labels, nil
}

// paint fills a cell with percent of a colour.
func paint(img *image.RGBA, cell image.Rectangle, c color.RGBA, percent int) {
	shade := func(v uint8) uint8 { return uint8(int(v) * percent / 100) }
	draw.Draw(img, cell, image.NewUniform(color.RGBA{shade(c.R), shade(c.G), shade(c.B), 255}), image.Point{}, draw.Src)
}
