package algorithms

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/kernels"
)

// rtnCase is a case of the rounding fixtures.
type rtnCase struct {
	ID, Input string
	Bits      int
	Group     int
	Sym, MSE  bool
	Clip      float64 `json:"clip_ratio"`
	NearTies  []int   `json:"rows_where_the_search_is_a_near_tie"`
	Skip      []int   `json:"skip_rows"`
}

// rule is the grid of a case: the prefix of its name says whose it is.
func (c rtnCase) rule() (kernels.GridRule, error) {
	r := kernels.GridRule{Bits: c.Bits, Symmetric: c.Sym, Shrink: c.MSE, Clip: c.Clip}
	switch {
	case strings.HasPrefix(c.ID, "mbq_"), strings.HasPrefix(c.ID, "smoothquant_"):
		r.Kind, r.Symmetric = kernels.GridRange, true
	case strings.HasPrefix(c.ID, "awq_"):
		r.Kind = kernels.GridRange
	case strings.HasPrefix(c.ID, "gptq_"):
		r.Kind, r.HalfRange = kernels.GridGPTQ, true
	case strings.HasPrefix(c.ID, "quarot_w"):
		r.Kind = kernels.GridQuaRot
	case strings.HasPrefix(c.ID, "quarot_a"):
		r.Kind = kernels.GridActivation
		if c.Group > 0 {
			r.Kind = kernels.GridActivationGroup
		}
	default:
		return r, fmt.Errorf("case %q is of no known quantizer", c.ID)
	}
	return r, r.Validate()
}

// roundToNearest compares steps, zero points and codes, bit for bit.
func (f *folder) roundToNearest() error {
	var set struct {
		Columns int
		Cases   []rtnCase
	}
	if err := f.parse(&set); err != nil {
		return err
	}
	for _, c := range set.Cases {
		f.of = c.ID
		if err := f.rtnCase(c, set.Columns); err != nil {
			f.fail("case", err)
		}
	}
	return nil
}

func (f *folder) rtnCase(c rtnCase, columns int) error {
	rule, err := c.rule()
	if err != nil {
		return err
	}
	in, err := f.floats(c.Input)
	if err != nil {
		return err
	}
	row, group := columns, c.Group
	switch {
	case strings.Contains(c.ID, "_tensor_"): // one step for all
		row, group = len(in), len(in)
	case group < 0:
		group = columns
	}
	if columns < 1 || len(in)%columns != 0 || len(in)%group != 0 {
		return fmt.Errorf("%d values in rows of %d and groups of %d", len(in), columns, group)
	}
	var step, zero []float32
	var codes []int
	value := make([]float32, len(in))
	for g, part := range slices.Collect(slices.Chunk(in, group)) {
		s, z := kernels.FindGrid(rule, part)
		step, zero = append(step, s), append(zero, z)
		for i, v := range part {
			q := kernels.Quantize(rule, v, s, z)
			codes = append(codes, int(q))
			value[g*group+i] = kernels.Dequantize(q, s, z)
		}
	}
	skip := slices.Concat(c.NearTies, c.Skip)
	rows := func(size int) func(int) bool {
		return func(i int) bool { return !slices.Contains(skip, i*size/row) }
	}
	same := tolerance{exact, 0}
	compareWhere(f, c.ID+".scale", step, same, rows(group))
	if f.file.Has(c.ID + ".zero") {
		compareWhere(f, c.ID+".zero", zero, same, rows(group))
	} else {
		f.values(c.ID+".zero", wide(zero), make([]float64, len(zero)), same, nil)
	}
	if f.file.Has(c.ID + ".dequant") {
		compareWhere(f, c.ID+".dequant", value, same, rows(1))
	} else {
		compareWhere(f, c.ID+".code", codes, same, rows(1))
	}
	if rule.Kind == kernels.GridRange {
		f.fastRounding(c, rule, in, value, row, group)
	}
	return nil
}

// fastRounding compares the quantizers that the engine uses with the values just
// compared.
func (f *folder) fastRounding(c rtnCase, rule kernels.GridRule, in, want []float32, row, group int) {
	got := make([]float32, len(in))
	if rule.Symmetric {
		kernels.RoundSymmetric(got, nil, in, len(in)/row, row, group, rule.Bits)
	} else {
		kernels.RoundAsymmetric(got, nil, nil, in, len(in)/row, row, group, rule.Bits)
	}
	f.values(c.ID+" (engine)", wide(got), wide(want), tolerance{exact, 0}, nil)
}
