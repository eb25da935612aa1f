package tlqlab_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mayImport lists, for each area of the house, the areas that it may import
// beside itself.
var mayImport = map[string][]string{
	".":        {},
	"kernels":  {},
	"display":  {},
	"models":   {"kernels"},
	"datasets": {"kernels"},
	"ptq":      {"models", "kernels"},
	"eval":     {"models", "datasets", "kernels"},
	"harness":  {"ptq", "eval", "models", "datasets", "kernels", "display"},
	"cmd":      {"harness", "ptq", "eval", "models", "datasets", "kernels", "display"},
}

// kernelImports are the modules that kernels may use beside the standard
// library: what the processor can do, and GoMLX's interface for the backend.
func kernelImports(dir string, test bool) []string {
	list := []string{"gonum.org/v1/gonum/", "golang.org/x/sys/cpu"}
	if test {
		list = append(list, "github.com/google/go-cmp/")
	}
	if dir == "kernels/backend" || strings.HasPrefix(dir, "kernels/backend/") {
		list = append(list, "github.com/gomlx/")
	}
	return list
}

// area is the first folder of a package's folder, "." for the root.
func area(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// importsOf lists a file's imports.
func importsOf(s *source) []string {
	var list []string
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err == nil {
			list = append(list, p)
		}
	}
	return list
}

// inHouse returns the folder of one of our packages.
func inHouse(importPath string) (dir string, ok bool) {
	if importPath == house {
		return ".", true
	}
	return strings.CutPrefix(importPath, house+"/")
}

// importProblems checks the arrows. Packages below internal may be imported by
// whoever may import what they import; those that import the house serve tests.
func importProblems(sources []source) []string {
	internal := map[string][]string{} // house imports of internal packages, without their tests
	for i := range sources {
		s := &sources[i]
		if area(s.dir()) == "internal" && !s.test {
			for _, p := range importsOf(s) {
				if dir, ok := inHouse(p); ok {
					internal[s.dir()] = append(internal[s.dir()], dir)
				}
			}
		}
	}
	var allowed func(from, to string) bool
	allowed = func(from, to string) bool {
		switch {
		case area(to) == "internal":
			return !slices.ContainsFunc(internal[to], func(dir string) bool { return !allowed(from, dir) })
		case area(from) == "internal":
			return area(to) == "models" || area(to) == "datasets" || area(to) == "kernels"
		default:
			return area(to) == area(from) || slices.Contains(mayImport[area(from)], area(to))
		}
	}
	var problems []string
	for i := range sources {
		s := &sources[i]
		from := s.dir()
		if _, known := mayImport[area(from)]; !known && area(from) != "internal" {
			problems = append(problems, fmt.Sprintf("%s: the house has no %s", s.path, area(from)))
			continue
		}
		for _, p := range importsOf(s) {
			to, ours := inHouse(p)
			switch {
			case ours && !allowed(from, to):
				problems = append(problems, fmt.Sprintf("%s: %s must not import %s", s.path, from, to))
			case ours && !s.test && area(from) != "internal" && area(to) == "internal" && len(internal[to]) > 0:
				problems = append(problems, fmt.Sprintf("%s: %s is for tests only", s.path, to))
			case !ours && area(from) == "kernels" && isModule(p) && !hasAnyPrefix(p, kernelImports(from, s.test)):
				problems = append(problems, fmt.Sprintf("%s: kernels must not import %s, only the standard library and gonum", s.path, p))
			}
		}
	}
	return problems
}

// isModule reports an import from outside the standard library.
func isModule(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".")
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// packageDocProblems wants exactly one file per package to carry its comment.
func packageDocProblems(sources []source) []string {
	docs, names := map[string][]string{}, map[string]string{}
	for i := range sources {
		s := &sources[i]
		if s.test {
			continue
		}
		names[s.dir()] = s.pkg
		if s.file.Doc == nil {
			continue
		}
		docs[s.dir()] = append(docs[s.dir()], s.path)
		want := "Package " + s.pkg + " "
		if s.pkg == "main" {
			want = "Command " + path.Base(s.dir()) + " "
		}
		if text := s.file.Doc.Text(); !strings.HasPrefix(text, want) {
			docs[s.dir()] = append(docs[s.dir()], "(not starting with \""+want+"\")")
		}
	}
	var problems []string
	for dir := range names {
		if len(docs[dir]) != 1 {
			problems = append(problems, fmt.Sprintf("%s: package comments in %q, expected exactly one", dir, docs[dir]))
		}
	}
	slices.Sort(problems)
	return problems
}

// exportedDocProblems wants a comment on every exported function, method of
// an exported type, type, constant and variable. A group's comment covers its
// members, and so does a comment at the end of a member's line.
func exportedDocProblems(sources []source) []string {
	var problems []string
	for i := range sources {
		s := &sources[i]
		if s.test || s.pkg == "main" {
			continue
		}
		undocumented := func(names ...*ast.Ident) {
			for _, n := range names {
				if n.IsExported() {
					problems = append(problems, fmt.Sprintf("%s: %s has no doc comment", s.path, n.Name))
				}
			}
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && receiverExported(d) {
					undocumented(d.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					undocumented(specWithoutDoc(d, spec)...)
				}
			}
		}
	}
	return problems
}

// specWithoutDoc returns the names of one declaration that no comment covers.
func specWithoutDoc(d *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Doc == nil && (d.Doc == nil || d.Lparen != token.NoPos) {
			return []*ast.Ident{s.Name}
		}
	case *ast.ValueSpec:
		if s.Doc == nil && s.Comment == nil && d.Doc == nil {
			return s.Names
		}
	}
	return nil
}

// receiverExported reports a function, or a method that users can see.
// Methods of standard interfaces need no words of their own.
func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	if slices.Contains([]string{"String", "Error", "Unwrap", "MarshalJSON", "UnmarshalJSON", "Len", "Less", "Swap", "Push", "Pop"}, d.Name.Name) {
		return false
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// formatProblems wants every file as gofmt writes it.
func formatProblems(sources []source) []string {
	var problems []string
	for i := range sources {
		formatted, err := format.Source(sources[i].data)
		if err != nil || !bytes.Equal(formatted, sources[i].data) {
			problems = append(problems, sources[i].path+": not gofmt's form")
		}
	}
	return problems
}

// forbidden are hosts that a build asks through its own settings, and paths of
// single machines. They are put together here so that this file holds none.
var forbidden = []string{
	"proxy.golang" + ".org", "sum.golang" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org",
	"pypi" + ".org", "files.pythonhosted" + ".org", "static.crates" + ".io",
	"/work" + "/main", "/work" + "/shared", "/work" + "/.", "/tmp" + "/team",
}

// wordProblems looks for forbidden words in all text.
func wordProblems(files []textFile) []string {
	var problems []string
	for _, f := range files {
		lower := bytes.ToLower(f.data)
		for _, word := range forbidden {
			if at := bytes.Index(lower, []byte(word)); at >= 0 {
				line := 1 + bytes.Count(lower[:at], []byte("\n"))
				problems = append(problems, fmt.Sprintf("%s:%d: %q must not be in the tree", f.path, line, word))
			}
		}
	}
	return problems
}

// notebookProblems wants notebooks as they are committed: no outputs, no
// execution counts.
func notebookProblems(files []textFile) []string {
	var problems []string
	for _, f := range files {
		if path.Ext(f.path) != ".ipynb" {
			continue
		}
		var nb struct {
			Cells []struct {
				Outputs        []json.RawMessage `json:"outputs"`
				ExecutionCount *int              `json:"execution_count"`
			} `json:"cells"`
		}
		if err := json.Unmarshal(f.data, &nb); err != nil || len(nb.Cells) == 0 {
			problems = append(problems, fmt.Sprintf("%s: not a notebook with cells (%v)", f.path, err))
			continue
		}
		for i, c := range nb.Cells {
			if len(c.Outputs) > 0 || c.ExecutionCount != nil {
				problems = append(problems, fmt.Sprintf("%s: cell %d was committed with its output", f.path, i))
			}
		}
	}
	return problems
}

// sizeLimits are budgets in bytes of what is committed once and carried by
// every clone.
var sizeLimits = map[string]int64{
	"models/zoo":    40 << 20,
	"datasets/pack": 12 << 20,
}

// sizeProblems adds up folders; one that isn't there is small.
func sizeProblems(root fs.FS, limits map[string]int64) []string {
	var problems []string
	for dir, limit := range limits {
		var total int64
		_ = fs.WalkDir(root, dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
			return nil
		})
		if total > limit {
			problems = append(problems, fmt.Sprintf("%s: %d bytes, at most %d", dir, total, limit))
		}
	}
	slices.Sort(problems)
	return problems
}

// heavyForCells must not be linked into a notebook's cell, and
// notInDefaultBuild not into anything without a build tag.
var (
	heavyForCells = append([]string{
		"github.com/NVIDIA/go-nvml", "github.com/nats-io/", "github.com/parquet-go/", "github.com/apache/arrow",
		"github.com/go-zeromq/", house + "/harness/notebook", house + "/harness/devices", house + "/harness/cluster", house + "/cmd/",
	}, notInDefaultBuild...)
	notInDefaultBuild = []string{
		"github.com/gomlx/go-xla", "github.com/gomlx/gopjrt", "github.com/gomlx/gomlx/backends/xla", "github.com/yalue/onnxruntime_go",
	}
)

// heavyProblems finds forbidden packages among dependencies.
func heavyProblems(deps, forbidden []string) []string {
	var problems []string
	for _, d := range deps {
		if hasAnyPrefix(d, forbidden) {
			problems = append(problems, d+" must stay out")
		}
	}
	return problems
}

// houseImport finds our packages in a notebook's source.
var houseImport = regexp.MustCompile(regexp.QuoteMeta(house) + `/[a-z][a-z0-9/]*`)

// houseImports lists the packages that a notebook's cells import.
func houseImports(notebook string) []string { return houseImport.FindAllString(notebook, -1) }
