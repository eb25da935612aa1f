package nearest

import "testing"

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "", 3}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0},
	} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestName(t *testing.T) {
	valid := []string{"rtn", "tlq", "smoothquant"}
	for name, want := range map[string]string{"tql": "tlq", "RTN": "rtn", "smothquant": "smoothquant", "gptaqqq": "", "": ""} {
		if got := Name(name, valid); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
