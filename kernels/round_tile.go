package kernels

import "unsafe"

// tile rounds some rows of a solver's weights. Its matrices are [column, row], columns
// in order of handling, so that a column's rows lie side by side in vectors.
type tile[T Float] struct {
	*solver
	row        func(r int, dst []T) // a row of W, as it was
	first      int                  // number of the tile's first row
	rows       int
	ld         int       // elements from column to column
	w          []T       // [cols, ld]: weights; where columns are rounded D, or errors e with an inverse
	values     []T       // [cols, ld]: rounded columns' values, with drift only
	step, zero []T       // [groups, ld]
	loss       []float64 // Σe²
	applied    []int     // how many of the first columns' errors a column has taken
	u, p       []T       // the current block of U and of P, side by side
	sum, exact []T       // [block, ld]: D·R of the current block, its weights before; without an inverse
	at         []int     // where in step and zero a column of the block has its group
	codes      []int32   // of a block's columns and of lanes rows
	narrow     []T       // lanes rows of W
	column     []T       // values of one row and group
	low, top   []T
}

// lineLanes is how many rows are rounded at a time, one cache line.
func lineLanes[T Float]() int {
	var v T
	return 64 / int(unsafe.Sizeof(v))
}

// newTile makes a tile for that many rows at most. Columns are an odd number of cache
// lines apart, else those of a block would share few sets of the first-level cache.
func newTile[T Float](s *solver, rows int, row func(r int, dst []T)) *tile[T] {
	lines := (rows+lineLanes[T]()-1)/lineLanes[T]() | 1
	t := &tile[T]{solver: s, row: row, ld: lines * lineLanes[T]()}
	width := min(s.o.Block, s.cols)
	t.w = make([]T, s.cols*t.ld)
	t.step, t.zero = make([]T, s.groups*t.ld), make([]T, s.groups*t.ld)
	t.loss, t.low, t.top = make([]float64, t.ld), make([]T, t.ld), make([]T, t.ld)
	t.applied, t.at = make([]int, s.cols), make([]int, width)
	t.u, t.codes = make([]T, width*width), make([]int32, width*lineLanes[T]())
	t.narrow = make([]T, lineLanes[T]()*s.cols)
	if s.p != nil {
		t.values, t.p = make([]T, len(t.w)), make([]T, width*width)
	}
	if s.direct {
		t.sum, t.exact = make([]T, width*t.ld), make([]T, width*t.ld)
	}
	for i := range t.step { // lanes without a row divide by one
		t.step[i] = 1
	}
	return t
}

// solve rounds rows from ≤ r < to.
func (t *tile[T]) solve(from, to int) {
	t.first, t.rows = from, to-from
	t.load()
	clear(t.loss)
	clear(t.applied)
	if t.o.Group > 0 && t.o.StaticGroups {
		turn := make([]int, t.cols)
		for k := range turn {
			turn[t.place(k)] = k
		}
		for g := range t.groups {
			t.findGrid(g, turn[g*t.o.Group:min((g+1)*t.o.Group, t.cols)])
		}
	}
	for start := 0; start < t.cols; start += t.o.Block {
		end := min(start+t.o.Block, t.cols)
		if t.direct {
			t.advance(start, end)
		} else {
			t.update(start, end, start)
		}
		if t.o.Group > 0 && !t.o.StaticGroups {
			t.findGrids(start, end)
		}
		t.round(start, end)
	}
	for r := range t.rows {
		t.out.RowLoss[from+r] = t.loss[r] / 2
		for g := range t.groups {
			at := (from+r)*t.groups + g
			t.out.Step[at], t.out.Zero[at] = float64(t.step[g*t.ld+r]), float64(t.zero[g*t.ld+r])
		}
	}
}

// load transposes the rows and, without groups, finds their grids.
func (t *tile[T]) load() {
	n := t.cols
	for r := 0; r < t.ld; r += lineLanes[T]() {
		for i := range lineLanes[T]() {
			row := t.narrow[i*n : (i+1)*n]
			if r+i >= t.rows {
				clear(row)
				continue
			}
			t.row(t.first+r+i, row)
			if t.o.Group == 0 { // before dead columns are cleared
				t.step[r+i], t.zero[r+i] = FindGrid(t.o.Rule, row)
			}
		}
		for k := range n {
			c, line := t.place(k), t.w[k*t.ld+r:][:lineLanes[T]()]
			if t.dead[k] {
				clear(line)
				continue
			}
			for i := range line {
				line[i] = t.narrow[i*n+c]
			}
		}
	}
}

// advance brings a block to the values that are best now that the columns before it
// are rounded, W + (D·R)·R_bb⁻¹ with D their W − Q.
func (t *tile[T]) advance(start, end int) {
	width := end - start
	block := t.w[start*t.ld : end*t.ld]
	copy(t.exact, block)
	for j := range width {
		copy(t.u[j*width:][:width], asType[T](t.blocks[start/t.o.Block])[j*width:])
	}
	if start == 0 {
		return
	}
	product(width, t.ld, start, 1, asType[T](t.r)[start:], t.cols, t.w, t.ld, t.sum, t.ld, false)
	product(width, t.ld, width, 1, t.u, width, t.sum, t.ld, block, t.ld, true)
}

// update takes the errors of the columns before upto from the columns from ≤ k < to.
func (t *tile[T]) update(from, to, upto int) {
	for from < to {
		next := from + 1
		for next < to && t.applied[next] == t.applied[from] {
			next++
		}
		if k := t.applied[from]; k < upto {
			product(next-from, t.ld, upto-k, -1, asType[T](t.solver.u)[k*t.cols+from:], t.cols, t.w[k*t.ld:], t.ld, t.w[from*t.ld:], t.ld, true)
			if t.solver.p != nil {
				product(next-from, t.ld, upto-k, 1, asType[T](t.solver.p)[k*t.cols+from:], t.cols, t.values[k*t.ld:], t.ld, t.w[from*t.ld:], t.ld, true)
			}
			for i := from; i < next; i++ {
				t.applied[i] = upto
			}
		}
		from = next
	}
}

// findGrids finds the grids of the groups that begin in a block, from weights that
// have taken the errors of the blocks before it and not its own.
func (t *tile[T]) findGrids(start, end int) {
	for j := (start + t.o.Group - 1) / t.o.Group * t.o.Group; j < end; j += t.o.Group {
		last := min(j+t.o.Group, t.cols)
		if !t.direct { // else groups end within the block
			t.update(end, last, start)
		}
		columns := make([]int, last-j)
		for i := range columns {
			columns[i] = j + i
		}
		t.findGrid(j/t.o.Group, columns)
	}
}

// findGrid finds every row's grid of a group.
func (t *tile[T]) findGrid(g int, columns []int) {
	step, zero := t.step[g*t.ld:][:t.rows], t.zero[g*t.ld:][:t.rows]
	if t.o.Rule.Shrink {
		for r := range step {
			t.column = t.column[:0]
			for _, k := range columns {
				t.column = append(t.column, t.w[k*t.ld+r])
			}
			step[r], zero[r] = FindGrid(t.o.Rule, t.column)
		}
		return
	}
	low, top := t.low[:t.rows], t.top[:t.rows]
	copy(low, t.w[columns[0]*t.ld:])
	copy(top, low)
	for _, k := range columns[1:] {
		for r, v := range t.w[k*t.ld:][:t.rows] {
			if v < low[r] {
				low[r] = v
			}
			if v > top[r] {
				top[r] = v
			}
		}
	}
	for r := range step {
		l, h := adjust(t.o.Rule, low[r], top[r])
		step[r], zero[r] = fit(t.o.Rule, l, h)
	}
}

// round rounds the columns of a block and leaves in their place what the columns
// behind it need.
func (t *tile[T]) round(start, end int) {
	width, n, lanes := end-start, t.cols, lineLanes[T]()
	for j := range width {
		t.at[j] = t.group[start+j] * t.ld
		if t.direct {
			continue
		}
		copy(t.u[j*width:][:width], asType[T](t.solver.u)[(start+j)*n+start:])
		if t.solver.p != nil {
			copy(t.p[j*width:][:width], asType[T](t.solver.p)[(start+j)*n+start:])
		}
	}
	for r := 0; r < t.rows; r += lanes {
		t.roundLanes(start, width, r)
		for i := range min(lanes, t.rows-r) {
			codes := t.out.Codes[(t.first+r+i)*n:][:n]
			for j := range width {
				codes[t.place(start+j)] = t.codes[j*lanes+i]
			}
		}
	}
	if t.direct {
		for i, v := range t.exact[:width*t.ld] {
			t.w[start*t.ld+i] = v - t.w[start*t.ld+i]
		}
	}
}

// roundLanesGo rounds width columns from start on of the lanes rows from r on: with e = (v −
// q)/U_jj, e·U_j, or with drift e·U_j − v·P_j, is taken from the columns of the block
// behind. The dequantized q takes the place of v, or with an inverse e does.
func (t *tile[T]) roundLanesGo(start, width, r int) {
	low, high := t.o.Rule.Codes()
	lanes := lineLanes[T]()
	v, e := make([]T, lanes), make([]T, lanes)
	for j := range width {
		line := t.w[(start+j)*t.ld+r:][:lanes]
		u := t.u[j*width+j : (j+1)*width]
		copy(v, line)
		for i := range v {
			step, zero := t.step[t.at[j]+r+i], t.zero[t.at[j]+r+i]
			q := min(max(even(v[i]/step)+zero, T(low)), T(high))
			line[i] = T((q - zero) * step)
			e[i] = (v[i] - line[i]) / u[0]
			t.loss[r+i] += float64(e[i]) * float64(e[i])
			t.codes[j*lanes+i] = int32(q)
		}
		if !t.direct {
			copy(line, e)
		}
		for k := 1; k < len(u); k++ {
			behind := t.w[(start+j+k)*t.ld+r:][:lanes]
			for i := range behind {
				behind[i] -= T(e[i] * u[k])
			}
		}
		if t.p == nil {
			continue
		}
		for i := range v {
			t.values[(start+j)*t.ld+r+i] = v[i] - T(e[i]*u[0])
		}
		for k := 1; k < len(u); k++ {
			behind := t.w[(start+j+k)*t.ld+r:][:lanes]
			for i := range behind {
				behind[i] += T(v[i] * t.p[j*width+j+k])
			}
		}
	}
}

// asType is a matrix that is known to be of type []T.
func asType[T Float](a any) []T { return a.([]T) }

// product computes C = alpha·Aᵀ·B, or adds it, with A stored [k, m]; alpha is 1 for
// float32.
func product[T Float](m, n, k int, alpha float64, a []T, lda int, b []T, ldb int, c []T, ldc int, accumulate bool) {
	switch a := any(a).(type) {
	case []float32:
		Sgemm(true, false, m, n, k, a, lda, asType[float32](b), ldb, asType[float32](c), ldc, accumulate)
	case []float64:
		Dgemm(true, false, m, n, k, alpha, a, lda, asType[float64](b), ldb, asType[float64](c), ldc, accumulate)
	}
}
