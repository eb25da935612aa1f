package harness

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/ptq"
)

// Every method's written folder gives the answers that were given from memory,
// to the last bit: weights, activation quantizer and online transforms.
func TestEveryMethodReadsBack(t *testing.T) {
	s, m := tinySession(t)
	c := mustSamples(t, m, 2, 0)
	asked := Questions{Task: "scene", Split: "test", N: 2}
	for i, method := range ptq.Methods() {
		format := []string{"w4a8", "w3a16g16", "w4a4"}[i%3]
		q, err := m.Quantize(c, mustQuantization(t, method.Name, format))
		if err != nil {
			t.Errorf("%s at %s: %v", method.Name, format, err)
			continue
		}
		want, err := m.Evaluate(q, asked)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), method.Name)
		if _, err := m.WriteQuantized(dir, c, q); err != nil {
			t.Fatal(err)
		}
		back, err := s.Model(dir)
		if err != nil {
			t.Fatal(err)
		}
		if back.WeightsSHA256 != q.WeightsSHA256 {
			t.Errorf("%s at %s: hash %s in the folder, %s in memory", method.Name, format, back.WeightsSHA256, q.WeightsSHA256)
		}
		got, err := back.EvaluateAgainst(m, asked)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s at %s:\n%s", method.Name, format, diff)
		}
	}
}
