package kernels

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// SolveOptions are the settings of [SolveColumns].
type SolveOptions struct {
	Rule GridRule
	// Group is the number of columns that share a step; 0: all of a row.
	Group int
	// Block is the number of columns after which the columns behind are updated.
	Block int
	// Damp times the mean of H's diagonal is added to the diagonal.
	Damp float64
	// Retries is how many times more it is added while H has no Cholesky factor.
	Retries int
	// ActOrder handles columns in order of falling diagonal entries of H.
	ActOrder bool
	// StaticGroups finds all grids before any column is rounded, by the columns'
	// original places; otherwise a group's grid is found when its first column
	// comes up, from columns in the order of handling.
	StaticGroups bool
	// Drift, where set, is GPTAQ's Σ (x_fp − x̂)·x̂ᵀ, [cols, cols], in the scale of H, and
	// DriftWeight its α, 0.25 as published.
	Drift       []float64
	DriftWeight float64
	// InPlace has h's lower triangle and diagonal hold the factorization meanwhile, instead
	// of a matrix of its own. They are then what they were if h was symmetric, since the upper triangle
	// stays. Where U is computed whole it changes nothing.
	InPlace bool
}

// Solution is what [SolveColumns] found, columns in their original order.
type Solution struct {
	Codes      []int32   // [rows, cols]
	Step, Zero []float64 // [rows, groups]
	// Index is the group of every column, nil where there is one group per row.
	Index []int
	// Order is the place of every column handled, nil without ActOrder: the k-th
	// was column Order[k].
	Order []int
	// RowLoss is Σ_j ((w−q)/U_jj)²/2 per row, with w as it was when its turn came. Without
	// Drift twice its sum is tr((W−Q)·H·(W−Q)ᵀ), H damped.
	RowLoss []float64
	// Damped is what was added to the diagonal in all, Attempts how many times.
	Damped   float64
	Attempts int
	// Drift is GPTAQ's P in order of handling, nil without SolveOptions.Drift.
	Drift []float64
	// Dead lists the columns that no input reaches; their weights become 0.
	Dead []int
}

// Groups is the number of groups of a row.
func (s *Solution) Groups(rows int) int { return len(s.Step) / rows }

// Value is the dequantized weight at row r, column c of cols.
func (s *Solution) Value(r, c, rows, cols int) float64 {
	g := 0
	if s.Index != nil {
		g = s.Index[c]
	}
	at := r*s.Groups(rows) + g
	return Dequantize(float64(s.Codes[r*cols+c]), s.Step[at], s.Zero[at])
}

// SolveColumns rounds w [rows, cols] column by column so that tr((W−Q)·H·(W−Q)ᵀ)
// stays small: the error of a column is spread over the columns behind it (GPTQ,
// arXiv:2210.17323, as IST-DASLab/gptq computes it; with Drift GPTAQ,
// arXiv:2504.02692). h is the symmetric [cols, cols] sum of x·xᵀ over inputs x, times
// any factor; its upper triangle is read. w is not changed, nor is h when it returns.
//
// In order: dead columns (H_jj = 0) get H_jj = 1 and weight 0; H is damped; with U the
// upper Cholesky factor of H⁻¹ = Uᵀ·U, column j is rounded to q and e = (w−q)/U_jj
// times row j of U is taken from the columns behind. Steps of the reference that are
// kept: without groups the grid is found before dead columns are cleared; a grid that
// is found inside a block does not see that block's updates. With Drift, w·P_j is added
// besides, with P = α·triu(D·Uᵀ, 1)·U; beyond the block the code multiplies the columns'
// rounded values, as its authors' does.
//
// Columns are taken in blocks, which take the errors of all before them by one product. H⁻¹ is
// not needed for that: with H = R·Rᵀ, R upper, U = R⁻¹ and E·U = W' − Q, the block b
// becomes W_b + (D·R_b)·U_bb where D = W − Q of the columns before it, and U_bb is the inverse
// of a block of R alone (GPTQ is Babai's nearest-plane method, arXiv:2507.18553). So one
// Cholesky factorization stands for the two and the inverse that the published code
// makes. With Drift, or groups found on the way that end beyond their block, U is
// computed whole.
//
// The factorization is float64; all else is in the type of w, with Drift and such
// groups float64 too. A Drift of zeros is none, so that GPTAQ is then GPTQ bit for bit. Rows are independent; they run in tiles on several threads, and
// nothing depends on the tiles' size or the threads' number. Beside w, h and the
// solution it takes 16·cols² bytes (12 for float32, 32 with Drift; 8 and 4 in place), and 8·cols or
// 4·cols for each of at most 512 rows per thread. An h without a factor is a [PivotError] that names the
// column.
func SolveColumns[T Float](w []T, rows, cols int, h []float64, o SolveOptions) (*Solution, error) {
	if err := o.check(rows, cols, len(w), h); err != nil {
		return nil, err
	}
	for i, v := range w {
		if v-v != 0 {
			return nil, fmt.Errorf("kernels: SolveColumns: the weights hold %v at [%d, %d]; expected finite numbers", v, i/cols, i%cols)
		}
	}
	drift := slices.ContainsFunc(o.Drift, func(v float64) bool { return v != 0 })
	s := &solver{o: o, rows: rows, cols: cols, groups: 1}
	if o.Group > 0 {
		s.groups = (cols + o.Group - 1) / o.Group
	}
	s.direct = !drift && (o.Group == 0 || o.StaticGroups || o.Block%o.Group == 0 || o.Block >= cols)
	s.out = &Solution{
		Codes: make([]int32, rows*cols), RowLoss: make([]float64, rows),
		Step: make([]float64, rows*s.groups), Zero: make([]float64, rows*s.groups),
	}
	s.order(h)
	if s.direct && o.InPlace {
		s.l = h
		defer restore(h, diagonalOf(h, cols), cols)
	}
	if err := s.factor(h); err != nil {
		return nil, err
	}
	if !s.direct {
		s.invert()
		solveTiles(s, func(r int, dst []float64) {
			for c, v := range w[r*cols : (r+1)*cols] {
				dst[c] = float64(v)
			}
		})
		return s.out, nil
	}
	if o.Drift != nil { // nothing drifts: P is zero
		s.out.Drift = make([]float64, cols*cols)
	}
	factorBlocks[T](s)
	solveTiles(s, func(r int, dst []T) { copy(dst, w[r*cols:(r+1)*cols]) })
	return s.out, nil
}

func (o SolveOptions) check(rows, cols, weights int, h []float64) error {
	switch err := o.Rule.Validate(); {
	case err != nil:
		return err
	case weights != rows*cols || len(h) != cols*cols || rows < 1 || cols < 1:
		return fmt.Errorf("kernels: SolveColumns: %d weights and a Hessian of %d, want [%d, %d] and [%d, %d]", weights, len(h), rows, cols, cols, cols)
	case o.Drift != nil && len(o.Drift) != cols*cols:
		return fmt.Errorf("kernels: SolveColumns: a drift of %d, want [%d, %d]", len(o.Drift), cols, cols)
	case o.Group < 0 || o.Block < 1 || o.Damp < 0 || o.Retries < 0:
		return fmt.Errorf("kernels: SolveColumns: group %d, block %d, damping %v, %d retries; expected a block of 1 or more and no negative number", o.Group, o.Block, o.Damp, o.Retries)
	}
	for i, v := range h {
		if v-v != 0 {
			return fmt.Errorf("kernels: SolveColumns: the Hessian holds %v at [%d, %d]; expected finite numbers", v, i/cols, i%cols)
		}
	}
	return nil
}

// solver holds the matrices of SolveColumns in the order of handling.
type solver struct {
	o                  SolveOptions
	rows, cols, groups int
	direct             bool      // by R and blocks, not by U
	diagonal           []float64 // H's, dead columns 1
	group              []int     // of the k-th column handled
	dead               []bool    // the k-th column handled
	l                  []float64 // the factor of the reversed H
	r                  any       // []T: R, H = R·Rᵀ, upper
	blocks             []any     // []T: the inverse of every block on R's diagonal
	u                  []float64 // upper Cholesky factor of H⁻¹
	p                  []float64 // GPTAQ's P, nil without drift
	out                *Solution
}

// order finds dead columns, sorts columns by falling diagonal, ties in order, and
// sets the group of each.
func (s *solver) order(h []float64) {
	n := s.cols
	whole := make([]float64, n)
	for j := range n {
		if whole[j] = h[j*n+j]; whole[j] == 0 {
			whole[j] = 1
			s.out.Dead = append(s.out.Dead, j)
		}
	}
	if s.o.ActOrder {
		s.out.Order = make([]int, n)
		for j := range n {
			s.out.Order[j] = j
		}
		slices.SortStableFunc(s.out.Order, func(a, b int) int { return cmp.Compare(whole[b], whole[a]) })
	}
	s.diagonal, s.dead, s.group = make([]float64, n), make([]bool, n), make([]int, n)
	if s.o.Group > 0 {
		s.out.Index = make([]int, n)
	}
	for k := range n {
		j := s.place(k)
		s.diagonal[k], s.dead[k] = whole[j], h[j*n+j] == 0
		if s.o.Group == 0 {
			continue
		}
		s.group[k] = j / s.o.Group
		if !s.o.StaticGroups {
			s.group[k] = k / s.o.Group
		}
		s.out.Index[j] = s.group[k]
	}
}

// place is the original place of the k-th column handled.
func (s *solver) place(k int) int {
	if s.out.Order == nil {
		return k
	}
	return s.out.Order[k]
}

// factor damps H until it has a Cholesky factor.
func (s *solver) factor(h []float64) error {
	n := s.cols
	mean := 0.0
	for _, d := range s.diagonal {
		mean += d / float64(n)
	}
	damp := s.o.Damp * mean
	if s.l == nil {
		s.l = make([]float64, n*n)
	}
	for {
		for j := range s.diagonal {
			s.diagonal[j] += damp
		}
		s.out.Attempts++
		s.out.Damped += damp
		s.reversed(h)
		err := factorLower(s.l, n)
		if err == nil {
			return nil
		}
		if s.out.Attempts > s.o.Retries || damp == 0 {
			var pivot *PivotError
			if errors.As(err, &pivot) {
				pivot.Column = s.place(n - 1 - pivot.Column)
			}
			return fmt.Errorf("kernels: SolveColumns: the Hessian is %w, with %g of the mean diagonal added %d times: raise the damping or give more inputs", err, s.o.Damp, s.out.Attempts)
		}
	}
}

// invert computes U and P.
func (s *solver) invert() {
	s.u = s.l // nothing was written above its diagonal
	InvertLower(s.u, s.cols)
	reverseInPlace(s.u)
	if s.o.Drift != nil {
		s.p = driftFactor(s.orderedDrift(), s.u, s.cols, s.o.DriftWeight)
		s.out.Drift = s.p
	}
}

// factorBlocks computes R and the inverses of the blocks on its diagonal.
func factorBlocks[T Float](s *solver) {
	n := s.cols
	s.blocks = make([]any, (n+s.o.Block-1)/s.o.Block)
	split(len(s.blocks), func(b int) {
		start := b * s.o.Block
		end := min(start+s.o.Block, n)
		width := end - start
		x := make([]float64, width*width)
		at := n - end
		invertSmall(x, width, s.l[at*n+at:], n, width)
		block := make([]T, len(x))
		for i, v := range x {
			block[len(x)-1-i] = T(v)
		}
		s.blocks[b] = block
	})
	r := make([]T, n*n)
	split(n, func(i int) {
		from := s.l[(n-1-i)*n : (n-i)*n]
		to := r[i*n : (i+1)*n]
		for j := i; j < n; j++ {
			to[j] = T(from[n-1-j])
		}
	})
	s.r, s.l = r, nil
}

// reversed writes the lower triangle of the damped H, in order of handling and then the
// last row and column first, to l.
func (s *solver) reversed(h []float64) {
	n := s.cols
	split(n, func(i int) {
		row := s.l[i*n : i*n+i+1]
		from := s.place(n - 1 - i)
		for j := range i {
			to := s.place(n - 1 - j)
			row[j] = h[min(from, to)*n+max(from, to)]
		}
		row[i] = s.diagonal[n-1-i]
	})
}

// diagonalOf copies the diagonal of h [n, n].
func diagonalOf(h []float64, n int) []float64 {
	d := make([]float64, n)
	for i := range d {
		d[i] = h[i*n+i]
	}
	return d
}

// restore writes the diagonal of h [n, n], and its lower triangle from the upper one.
func restore(h, diagonal []float64, n int) {
	const block = 4 * mirrorTile
	split((n+block-1)/block, func(b int) {
		from, to := b*block, min(n, (b+1)*block)
		for left := 0; left < to; left += mirrorTile {
			for i := from; i < to; i++ {
				for j := left; j < min(i, left+mirrorTile); j++ {
					h[i*n+j] = h[j*n+i]
				}
			}
		}
		for i := from; i < to; i++ {
			h[i*n+i] = diagonal[i]
		}
	})
}

// orderedDrift is the drift in order of handling, without what dead columns give.
func (s *solver) orderedDrift() []float64 {
	n := s.cols
	d := make([]float64, n*n)
	split(n, func(i int) {
		from := s.o.Drift[s.place(i)*n:]
		for k := range n {
			if !s.dead[k] {
				d[i*n+k] = from[s.place(k)]
			}
		}
	})
	return d
}

// driftBlock rows of P are one task.
const driftBlock = 96

// driftFactor is α·triu(D·Uᵀ, 1)·U, U upper.
func driftFactor(d, u []float64, n int, alpha float64) []float64 {
	p := make([]float64, n*n)
	split((n+driftBlock-1)/driftBlock, func(b int) {
		first := b * driftBlock
		rows := min(driftBlock, n-first)
		t := make([]float64, rows*n) // D·Uᵀ from column first on
		for k := first; k < n; k += driftBlock {
			w := min(driftBlock, n-k)
			Dgemm(false, true, rows, w, n-k, alpha, d[first*n+k:], n, u[k*n+k:], n, t[k:], n, false)
		}
		for i := range rows {
			clear(t[i*n+first : i*n+first+i+1])
		}
		for j := first; j < n; j += driftBlock {
			w := min(driftBlock, n-j)
			Dgemm(false, false, rows, w, j+w-first, 1, t[first:], n, u[first*n+j:], n, p[first*n+j:], n, false)
		}
	})
	return p
}

// tileRows bounds the rows of a tile, so that a tile stays in the last-level cache.
const tileRows = 512

// solveTiles rounds all columns, rows in tiles.
func solveTiles[T Float](s *solver, row func(r int, dst []T)) {
	tiles := (s.rows + tileRows - 1) / tileRows
	if threads := min(runtime.GOMAXPROCS(0), (s.rows+lineLanes[T]()-1)/lineLanes[T]()); tiles%threads != 0 {
		tiles += threads - tiles%threads // the same work for every thread
	}
	var pool sync.Pool
	split(tiles, func(i int) {
		from, to := s.rows*i/tiles, s.rows*(i+1)/tiles
		if from == to {
			return
		}
		t, _ := pool.Get().(*tile[T])
		if t == nil {
			t = newTile(s, (s.rows+tiles-1)/tiles, row)
		}
		t.solve(from, to)
		pool.Put(t)
	})
}
