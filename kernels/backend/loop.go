package backend

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

const (
	// maxOperands bounds the operands of a loop, maxAxes the axes of an array.
	maxOperands, maxAxes = 3, 16
)

// loop is a nest over an output in row-major order: the sizes of the axes, and for
// each operand the step in memory along each axis, neighbouring axes joined where
// all operands step evenly. There is always at least one axis.
type loop struct {
	dims  []int
	steps [][]int // [operand][axis]
	base  [maxOperands]int
}

// newLoop joins axes and drops those of one value.
func newLoop(dims []int, steps ...[]int) *loop {
	l := &loop{steps: make([][]int, len(steps))}
	for axis, d := range dims {
		if d == 1 {
			continue
		}
		if k := len(l.dims) - 1; k >= 0 && l.joins(k, d, axis, steps) {
			l.dims[k] *= d
			for i := range steps {
				l.steps[i][k] = steps[i][axis]
			}
			continue
		}
		l.dims = append(l.dims, d)
		for i := range steps {
			l.steps[i] = append(l.steps[i], steps[i][axis])
		}
	}
	if len(l.dims) == 0 {
		l.dims = []int{1}
		for i := range steps {
			l.steps[i] = []int{0}
		}
	}
	return l
}

// joins tells whether axis of size d continues the loop's axis k evenly.
func (l *loop) joins(k, d, axis int, steps [][]int) bool {
	for i := range steps {
		if l.steps[i][k] != steps[i][axis]*d {
			return false
		}
	}
	return true
}

// inner is the length of the innermost runs.
func (l *loop) inner() int { return l.dims[len(l.dims)-1] }

// innerStep is an operand's step within a run.
func (l *loop) innerStep(operand int) int {
	steps := l.steps[operand]
	return steps[len(steps)-1]
}

// cursor walks the runs of a loop: at is where each operand is, left what remains
// of the current run.
type cursor struct {
	l    *loop
	at   [maxOperands]int
	left int
	row  [maxOperands]int // step of each operand from run to run
	rows int              // runs that remain before an outer axis moves
	// index is the place along the axes outside of runs and rows.
	index [maxAxes]int
}

// start is the cursor at a place of the output, which must not be empty.
func (l *loop) start(from int) cursor {
	c := cursor{l: l, at: l.base, rows: 1}
	k := len(l.dims) - 1
	rest := from
	for axis := k; axis >= 0; axis-- {
		i := rest % l.dims[axis]
		rest /= l.dims[axis]
		switch axis {
		case k:
			c.left = l.dims[k] - i
		case k - 1:
			c.rows = l.dims[axis] - i
		default:
			c.index[axis] = i
		}
		for o, s := range l.steps {
			c.at[o] += i * s[axis]
		}
	}
	if k > 0 {
		for o, s := range l.steps {
			c.row[o] = s[k-1]
		}
	}
	return c
}

// next moves to the beginning of the next run.
func (c *cursor) next() {
	k := len(c.l.dims) - 1
	if back := c.l.dims[k] - c.left; back != 0 { // the cursor started within a run
		for o, s := range c.l.steps {
			c.at[o] -= back * s[k]
		}
		c.left = c.l.dims[k]
	}
	for o := range c.at {
		c.at[o] += c.row[o]
	}
	if c.rows--; c.rows > 0 || k == 0 {
		return
	}
	c.rows = c.l.dims[k-1]
	for o := range c.at {
		c.at[o] -= c.rows * c.row[o]
	}
	for axis := k - 2; axis >= 0; axis-- {
		c.index[axis]++
		for o, s := range c.l.steps {
			c.at[o] += s[axis]
		}
		d := c.l.dims[axis]
		if c.index[axis] < d {
			return
		}
		c.index[axis] = 0
		for o, s := range c.l.steps {
			c.at[o] -= d * s[axis]
		}
	}
}

// take is how many whole runs, of which length, lie evenly ahead, of at most so
// many values; or a part of one run.
func (c *cursor) take(values int) (rows, n int) {
	inner := c.l.inner()
	if c.left < inner || values < 2*inner {
		return 1, min(c.left, values)
	}
	return min(c.rows, values/inner), inner
}

// skip moves over what take gave.
func (c *cursor) skip(rows int) {
	if rows > 1 {
		for o := range c.at {
			c.at[o] += (rows - 1) * c.row[o]
		}
		c.rows -= rows - 1
	}
	c.next()
}

// rowAligned tells whether, with the output seen as rows of equal length, the
// values that a row needs of an operand with the given number of values are
// exactly the operand's own row of that number.
func (l *loop) rowAligned(operand, rows, size int) bool {
	if size%rows != 0 || l.base[operand] != 0 {
		return false
	}
	width, outer := size/rows, 1
	var dims, steps []int // of the axes above the rows
	for axis, d := range l.dims {
		if outer == rows {
			break
		}
		s := l.steps[operand][axis]
		if rows%(outer*d) != 0 { // the axis ends inside the rows
			in := rows / outer
			if d%in != 0 {
				return false
			}
			d, s = in, s*(d/in)
		}
		dims, steps = append(dims, d), append(steps, s)
		outer *= d
	}
	want := width
	for i := len(dims) - 1; i >= 0; i-- {
		if dims[i] > 1 && steps[i] != want {
			return false
		}
		want *= dims[i]
	}
	return outer == rows
}

// through looks behind a broadcast: the operand that holds the values, and the
// stride with which each axis of shape steps through it.
func through(n *node, shape shapes.Shape) (*node, []int) {
	base := n
	if n.op == compute.OpTypeBroadcastInDim {
		base = n.inputs[0]
	}
	steps := make([]int, shape.Rank())
	if n.shape.Rank() == 0 {
		return base, steps
	}
	own := base.shape.Strides()
	for axis := range steps {
		if n.shape.Dimensions[axis] == 1 && shape.Dimensions[axis] != 1 {
			continue
		}
		if base == n {
			steps[axis] = stride(base, own, axis)
			continue
		}
		for i, to := range n.broadcastAxes {
			if to == axis {
				steps[axis] = stride(base, own, i)
			}
		}
	}
	return base, steps
}

// stride of an axis; 0 where the axis has one value.
func stride(n *node, strides []int, axis int) int {
	if n.shape.Dimensions[axis] == 1 {
		return 0
	}
	return strides[axis]
}
