package harness

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// changedTensors lists the tensors of a folder that differ from another's.
func changedTensors(t *testing.T, dir, source string) []string {
	t.Helper()
	a, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := safetensors.OpenDir(source)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var names []string
	for _, name := range a.Names() {
		if cmp.Diff(mustFloats(t, a, name), mustFloats(t, b, name)) != "" {
			names = append(names, name)
		}
	}
	return names
}

// By default nothing but the decoder's linears changes, with a search the norms that take
// up scales; with the vision tower its blocks' linears do too, and the folder answers as the
// model in memory did.
func TestVisionTower(t *testing.T) {
	s, m := tinySession(t)
	c := mustSamples(t, m, 2, 0)
	asked := Questions{Task: "scene", Split: "test", N: 2}
	hashes := map[string]bool{}
	for _, x := range []struct {
		method, format string
		tower          bool
	}{{"rtn", "w4a8", false}, {"rtn", "w4a8", true}, {"tlq", "w4a8", true}, {"gptq", "w3a16g16", true}, {"quarot", "w4a6", true}, {"tlq", "w4a8", false}} {
		q := mustQuantization(t, x.method, x.format)
		q.Tower = x.tower
		out, err := m.Quantize(c, q)
		if err != nil {
			t.Fatalf("%+v: %v", x, err)
		}
		if hashes[out.WeightsSHA256] {
			t.Errorf("%+v: the same weights again", x)
		}
		hashes[out.WeightsSHA256] = true
		want, err := m.Evaluate(out, asked)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "out")
		if _, err := m.WriteQuantized(dir, c, out); err != nil {
			t.Fatal(err)
		}
		back, err := s.Model(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := back.EvaluateAgainst(m, asked)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v:\n%s", x, diff)
		}
		if x.method == "quarot" {
			continue // everything is rotated
		}
		for _, name := range changedTensors(t, dir, m.Dir) {
			layer := strings.Contains(name, "model.layers.") && (strings.HasSuffix(name, "_proj.weight") || x.method == "tlq")
			block := strings.Contains(name, "visual.blocks.") && strings.HasSuffix(name, ".weight") && !strings.Contains(name, "norm")
			if !layer && !(block && x.tower) {
				t.Errorf("%+v: %s changed", x, name)
			}
		}
	}
}

// Hand-worked: 4-bit codes and a 16-bit step per row of the tiny model's linears. In each of
// 3 layers rows are 32 wide but for down_proj's 32 of 64; in the one vision block but for fc2's.
func TestVisionTowerBits(t *testing.T) {
	_, m := tinySession(t)
	c := mustSamples(t, m, 1, 0)
	q := mustQuantization(t, "rtn", "w4a8")
	layers := 3 * (32*32 + 2*16*32 + 32*32 + 2*64*32 + 32*64)
	rows := 3 * (32 + 2*16 + 32 + 2*64 + 32)
	for _, tower := range []bool{false, true} {
		weights, steps := layers, rows
		if tower {
			weights, steps = weights+4*32*32+64*32+32*64, steps+4*32+64+32
		}
		q.Tower = tower
		out, err := m.Quantize(c, q)
		if err != nil {
			t.Fatal(err)
		}
		if want := 4 + 16*float64(steps)/float64(weights); math.Abs(out.AvgBits-want) > 1e-12 {
			t.Errorf("tower %v: %g bits per weight, want %g", tower, out.AvgBits, want)
		}
	}
}
