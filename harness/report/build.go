package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	_ "image/png" // pictures of token maps
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

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

// sheets are the report's tables.
type sheets struct {
	summary, comparisons, scores, tasks, cells, events, costs *sheet
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
	overview, inside := r.figures(comparisons)
	s := &sheets{r.summarySheet(), r.comparisonSheet(comparisons), r.scoreSheet(), r.taskSheet(), r.cellSheet(), r.eventSheet(), r.costSheet()}
	p := r.page(comparisons, s, overview, inside)

	var out []file
	for _, f := range allPictures(overview, inside) {
		out = append(out, file{filepath.Join(figuresDir, f.Name+".png"), f.png}, file{filepath.Join(figuresDir, f.Name+".svg"), f.svg})
	}
	for _, x := range []*sheet{s.summary, s.comparisons, s.scores, s.tasks, s.cells, s.events, s.costs} {
		data, err := x.encode()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(tablesDir, x.name)
		out = append(out, file{path + ".csv", data}, file{path + ".md", []byte(x.show.Markdown())}, file{path + ".tex", []byte(x.show.LaTeX(x.name))})
	}
	claims, err := encodeNumbers(ClaimsFile, r.claims(comparisons))
	if err != nil {
		return nil, err
	}
	return append(out, file{ClaimsFile, claims}, file{"report.md", p.markdown()}, file{"report.html", p.html()}), nil
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

// figures draws everything that can be drawn; the rest is left out by name.
func (r *run) figures(comparisons []*comparison) (overview []*picture, inside []*chapter) {
	var jobs []*job
	keep := func(list *[]*picture, what string, f *display.Figure, err error) {
		jobs = append(jobs, &job{list: list, what: what, figure: f, err: err})
	}
	f, err := r.accuracyKept(comparisons)
	keep(&overview, "the figure of accuracy kept", f, err)
	f, err = r.divergence(comparisons)
	keep(&overview, "the figure of KL", f, err)
	if r.bitsDiffer() {
		f, err = r.accuracyByBits()
		keep(&overview, "the figure of accuracy against bits", f, err)
	}
	for _, st := range r.settings {
		ch := &chapter{setting: st}
		var traces []*harness.Trace
		for _, s := range st.finished() {
			found := r.traces(s)
			traces = append(traces, found...)
			r.methodFigures(s, found, func(what string, f *display.Figure, err error) { keep(&ch.pictures, what, f, err) })
		}
		if len(traces) > 0 {
			f, err := r.errorGrowth(traces)
			keep(&ch.pictures, "error growth at "+r.settingName(st), f, err)
		}
		if f, err := r.gallery(st); f != nil || err != nil {
			keep(&ch.pictures, "the gallery of answers that flip at "+r.settingName(st), f, err)
		}
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
	todo := make(chan *job)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for j := range todo {
				j.picture, j.err = render(j.figure)
			}
		})
	}
	for _, j := range jobs {
		if j.err == nil {
			todo <- j
		}
	}
	close(todo)
	wg.Wait()
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
func (r *run) methodFigures(s *score, traces []*harness.Trace, keep func(what string, f *display.Figure, err error)) {
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

// picture reads the image below a token map; nil where it cannot be had.
func (r *run) picture(t *harness.TokenMap, where string) image.Image {
	if t.Image == "" {
		return nil
	}
	img, err := readImage(r.dir, t.Image)
	if err != nil {
		r.leaveOut("the picture below the token importance "+where, t.Image, err)
		return nil
	}
	return img
}

// maxPixels bounds the pictures that are decoded: a small file may claim any
// size.
const maxPixels = 1 << 26

func readImage(dir, name string) (image.Image, error) {
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return nil, fmt.Errorf("%q: expected a path inside the run's folder", name)
	}
	data, err := os.ReadFile(filepath.Join(dir, local))
	if err != nil {
		return nil, err
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err == nil && config.Width*config.Height > maxPixels {
		err = fmt.Errorf("%d × %d pixels: at most %d in all", config.Width, config.Height, maxPixels)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return img, nil
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

// writeFile writes a file so that a reader sees the old one or the new one.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	return nil
}

// removeStale deletes figures and tables that an earlier report left.
func removeStale(dir string, files []file) error {
	for _, folder := range []struct {
		name string
		exts []string
	}{{figuresDir, []string{".png", ".svg"}}, {tablesDir, []string{".csv", ".md", ".tex"}}} {
		entries, err := os.ReadDir(filepath.Join(dir, folder.name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("report: %w", err)
		}
		for _, e := range entries {
			name := filepath.Join(folder.name, e.Name())
			ours := slices.Contains(folder.exts, filepath.Ext(name))
			if !ours || slices.ContainsFunc(files, func(f file) bool { return f.name == name }) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
	}
	return nil
}
