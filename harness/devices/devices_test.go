package devices

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

// TestList runs on whatever machine this is: the processor is always there,
// and accelerators or a note saying why there are none.
func TestList(t *testing.T) {
	r, err := List()
	if err != nil {
		t.Fatal(err)
	}
	if r.CPU.Cores < 1 || r.CPU.Threads < 1 || r.CPU.Model == "" || !strings.Contains(r.CPU.Plan, "runs calibration") {
		t.Errorf("CPU %+v", r.CPU)
	}
	if runtime.GOOS == "linux" && (r.CPU.MemoryTotal < 64<<20 || r.CPU.MemoryAvailable > r.CPU.MemoryTotal) {
		t.Errorf("memory %d total, %d available", r.CPU.MemoryTotal, r.CPU.MemoryAvailable)
	}
	if len(r.Accelerators) == 0 && r.Note == "" {
		t.Error("no accelerator and no note that says why")
	}
	for _, a := range r.Accelerators {
		if a.Plan == "" || a.Problem == "" && a.MemoryTotal < a.MemoryFree {
			t.Errorf("accelerator %+v", a)
		}
	}
	text := r.Text()
	for _, want := range []string{r.CPU.Model, r.CPU.Plan, r.Note} {
		if !strings.Contains(text, want) {
			t.Errorf("text lacks %q:\n%s", want, text)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"accelerators":[`, `"features":[`, `"memory_total_bytes":`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("JSON lacks %s: %s", want, data)
		}
	}
}

func TestParseModel(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nmodel name\t: other\n", "AMD EPYC"},
		{"processor\t: 0\nCPU part\t: 0xd0c\n", ""}, // arm64 names no model
		{"", ""},
	} {
		if got, err := parseModel(strings.NewReader(c.in)); err != nil || got != c.want {
			t.Errorf("parseModel(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func TestParseMemory(t *testing.T) {
	total, available, err := parseMemory(strings.NewReader("MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\nHugePages_Total:       0\n"))
	if err != nil || total != 16<<20 || available != 1<<20 {
		t.Errorf("%d, %d, %v, want 16 MiB and 1 MiB", total, available, err)
	}
	for _, c := range []struct{ in, want string }{
		{"", "no MemTotal"},
		{"MemTotal: many kB", "expected a number of kB"},
		{"MemTotal: 5 MB", "expected a number of kB"},
		{"MemTotal: 18446744073709551615 kB", "expected a number of kB"},
	} {
		if _, _, err := parseMemory(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("parseMemory(%q): error %v, want one with %q", c.in, err, c.want)
		}
	}
}

func FuzzParseMemory(f *testing.F) {
	f.Add("MemTotal: 16384 kB\nMemAvailable: 1024 kB\n")
	f.Fuzz(func(t *testing.T, in string) {
		if total, _, err := parseMemory(strings.NewReader(in)); err == nil && total == 0 {
			t.Error("no memory and no error")
		}
	})
}
