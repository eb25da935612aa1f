package ptq

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseFormat(t *testing.T) {
	for text, want := range map[string]Format{
		"w3a16g64":    {3, 16, 64, false},
		"w4a8":        {4, 8, 0, true},
		"w4a8g64":     {4, 8, 64, true},
		"w4a16":       {4, 16, 0, false},
		"w2a16g32sym": {2, 16, 32, true},
		"w8a4g2asym":  {8, 4, 2, false},
		"w4a6":        {4, 6, 0, true},
	} {
		got, err := ParseFormat(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	for text, want := range map[string]string{ // redundant kinds are accepted and left out
		"w4a8sym": "w4a8", "w4a16g64asym": "w4a16g64",
	} {
		if got, err := ParseFormat(text); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "w4", "a8", "w4a", "wa8", "w4a8g", "w4a8g0", "w4a8g1", "w1a16", "w9a16", "w16a16", "w4a7", "w4a8 ", "W4A8", "w04a8",
		"w4a8g064", "w4a8symasym", "w4a8sym g64", "w-4a8", "w4a8g99999999999999999999", "w4a16g64x",
	} {
		if f, err := ParseFormat(text); err == nil {
			t.Errorf("%q: accepted as %+v", text, f)
		} else if !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q: the error does not say what is expected: %v", text, err)
		}
	}
}

func TestFormatJSON(t *testing.T) {
	data, err := json.Marshal(map[string]Format{"f": {4, 8, 64, true}})
	if err != nil || string(data) != `{"f":"w4a8g64"}` {
		t.Errorf("got %s, %v", data, err)
	}
	var back map[string]Format
	if err := json.Unmarshal(data, &back); err != nil || back["f"] != (Format{4, 8, 64, true}) {
		t.Errorf("got %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"f":"w4"}`), &back); err == nil {
		t.Error("a bad format was accepted")
	}
}

func FuzzParseFormat(f *testing.F) {
	for _, s := range []string{"w3a16g64", "w4a8", "w4a8g64asym", "w4a16sym", "w2a4g1", "w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		format, err := ParseFormat(text)
		if err != nil {
			return
		}
		if err := format.Validate(); err != nil {
			t.Fatalf("%q parsed to an invalid format: %v", text, err)
		}
		again, err := ParseFormat(format.String())
		if err != nil || again != format {
			t.Fatalf("%q: %+v became %+v, %v", text, format, again, err)
		}
	})
}

func TestGroupSize(t *testing.T) {
	f := Format{Bits: 4, Activation: 16, Group: 64}
	for _, c := range []struct {
		in       int
		fallback GroupFallback
		size     int
		halved   bool
	}{{128, RefuseGroup, 64, false}, {192, HalveGroup, 64, false}, {172, HalveGroup, 4, true}, {96, HalveGroup, 32, true}} {
		size, halved, err := f.GroupSize(c.in, c.fallback)
		if err != nil || size != c.size || halved != c.halved {
			t.Errorf("%d columns: got %d, %v, %v", c.in, size, halved, err)
		}
	}
	_, _, err := f.GroupSize(172, RefuseGroup)
	if err == nil || !strings.Contains(err.Error(), "group size 64 does not divide the 172 input columns") {
		t.Errorf("got %v", err)
	}
	if _, _, err := f.GroupSize(63, HalveGroup); err == nil {
		t.Error("a group of 1 was accepted")
	}
	if size, _, err := (Format{Bits: 4, Activation: 8}).GroupSize(172, RefuseGroup); err != nil || size != 172 {
		t.Errorf("no group: got %d, %v", size, err)
	}
}

func TestBitsPerWeight(t *testing.T) {
	for text, want := range map[string]float64{
		"w3a16g64": 3 + 19.0/64, "w4a8g64": 4.25, "w2a16g32sym": 2.5, "w4a16g128": 4 + 20.0/128,
	} {
		f, _ := ParseFormat(text)
		if got := f.BitsPerWeight(f.Group); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}
