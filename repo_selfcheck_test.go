package tlqlab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// goFile is a file of package p (its folder's name) with imports.
func goFile(dir string, imports ...string) string {
	name := dir[strings.LastIndex(dir, "/")+1:]
	text := "// Package " + name + " is a fixture.\npackage " + name + "\n"
	for _, i := range imports {
		text += fmt.Sprintf("\nimport _ %q\n", i)
	}
	return text
}

// from parses fixtures: path and text in turns.
func from(t *testing.T, pathsAndTexts ...string) []source {
	t.Helper()
	var files []textFile
	for i := 0; i < len(pathsAndTexts); i += 2 {
		files = append(files, textFile{pathsAndTexts[i], []byte(pathsAndTexts[i+1])})
	}
	return parse(t, files)
}

// wants compares a rule's problems with the expected ones.
func wants(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, slices.Clip(got)); diff != "" && len(got)+len(want) > 0 {
		t.Error(diff)
	}
}

// TestImportRuleCanFail: every forbidden arrow of the house is found, every
// allowed one is not.
func TestImportRuleCanFail(t *testing.T) {
	areas := []string{"cmd", "harness", "ptq", "eval", "models", "datasets", "kernels", "display"}
	down := map[string]string{
		"cmd":     "harness ptq eval models datasets kernels display",
		"harness": "ptq eval models datasets kernels display",
		"ptq":     "models kernels", "eval": "models datasets kernels",
		"models": "kernels", "datasets": "kernels",
	}
	for _, a := range areas {
		for _, b := range areas {
			for _, name := range []string{"x.go", "x_test.go"} {
				file := a + "/sub/" + name
				problems := importProblems(from(t, file, goFile(a+"/sub", house+"/"+b)))
				ok := a == b || slices.Contains(strings.Fields(down[a]), b)
				if ok && len(problems) > 0 || !ok && len(problems) != 1 {
					t.Errorf("%s importing %s: problems %q", file, b, problems)
				}
			}
		}
	}
	wants(t, importProblems(from(t,
		"kernels/a.go", goFile("kernels", "math", "gonum.org/v1/gonum/blas"),
		"kernels/a_test.go", goFile("kernels", "github.com/google/go-cmp/cmp"),
		"kernels/backend/b.go", goFile("kernels/backend", "github.com/gomlx/compute"),
	)))
	wants(t, importProblems(from(t, "kernels/a.go", goFile("kernels", "github.com/gomlx/compute"))),
		"kernels/a.go: kernels must not import github.com/gomlx/compute, only the standard library and gonum")
	wants(t, importProblems(from(t, "kernels/a.go", goFile("kernels", "github.com/google/go-cmp/cmp"))),
		"kernels/a.go: kernels must not import github.com/google/go-cmp/cmp, only the standard library and gonum")
	wants(t, importProblems(from(t, "common/a.go", goFile("common"))), "common/a.go: the house has no common")
	wants(t, importProblems(from(t, "models/a.go", goFile("models", house))), "models/a.go: models must not import .")
	internal := []string{"internal/tiny/t.go", goFile("internal/tiny", house+"/models"), "internal/leaf/l.go", goFile("internal/leaf", "os")}
	wants(t, importProblems(from(t, append(internal,
		"harness/a_test.go", goFile("harness", house+"/internal/tiny"),
		"kernels/a.go", goFile("kernels", house+"/internal/leaf"),
	)...)))
	wants(t, importProblems(from(t, append(internal, "harness/a.go", goFile("harness", house+"/internal/tiny"))...)),
		"harness/a.go: internal/tiny is for tests only")
	wants(t, importProblems(from(t, append(internal, "kernels/a_test.go", goFile("kernels", house+"/internal/tiny"))...)),
		"kernels/a_test.go: kernels must not import internal/tiny")
	wants(t, importProblems(from(t, "internal/x/a.go", goFile("internal/x", house+"/harness"))),
		"internal/x/a.go: internal/x must not import harness")
}

func TestPackageDocRuleCanFail(t *testing.T) {
	wants(t, packageDocProblems(from(t,
		"a/a.go", "// Package a is.\npackage a\n", "a/b.go", "package a\n", "a/a_test.go", "package a\n",
		"cmd/c/c.go", "// Command c is.\npackage main\n")))
	wants(t, packageDocProblems(from(t, "a/a.go", "package a\n")), `a: package comments in [], expected exactly one`)
	wants(t, packageDocProblems(from(t, "a/a.go", "// Package a is.\npackage a\n", "a/b.go", "// Package a is.\npackage a\n")),
		`a: package comments in ["a/a.go" "a/b.go"], expected exactly one`)
	wants(t, packageDocProblems(from(t, "a/a.go", "// Something else.\npackage a\n")),
		`a: package comments in ["a/a.go" "(not starting with \"Package a \")"], expected exactly one`)
}

func TestExportedDocRuleCanFail(t *testing.T) {
	documented := `package a

// F is.
func F() {}

// T is.
type T struct{}

// M is.
func (*T) M() {}

func (T) String() string { return "" }

// Kinds.
const (
	A = 1
	B = 2
)

var C = 1 // C is.

type hidden struct{}

func (hidden) M() {}

func f() {}

type (
	// G is.
	G[X any] struct{}
)
`
	wants(t, exportedDocProblems(from(t, "a/a.go", documented, "a/a_test.go", "package a\n\nfunc TestX() {}\n")))
	naked := `package a

func F() {}

type T struct{}

func (*T) M() {}

const A, B = 1, 2

var (
	C = 1

	// D is.
	D = 1
)

// These types need a comment each.
type (
	U struct{}
	G[X any] struct{}
)

func (*G[X]) N() {}
`
	var want []string
	for _, name := range []string{"F", "T", "M", "A", "B", "C", "U", "G", "N"} {
		want = append(want, "a/a.go: "+name+" has no doc comment")
	}
	wants(t, exportedDocProblems(from(t, "a/a.go", naked)), want...)
}

func TestFormatRuleCanFail(t *testing.T) {
	wants(t, formatProblems(from(t, "a/a.go", "package a\n", "a/b.go", "package  a\n")), "a/b.go: not gofmt's form")
}

func TestWordRuleCanFail(t *testing.T) {
	for _, word := range forbidden {
		got := wordProblems([]textFile{{"README.md", []byte("fine\nsee " + strings.ToUpper(word) + "/x")}, {"b.md", []byte("fine")}})
		wants(t, got, fmt.Sprintf("README.md:2: %q must not be in the tree", word))
	}
}

func TestNotebookRuleCanFail(t *testing.T) {
	clean := `{"cells":[{"cell_type":"code","outputs":[],"execution_count":null},{"cell_type":"markdown"}]}`
	wants(t, notebookProblems([]textFile{{"a.ipynb", []byte(clean)}, {"a.json", []byte("{")}}))
	wants(t, notebookProblems([]textFile{{"a.ipynb", []byte(`{"cells":[{"outputs":[]},{"outputs":[{}]}]}`)}}),
		"a.ipynb: cell 1 was committed with its output")
	wants(t, notebookProblems([]textFile{{"a.ipynb", []byte(`{"cells":[{"execution_count":3}]}`)}}),
		"a.ipynb: cell 0 was committed with its output")
	if got := notebookProblems([]textFile{{"a.ipynb", []byte("{")}}); len(got) != 1 {
		t.Errorf("a broken notebook: %q", got)
	}
}

func TestSizeRuleCanFail(t *testing.T) {
	root := fstest.MapFS{"models/zoo/a/w": {Data: make([]byte, 60)}, "models/zoo/b/w": {Data: make([]byte, 41)}, "other": {Data: make([]byte, 500)}}
	wants(t, sizeProblems(root, map[string]int64{"models/zoo": 101, "missing": 1}))
	wants(t, sizeProblems(root, map[string]int64{"models/zoo": 100}), "models/zoo: 101 bytes, at most 100")
}

func TestHeavyRuleCanFail(t *testing.T) {
	deps := []string{"math", house + "/harness", "github.com/NVIDIA/go-nvml/pkg/nvml", house + "/harness/devices"}
	wants(t, heavyProblems(deps, heavyForCells), "github.com/NVIDIA/go-nvml/pkg/nvml must stay out", house+"/harness/devices must stay out")
	wants(t, heavyProblems(deps, notInDefaultBuild))
	wants(t, houseImports(`"import (\n", "\t\"`+house+`/harness\"\n", "\"fmt\"", "x \"`+house+`/harness/report\""`), house+"/harness", house+"/harness/report")
}

// TestTreeReadsWhatGitWouldTake: ignored folders and binary files are left out,
// hidden ones are not.
func TestTreeReadsWhatGitWouldTake(t *testing.T) {
	files := tree(t, fstest.MapFS{
		".gitignore": {Data: []byte("/.bin/\n/runs/\n*.test\n")}, ".git/x": {}, ".bin/x": {}, "runs/x": {}, "a/a.test": {},
		".ci/run": {Data: []byte("x")}, "a/runs/x.go": {Data: []byte("package a")}, "a/b.png": {Data: []byte("a\x00b")},
	})
	var got []string
	for _, f := range files {
		got = append(got, f.path)
	}
	wants(t, got, ".ci/run", ".gitignore", "a/runs/x.go")
}
