package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/eval"
)

// Files of a run's folder.
const (
	RecordsFile  = "records.jsonl"
	SpecFile     = "spec.json"
	ResultsDir   = "results" // scores in the files of other harnesses, where they were asked for
	samplesDir   = "samples"
	artifactsDir = "artifacts"
)

// RunOptions say how a Plan is executed. None of them changes a result.
type RunOptions struct {
	Dir      string            // the run's folder; made where it is missing
	Workers  int               // cells that are worked on at once; 0: 1
	Code     string            // the program's version for the records; empty: from the build
	Progress *display.Progress // nil: none; see Plan.Steps
	// Watch is told of every change, one after the other; nil: nobody watches. It
	// must not call back.
	Watch func(RunState)
}

// ErrCellsFailed is wrapped by Run's error where some cells failed. Their
// records say why; the others are complete.
var ErrCellsFailed = errors.New("some cells failed")

// DefaultDir is where a plan's run goes when no folder is named: runs/NAME-KEY8.
func (p *Plan) DefaultDir() string {
	return filepath.Join("runs", p.Spec.Name+"-"+p.Key.Short())
}

// Steps is the total of a progress display over the whole plan.
func (p *Plan) Steps() int {
	sum := p.rest
	for _, w := range p.work {
		sum += w.total()
	}
	return int(1000 * sum)
}

// Run executes the plan and writes its records, samples and artifacts to
// o.Dir. A cell that fails leaves a record that says so and does not stop the
// others. When ctx ends, or the process is killed at any instant, what is
// finished stays in the store, and running again continues from there to the
// same results.
func (p *Plan) Run(ctx context.Context, o RunOptions) ([]Record, error) {
	if err := prepare(o.Dir, p.Spec); err != nil {
		return nil, err
	}
	r := &run{p: p, o: o, board: newBoard(p, o), records: make([]*Record, len(p.Cells)), references: map[string]*reference{}}
	for _, m := range p.Spec.Models {
		r.references[m] = &reference{}
	}
	if err := r.cells(ctx); err != nil {
		return nil, err
	}
	records := r.finished()
	if err := sweep(o.Dir, records); err != nil {
		return nil, err
	}
	if err := r.premises(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return records, errors.Join(failures(records), err)
	}
	return records, failures(records)
}

// failures is the error of a run in which cells failed.
func failures(records []Record) error {
	failed, first := 0, ""
	for i := range records {
		if records[i].Status != StatusFailed {
			continue
		}
		if failed++; failed == 1 {
			first = records[i].Cell() + ": " + records[i].Error()
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("harness: %w: %d of %d, the first: %s", ErrCellsFailed, failed, len(records), first)
}

// prepare makes the run's folder, or takes that of an earlier run, whose files stay
// until sweep; a folder with other things in it is refused.
func prepare(dir string, spec any) error {
	if err := checkRunDir(dir); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, SpecFile), spec)
}

// run is a Plan in execution.
type run struct {
	p     *Plan
	o     RunOptions
	board *board

	mu         sync.Mutex
	records    []*Record // by cell; nil: not finished
	references map[string]*reference
}

// reference is the unquantized model's answers, which all cells of the model
// are compared with.
type reference struct {
	once    sync.Once
	samples []eval.Sample
	err     error
}

func (r *run) unquantized(m *Model) ([]eval.Sample, error) {
	ref := r.references[m.Name]
	ref.once.Do(func() { ref.samples, ref.err = m.Evaluate(nil, r.p.questions()...) })
	return ref.samples, ref.err
}

// cells works through the cells, Workers at a time.
func (r *run) cells(ctx context.Context) error {
	todo := make(chan int)
	var wg sync.WaitGroup
	var once sync.Once
	var failure error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range max(1, r.o.Workers) {
		wg.Go(func() {
			for i := range todo {
				if err := r.finish(ctx, i); err != nil {
					once.Do(func() { failure = err })
					cancel()
				}
			}
		})
	}
	for i := range r.p.Cells {
		select {
		case todo <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(todo)
	wg.Wait()
	if failure != nil {
		return failure
	}
	return ctx.Err()
}

// finish runs a cell and writes the records so far. Only what makes going on
// pointless is an error.
func (r *run) finish(ctx context.Context, i int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.board.change(i, func(c *CellState) { c.Running = true })
	record := r.cell(ctx, i)
	if err := ctx.Err(); err != nil {
		return err
	}
	defer r.board.change(i, func(c *CellState) { c.Running, c.Share, c.Record = false, 1, record })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records[i] = record
	var done []Record
	for _, x := range r.records {
		if x != nil {
			done = append(done, *x)
		}
	}
	return WriteRecords(filepath.Join(r.o.Dir, RecordsFile), done)
}

func (r *run) finished() []Record {
	out := make([]Record, len(r.records))
	for i, x := range r.records {
		out[i] = *x
	}
	return out
}

// cell runs one cell; an error becomes its record.
func (r *run) cell(ctx context.Context, i int) *Record {
	start, c := time.Now(), r.p.Cells[i]
	var log EventLog
	spec := r.p.Spec
	record := &Record{
		Model: c.Model, Family: string(c.m.Config.Family), Scale: c.m.Scale(), Format: c.Format, Outliers: c.Outliers, Method: c.Method, Seed: c.Seed,
		Tasks: map[string]TaskScore{}, Delta: Delta{P: 1}, SpecSHA256: r.p.SpecSHA256, DataSHA256: r.p.DataSHA256,
		Code: r.code(), Status: StatusOK, Spec: &spec,
	}
	s := c.m.s.WithContext(WithEvents(ctx, &log))
	err := recovered(func() error { return r.measure(i, c.m.in(s), record) })
	if err != nil {
		*record = Record{
			Model: record.Model, Family: record.Family, Scale: record.Scale, Format: record.Format, Outliers: record.Outliers, Method: record.Method, Seed: record.Seed,
			Tasks: map[string]TaskScore{}, Delta: Delta{P: 1}, SpecSHA256: record.SpecSHA256, DataSHA256: record.DataSHA256,
			Code: record.Code, Status: StatusFailed, Spec: record.Spec,
		}
		Report(s.ctx, EventError, "%s", err)
	}
	record.Events = log.Events()
	record.Seconds = time.Since(start).Seconds()
	record.PeakBytes = peakBytes()
	return record
}

// recovered turns a panic, which is a mistake of ours, into an error, so that
// the other cells go on.
func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			text, _, _ := strings.Cut(fmt.Sprint(p), "\n")
			err = fmt.Errorf("internal error: %s", text)
		}
	}()
	return f()
}

// measure fills a record in.
func (r *run) measure(i int, m *Model, record *Record) error {
	c, asked := r.p.Cells[i], m.in(m.s.stepping(r.board.evaluation(i)))
	quiet := m.WithProgress(nil)
	if c.Method == MethodFP {
		quiet = asked
	}
	fp, err := r.unquantized(quiet)
	if err != nil {
		return fmt.Errorf("the unquantized model: %w", err)
	}
	if c.Method == MethodFP {
		record.WeightsSHA256 = m.WeightsSHA256
		if record.AvgBits, err = storedBits(m.Dir); err != nil {
			return err
		}
		return r.score(c, m, nil, nil, fp, record)
	}
	samples := r.p.samples(c)
	if err := r.trace(c, m.in(m.s.stepping(r.board.calibration(i))), samples, record); err != nil {
		return err
	}
	q, err := m.WithProgress(nil).Quantize(samples, c.q) // the layers were counted above
	if err != nil {
		return err
	}
	record.WeightsSHA256, record.AvgBits = q.WeightsSHA256, q.AvgBits
	scored, err := asked.Evaluate(q, r.p.questions()...)
	if err != nil {
		return err
	}
	return r.score(c, m, q, fp, scored, record)
}

// trace writes the artifacts that figures are drawn from.
func (r *run) trace(c Cell, m *Model, samples *Samples, record *Record) error {
	trace, err := m.Trace(samples, c.q)
	if err != nil {
		return err
	}
	record.Trace = artifact("trace", c, "json")
	if err := writeJSON(r.path(record.Trace), trace); err != nil {
		return err
	}
	if !c.q.Method.NeedsTokens() || c.Seed != r.p.Spec.Seeds[0] {
		return nil
	}
	sample := min(1, samples.N-1) // the first board with several things on it
	tokens, err := m.TokenMap(samples, c.q, sample)
	if err != nil {
		return err
	}
	examples, err := samples.Examples()
	if err != nil {
		return err
	}
	tokens.Image = artifact("picture", c, "png")
	if err := datasets.WritePNG(r.path(tokens.Image), examples[sample].Images[0]); err != nil {
		return err
	}
	record.TokenMap = artifact("tokens", c, "json")
	return writeJSON(r.path(record.TokenMap), tokens)
}

// score fills in metrics and comparisons and writes the samples. q and fp are
// nil for the unquantized model.
func (r *run) score(c Cell, m *Model, q *Quantized, fp, samples []eval.Sample, record *Record) error {
	data, questions := Key(r.p.DataSHA256), r.p.questions()
	keys := answerKeys(m, data, "", nil, questions)
	if q != nil {
		keys = append(keys, answerKeys(q.on, data, q.key, m, questions)...)
	}
	record.Samples = samplesDir + "/" + c.file() + ".jsonl"
	if err := record.setScores(m, r.p.Spec.Stats, keys, fp, samples); err != nil {
		return err
	}
	return writeSamples(r.path(record.Samples), samples)
}

func (r *run) path(relative string) string {
	return filepath.Join(r.o.Dir, filepath.FromSlash(relative))
}

// artifact names a file of a cell, within the run's folder.
func artifact(kind string, c Cell, extension string) string {
	return artifactsDir + "/" + kind + "-" + c.file() + "." + extension
}

// file names the cell's files.
func (c Cell) file() string {
	name := fileWord(strings.TrimPrefix(c.Model, zooPrefix))
	if c.Method == MethodFP {
		return name + "-" + MethodFP
	}
	setting := c.Format
	if c.Outliers != noOutliers {
		setting += "-" + fileWord(c.Outliers)
	}
	return fmt.Sprintf("%s-%s-%s-seed%d", name, setting, c.Method, c.Seed)
}

// fileWord is a word that can be part of a file's name.
func fileWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, s)
}

// code is the program's version.
func (r *run) code() string {
	if r.o.Code != "" {
		return r.o.Code
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	return revision + dirty
}
