package kernels

// solveLanes rows are rounded at a time.
const solveLanes = 8

// tile rounds some rows of a solver's weights. Its matrices are [column, row], columns
// in order of handling, so that a column's rows lie side by side in vectors.
type tile struct {
	*solver
	from, rows int
	ld         int       // elements from column to column
	w          []float64 // [cols, ld]: weights; errors e where columns are rounded
	values     []float64 // [cols, ld]: rounded columns' values, with drift only
	step, zero []float64 // [groups, ld]
	loss       []float64 // Σe²
	applied    []int     // how many of the first columns' errors a column has taken
	u, p       []float64 // the current block of U and of P, side by side
	at         []int     // where in step and zero a column of the block has its group
	codes      []int32   // of a block's columns and solveLanes rows
	narrow     []float64 // solveLanes rows of W
	column     []float64 // values of one row and group
	low, top   []float64
}

// newTile makes a tile for that many rows at most. Columns are an odd number of cache
// lines apart, else those of a block would share few sets of the first-level cache.
func newTile(s *solver, rows int) *tile {
	lines := (rows+solveLanes-1)/solveLanes | 1
	t := &tile{solver: s, ld: lines * solveLanes}
	width := min(s.o.Block, s.cols)
	t.w = make([]float64, s.cols*t.ld)
	t.step, t.zero = make([]float64, s.groups*t.ld), make([]float64, s.groups*t.ld)
	t.loss, t.low, t.top = make([]float64, t.ld), make([]float64, t.ld), make([]float64, t.ld)
	t.applied, t.at = make([]int, s.cols), make([]int, width)
	t.u, t.codes = make([]float64, width*width), make([]int32, width*solveLanes)
	t.narrow = make([]float64, solveLanes*s.cols)
	if s.p != nil {
		t.values, t.p = make([]float64, len(t.w)), make([]float64, width*width)
	}
	for i := range t.step { // lanes without a row divide by one
		t.step[i] = 1
	}
	return t
}

// solve rounds rows from ≤ r < to.
func (t *tile) solve(from, to int) {
	t.from, t.rows = from, to-from
	t.load()
	clear(t.loss)
	clear(t.applied)
	if t.o.Group > 0 && t.o.StaticGroups {
		place := make([]int, t.cols)
		for k := range place {
			place[t.solver.column(k)] = k
		}
		for g := range t.groups {
			t.findGrid(g, place[g*t.o.Group:min((g+1)*t.o.Group, t.cols)])
		}
	}
	for start := 0; start < t.cols; start += t.o.Block {
		end := min(start+t.o.Block, t.cols)
		t.update(start, end, start)
		if t.o.Group > 0 && !t.o.StaticGroups {
			t.findGrids(start, end)
		}
		t.round(start, end)
	}
	for r := range t.rows {
		t.out.RowLoss[from+r] = t.loss[r] / 2
		for g := range t.groups {
			at := (from+r)*t.groups + g
			t.out.Step[at], t.out.Zero[at] = t.step[g*t.ld+r], t.zero[g*t.ld+r]
		}
	}
}

// load transposes the rows and, without groups, finds their grids.
func (t *tile) load() {
	n := t.cols
	for r := 0; r < t.ld; r += solveLanes {
		for i := range solveLanes {
			row := t.narrow[i*n : (i+1)*n]
			if r+i >= t.rows {
				clear(row)
				continue
			}
			t.row(t.from+r+i, row)
			if t.o.Group == 0 { // before dead columns are cleared
				t.step[r+i], t.zero[r+i] = FindGrid(t.o.Rule, row)
			}
		}
		for k := range n {
			c, lanes := t.solver.column(k), t.w[k*t.ld+r:][:solveLanes]
			if t.dead[k] {
				clear(lanes)
				continue
			}
			for i := range lanes {
				lanes[i] = t.narrow[i*n+c]
			}
		}
	}
}

// update takes the errors of the columns before upto from the columns from ≤ k < to.
func (t *tile) update(from, to, upto int) {
	for from < to {
		next := from + 1
		for next < to && t.applied[next] == t.applied[from] {
			next++
		}
		if k := t.applied[from]; k < upto {
			Dgemm(true, false, next-from, t.ld, upto-k, -1, t.solver.u[k*t.cols+from:], t.cols, t.w[k*t.ld:], t.ld, t.w[from*t.ld:], t.ld, true)
			if t.solver.p != nil {
				Dgemm(true, false, next-from, t.ld, upto-k, 1, t.solver.p[k*t.cols+from:], t.cols, t.values[k*t.ld:], t.ld, t.w[from*t.ld:], t.ld, true)
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
func (t *tile) findGrids(start, end int) {
	for j := (start + t.o.Group - 1) / t.o.Group * t.o.Group; j < end; j += t.o.Group {
		last := min(j+t.o.Group, t.cols)
		t.update(end, last, start)
		columns := make([]int, last-j)
		for i := range columns {
			columns[i] = j + i
		}
		t.findGrid(j/t.o.Group, columns)
	}
}

// findGrid finds every row's grid of a group.
func (t *tile) findGrid(g int, columns []int) {
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

// round rounds the columns of a block and leaves their errors in their place.
func (t *tile) round(start, end int) {
	width, n := end-start, t.cols
	for j := range width {
		copy(t.u[j*width:][:width], t.solver.u[(start+j)*n+start:])
		if t.solver.p != nil {
			copy(t.p[j*width:][:width], t.solver.p[(start+j)*n+start:])
		}
		t.at[j] = t.group[start+j] * t.ld
	}
	for r := 0; r < t.rows; r += solveLanes {
		t.roundLanes(start, width, r)
		for i := range min(solveLanes, t.rows-r) {
			codes := t.out.Codes[(t.from+r+i)*n:][:n]
			for j := range width {
				codes[t.solver.column(start+j)] = t.codes[j*solveLanes+i]
			}
		}
	}
}

// roundLanesGo rounds width columns from start on of rows r … r+7: e = (v − q)/U_jj takes
// the place of v, and e·U_j, or with drift e·U_j − v·P_j, is taken from the columns of
// the block behind.
func (t *tile) roundLanesGo(start, width, r int) {
	low, high := t.o.Rule.Codes()
	for j := range width {
		lanes := t.w[(start+j)*t.ld+r:][:solveLanes]
		u := t.u[j*width+j : (j+1)*width]
		var v, e [solveLanes]float64
		copy(v[:], lanes)
		for i := range v {
			step, zero := t.step[t.at[j]+r+i], t.zero[t.at[j]+r+i]
			q := min(max(even(v[i]/step)+zero, float64(low)), float64(high))
			e[i] = (v[i] - Dequantize(q, step, zero)) / u[0]
			t.loss[r+i] += float64(e[i] * e[i])
			t.codes[j*solveLanes+i] = int32(q)
		}
		copy(lanes, e[:])
		for k := 1; k < len(u); k++ {
			behind := t.w[(start+j+k)*t.ld+r:][:solveLanes]
			for i := range behind {
				behind[i] -= float64(e[i] * u[k])
			}
		}
		if t.p == nil {
			continue
		}
		for i := range v {
			t.values[(start+j)*t.ld+r+i] = v[i] - float64(e[i]*u[0])
		}
		for k := 1; k < len(u); k++ {
			behind := t.w[(start+j+k)*t.ld+r:][:solveLanes]
			for i := range behind {
				behind[i] += float64(v[i] * t.p[j*width+j+k])
			}
		}
	}
}
