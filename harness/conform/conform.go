package conform

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Check is the comparison of one expected tensor, or of one list of cases.
type Check struct {
	Fixture string `json:"fixture"` // folder
	Case    string `json:"case"`    // of the folder: main, text_only, extra: wide …
	Name    string `json:"tensor"`
	Kind    string `json:"kind"` // exact, absolute or relative
	// MaxAbs is the largest |got − want|; of a list of cases the number that differ.
	MaxAbs float64 `json:"max_abs"`
	// MaxRel is the largest |got − want| / (|want| + r), r the root mean square of
	// what is wanted, over unpadded places.
	MaxRel    float64 `json:"max_rel"`
	Tolerance float64 `json:"tolerance"` // of MaxAbs, or of MaxRel where the kind is relative
	Values    int     `json:"values"`    // compared
	Pass      bool    `json:"pass"`
	Note      string  `json:"note,omitempty"` // what is wrong, or how it was compared
}

// Models compares all fixture folders of models and of preprocessing below the
// given folders and hands each comparison to report as it is made. It returns how
// many there were and how many failed. Errors: a folder that cannot be read, or
// below which there is nothing to compare.
func Models(dirs []string, report func(Check)) (checks, failed int, err error) {
	found, err := find(dirs)
	if err != nil {
		return 0, 0, err
	}
	if len(found) == 0 {
		return 0, 0, fmt.Errorf("harness: no fixtures below %s; expected folders with inputs*.safetensors and expected*.safetensors beside a checkpoint, or with tables.json", strings.Join(dirs, ", "))
	}
	count := func(c Check) {
		checks++
		if !c.Pass {
			failed++
		}
		report(c)
	}
	for _, dir := range found {
		f := &folder{dir: dir, report: count}
		f.run()
	}
	if checks == 0 {
		return 0, 0, fmt.Errorf("harness: the %d fixture folders below %s list nothing to compare", len(found), strings.Join(dirs, ", "))
	}
	return checks, failed, nil
}

// find lists the fixture folders below dirs in order.
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
			if err != nil {
				return err
			}
			if d.IsDir() && isFixture(path) {
				found = append(found, path)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("harness: %w", err)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Files that make a folder a fixture of models or of preprocessing.
const (
	tokenizerCases = "tokenizer_cases.json"
	chatCases      = "chat_cases.json"
	toleranceFile  = "tolerances.json"
	tableFile      = "tables.json"
	resizeFile     = "resize_cases.safetensors"
)

func isFixture(dir string) bool {
	for _, pattern := range []string{"*inputs*.safetensors", tokenizerCases, chatCases, toleranceFile, tableFile, resizeFile} {
		if list, err := filepath.Glob(filepath.Join(escape(dir), pattern)); err == nil && len(list) > 0 {
			return true
		}
	}
	return false
}

// escape keeps a folder's name from being read as a pattern.
func escape(dir string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(dir)
}

// folder is one fixture folder.
type folder struct {
	dir    string
	report func(Check)
	rules  rules
}

func (f *folder) has(name string) bool {
	_, err := os.Stat(filepath.Join(f.dir, name))
	return err == nil
}

// fail reports that something could not be compared.
func (f *folder) fail(of, name string, err error) {
	f.report(Check{Fixture: f.dir, Case: of, Name: name, Kind: "error", Note: err.Error()})
}

func (f *folder) run() {
	if f.has(tableFile) {
		f.runTables()
	}
	if f.has(resizeFile) {
		f.runResizeCases()
	}
	cases, err := f.cases()
	if err != nil {
		f.fail("", "folder", err)
		return
	}
	if len(cases) > 0 || f.has(toleranceFile) {
		f.runModel(cases)
	}
	if f.has(tokenizerCases) {
		f.runTokenizerCases()
	}
	if f.has(chatCases) {
		f.runChatCases()
	}
}

// caseFiles is a pair of inputs and results.
type caseFiles struct{ name, inputs, expected string }

// cases pairs PREFIXinputsSUFFIX.safetensors with PREFIXexpectedSUFFIX.safetensors.
func (f *folder) cases() ([]caseFiles, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	byName := map[string]*caseFiles{}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".safetensors")
		if !ok {
			continue
		}
		for _, kind := range []string{"inputs", "expected"} {
			at := strings.Index(base, kind)
			if at < 0 {
				continue
			}
			name := strings.Trim(base[:at], "_-. ") + strings.Trim(base[at+len(kind):], "_-. ")
			if name == "" {
				name = "main"
			}
			c := byName[name]
			if c == nil {
				c = &caseFiles{name: name}
				byName[name] = c
			}
			if kind == "inputs" {
				c.inputs = e.Name()
			} else {
				c.expected = e.Name()
			}
			break
		}
	}
	var list []caseFiles
	for _, c := range byName {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b caseFiles) int { return strings.Compare(order(a.name), order(b.name)) })
	return list, nil
}

// order puts the main case first.
func order(name string) string {
	if name == "main" {
		return ""
	}
	return name
}
