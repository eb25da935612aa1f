package kernels

import (
	"cmp"
	"fmt"
	"slices"
)

// solveColumnsGo is SolveColumns by rows.
func solveColumnsGo(w []float64, rows, cols int, h []float64, o SolveOptions) (*Solution, error) {
	s := &rowSolver{o: o, rows: rows, cols: cols, groups: 1, w: slices.Clone(w), h: slices.Clone(h), drift: slices.Clone(o.Drift)}
	if o.Group > 0 {
		s.groups = (cols + o.Group - 1) / o.Group
	}
	s.out = &Solution{
		Codes: make([]int32, rows*cols), RowLoss: make([]float64, rows),
		Step: make([]float64, rows*s.groups), Zero: make([]float64, rows*s.groups),
	}
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

// rowSolver is the solver row by row in plain Go, as the package had it before tiles: the
// oracle of SolveColumns. It holds the matrices in the order of handling.
type rowSolver struct {
	o                  SolveOptions
	rows, cols, groups int
	w, h, drift        []float64
	u                  []float64 // upper Cholesky factor of H⁻¹
	p                  []float64 // GPTAQ's P, nil without drift
	out                *Solution
}

// staticGrids finds the grids of groups of consecutive columns.
func (s *rowSolver) staticGrids(group int) {
	s.eachRow(func(r int) {
		row := s.w[r*s.cols : (r+1)*s.cols]
		for g := range s.groups {
			at := r*s.groups + g
			s.out.Step[at], s.out.Zero[at] = FindGrid(s.o.Rule, row[g*group:min((g+1)*group, s.cols)])
		}
	})
}

func (s *rowSolver) clearDead() {
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
func (s *rowSolver) order() {
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
func (s *rowSolver) column(k int) int {
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
func (s *rowSolver) factor() error {
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
		u, err := inverseFactorGo(s.h, n)
		if err == nil {
			s.u = u
			break
		}
		if s.out.Attempts > s.o.Retries || damp == 0 {
			return fmt.Errorf("kernels: SolveColumns: %w, with %g of the mean diagonal added %d times: raise the damping or give more inputs", err, s.o.Damp, s.out.Attempts)
		}
	}
	if s.drift != nil {
		s.p = driftFactorGo(s.drift, s.u, n, s.o.DriftWeight)
		s.out.Drift = s.p
	}
	return nil
}

// driftFactorGo is α·triu(D·Uᵀ, 1)·U.
func driftFactorGo(d, u []float64, n int, alpha float64) []float64 {
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
func (s *rowSolver) solveRows() {
	tiles := (s.rows + rowTile - 1) / rowTile
	split(tiles, func(i int) { s.solveTile(i*rowTile, min((i+1)*rowTile, s.rows)) })
}

// rowTile is how many rows share a pass over a block of U.
const rowTile = 16

func (s *rowSolver) solveTile(from, to int) {
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
func (s *rowSolver) solveBlock(r, start, end int, errs, values []float64) {
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
func (s *rowSolver) eachRow(f func(r int)) { split(s.rows, f) }
