package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/ptq"
)

// OwnImportance makes an importance of a function that a cell or a program
// declares:
//
//	func centre(v *ptq.TokenView) []float32 { … }
//	…
//	mine := display.Must(harness.OwnImportance("near the centre", ptq.Needs{}, centre))
//	method.Tokens.Use(mine)
//
// Its name is "own:centre@" and a hash over the function's source, needs, and the
// source of every declaration of its package that it reaches. The name stands in
// every key and record, so an edit recomputes what depends on it, and nothing else,
// and a record says which version it came from. Code of other packages is not
// hashed.
//
// score must be a function declared by name: a function literal may depend on
// variables that no source shows. The program's source must still be where it was
// compiled, as a notebook's is.
func OwnImportance(title string, needs ptq.Needs, score func(v *ptq.TokenView) []float32) (ptq.Importance, error) {
	name, source, err := sourceOf(score)
	if err != nil {
		return ptq.Importance{}, fmt.Errorf("harness: own importance: %w", err)
	}
	declared, err := json.Marshal(needs)
	if err != nil {
		return ptq.Importance{}, fmt.Errorf("harness: own importance %s: %w", name, err)
	}
	sum := sha256.Sum256(append([]byte(source), declared...))
	return ptq.Importance{Name: ptq.OwnPrefix + name + "@" + hex.EncodeToString(sum[:6]), Title: title, Needs: needs, Score: score}, nil
}

// sourceOf returns the name of a declared function, and the source of it and of
// whatever it reaches in its package, without comments.
func sourceOf(fn any) (name, source string, err error) {
	f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer())
	if f == nil {
		return "", "", fmt.Errorf("expected a function, got %T", fn)
	}
	name = f.Name()[strings.LastIndexByte(f.Name(), '/')+1:]
	_, name, _ = strings.Cut(name, ".") // the package
	file, _ := f.FileLine(f.Entry())
	if strings.ContainsAny(name, ".[-") {
		return "", "", fmt.Errorf("%s is a function literal, a method or generic: expected a function declared as func NAME(…)", name)
	}
	d, err := readDeclarations(filepath.Dir(file))
	if err != nil {
		return "", "", fmt.Errorf("source of %s: %w", name, err)
	}
	if d.named[name] == nil {
		return "", "", fmt.Errorf("source of %s: %s does not declare it", name, filepath.Dir(file))
	}
	source, err = d.reach(name)
	return name, source, err
}

// declarations are those of a package's top level.
type declarations struct {
	fset  *token.FileSet
	named map[string][]ast.Node // by name; a type's methods under the type's
}

func readDeclarations(dir string) (*declarations, error) {
	d := &declarations{fset: token.NewFileSet(), named: map[string][]ast.Node{}}
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no Go files in %s: the program must run where it was compiled", dir)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(d.fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			d.add(decl)
		}
	}
	return d, nil
}

func (d *declarations) add(decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := decl.Name.Name
		if decl.Recv != nil {
			name = receiver(decl.Recv.List[0].Type)
		}
		d.named[name] = append(d.named[name], decl)
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				d.named[spec.Name.Name] = append(d.named[spec.Name.Name], spec)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					// The whole group: a constant may count on from the one above it.
					d.named[name.Name] = append(d.named[name.Name], decl)
				}
			}
		}
	}
}

// receiver is the name of a method's type.
func receiver(t ast.Expr) string {
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// reach prints name's declaration and all that it reaches, by name. A name that
// is also a field or a local variable counts as reached: rather one declaration
// too many than one too few.
func (d *declarations) reach(name string) (string, error) {
	seen, todo := map[string]bool{name: true}, []string{name}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		for _, node := range d.named[next] {
			ast.Inspect(node, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && d.named[id.Name] != nil && !seen[id.Name] {
					seen[id.Name] = true
					todo = append(todo, id.Name)
				}
				return true
			})
		}
	}
	var names []string
	for n := range seen {
		names = append(names, n)
	}
	slices.Sort(names)
	var b bytes.Buffer
	for _, n := range names {
		for _, node := range d.named[n] {
			if err := printer.Fprint(&b, d.fset, node); err != nil {
				return "", err
			}
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}
