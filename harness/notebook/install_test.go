package notebook

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/mod/modfile"
)

// TestKernelVersion compares the two go.mod files: the kernel and the library
// that programs talk to it with exchange gob-encoded structs and must be of the
// same version. (The kernel's own -V flag prints another number.)
func TestKernelVersion(t *testing.T) {
	const module = "github.com/janpfeifer/gonb"
	version := func(name string) string {
		data, err := os.ReadFile(filepath.Join(repoRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := modfile.Parse(name, data, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Require {
			if r.Mod.Path == module {
				return r.Mod.Version
			}
		}
		t.Fatalf("%s does not require %s", name, module)
		return ""
	}
	if a, b := version("go.mod"), version("tools/go.mod"); a != b {
		t.Errorf("go.mod has %s %s, tools/go.mod has %s; make them equal", module, a, b)
	}
}

// cellLines and cellWidth are the most that a committed notebook's code cell may
// have: cells call stages and show them, and hold no algorithm.
const (
	cellLines = 5
	cellWidth = 100
)

// TestCommittedNotebooks holds the notebooks to their rules: valid, for this
// kernel, beginning with the setup cell, with unique ids and short cells, those
// that show something tagged, so that a run fails when they don't, without
// outputs.
func TestCommittedNotebooks(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repoRoot, "notebooks", "*.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		n, err := Read(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if language, kernel := n.Language(); language != "go" || kernel != kernelName {
			t.Errorf("%s: kernel %q (%s), want %q (go)", file, kernel, language, kernelName)
		}
		ids := map[string]bool{}
		first := true
		for i, c := range n.Cells() {
			if c.ID() == "" || ids[c.ID()] {
				t.Errorf("%s: cell %d: id %q is empty or taken", file, i, c.ID())
			}
			ids[c.ID()] = true
			if c.Kind() != Code {
				continue
			}
			if first && c.Source() != SetupCell {
				t.Errorf("%s: the first code cell is\n%s\nwant\n%s", file, c.Source(), SetupCell)
			}
			first = false
			if n := strings.Count(c.Source(), "\n") + 1; n > cellLines {
				t.Errorf("%s: cell %d (%s) has %d lines, want at most %d; move what it does into a package", file, i, c.ID(), n, cellLines)
			}
			for line := range strings.Lines(c.Source()) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > cellWidth {
					t.Errorf("%s: cell %d (%s) has a line of %d characters, want at most %d: a page shows no more", file, i, c.ID(), n, cellWidth)
				}
			}
			shows := strings.Contains(c.Source(), "display.Show(")
			if tagged := c.HasTag("figure") || c.HasTag("table") || c.HasTag("display"); shows != tagged {
				t.Errorf("%s: cell %d (%s): shows something: %v, tagged figure, table or display: %v", file, i, c.ID(), shows, tagged)
			}
			if len(c.Outputs()) > 0 || c.fields["execution_count"] != nil {
				t.Errorf("%s: cell %d is committed with outputs; clear them", file, i)
			}
		}
		if first {
			t.Errorf("%s has no code cells", file)
		}
	}
}

// TestCellsLinkFast refuses what would make every cell wait for the linker: the
// packages that notebooks import must not pull in the heavy modules.
func TestCellsLinkFast(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repoRoot, "notebooks", "*.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	var imports []string
	for _, file := range files {
		n, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range n.Cells() {
			for line := range strings.Lines(c.Source()) {
				// On a line of its own or in a list.
				path, err := strconv.Unquote(strings.TrimPrefix(strings.TrimSpace(line), "import "))
				if c.Kind() == Code && err == nil && !slices.Contains(imports, path) {
					imports = append(imports, path)
				}
			}
		}
	}
	if len(imports) == 0 {
		t.Skip("no notebook imports anything")
	}
	cmd := exec.Command("go", append([]string{"list", "-deps"}, imports...)...)
	cmd.Dir, cmd.Env = repoRoot, plainEnviron()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, heavy := range []string{"nats-io/", "go-nvml/", "go-xla/", "gopjrt/", "parquet", "onnx"} {
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, heavy) {
				t.Errorf("cells link %s", strings.TrimSpace(line))
			}
		}
	}
}

func TestInstall(t *testing.T) {
	root := clone(t)
	if err := os.Remove(filepath.Join(root, ".bin")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=vendor") // must not matter
	if err := Install(t.Context(), root); err != nil {
		if strings.Contains(err.Error(), "GOPROXY=off") {
			t.Skipf("the tools' modules are not in the module cache: %v", err)
		}
		t.Fatal(err)
	}
	if err := checkTools(root); err != nil {
		t.Error(err)
	}
	s := readSpec(t, filepath.Join(root, ".jupyter", "kernels", "gonb", "kernel.json"))
	if want := []string{filepath.Join(root, ".bin", "gonb"), "--kernel", "{connection_file}"}; !slices.Equal(s.Argv, want) {
		t.Errorf("argv %q, want %q", s.Argv, want)
	}
	if s.Env["TLQ_ROOT"] != root || s.Env["PATH"] != filepath.Join(root, ".bin")+":${PATH}" || s.Env["GOPROXY"] != "off" || s.InterruptMode != "message" {
		t.Errorf("specification %+v", s)
	}

	put(t, filepath.Join(root, "display", "broken.go"), []byte("package display\n\nvar x = undefinedName\n"))
	err := Install(t.Context(), root)
	if err == nil || !strings.Contains(err.Error(), "undefinedName") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a package that does not compile: %v", err)
	}
}

func readSpec(t *testing.T, file string) spec {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s spec
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// bareRoot is a folder that passes for a checkout.
func bareRoot(t *testing.T, name string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), name)
	for _, name := range []string{"go.mod", "tools/go.mod", "notebooks/setup.sh"} {
		put(t, filepath.Join(root, name), nil)
	}
	return root
}

func TestInstallSpec(t *testing.T) {
	data := t.TempDir()
	t.Setenv("JUPYTER_DATA_DIR", data)
	root := bareRoot(t, "cost $5")
	for range 2 { // also over our own
		file, err := InstallSpec(root)
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(data, "kernels", "gonb", "kernel.json"); file != want {
			t.Errorf("wrote %s, want %s", file, want)
		}
		// Jupyter expands $NAME in values, so our own dollar is doubled.
		if s := readSpec(t, file); !strings.HasSuffix(s.Env["TLQ_ROOT"], "cost $$5") || s.Argv[0] != gonbPath(root) {
			t.Errorf("specification %+v", s)
		}
	}
	if _, err := InstallSpec(bareRoot(t, "other")); err == nil || !strings.Contains(err.Error(), "another installation") {
		t.Errorf("over another checkout's: %v", err)
	}
	if _, err := InstallSpec(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a checkout") {
		t.Errorf("outside a checkout: %v", err)
	}
}

func TestOpenWithoutJupyter(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Open(t.Context(), bareRoot(t, "r"), "")
	if err == nil || !strings.Contains(err.Error(), "apt-get install") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}

// TestOpen has Open start a stand-in for Jupyter that prints what it was given.
// Open replaces its process, so it runs in a second run of this test binary.
func TestOpen(t *testing.T) {
	if root := os.Getenv("NOTEBOOK_TEST_OPEN"); root != "" {
		t.Fatal(Open(t.Context(), root, ""))
	}
	root := clone(t)
	bin := t.TempDir()
	script := "#!/bin/sh\necho \"$@\"\necho \"$JUPYTER_PATH\"\ncommand -v gonb\nexit 7\n"
	put(t, filepath.Join(bin, "jupyter-notebook"), []byte(script))
	if err := os.Chmod(filepath.Join(bin, "jupyter-notebook"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, ".bin")); err != nil { // Install is to make it
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOpen$")
	cmd.Env = append(os.Environ(), "NOTEBOOK_TEST_OPEN="+root, "PATH="+bin+":"+os.Getenv("PATH"), "JUPYTER_PATH=/mine", "GOPROXY=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if strings.Contains(out.String(), "GOPROXY=off") {
		t.Skip("the tools' modules are not in the module cache")
	}
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("ended with %v, want Jupyter's exit code 7\n%s", err, out.String())
	}
	lines := strings.Split(out.String(), "\n")
	lines = lines[max(len(lines)-4, 0):]
	want := filepath.Join(root, "notebooks")
	if os.Geteuid() == 0 {
		want += " --allow-root"
	}
	if len(lines) < 3 || lines[0] != want || lines[1] != filepath.Join(root, ".jupyter")+":/mine" || lines[2] != gonbPath(root) {
		t.Errorf("Jupyter saw\n%s", out.String())
	}
}
