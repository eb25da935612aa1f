package algorithms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Check is the comparison of one expected tensor or number.
type Check struct {
	Fixture string `json:"fixture"` // folder
	Case    string `json:"case"`
	Name    string `json:"tensor"`
	// Kind says what Error is: "exact", the number of values that differ; "relative",
	// the largest |got − want| / |want|; "largest", the largest |got − want| divided by the
	// largest |want|; "euclidean", ‖got − want‖ / ‖want‖; "error" where there was nothing to
	// compare.
	Kind      string  `json:"kind"`
	Error     float64 `json:"error"`
	Tolerance float64 `json:"tolerance"` // of Error
	Values    int     `json:"values"`    // compared
	Pass      bool    `json:"pass"`
	Note      string  `json:"note,omitempty"`
}

// Result is what [Run] compared.
type Result struct {
	Checks int `json:"checks"`
	Failed int `json:"failed"`
	// NotBuilt lists the kinds, with their folders, that are known but not compared.
	NotBuilt []string `json:"not_built"`
}

// kinds maps a folder's method to its comparison; nil: known but not built.
var kinds = map[string]func(*folder) error{
	"rtn": (*folder).roundToNearest, "gptq": (*folder).gptq, "gptaq": (*folder).gptaq,
	"mbq": (*folder).mbq, "awq": (*folder).awq, "smoothquant": (*folder).smoothQuant,
	"qig": (*folder).qig, "rsq": (*folder).rsq, "quarot": (*folder).quaRot, "bpdq": nil, "repq_vit": nil, "quantvggt": nil,
	"export/compressed_tensors": nil, "export/gptq": nil, "export/awq": nil, "export/gguf": nil,
}

// Run compares all fixture folders below the given ones, in order of their paths, and
// hands each comparison to report as it is made. Errors: a folder that cannot be
// read, below which there is nothing to compare, or a fixture of an unknown kind. What is
// wrong inside a fixture is a failed check.
func Run(ctx context.Context, dirs []string, report func(Check)) (Result, error) {
	var out Result
	found, err := find(dirs)
	if err != nil {
		return out, err
	}
	if len(found) == 0 {
		return out, fmt.Errorf("harness: no fixtures below %s; expected folders with a cases.json that names its \"method\"", strings.Join(dirs, ", "))
	}
	count := func(c Check) {
		out.Checks++
		if !c.Pass {
			out.Failed++
		}
		report(c)
	}
	for _, dir := range found {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		method, err := readMethod(dir)
		if err != nil {
			return out, err
		}
		compare, known := kinds[method]
		switch {
		case !known:
			return out, fmt.Errorf("harness: %s: unknown method %q in cases.json; expected one of %s", dir, method, strings.Join(kindNames(), ", "))
		case compare == nil:
			out.NotBuilt = append(out.NotBuilt, fmt.Sprintf("%s (%s)", method, dir))
		default:
			runFolder(ctx, dir, method, compare, count)
		}
	}
	return out, nil
}

func kindNames() []string {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

const caseFile = "cases.json"

// find lists the folders with cases.json below the given ones.
func find(dirs []string) ([]string, error) {
	var found []string
	for _, root := range dirs {
		info, err := os.Stat(root)
		if err != nil {
			return nil, fmt.Errorf("harness: no fixtures: %w; expected a folder", err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("harness: %s is a file; expected a folder", root)
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && d.Name() == caseFile {
				found = append(found, filepath.Dir(path))
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("harness: %w", err)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func readMethod(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, caseFile))
	if err != nil {
		return "", fmt.Errorf("harness: %w", err)
	}
	var head struct{ Method string }
	if err := json.Unmarshal(data, &head); err != nil {
		return "", fmt.Errorf("harness: %s: %w; expected an object with \"method\"", filepath.Join(dir, caseFile), err)
	}
	return head.Method, nil
}

// folder is one fixture folder.
type folder struct {
	ctx    context.Context
	dir    string
	cases  []byte
	file   *safetensors.File
	report func(Check)
	seen   map[string]bool // tensors that were read as inputs or compared
	of     string          // the case at hand
}

func runFolder(ctx context.Context, dir, method string, compare func(*folder) error, report func(Check)) {
	f := &folder{ctx: ctx, dir: dir, report: report, seen: map[string]bool{}}
	if err := f.open(method); err != nil {
		f.fail("folder", err)
		return
	}
	defer f.file.Close()
	if err := compare(f); err != nil {
		f.fail("folder", err)
	}
	f.of = ""
	for _, name := range f.file.Names() {
		if !f.seen[name] {
			f.fail(name, errors.New("nothing compared this tensor"))
		}
	}
}

func (f *folder) open(method string) (err error) {
	if f.cases, err = os.ReadFile(filepath.Join(f.dir, caseFile)); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(escape(f.dir), "*.safetensors"))
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return fmt.Errorf("%d safetensors files; expected one, such as %s.safetensors", len(files), method)
	}
	f.file, err = safetensors.Open(files[0])
	return err
}

// escape keeps a folder's name from being read as a pattern.
func escape(dir string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(dir)
}

// fail reports that something could not be compared.
func (f *folder) fail(name string, err error) {
	f.report(Check{Fixture: f.dir, Case: f.of, Name: name, Kind: "error", Note: err.Error()})
}

// parse reads cases.json.
func (f *folder) parse(into any) error {
	if err := json.Unmarshal(f.cases, into); err != nil {
		return fmt.Errorf("%s: %w", caseFile, err)
	}
	return nil
}
