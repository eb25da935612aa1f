package harness

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/ptq"
)

// A model with outliers answers as the model itself does, bit for bit, is told
// apart by its key, and says how large they are.
func TestOutliersChangeNoAnswer(t *testing.T) {
	s, m := tinySession(t)
	asked := Questions{Task: "scene", Split: "test", N: 3}
	want, err := m.Evaluate(nil, asked)
	if err != nil {
		t.Fatal(err)
	}
	keys := []Key{m.Key()}
	for _, text := range []string{"channel*64", "modality*32/2", "sink@gate_up+down"} {
		o, err := ptq.ParseOutliers(text)
		if err != nil {
			t.Fatal(err)
		}
		on, err := m.WithOutliers(o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := on.Evaluate(nil, asked)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
		if slices.Contains(keys, on.Key()) {
			t.Errorf("%s: key %s is another's", text, on.Key())
		}
		keys = append(keys, on.Key())
		found, err := on.Outliers()
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Channels) != m.NumLayers() || len(found.Kinds) != 4 || found.Kinds[0].Peak[1] < 2*found.Kinds[0].Peak[0] {
			t.Errorf("%s: %+v", text, found)
		}
		same, err := on.WithOutliers(o)
		if err != nil || same.Key() != on.Key() {
			t.Errorf("%s twice: %v", text, err)
		}
		if _, err := on.WithOutliers(ptq.DefaultOutliers(ptq.OutlierModality)); err == nil {
			t.Errorf("%s: other outliers on top", text)
		}
		if !s.Store.Has(on.Key()) {
			t.Errorf("%s: the choice is not in the store", text)
		}
	}
}

// Outliers are an axis of a Spec: cells, records, files and settings are told apart,
// the unquantized model stays one row, and the record says what was injected.
func TestOutliersAxis(t *testing.T) {
	s, _ := tinySession(t)
	spec := tinySpec()
	spec.Formats, spec.Methods, spec.Seeds, spec.Limit = []string{"w4a8"}, []MethodRef{{Name: "rtn"}, {Name: "quarot-rtn"}}, []uint64{0}, 4
	spec.Outliers = []string{"none", "channel*256"}
	if err := spec.Validate(s.Root); err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(s, spec)
	if err != nil {
		t.Fatal(err)
	}
	records, err := plan.Run(t.Context(), RunOptions{Dir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	var cells []string
	kl := map[string]float64{}
	for _, r := range records {
		cells = append(cells, r.Method+" "+r.Outliers)
		kl[r.Method+" "+r.Outliers] = r.Metrics.KL
		told := slices.ContainsFunc(r.Events, func(e Event) bool { return e.Kind == EventOutliers })
		if told != (r.Outliers == "channel*256") {
			t.Errorf("%s: events %v", r.Cell(), r.Events)
		}
		if told && (!strings.Contains(r.Cell(), "w4a8 with channel*256 outliers") || !strings.Contains(r.Samples, "channel-256")) {
			t.Errorf("cell %q, samples %q", r.Cell(), r.Samples)
		}
	}
	if diff := cmp.Diff([]string{"fp ", "rtn none", "rtn channel*256", "quarot-rtn none", "quarot-rtn channel*256"}, cells); diff != "" {
		t.Error(diff)
	}
	if kl["rtn channel*256"] < 2*kl["rtn none"] || kl["quarot-rtn channel*256"] > kl["rtn channel*256"] {
		t.Errorf("KL %v: outliers should hurt rounding, and rotation should help", kl)
	}
	for _, bad := range [][]string{{"chanel"}, {"channel", "channel*16"}, {"channel*3"}} {
		spec.Outliers = bad
		if err := spec.Validate(s.Root); err == nil {
			t.Errorf("outliers %v are accepted", bad)
		}
	}
}
