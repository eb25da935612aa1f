package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/harness"
)

// The roles in comparisons, by name where a run has them.
const (
	baselineMethod = "rtn"
	focusMethod    = "tlq"
)

// run is a run's records, arranged and averaged.
type run struct {
	dir      string // "": records only, no artifacts
	records  []harness.Record
	spec     *harness.Spec              // nil: neither the records nor the folder have it
	models   []string                   // in order of appearance
	methods  []string                   // in order of appearance, without the unquantized model
	fp       map[string]*harness.Record // unquantized row by model; only finished ones
	answers  map[string]*answers        // per-question scores by Record.Cell
	settings []*setting                 // in order of appearance
	whole    *whole                     // the grid taken as one; nil where that can't be
	premises []harness.Premise          // what the run measured of its models
	// missing says what was left out and why, in order of discovery.
	missing []string
}

// setting is one model in one format: what methods compete in.
type setting struct {
	model, format string
	scores        []*score // in the order of run.methods; only methods with a record
}

// score is one method in one setting, over all seeds that finished.
type score struct {
	setting *setting
	method  string
	records []*harness.Record // finished
	failed  int
	// Means over seeds with 95% intervals. kept is accuracy ÷ unquantized
	// accuracy, delta the paired difference of the two.
	accuracy, nll, kl, delta, kept estimate
}

// finished reports whether any seed has a result.
func (s *score) finished() bool { return len(s.records) > 0 }

// newRun arranges records. dir is their folder, or "" where artifacts are not
// to be had.
func newRun(records []harness.Record, dir string) (*run, error) {
	r := &run{dir: dir, records: records, fp: map[string]*harness.Record{}, answers: map[string]*answers{}}
	seen := map[string]bool{}
	for i := range records {
		rec := &records[i]
		if seen[rec.Cell()] {
			return nil, fmt.Errorf("report: record %d repeats the cell %s: expected each cell once", i+1, rec.Cell())
		}
		seen[rec.Cell()] = true
		if r.spec == nil {
			r.spec = rec.Spec
		}
		r.place(rec)
	}
	if r.spec == nil && dir != "" {
		r.spec = r.readSpec()
	}
	for _, s := range r.settings {
		slices.SortStableFunc(s.scores, func(a, b *score) int {
			return slices.Index(r.methods, a.method) - slices.Index(r.methods, b.method)
		})
	}
	if dir != "" {
		r.readAnswers()
		r.premises = r.readPremises()
	}
	if err := r.average(); err != nil {
		return nil, err
	}
	whole, err := r.grid()
	if err != nil && !errors.Is(err, errNoGrid) {
		return nil, err
	}
	if err == nil {
		r.whole = whole
	}
	return r, nil
}

// place files a record under its model, setting and method.
func (r *run) place(rec *harness.Record) {
	if !slices.Contains(r.models, rec.Model) {
		r.models = append(r.models, rec.Model)
	}
	if rec.Method == harness.MethodFP {
		if rec.Status == harness.StatusOK {
			r.fp[rec.Model] = rec
		}
		return
	}
	if !slices.Contains(r.methods, rec.Method) {
		r.methods = append(r.methods, rec.Method)
	}
	s := r.score(rec.Model, rec.Setting(), rec.Method)
	if rec.Status != harness.StatusOK {
		s.failed++
		return
	}
	s.records = append(s.records, rec)
}

// score returns the score of a cell, made where it is missing.
func (r *run) score(model, format, method string) *score {
	i := slices.IndexFunc(r.settings, func(s *setting) bool { return s.model == model && s.format == format })
	if i < 0 {
		i = len(r.settings)
		r.settings = append(r.settings, &setting{model: model, format: format})
	}
	st := r.settings[i]
	for _, s := range st.scores {
		if s.method == method {
			return s
		}
	}
	s := &score{setting: st, method: method}
	st.scores = append(st.scores, s)
	return s
}

// finished lists the setting's scores that have a result.
func (s *setting) finished() []*score {
	var out []*score
	for _, x := range s.scores {
		if x.finished() {
			out = append(out, x)
		}
	}
	return out
}

// readSpec reads the folder's Spec for records that don't carry it.
func (r *run) readSpec() *harness.Spec {
	data, err := os.ReadFile(filepath.Join(r.dir, harness.SpecFile))
	var spec harness.Spec
	if err == nil {
		spec, err = harness.ParseSpec(data)
	}
	if err != nil {
		r.leaveOut("the experiment's specification", harness.SpecFile, err)
		return nil
	}
	return &spec
}

// leaveOut notes that something is not in the report. The reason names no
// folder: a run says the same wherever it lies.
func (r *run) leaveOut(what, file string, err error) {
	reason := err.Error()
	if r.dir != "" {
		reason = strings.ReplaceAll(reason, r.dir+string(filepath.Separator), "")
		reason = strings.ReplaceAll(reason, r.dir, "the run's folder")
	}
	switch {
	case file == "":
	case errors.Is(err, fs.ErrNotExist):
		reason = file + " is missing"
	}
	note := fmt.Sprintf("%s: %s.", what, strings.TrimSuffix(reason, "."))
	if !slices.Contains(r.missing, note) {
		r.missing = append(r.missing, note)
	}
}

// name is the run's name.
func (r *run) name() string {
	if r.spec != nil && r.spec.Name != "" {
		return r.spec.Name
	}
	return "run"
}

// modelName is a model's short name, unless two models would share it.
func (r *run) modelName(model string) string {
	name := shortModel(model)
	for _, other := range r.models {
		if other != model && shortModel(other) == name {
			return model
		}
	}
	return name
}

// shortModel cuts "zoo:" and the folders above a checkpoint.
func shortModel(model string) string {
	short := path.Base(filepath.ToSlash(strings.TrimPrefix(model, "zoo:")))
	if short == "." || short == "/" {
		return model
	}
	return short
}

// settingName is "w4a8", with the model where the run has several.
func (r *run) settingName(s *setting) string {
	if len(r.models) == 1 {
		return s.format
	}
	return s.format + " on " + r.modelName(s.model)
}

// label is what a method is called in text and figures.
func (r *run) label(method string) string { return methodLabel(r.spec, method) }

// methodLabel is a method's title: that of the Spec's own method, else of the
// table of methods, else its name. Our TLQ is a reconstruction, and whatever
// descends from it is labelled so.
func methodLabel(spec *harness.Spec, method string) string {
	if method == harness.MethodFP {
		return "Unquantized"
	}
	label := method
	ref := methodRef(spec, method)
	if m, err := ref.Method(); err == nil && m.Title != "" {
		label = m.Title
	}
	if strings.Contains(strings.ToLower(method+label), focusMethod) && !strings.Contains(label, "reconstruction") {
		label += " (reconstruction)"
	}
	return label
}

// methodRef finds a method in the Spec, or names it.
func methodRef(spec *harness.Spec, method string) harness.MethodRef {
	if spec != nil {
		for _, ref := range spec.Methods {
			if ref.ID() == method {
				return ref
			}
		}
	}
	return harness.MethodRef{Name: method}
}

// baseline and focus are the methods that every other one is compared with.
func (r *run) baseline() string { return roleOf(r.methods, baselineMethod, 0) }
func (r *run) focus() string    { return roleOf(r.methods, focusMethod, len(r.methods)-1) }

func roleOf(methods []string, name string, otherwise int) string {
	if slices.Contains(methods, name) {
		return name
	}
	if otherwise < 0 || otherwise >= len(methods) {
		return ""
	}
	return methods[otherwise]
}
