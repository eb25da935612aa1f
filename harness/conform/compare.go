package conform

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// rule says how tensors of a name are compared.
type rule struct {
	Pattern string  `json:"pattern"` // * stands for any text
	Kind    string  `json:"kind"`    // exact, absolute, relative
	T       float64 `json:"t"`
}

// rules are the tolerances of a folder; the first that matches a name counts.
type rules []rule

// The kinds of comparison.
const (
	exact    = "exact"    // equal
	absolute = "absolute" // |got − want| ≤ t
	relative = "relative" // |got − want| ≤ t·(|want| + rms(want))
)

func readRules(path string) (rules, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Tensors rules `json:"tensors"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, r := range file.Tensors {
		if !slices.Contains([]string{exact, absolute, relative}, r.Kind) || !(r.T >= 0) {
			return nil, fmt.Errorf("%s: pattern %q has kind %q and t %g; expected exact, absolute or relative and t from 0 on", path, r.Pattern, r.Kind, r.T)
		}
	}
	return file.Tensors, nil
}

// find returns the rule of a name; whole numbers without one are exact.
func (r rules) find(name string, integer bool) (rule, error) {
	for _, one := range r {
		parts := strings.Split(one.Pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		if regexp.MustCompile("^(?s:" + strings.Join(parts, ".*") + ")$").MatchString(name) {
			return one, nil
		}
	}
	if integer {
		return rule{Pattern: name, Kind: exact}, nil
	}
	return rule{}, fmt.Errorf("%s gives no tolerance for it", toleranceFile)
}

// array is a tensor of numbers; ints where they are whole.
type array struct {
	shape  []int
	floats []float32
	ints   []int64
	// real tells which places along the leading axes are no padding; nil: all.
	real []bool
	// same marks rows that are all alike: a file may hold one for all.
	same bool
	note string
}

func intArray(v []int64, shape ...int) *array     { return &array{shape: shape, ints: v} }
func floatArray(v []float32, shape ...int) *array { return &array{shape: shape, floats: v} }

// readArray reads a tensor of a file.
func readArray(f *safetensors.File, name string) (*array, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	a := &array{shape: t.Shape}
	switch t.DType {
	case safetensors.F64, safetensors.F32, safetensors.F16, safetensors.BF16:
		a.floats, err = t.Float32s()
	default:
		a.ints, err = t.Int64s()
	}
	return a, err
}

// compare compares what was computed with what the file expects.
func (f *folder) compare(of, name string, got *array, want *array) {
	c := Check{Fixture: f.dir, Case: of, Name: name, Note: got.note}
	r, err := f.rules.find(name, want.ints != nil)
	switch {
	case err != nil:
		c.Kind, c.Note = "error", err.Error()
	case (got.ints == nil) != (want.ints == nil):
		c.Kind, c.Note = "error", "whole numbers against others"
	case !slices.Equal(got.shape, want.shape):
		c.Kind, c.Note = r.Kind, fmt.Sprintf("shape %v, expected %v", got.shape, want.shape)
	default:
		c.Kind, c.Tolerance = r.Kind, r.T
		c.measure(got, want)
	}
	f.report(c)
}

// measure fills in the errors and decides.
func (c *Check) measure(got, want *array) {
	at := func(a *array, i int) float64 {
		if a.ints != nil {
			return float64(a.ints[i])
		}
		return float64(a.floats[i])
	}
	total := max(len(want.ints), len(want.floats))
	width := 1
	if got.real != nil {
		width = total / len(got.real)
	}
	counts := func(i int) bool { return got.real == nil || got.real[i/width] }
	square := 0.0
	for i := range total {
		if counts(i) {
			square += at(want, i) * at(want, i)
			c.Values++
		}
	}
	rms := math.Sqrt(square / float64(max(c.Values, 1)))
	c.Pass = true
	for i := range total {
		if !counts(i) {
			continue
		}
		g, w := at(got, i), at(want, i)
		diff := math.Abs(g - w)
		if math.IsNaN(diff) || math.IsInf(diff, 0) {
			c.Pass, c.Note = false, fmt.Sprintf("got %g at %d, expected %g", g, i, w)
			return
		}
		c.MaxAbs = max(c.MaxAbs, diff)
		if diff > 0 {
			c.MaxRel = max(c.MaxRel, diff/(math.Abs(w)+rms))
		}
	}
	c.Pass = c.error() <= c.Tolerance
}

// error is the number that the tolerance bounds.
func (c *Check) error() float64 {
	if c.Kind == relative {
		return c.MaxRel
	}
	return c.MaxAbs
}
