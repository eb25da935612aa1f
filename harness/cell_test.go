package harness

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpecOnly(t *testing.T) {
	s := DefaultSpec()
	s.Models, s.Outliers, s.Seeds = []string{"zoo:a", "zoo:b"}, []string{"none", "channel"}, []uint64{3, 4}
	want := s
	want.Models, want.Formats, want.Outliers, want.Methods, want.Seeds = []string{"zoo:b"}, []string{"w4a8"}, []string{"channel"}, s.Methods[1:2], []uint64{4}
	var o Quantization
	if err := o.setOutliers("channel"); err != nil {
		t.Fatal(err)
	}
	name := (&Record{Model: "zoo:b", Format: "w4a8", Outliers: o.Outliers.String(), Method: "tlq", Seed: 4}).Cell()
	got, err := s.Only(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(s.Models) != 2 || len(s.Seeds) != 2 {
		t.Error("the Spec itself was changed")
	}
	for cell, want := range map[string]string{"zoo:b w4a8 tl seed 4": `did you mean "zoo:b w4a8 tlq seed 4"`, "": `such as "zoo:a w4a8 rtn seed 3"`} {
		if _, err := s.Only(cell); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", cell, err, want)
		}
	}
}
