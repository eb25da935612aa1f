package algorithms

import (
	"fmt"
	"strings"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/ptq"
)

func clampGroups(w, bound []float32, group int) { kernels.ClampGroups(w, bound, group) }

// awq compares search curves, factors, clip bounds, folded weights and outputs.
func (f *folder) awq() error {
	var set struct {
		Models []struct {
			Model           string
			Config          toyConfig
			Samples, Tokens int
			Cases           []searchCase
		}
	}
	if err := f.parse(&set); err != nil {
		return err
	}
	for _, m := range set.Models {
		f.of = m.Model
		t, err := f.toy(m.Model+"/", m.Config)
		if err != nil {
			return err
		}
		in, err := t.readTokens(m.Samples, m.Tokens)
		if err != nil {
			return err
		}
		for _, c := range m.Cases {
			f.of = m.Model + "/" + c.ID
			if err := t.awqCase(in, c); err != nil {
				f.fail("case", err)
			}
		}
	}
	return nil
}

// awqMethod is the table's method with the case's options.
func awqMethod(c searchCase) (ptq.Method, error) {
	name := "awq"
	if c.Clip {
		name = "awq-clip"
	}
	m, err := ptq.FindMethod(name)
	if c.AutoScale != nil && !*c.AutoScale {
		m.Search.Kind = ptq.SearchNone
	}
	return m, err
}

func (t *toy) awqCase(in *inputs, c searchCase) error {
	m, err := awqMethod(c)
	if err != nil {
		return err
	}
	cal, err := t.calibration(in, m, c.format())
	if err != nil {
		return err
	}
	uniform, err := cal.Importance(t.f.ctx, m.Tokens.Importance, nil, newRand())
	if err != nil {
		return err
	}
	set, _, err := ptq.SelectTokens(m.Tokens, ptq.Selection{Samples: in.seqs, Importance: uniform})
	if err != nil {
		return err
	}
	results, err := t.calibrate(cal, set)
	if err != nil {
		return err
	}
	t.checkSearch(c, results, 1)
	group := c.format().Group
	stable, err := t.checkClip(c, results)
	if err != nil {
		return err
	}
	folded, err := t.folded(results, group)
	if err != nil {
		return err
	}
	t.checkFolded(t.prefix+c.ID+"/folded/", folded, folded32, func(name string) func(int) bool {
		marks, ok := stable[strings.TrimSuffix(name, ".weight")]
		if !ok {
			return nil
		}
		return func(i int) bool { return marks[i/group] == 1 }
	})
	if name := t.prefix + c.ID + "/quantized_logits_sample0"; t.f.file.Has(name) {
		logits, err := t.logits(in, quantized(results), nil)
		if err != nil {
			return err
		}
		want := t.f.shape(name)
		if n := want[0] * want[1]; n <= len(logits) {
			logits = logits[:n] // the first tokens
		}
		compare(t.f, name, logits, weightLogits)
	}
	return nil
}

// checkClip compares the clip bounds and returns which choices hang on no tie, by
// linear.
func (t *toy) checkClip(c searchCase, results []*ptq.LayerResult) (map[string][]int, error) {
	prefix := t.prefix + c.ID + "/clip/"
	stable := map[string][]int{}
	expected := 0
	for _, name := range t.f.file.Names() {
		linear, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		expected++
		var layer int
		var part, short string
		if _, err := fmt.Sscanf(strings.ReplaceAll(linear, ".", " "), "layers %d %s %s", &layer, &part, &short); err != nil || layer >= len(results) {
			t.f.fail(name, fmt.Errorf("expected the name of a linear"))
			continue
		}
		marks, err := t.f.ints(t.prefix + c.ID + "/clip_stable/" + linear)
		if err != nil {
			return nil, err
		}
		stable[linear] = marks
		compareWhere(t.f, name, results[layer].Bounds[short], tolerance{relative, 1e-4}, func(i int) bool { return marks[i] == 1 })
	}
	found := 0
	for _, r := range results {
		found += len(r.Bounds)
	}
	t.f.number("clipped linears", float64(found), float64(expected), same)
	return stable, nil
}
