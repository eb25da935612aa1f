package kernels

import (
	"cmp"
	"fmt"
	"math"
	"slices"
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
// any factor. All arithmetic is float64; w and h are not changed.
//
// In order: dead columns (H_jj = 0) get H_jj = 1 and weight 0; H is damped; U is the
// upper Cholesky factor of H⁻¹ = Uᵀ·U; column j is rounded to q and e = (w−q)/U_jj
// times row j of U is taken from the columns behind, at once inside a block and
// after the block beyond it. Steps of the reference that are kept: without groups the
// grid is found before dead columns are cleared; a grid that is found inside a block
// does not see that block's updates. With Drift, w·P_j is added besides, with
// P = α·triu(D·Uᵀ, 1)·U; beyond the block the code multiplies the columns' rounded
// values, as its authors' does.
//
// Rows are independent and run on several threads; nothing depends on their number.
func SolveColumns(w []float64, rows, cols int, h []float64, o SolveOptions) (*Solution, error) {
	if err := o.check(w, rows, cols, h); err != nil {
		return nil, err
	}
	s := &solver{o: o, rows: rows, cols: cols, w: slices.Clone(w), h: slices.Clone(h), drift: slices.Clone(o.Drift)}
	groups := 1
	if o.Group > 0 {
		groups = (cols + o.Group - 1) / o.Group
	}
	s.out = &Solution{
		Codes: make([]int32, rows*cols), RowLoss: make([]float64, rows),
		Step: make([]float64, rows*groups), Zero: make([]float64, rows*groups),
	}
	s.groups = groups
	if o.Group == 0 {
		s.staticGrids(cols)
	}
	s.clearDead()
	if o.Group > 0 && o.StaticGroups {
		s.staticGrids(o.Group)
	}
	s.order()
	if err := s.factor(); err != nil {
		return nil, err
	}
	s.solveRows()
	return s.out, nil
}

func (o SolveOptions) check(w []float64, rows, cols int, h []float64) error {
	switch err := o.Rule.Validate(); {
	case err != nil:
		return err
	case len(w) != rows*cols || len(h) != cols*cols || rows < 1 || cols < 1:
		return fmt.Errorf("kernels: SolveColumns: %d weights and a Hessian of %d, want [%d, %d] and [%d, %d]", len(w), len(h), rows, cols, cols, cols)
	case o.Drift != nil && len(o.Drift) != cols*cols:
		return fmt.Errorf("kernels: SolveColumns: a drift of %d, want [%d, %d]", len(o.Drift), cols, cols)
	case o.Group < 0 || o.Block < 1 || o.Damp < 0 || o.Retries < 0:
		return fmt.Errorf("kernels: SolveColumns: group %d, block %d, damping %v, %d retries; expected a block of 1 or more and no negative number", o.Group, o.Block, o.Damp, o.Retries)
	}
	for i, v := range h {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("kernels: SolveColumns: the Hessian holds %v at [%d, %d]; expected finite numbers", v, i/cols, i%cols)
		}
	}
	return nil
}

// solver holds the matrices of SolveColumns in the order of handling.
type solver struct {
	o                  SolveOptions
	rows, cols, groups int
	w, h, drift        []float64
	u                  []float64 // upper Cholesky factor of H⁻¹
	p                  []float64 // GPTAQ's P, nil without drift
	out                *Solution
}

// staticGrids finds the grids of groups of consecutive columns.
func (s *solver) staticGrids(group int) {
	s.eachRow(func(r int) {
		row := s.w[r*s.cols : (r+1)*s.cols]
		for g := range s.groups {
			at := r*s.groups + g
			s.out.Step[at], s.out.Zero[at] = FindGrid(s.o.Rule, row[g*group:min((g+1)*group, s.cols)])
		}
	})
}

func (s *solver) clearDead() {
	n := s.cols
	for j := range n {
		if s.h[j*n+j] != 0 {
			continue
		}
		s.out.Dead = append(s.out.Dead, j)
		s.h[j*n+j] = 1
		for r := range s.rows {
			s.w[r*n+j] = 0
		}
		if s.drift != nil {
			for i := range n {
				s.drift[i*n+j] = 0
			}
		}
	}
}

// order sorts columns by falling diagonal, ties in order, and sets the group of
// each.
func (s *solver) order() {
	n := s.cols
	if s.o.ActOrder {
		s.out.Order = make([]int, n)
		for j := range n {
			s.out.Order[j] = j
		}
		slices.SortStableFunc(s.out.Order, func(a, b int) int { return cmp.Compare(s.h[b*n+b], s.h[a*n+a]) })
		s.w = permuteColumns(s.w, s.rows, s.out.Order)
		s.h = permute(s.h, s.out.Order)
		if s.drift != nil {
			s.drift = permute(s.drift, s.out.Order)
		}
	}
	if s.o.Group == 0 {
		return
	}
	s.out.Index = make([]int, n)
	for k := range n {
		j := s.column(k)
		s.out.Index[j] = j / s.o.Group
		if !s.o.StaticGroups {
			s.out.Index[j] = k / s.o.Group
		}
	}
}

// column is the original place of the k-th column handled.
func (s *solver) column(k int) int {
	if s.out.Order == nil {
		return k
	}
	return s.out.Order[k]
}

func permuteColumns(a []float64, rows int, order []int) []float64 {
	n := len(order)
	out := make([]float64, rows*n)
	for r := range rows {
		for k, j := range order {
			out[r*n+k] = a[r*n+j]
		}
	}
	return out
}

func permute(a []float64, order []int) []float64 {
	n := len(order)
	out := make([]float64, n*n)
	for i, from := range order {
		for k, j := range order {
			out[i*n+k] = a[from*n+j]
		}
	}
	return out
}

// factor damps H until it has a Cholesky factor, and computes U and P.
func (s *solver) factor() error {
	n := s.cols
	mean := 0.0
	for j := range n {
		mean += s.h[j*n+j] / float64(n)
	}
	damp := s.o.Damp * mean
	for {
		for j := range n {
			s.h[j*n+j] += damp
		}
		s.out.Attempts++
		s.out.Damped += damp
		u, err := InverseFactor(s.h, n)
		if err == nil {
			s.u = u
			break
		}
		if s.out.Attempts > s.o.Retries || damp == 0 {
			return fmt.Errorf("kernels: SolveColumns: %w, with %g of the mean diagonal added %d times: raise the damping or give more inputs", err, s.o.Damp, s.out.Attempts)
		}
	}
	if s.drift != nil {
		s.p = driftFactor(s.drift, s.u, n, s.o.DriftWeight)
		s.out.Drift = s.p
	}
	return nil
}

// driftFactor is α·triu(D·Uᵀ, 1)·U.
func driftFactor(d, u []float64, n int, alpha float64) []float64 {
	p := make([]float64, n*n)
	split(n, func(i int) {
		for k := i + 1; k < n; k++ {
			// (D·Uᵀ)[i, k] = Σ_j D[i, j]·U[k, j], U upper.
			var sum float64
			for j := k; j < n; j++ {
				sum += d[i*n+j] * u[k*n+j]
			}
			sum *= alpha
			for j := k; j < n; j++ {
				p[i*n+j] += sum * u[k*n+j]
			}
		}
	})
	return p
}

// solveRows rounds all columns, rows in tiles.
func (s *solver) solveRows() {
	tiles := (s.rows + rowTile - 1) / rowTile
	split(tiles, func(i int) { s.solveTile(i*rowTile, min((i+1)*rowTile, s.rows)) })
}

// rowTile is how many rows share a pass over a block of U.
const rowTile = 16

func (s *solver) solveTile(from, to int) {
	n := s.cols
	for start := 0; start < n; start += s.o.Block {
		end := min(start+s.o.Block, n)
		width := end - start
		errs := make([]float64, (to-from)*width)
		values := make([]float64, (to-from)*width)
		for r := from; r < to; r++ {
			k := (r - from) * width
			s.solveBlock(r, start, end, errs[k:k+width], values[k:k+width])
		}
		for j := start; j < end; j++ {
			for r := from; r < to; r++ {
				k := (r-from)*width + j - start
				rest := s.w[r*n+end : (r+1)*n]
				addScaled(rest, -errs[k], s.u[j*n+end:(j+1)*n])
				if s.p != nil {
					addScaled(rest, values[k], s.p[j*n+end:(j+1)*n])
				}
			}
		}
	}
}

// solveBlock rounds columns start … end−1 of a row and returns what the columns
// beyond need: errors, and values after the block's own updates.
func (s *solver) solveBlock(r, start, end int, errs, values []float64) {
	n := s.cols
	copy(values, s.w[r*n+start:r*n+end])
	for j := start; j < end; j++ {
		if s.o.Group > 0 && !s.o.StaticGroups && j%s.o.Group == 0 {
			// The outer array: the block's own updates are not in it yet.
			g := r*s.groups + j/s.o.Group
			s.out.Step[g], s.out.Zero[g] = FindGrid(s.o.Rule, s.w[r*n+j:r*n+min(j+s.o.Group, n)])
		}
		c := s.column(j)
		g := r * s.groups
		if s.out.Index != nil {
			g += s.out.Index[c]
		}
		v, d := values[j-start], s.u[j*n+j]
		code := Quantize(s.o.Rule, v, s.out.Step[g], s.out.Zero[g])
		s.out.Codes[r*n+c] = int32(code)
		e := (v - Dequantize(code, s.out.Step[g], s.out.Zero[g])) / d
		s.out.RowLoss[r] += e * e / 2
		errs[j-start] = e
		addScaled(values[j-start:], -e, s.u[j*n+j:j*n+end])
		if s.p != nil {
			addScaled(values[j-start:], v, s.p[j*n+j:j*n+end])
		}
	}
}

// eachRow runs f for every row.
func (s *solver) eachRow(f func(r int)) { split(s.rows, f) }
