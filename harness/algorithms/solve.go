package algorithms

import (
	"fmt"
	"math"
	"slices"

	"github.com/tlqlab/tlqlab/kernels"
)

// solveCase is a case of the column solver's fixtures.
type solveCase struct {
	ID           string
	Bits         int
	Sym, MSE     bool
	Group        int
	ActOrder     bool
	StaticGroups bool `json:"static_groups"`
	PercDamp     float64
	BlockSize    int
	Dead         bool
	Alpha        float64 // GPTAQ's
	Loss         float64 `json:"loss_float64"`
	Damped       float64 `json:"damp_added"`
	DeadColumns  []int   `json:"dead_columns"`
	OutputError  float64 `json:"output_error"`
}

// options are the solver's settings with the grid rule of a method.
func (c solveCase) options(kind kernels.GridKind) kernels.SolveOptions {
	return kernels.SolveOptions{
		Rule:  kernels.GridRule{Kind: kind, Bits: c.Bits, Symmetric: c.Sym, Shrink: c.MSE, HalfRange: true},
		Group: max(c.Group, 0), Block: c.BlockSize, Damp: c.PercDamp, ActOrder: c.ActOrder, StaticGroups: c.StaticGroups,
	}
}

// Tolerances of the solver's fixtures: float64 arithmetic, steps and Hessians
// stored as float32.
var (
	stored32 = tolerance{largest, 1e-6}
	scale32  = tolerance{relative, 1e-5}
	float64s = tolerance{relative, 1e-9}
	same     = tolerance{exact, 0}
)

// moments are Hessian and drift of the inputs of all batches: (2/n)·Σ x·xᵀ, n
// sequences.
type moments struct {
	h, drift []float64
	xq, xfp  []float64 // all tokens, where both paths are given
	cols     int
}

// moments reads the batches "PREFIX.0", "PREFIX.1" …; other names the unquantized
// path, where there is one; mask clears columns.
func (f *folder) moments(prefix, other string, cols int, mask []float64) (*moments, error) {
	m := &moments{h: make([]float64, cols*cols), cols: cols}
	sequences := 0
	for i := 0; f.file.Has(fmt.Sprintf("%s.%d", prefix, i)); i++ {
		name := fmt.Sprintf("%s.%d", prefix, i)
		x, err := f.masked(name, cols, mask)
		if err != nil {
			return nil, err
		}
		shape := f.shape(name)
		if len(shape) != 3 || shape[2] != cols {
			return nil, fmt.Errorf("%s has shape %v; expected [sequences, tokens, %d]", name, shape, cols)
		}
		sequences += shape[0]
		narrow := make([]float32, len(x))
		for k, v := range x {
			narrow[k] = float32(v)
		}
		kernels.AddGram(m.h, narrow, nil, cols)
		if other == "" {
			continue
		}
		fp, err := f.masked(fmt.Sprintf("%s.%d", other, i), cols, mask)
		if err != nil {
			return nil, err
		}
		if len(fp) != len(x) {
			return nil, fmt.Errorf("%d inputs of both paths against %d", len(fp), len(x))
		}
		m.xq, m.xfp = append(m.xq, x...), append(m.xfp, fp...)
	}
	if sequences == 0 {
		return nil, fmt.Errorf("no inputs %s.0", prefix)
	}
	if other != "" {
		m.addDrift()
	}
	for i := range m.h {
		m.h[i] *= 2 / float64(sequences)
	}
	for i := range m.drift {
		m.drift[i] *= 2 / float64(sequences)
	}
	return m, nil
}

// addDrift sums (x_fp − x)·xᵀ.
func (m *moments) addDrift() {
	m.drift = make([]float64, m.cols*m.cols)
	for at := 0; at < len(m.xq); at += m.cols {
		for i := range m.cols {
			d := m.xfp[at+i] - m.xq[at+i]
			for j := range m.cols {
				m.drift[i*m.cols+j] += d * m.xq[at+j]
			}
		}
	}
}

func (f *folder) masked(name string, cols int, mask []float64) ([]float64, error) {
	x, err := f.tensor(name)
	if mask != nil {
		for i := range x {
			x[i] *= mask[i%cols]
		}
	}
	return x, err
}

// solveSet is cases.json of both solvers.
type solveSet struct {
	Rows, Columns int
	Cases         []solveCase
	Dead          []int `json:"dead_columns"`
	Shared        struct {
		HP          solveCase `json:"hp"`
		Damped      []float64 `json:"damp_added_by_each_call"`
		Reference   []float64 `json:"loss_reference"`
		Independent []float64 `json:"loss_independent"`
	} `json:"shared_hessian"`
}

// gptq compares Hessians, codes, grids and losses.
func (f *folder) gptq() error {
	var set solveSet
	if err := f.parse(&set); err != nil {
		return err
	}
	return f.solveCases(set, "X", "", kernels.GridGPTQ)
}

// gptaq compares the same with the drift of the inputs, and the effect of a
// Hessian that is damped for every layer that shares it.
func (f *folder) gptaq() error {
	var set solveSet
	if err := f.parse(&set); err != nil {
		return err
	}
	if err := f.solveCases(set, "Xq", "Xfp", kernels.GridQuaRot); err != nil {
		return err
	}
	return f.sharedHessian(set)
}

func (f *folder) solveCases(set solveSet, inputs, other string, kind kernels.GridKind) error {
	w, err := f.tensor("W")
	if err != nil {
		return err
	}
	mask, err := f.tensor("alive_mask")
	if err != nil {
		return err
	}
	plain, err := f.moments(inputs, other, set.Columns, nil)
	if err != nil {
		return err
	}
	dead, err := f.moments(inputs, other, set.Columns, mask)
	if err != nil {
		return err
	}
	compare(f, "H", plain.h, stored32)
	if other != "" {
		compare(f, "dXXT", plain.drift, stored32)
	}
	for i, c := range set.Cases {
		f.of = c.ID
		m := plain
		if c.Dead {
			m = dead
		}
		s, err := solve(c, kind, w, set.Rows, m, m.h)
		if err != nil {
			f.fail("solve", err)
			continue
		}
		f.checkSolution(c, s, set.Rows, set.Columns, m.h)
		if other != "" {
			f.number("output_error", outputError(m, w, s, set.Rows), c.OutputError, float64s)
			if i == 0 {
				compare(f, "P_first_case", s.Drift, stored32)
			}
		}
	}
	return nil
}

// solve runs the column solver on a Hessian; the drift comes from m.
func solve(c solveCase, kind kernels.GridKind, w []float64, rows int, m *moments, h []float64) (*kernels.Solution, error) {
	o := c.options(kind)
	if m.drift != nil {
		o.Drift, o.DriftWeight = m.drift, c.Alpha
	}
	return kernels.SolveColumns(w, rows, m.cols, h, o)
}

func (f *folder) checkSolution(c solveCase, s *kernels.Solution, rows, cols int, h []float64) {
	compare(f, c.ID+".code", s.Codes, same)
	compare(f, c.ID+".scale", s.Step, scale32)
	if f.file.Has(c.ID + ".zero") {
		compare(f, c.ID+".zero", s.Zero, same)
	} else {
		f.values(c.ID+".zero", s.Zero, make([]float64, len(s.Zero)), same, nil)
	}
	if f.file.Has(c.ID + ".g_idx") {
		compare(f, c.ID+".g_idx", s.Index, same)
	}
	if f.file.Has(c.ID + ".perm") {
		f.checkOrder(c.ID+".perm", s.Order, h, cols)
	}
	if f.file.Has(c.ID + ".row_loss") {
		compare(f, c.ID+".row_loss", s.RowLoss, float64s)
	}
	if f.file.Has(c.ID + ".Q") {
		q := make([]float64, rows*cols)
		for i := range q {
			q[i] = s.Value(i/cols, i%cols, rows, cols)
		}
		compare(f, c.ID+".Q", q, stored32)
	}
	f.number("loss", sum(s.RowLoss), c.Loss, float64s)
	f.number("damp_added", s.Damped, c.Damped, float64s)
	f.values("dead_columns", wide(s.Dead), wide(c.DeadColumns), same, nil)
}

// checkOrder compares orders of columns. Columns with equal diagonal entries, such
// as dead ones, may come in any order among themselves: the published sort is not
// stable.
func (f *folder) checkOrder(name string, got []int, h []float64, cols int) {
	want, err := f.ints(name)
	if err != nil {
		f.fail(name, err)
		return
	}
	key := func(list []int) []float64 {
		out := make([]float64, len(list))
		for k, j := range list {
			out[k] = math.NaN() // no column: nothing equals it
			if 0 <= j && j < cols {
				if out[k] = h[j*cols+j]; out[k] == 0 {
					out[k] = 1
				}
			}
		}
		return out
	}
	f.values(name, key(got), key(want), same, nil)
	sorted := func(list []int) []float64 { return wide(slices.Sorted(slices.Values(list))) }
	f.values(name+" (columns)", sorted(got), sorted(want), same, nil)
}

func sum(v []float64) (total float64) {
	for _, x := range v {
		total += x
	}
	return total
}

// outputError is Σ |W·x_fp − Q·x|² over tokens. W is as given.
func outputError(m *moments, w []float64, s *kernels.Solution, rows int) float64 {
	var total float64
	q := make([]float64, m.cols)
	for r := range rows {
		for i := range q {
			q[i] = s.Value(r, i, rows, m.cols)
		}
		for at := 0; at < len(m.xq); at += m.cols {
			var e float64
			for i := range q {
				e += w[r*m.cols+i]*m.xfp[at+i] - q[i]*m.xq[at+i]
			}
			total += e * e
		}
	}
	return total
}

// sharedHessian solves three weights with one Hessian: as one should, and with the
// damping left in it from weight to weight, as the published driver does.
func (f *folder) sharedHessian(set solveSet) error {
	names := []string{"first", "second", "third"}
	m, err := f.moments("Xq", "Xfp", set.Columns, nil)
	if err != nil {
		return err
	}
	h := slices.Clone(m.h)
	for i, name := range names {
		f.of = "shared, " + name
		from := "shared.W_" + name
		if i == 0 {
			from = "W"
		}
		w, err := f.tensor(from)
		if err != nil {
			return err
		}
		rows := len(w) / m.cols
		clean, err := solve(set.Shared.HP, kernels.GridQuaRot, w, rows, m, m.h)
		if err != nil {
			return err
		}
		compare(f, "shared.independent_code_"+name, clean.Codes, same)
		f.number("loss_independent", sum(clean.RowLoss), at(set.Shared.Independent, i), float64s)
		damped, err := solve(set.Shared.HP, kernels.GridQuaRot, w, rows, m, h)
		if err != nil {
			return err
		}
		compare(f, "shared.reference_code_"+name, damped.Codes, same)
		f.number("loss_reference", sum(damped.RowLoss), at(set.Shared.Reference, i), float64s)
		f.number("damp_added", damped.Damped, at(set.Shared.Damped, i), float64s)
		for j := range m.cols {
			h[j*m.cols+j] += damped.Damped
		}
	}
	return nil
}

// at is v[i], NaN beyond the end: nothing equals it.
func at(v []float64, i int) float64 {
	if i < len(v) {
		return v[i]
	}
	return math.NaN()
}
