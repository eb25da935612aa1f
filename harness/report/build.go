package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// Build reads the records and artifacts of a run's folder and writes the
// report into it: see the package's comment for the files. Each file appears
// whole or not at all, report.html last; figures and tables of an earlier
// report that this one doesn't have go. What cannot be drawn because an
// artifact is missing or broken is named in the report. Records that cannot be
// read are an error that names the line, and leave the folder as it was.
func Build(dir string) error {
	records, err := harness.ReadRun(dir)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	r, err := newRun(records, dir)
	if err != nil {
		return err
	}
	files, err := r.files()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return err
		}
	}
	return removeStale(dir, files)
}

// file is one file of the report, its name relative to the run's folder.
type file struct {
	name string
	data []byte
}

// sheets are the report's tables; grid and leaders are nil where a run has no grid or no
// contest.
type sheets struct {
	grid, gridTasks, leaders, summary, comparisons, claims, scores, tasks, cells, events, costs, premises *sheet
}

// list are the sheets that there are, in order.
func (s *sheets) list() []*sheet {
	return slices.DeleteFunc([]*sheet{s.grid, s.gridTasks, s.leaders, s.summary, s.comparisons, s.claims, s.scores, s.tasks, s.cells, s.events, s.costs, s.premises},
		func(x *sheet) bool { return x == nil })
}

// chapter holds the figures of one setting.
type chapter struct {
	setting  *setting
	pictures []*picture
}

// files makes the whole report in memory.
func (r *run) files() ([]file, error) {
	comparisons, err := r.compare()
	if err != nil {
		return nil, err
	}
	claims := append(r.gridClaims(), r.claims(comparisons)...)
	overview, inside := r.figures(comparisons)
	s, err := r.sheets(comparisons, claims)
	if err != nil {
		return nil, err
	}
	p := r.page(comparisons, claims, s, overview, inside)

	var out []file
	for _, f := range allPictures(overview, inside) {
		out = append(out, file{filepath.Join(figuresDir, f.Name+".png"), f.png}, file{filepath.Join(figuresDir, f.Name+".svg"), f.svg})
	}
	for _, x := range s.list() {
		data, err := x.encode()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(tablesDir, x.name)
		out = append(out, file{path + ".csv", data}, file{path + ".md", []byte(x.show.Markdown())}, file{path + ".tex", []byte(x.show.LaTeX(x.name))})
	}
	data, err := encodeNumbers(ClaimsFile, claimLines(claims))
	if err != nil {
		return nil, err
	}
	return append(out, file{ClaimsFile, data}, file{"report.md", p.markdown()}, file{"report.html", p.html()}), nil
}

// sheets makes the tables.
func (r *run) sheets(comparisons []*comparison, claims []harness.ClaimVerdict) (*sheets, error) {
	s := &sheets{
		summary: r.summarySheet(), comparisons: r.comparisonSheet(comparisons), claims: claimSheet(claims), scores: r.scoreSheet(), tasks: r.taskSheet(),
		cells: r.cellSheet(), events: r.eventSheet(), costs: r.costSheet(), premises: r.premiseSheet(),
	}
	if r.whole != nil {
		s.grid = r.whole.gridSheet(r)
		var err error
		if s.gridTasks, err = r.whole.gridTaskSheet(r); err != nil {
			return nil, fmt.Errorf("report: tasks over the grid: %w", err)
		}
	}
	if len(r.contests()) > 0 {
		s.leaders = r.leaderSheet(comparisons)
	}
	return s, nil
}

func allPictures(overview []*picture, inside []*chapter) []*picture {
	out := slices.Clone(overview)
	for _, ch := range inside {
		out = append(out, ch.pictures...)
	}
	return out
}

// encode writes a table as CSV.
func (s *sheet) encode() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(s.csv); err != nil {
		return nil, fmt.Errorf("report: table %s: %w", s.name, err)
	}
	for i, row := range s.csv {
		if len(row) != len(s.csv[0]) {
			return nil, fmt.Errorf("report: table %s: row %d has %d cells of %d", s.name, i, len(row), len(s.csv[0]))
		}
	}
	return b.Bytes(), s.show.Validate()
}

// keeper takes a figure, or why there is none.
type keeper func(what string, f *display.Figure, err error)

// figures draws what the report shows; what can't be drawn is left out by name.
func (r *run) figures(comparisons []*comparison) (overview []*picture, inside []*chapter) {
	var jobs []*job
	into := func(list *[]*picture) keeper {
		return func(what string, f *display.Figure, err error) {
			jobs = append(jobs, &job{list: list, what: what, figure: f, err: err})
		}
	}
	r.overviewFigures(comparisons, into(&overview))
	for _, st := range r.settings {
		ch := &chapter{setting: st}
		r.settingFigures(st, into(&ch.pictures))
		inside = append(inside, ch)
	}
	renderAll(jobs)
	for _, j := range jobs {
		if j.err != nil {
			r.leaveOut(j.what, "", j.err)
			continue
		}
		*j.list = append(*j.list, j.picture)
	}
	return overview, slices.DeleteFunc(inside, func(ch *chapter) bool { return len(ch.pictures) == 0 })
}

// overviewFigures draws what speaks of the whole run.
func (r *run) overviewFigures(comparisons []*comparison, keep keeper) {
	if r.whole != nil {
		keep("the figure of KL over the grid", r.relativeKL(), nil)
	}
	f, err := r.accuracyKept(comparisons)
	keep("the figure of accuracy kept", f, err)
	f, err = r.divergence(comparisons)
	keep("the figure of KL", f, err)
	if r.bitsDiffer() {
		f, err = r.accuracyByBits()
		keep("the figure of accuracy against bits", f, err)
	}
	if f := r.premiseFigure(); f != nil {
		keep("the figure of the premise", f, nil)
	}
}

// manySettings is the number of settings from which on a report draws only a choice of
// what lies inside the calibration: a page of a hundred figures is not read.
const manySettings = 5

// crowded reports whether only a choice is drawn.
func (r *run) crowded() bool { return len(r.settings) >= manySettings }

// settingFigures draws what happened inside one setting. In a crowded run the curves and
// tokens are the focus's, in a model's first format.
func (r *run) settingFigures(st *setting, keep keeper) {
	var traces []*harness.Trace
	for _, s := range st.finished() {
		found := r.traces(s)
		traces = append(traces, found...)
		if !r.crowded() || s.method == r.focus() && st == r.firstOf(st.model) {
			r.methodFigures(s, found, keep)
		}
	}
	if len(traces) > 0 {
		f, err := r.errorGrowth(traces)
		keep("error growth at "+r.settingName(st), f, err)
	}
	if r.crowded() && st != r.galleryOf(st.model) {
		return
	}
	for _, rival := range r.rivals(st) {
		if f, err := r.gallery(st, rival); f != nil || err != nil {
			keep("the gallery of answers that flip at "+r.settingName(st), f, err)
		}
	}
}

// firstOf is a model's first setting.
func (r *run) firstOf(model string) *setting {
	for _, st := range r.settings {
		if st.model == model {
			return st
		}
	}
	return nil
}

// galleryOf is the setting of a model in which the baseline does the most damage: there
// most answers flip.
func (r *run) galleryOf(model string) *setting {
	var worst *setting
	for _, st := range r.settings {
		if st.model == model && (worst == nil || r.plain(st) > r.plain(worst)) {
			worst = st
		}
	}
	return worst
}

// job is a figure to be rendered and the list that waits for it.
type job struct {
	list    *[]*picture
	what    string // for the report, where it fails
	figure  *display.Figure
	picture *picture
	err     error
}

// renderAll renders figures side by side: a grid has dozens.
func renderAll(jobs []*job) {
	_ = eachAtOnce(jobs, func(j *job) error { // a job keeps its own error
		if j.err == nil {
			j.picture, j.err = render(j.figure)
		}
		return nil
	})
}

// traces reads what can be read of a score's traces.
func (r *run) traces(s *score) []*harness.Trace {
	var out []*harness.Trace
	for _, rec := range s.records {
		if rec.Trace == "" {
			r.leaveOut("the calibration trace of "+rec.Cell(), "", errors.New("the record names none"))
			continue
		}
		t, err := harness.ReadTrace(r.dir, rec.Trace)
		if err != nil {
			r.leaveOut("the calibration trace of "+rec.Cell(), rec.Trace, err)
			continue
		}
		out = append(out, t)
	}
	return out
}

// methodFigures draws what one method did in one setting, on its first seed.
func (r *run) methodFigures(s *score, traces []*harness.Trace, keep keeper) {
	where := fmt.Sprintf("of %s at %s", r.label(s.method), r.settingName(s.setting))
	model := r.modelName(s.setting.model)
	if len(traces) > 0 && len(searchedSites(traces[0])) > 0 {
		f, err := alphaCurves(traces[0], r.label(s.method), model)
		keep("α-curves "+where, f, err)
	}
	for _, rec := range s.records {
		if rec.TokenMap == "" {
			continue
		}
		tokens, err := harness.ReadTokenMap(r.dir, rec.TokenMap)
		if err != nil {
			r.leaveOut("token importance "+where, rec.TokenMap, err)
			return
		}
		f, err := importance(tokens, r.picture(tokens, where), r.label(s.method), model)
		keep("token importance "+where, f, err)
		return
	}
}

// render draws a figure as PNG and SVG.
func render(f *display.Figure) (*picture, error) {
	p := &picture{Figure: f}
	var err error
	if p.png, err = f.PNG(); err != nil {
		return nil, err
	}
	p.svg, err = f.SVG()
	return p, err
}
