package harness

import (
	"context"
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"slices"
	"time"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
)

// EvaluationSpec asks one model, or two of which the second is compared with
// the first.
type EvaluationSpec struct {
	Models   []string `json:"models"`   // one or two, with the same tokenizer
	Tasks    []string `json:"tasks"`    // built-in ones; empty, and no Sets: those that the models were trained on
	Split    string   `json:"split"`    // "test" or "tuning"
	Limit    int      `json:"limit"`    // questions per task; 0: all
	Generate bool     `json:"generate"` // let the models answer in their own words too
	Stats    Stats    `json:"stats"`

	// Sets are questions beside the built-in tasks'. Their names and hashes stand in SetHashes.
	Sets      []QuestionSet     `json:"-"`
	SetHashes map[string]string `json:"sets,omitempty"`
}

// Evaluation is an EvaluationSpec whose names are checked.
type Evaluation struct {
	Spec EvaluationSpec
	Key  Key

	s         *Session
	data      Key
	models    []*Model
	questions []Questions
}

// methodOther is the method of the second model's record: it is compared with
// the first, whatever it is.
const methodOther = "compared"

// evaluationStage names a whole evaluation.
var evaluationStage = StageID{"evaluation", 1}

// NewEvaluation checks names, numbers and the pictures of the sets that are not answered
// yet; no stage runs.
func NewEvaluation(s *Session, spec EvaluationSpec) (*Evaluation, error) {
	if len(spec.Tasks) == 0 && len(spec.Sets) == 0 {
		spec.Tasks = TrainedTasks(s.Root, spec.Models...)
	}
	if err := spec.validate(); err != nil {
		return nil, err
	}
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	e := &Evaluation{s: s, data: Key(hash)}
	for _, task := range spec.Tasks {
		e.questions = append(e.questions, Questions{Task: task, Split: spec.Split, N: Spec{Limit: spec.Limit}.questions(), Generate: spec.Generate})
	}
	sets, err := spec.askSets()
	if err != nil {
		return nil, err
	}
	for _, q := range sets {
		if spec.SetHashes == nil {
			spec.SetHashes = map[string]string{}
		}
		spec.SetHashes[q.Task] = q.SHA256
	}
	e.Spec, e.questions = spec, append(e.questions, sets...)
	if err := e.open(spec.Models); err != nil {
		return nil, err
	}
	var keys []Key
	for i := range e.models {
		keys = append(keys, e.keys(i)...)
	}
	e.Key = NewKey(evaluationStage, spec, keys...)
	return e, e.checkPictures()
}

// validate checks names and numbers.
func (spec EvaluationSpec) validate() error {
	if len(spec.Models) < 1 || len(spec.Models) > 2 {
		return fmt.Errorf("harness: evaluation of %d models: expected one or two", len(spec.Models))
	}
	if err := checkQuestions(spec.Limit); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	if len(spec.Tasks) > 0 {
		if err := checkList("tasks", spec.Tasks, func(name string) error { _, err := datasets.FindTask(name); return err }); err != nil {
			return err
		}
	}
	_, err := datasets.ParseSplit(spec.Split)
	return err
}

// open opens the models and refuses two that can't be compared.
func (e *Evaluation) open(names []string) error {
	for _, name := range names {
		m, err := e.s.Model(name)
		if err != nil {
			return err
		}
		e.models = append(e.models, m)
	}
	if len(e.models) < 2 {
		return nil
	}
	if a, b := e.models[0], e.models[1]; a.Config.Text.Vocab != b.Config.Text.Vocab {
		return fmt.Errorf("harness: %s has a vocabulary of %d, %s one of %d: expected two models with the same tokenizer, since KL compares them token by token; evaluate them one by one",
			a.Name, a.Config.Text.Vocab, b.Name, b.Config.Text.Vocab)
	}
	return nil
}

// checkPictures reads the pictures of questions in files, so that a broken one is found
// before any work and not after hours of it. What the store has answers to was read before.
func (e *Evaluation) checkPictures() error {
	for _, q := range e.questions {
		if q.set == nil {
			continue
		}
		for _, c := range q.chunks() {
			if e.answered(c) {
				continue
			}
			for i := range c.N {
				if _, err := c.example(c.Start + i); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// answered tells whether the store has all models' answers to a chunk.
func (e *Evaluation) answered(c chunk) bool {
	for i, m := range e.models {
		if !e.s.Store.Has(c.evaluateKey(m, e.data, "", e.reference(i))) {
			return false
		}
	}
	return true
}

// askSets makes the questions of the sets; two of one name are an error.
func (spec EvaluationSpec) askSets() ([]Questions, error) {
	var all []Questions
	for _, set := range spec.Sets {
		for _, q := range all {
			if q.Task == set.Name {
				return nil, fmt.Errorf("harness: two sets of questions are named %q: rename one of the folders or files", set.Name)
			}
		}
		q, err := set.ask(spec.Limit, spec.Generate)
		if err != nil {
			return nil, err
		}
		all = append(all, q)
	}
	return all, nil
}

// reference is the model that model i is compared with, nil for the first.
func (e *Evaluation) reference(i int) *Model {
	if i == 0 {
		return nil
	}
	return e.models[0]
}

// keys name model i's answers.
func (e *Evaluation) keys(i int) []Key {
	return answerKeys(e.models[i], e.data, "", e.reference(i), e.questions)
}

// DefaultDir is where the records go when no folder is named: runs/eval-KEY8.
func (e *Evaluation) DefaultDir() string { return filepath.Join("runs", "eval-"+e.Key.Short()) }

// Steps is the total of a progress display.
func (e *Evaluation) Steps() int {
	n := 0
	for _, q := range e.questions {
		n += q.N * len(e.models)
	}
	return n
}

// Run asks the models and writes one record each to o.Dir, when all are finished: a run
// that fails or is interrupted leaves o.Dir as it was. The second model's KL, agreement
// and delta are against the first.
func (e *Evaluation) Run(ctx context.Context, o RunOptions) ([]Record, error) {
	if err := checkRunDir(o.Dir); err != nil {
		return nil, err
	}
	r := &run{o: o}
	records := e.cells()
	answers := make([][]eval.Sample, len(records))
	for i, m := range e.models {
		start := time.Now()
		var log EventLog
		m = m.in(e.s.WithContext(WithEvents(ctx, &log)).WithProgress(o.Progress))
		record := &records[i]
		record.Code = r.code()
		if i == 0 && m.Manifest != nil {
			Report(m.s.ctx, EventNote, "%s is quantized and was asked alone: there is no KL; name the model that it was made from first, %s, to have one", m.Name, m.Manifest.Model)
		}
		var err error
		if answers[i], err = m.evaluate(nil, e.reference(i), e.questions); err != nil {
			return nil, err
		}
		if err := e.score(i, m, answers, record); err != nil {
			return nil, err
		}
		record.Events, record.Seconds, record.PeakBytes = log.Events(), time.Since(start).Seconds(), peakBytes()
	}
	if records[0].Folder != "" {
		answers[0] = withoutKL(answers[0])
	}
	return records, e.write(o.Dir, records, answers)
}

// score fills in what model i's answers say: bits, metrics and, for the second, the
// comparison with the first's.
func (e *Evaluation) score(i int, m *Model, answers [][]eval.Sample, record *Record) (err error) {
	if m.Manifest == nil {
		if record.AvgBits, err = storedBits(m.Dir); err != nil {
			return err
		}
	}
	keys := e.keys(i)
	if i == 0 {
		return record.setScores(m, e.Spec.Stats, keys, nil, answers[0])
	}
	return record.setScores(m, e.Spec.Stats, append(keys, e.keys(0)...), answers[0], answers[i])
}

// cells are the models' records before any question is asked. A quantized model's folder
// is the cell of a grid that its manifest names, so that runs of several folders can be
// compared, cell by cell.
func (e *Evaluation) cells() []Record {
	records := make([]Record, len(e.models))
	for i, m := range e.models {
		records[i] = Record{
			Model: m.Name, Family: string(m.Config.Family), Method: MethodFP, WeightsSHA256: m.WeightsSHA256,
			Delta: Delta{P: 1}, DataSHA256: string(e.data), Status: StatusOK,
		}
		r := &records[i]
		if i > 0 {
			r.Method = methodOther
		}
		if q := m.Manifest; q != nil {
			r.Model, r.Folder, r.SourceSHA256 = q.Model, m.Name, q.SourceSHA256
			r.Format, r.Outliers, r.Method, r.Seed, r.AvgBits = q.Format.String(), q.Outliers.String(), q.Method.Name, q.Seed, q.AvgBits
		}
	}
	if len(records) == 2 && records[0].Cell() == records[1].Cell() { // settings differ that a cell's name doesn't hold
		for i := range records {
			records[i].Model = e.models[i].Name
		}
	}
	for i := range records {
		r := &records[i]
		r.Scale = modelScale(r.Model)
		r.Samples = fmt.Sprintf("%s/%d-%s.jsonl", samplesDir, i, r.place().file())
	}
	return records
}

// withoutKL are the answers of a quantized model that nothing was compared with: the 0 of
// a model against itself would pass for its KL to the unquantized model.
func withoutKL(samples []eval.Sample) []eval.Sample {
	out := slices.Clone(samples)
	for i := range out {
		out[i].KL, out[i].Agreement = nil, nil
	}
	return out
}

// write puts records and answers into the run's folder: whole or not at all where it is
// new or empty.
func (e *Evaluation) write(dir string, records []Record, answers [][]eval.Sample) error {
	fill := func(dir string) error {
		if err := prepare(dir, e.Spec); err != nil {
			return err
		}
		for i := range records {
			if err := writeSamples(filepath.Join(dir, filepath.FromSlash(records[i].Samples)), answers[i]); err != nil {
				return err
			}
		}
		if err := WriteRecords(filepath.Join(dir, RecordsFile), records); err != nil {
			return err
		}
		return sweep(dir, records)
	}
	if CheckNewOutput(dir) == nil {
		return writeFolder(dir, fill)
	}
	return fill(dir) // an earlier run's
}

// Generate answers a prompt behind pictures in the model's own words, greedily,
// in at most limit tokens, and no more than the model has positions for.
func (m *Model) Generate(images []image.Image, prompt string, limit int) (text string, tokens int, err error) {
	if limit < 1 {
		return "", 0, errors.New("harness: generation of no tokens: expected at least 1")
	}
	seq, err := m.Prompt(images, prompt)
	if err != nil {
		return "", 0, err
	}
	if most := m.Config.Text.MaxPositions; most > 0 {
		if seq.Len() >= most {
			return "", 0, fmt.Errorf("harness: a prompt of %d tokens leaves model %s, which reads %d, no place for an answer: shorten it or show fewer pictures", seq.Len(), m.Name, most)
		}
		limit = min(limit, most-seq.Len())
	}
	r, act, err := m.quantizedRunner(nil)
	if err != nil {
		return "", 0, err
	}
	ids, err := r.Generate(seq, limit, act)
	if err != nil {
		return "", 0, err
	}
	return m.Tokenizer.Decode(ids, true), len(ids), nil
}
