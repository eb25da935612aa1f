package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A routine that leaves the upper halves of registers dirty makes the code after it,
// which Go compiles to SSE instructions, several times slower. So each RET comes after
// a VZEROUPPER with nothing but moves of results between them: MOVs, and jumps that
// decide on them.
func TestAssemblyEndsInVzeroupper(t *testing.T) {
	files, err := filepath.Glob("*_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d assembly files: %v", len(files), err)
	}
	routines := 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		routines += strings.Count(string(data), "\nTEXT ")
		for _, problem := range dirtyReturns(string(data)) {
			t.Errorf("%s: %s", name, problem)
		}
	}
	if routines < 50 {
		t.Errorf("found %d routines: the scan misses some", routines)
	}
}

// dirtyReturns lists routines and macros with a RET that does not follow a VZEROUPPER.
func dirtyReturns(source string) []string {
	var problems []string
	macros := map[string]bool{} // whether each ends clean
	where, macro, clean := "", "", false
	for _, line := range strings.Split(source, "\n") {
		code, _, _ := strings.Cut(line, "//")
		code, continued := strings.CutSuffix(strings.TrimSpace(code), "\\")
		for _, instruction := range strings.Split(code, ";") {
			fields := strings.Fields(instruction)
			if len(fields) == 0 {
				continue
			}
			op, _, call := strings.Cut(fields[0], "(")
			ends, isMacro := macros[op]
			switch {
			case op == "TEXT":
				where, clean = fields[1], false
			case op == "#define":
				macro, _, _ = strings.Cut(fields[1], "(")
				where, clean = macro, false
			case op == "VZEROUPPER":
				clean = true
			case isMacro:
				clean = ends
			case op == "RET" && !clean:
				problems = append(problems, where+" returns without VZEROUPPER")
			case call || strings.HasPrefix(op, "V"):
				clean = false
			}
		}
		if !continued && macro != "" {
			macros[macro], macro = clean, ""
		}
	}
	return problems
}

func TestDirtyReturns(t *testing.T) {
	for source, want := range map[string]int{
		"TEXT ·a(SB), NOSPLIT, $0-8\n\tVADDPS Y0, Y0, Y0\n\tVZEROUPPER\n\tMOVSD X0, ret+0(FP)\n\tRET\n": 0,
		"TEXT ·a(SB), NOSPLIT, $0-8\n\tVADDPS Y0, Y0, Y0\n\tRET\n":                                      1,
		"TEXT ·a(SB), NOSPLIT, $0-8\n\tVZEROUPPER\n\tVADDPS Y0, Y0, Y0\n\tRET\n":                        1,
		"#define END \\\n\tVADDPS Y0, Y0, Y0 \\\n\tRET\n":                                               1,
		"#define END \\\n\tVZEROUPPER \\\n\tRET\n":                                                      0,
	} {
		if got := dirtyReturns(source); len(got) != want {
			t.Errorf("%q: %v, want %d problems", source, got, want)
		}
	}
}
