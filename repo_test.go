package tlqlab_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// source is one Go file of the tree, parsed.
type source struct {
	path string // slash-separated, relative to the root
	pkg  string // name in the package clause
	test bool
	file *ast.File
	data []byte
}

// dir is the folder of the file, "." for the root.
func (s *source) dir() string { return path.Dir(s.path) }

// house is the module under test.
const house = "github.com/tlqlab/tlqlab"

// textFile is any file of the tree that is text.
type textFile struct {
	path string
	data []byte
}

// tree reads the checkout: every text file that version control would take.
func tree(t *testing.T, root fs.FS) []textFile {
	t.Helper()
	ignored := ignoredBy(root)
	var files []textFile
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || ignored(p) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || ignored(p) {
			return nil
		}
		data, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		if !bytes.ContainsRune(data[:min(len(data), 8000)], 0) {
			files = append(files, textFile{p, data})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ignoredBy understands the two forms that our .gitignore uses: "/folder/" and
// "*.suffix".
func ignoredBy(root fs.FS) func(p string) bool {
	data, _ := fs.ReadFile(root, ".gitignore")
	lines := strings.Fields(string(data))
	return func(p string) bool {
		return slices.ContainsFunc(lines, func(line string) bool {
			if suffix, ok := strings.CutPrefix(line, "*"); ok {
				return strings.HasSuffix(p, suffix)
			}
			return p == strings.Trim(line, "/")
		})
	}
}

// parse picks the Go files of this module out of files: not testdata, not the
// folders of tools' own modules.
func parse(t *testing.T, files []textFile) []source {
	t.Helper()
	var sources []source
	for _, f := range files {
		if path.Ext(f.path) != ".go" || strings.Contains("/"+f.path, "/testdata/") || strings.HasPrefix(f.path, "tools/") || strings.HasPrefix(f.path, "internal/tools/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, source{f.path, parsed.Name.Name, strings.HasSuffix(f.path, "_test.go"), parsed, f.data})
	}
	return sources
}

// TestHouseRules checks the tree as it is.
func TestHouseRules(t *testing.T) {
	root := os.DirFS(".")
	files := tree(t, root)
	sources := parse(t, files)
	if len(sources) < 20 {
		t.Fatalf("%d Go files found, expected the whole tree: is the test run in the root?", len(sources))
	}
	for _, rule := range []struct {
		name     string
		problems []string
	}{
		{"imports run downwards", importProblems(sources)},
		{"one package doc", packageDocProblems(sources)},
		{"exported symbols have docs", exportedDocProblems(sources)},
		{"gofmt", formatProblems(sources)},
		{"forbidden words", wordProblems(files)},
		{"notebooks without outputs", notebookProblems(files)},
		{"sizes", sizeProblems(root, sizeLimits)},
	} {
		t.Run(rule.name, func(t *testing.T) {
			for _, p := range rule.problems {
				t.Error(p)
			}
		})
	}
}

// TestCellsLinkFast lists what the packages that notebook cells import bring
// along, and that nothing brings along what the default build must not have.
func TestCellsLinkFast(t *testing.T) {
	var cells []string
	for _, dir := range []string{"display", "datasets", "eval", "harness", "kernels", "models", "ptq"} {
		cells = append(cells, house+"/"+dir)
	}
	for _, f := range tree(t, os.DirFS(".")) {
		if path.Ext(f.path) == ".ipynb" {
			cells = append(cells, houseImports(string(f.data))...)
		}
	}
	slices.Sort(cells)
	for _, c := range []struct {
		name      string
		packages  []string
		forbidden []string
	}{
		{"cells", slices.Compact(cells), heavyForCells},
		{"default build", []string{"./..."}, notInDefaultBuild},
	} {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, c.packages...)...).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", strings.Join(c.packages, " "), err)
		}
		deps := strings.Fields(string(out))
		if len(deps) < 50 {
			t.Fatalf("%d dependencies listed, expected hundreds", len(deps))
		}
		for _, p := range heavyProblems(deps, c.forbidden) {
			t.Errorf("%s: %s", c.name, p)
		}
	}
}
