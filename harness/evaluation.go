package harness

import (
	"context"
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"time"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/eval"
)

// EvaluationSpec asks one model, or two of which the second is compared with
// the first.
type EvaluationSpec struct {
	Models   []string `json:"models"`   // one or two, with the same tokenizer
	Tasks    []string `json:"tasks"`    // built-in ones; empty, and no Sets: those that the zoo was trained on
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

// NewEvaluation checks the names; no stage runs.
func NewEvaluation(s *Session, spec EvaluationSpec) (*Evaluation, error) {
	if len(spec.Tasks) == 0 && len(spec.Sets) == 0 {
		spec.Tasks = DefaultSpec().Tasks
	}
	if len(spec.Models) < 1 || len(spec.Models) > 2 {
		return nil, fmt.Errorf("harness: evaluation of %d models: expected one or two", len(spec.Models))
	}
	if len(spec.Tasks) > 0 {
		if err := checkList("tasks", spec.Tasks, func(name string) error { _, err := datasets.FindTask(name); return err }); err != nil {
			return nil, err
		}
	}
	questions, err := spec.askSets()
	if err != nil {
		return nil, err
	}
	for _, q := range questions {
		if spec.SetHashes == nil {
			spec.SetHashes = map[string]string{}
		}
		spec.SetHashes[q.Task] = q.SHA256
	}
	if _, err := datasets.ParseSplit(spec.Split); err != nil {
		return nil, err
	}
	hash, err := dataHash()
	if err != nil {
		return nil, err
	}
	e := &Evaluation{Spec: spec, s: s, data: Key(hash)}
	for _, task := range spec.Tasks {
		e.questions = append(e.questions, Questions{Task: task, Split: spec.Split, N: Spec{Limit: spec.Limit}.questions(), Generate: spec.Generate})
	}
	e.questions = append(e.questions, questions...)
	var keys []Key
	for _, name := range spec.Models {
		m, err := s.Model(name)
		if err != nil {
			return nil, err
		}
		e.models = append(e.models, m)
		keys = append(keys, e.keys(m)...)
	}
	e.Key = NewKey(evaluationStage, spec, keys...)
	return e, nil
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

// reference is the model that m is compared with, nil for the first.
func (e *Evaluation) reference(m *Model) *Model {
	if m == e.models[0] {
		return nil
	}
	return e.models[0]
}

func (e *Evaluation) keys(m *Model) []Key {
	return answerKeys(m, e.data, "", e.reference(m), e.questions)
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

// Run asks the models and writes one record each to o.Dir. The second's KL,
// agreement and delta are against the first.
func (e *Evaluation) Run(ctx context.Context, o RunOptions) ([]Record, error) {
	if err := prepare(o.Dir, e.Spec); err != nil {
		return nil, err
	}
	r := &run{o: o}
	var first []eval.Sample
	var records []Record
	for _, m := range e.models {
		start := time.Now()
		var log EventLog
		m = m.in(e.s.WithContext(WithEvents(ctx, &log)).WithProgress(o.Progress))
		c := Cell{Model: m.Name, Method: MethodFP}
		reference := e.models[0]
		if len(records) == 0 {
			reference = nil
		} else {
			c.Method = methodOther
		}
		record := Record{
			Model: m.Name, Family: string(m.Config.Family), Scale: m.Scale(), Method: c.Method, WeightsSHA256: m.WeightsSHA256,
			Delta: Delta{P: 1}, DataSHA256: string(e.data), Code: r.code(), Status: StatusOK,
			Samples: fmt.Sprintf("%s/%d-%s.jsonl", samplesDir, len(records), c.file()),
		}
		samples, err := m.evaluate(nil, reference, e.questions)
		if err != nil {
			return nil, err
		}
		if err := e.describe(m, &record); err != nil {
			return nil, err
		}
		keys := e.keys(e.models[len(records)])
		if first != nil {
			keys = append(keys, e.keys(e.models[0])...)
		}
		if err := record.setScores(m, e.Spec.Stats, keys, first, samples); err != nil {
			return nil, err
		}
		if err := writeSamples(r.path(record.Samples), samples); err != nil {
			return nil, err
		}
		if first == nil {
			first = samples
		}
		record.Events, record.Seconds, record.PeakBytes = log.Events(), time.Since(start).Seconds(), peakBytes()
		records = append(records, record)
	}
	return records, WriteRecords(filepath.Join(o.Dir, RecordsFile), records)
}

// describe fills in bits and format.
func (e *Evaluation) describe(m *Model, record *Record) (err error) {
	if m.Manifest != nil {
		record.Format, record.AvgBits = m.Manifest.Format.String(), m.Manifest.AvgBits
		return nil
	}
	record.AvgBits, err = storedBits(m.Dir)
	return err
}

// Generate answers a prompt behind pictures in the model's own words, greedily,
// in at most limit tokens.
func (m *Model) Generate(images []image.Image, prompt string, limit int) (text string, tokens int, err error) {
	if limit < 1 {
		return "", 0, errors.New("harness: generation of no tokens: expected at least 1")
	}
	seq, err := m.Prompt(images, prompt)
	if err != nil {
		return "", 0, err
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
