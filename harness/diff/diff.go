// Package diff says what changed between two runs of experiments: settings,
// data, weights, and scores question by question.
package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/harness"
)

// Diff is what changed from run A to run B.
type Diff struct {
	A string `json:"a"` // folder
	B string `json:"b"`
	// Same is set when both are the same run: all records agree but for
	// seconds, peak_bytes, code and events.
	Same     bool     `json:"same"`
	Settings []Change `json:"settings"` // of the Spec, data and code, in order of Path
	OnlyA    []string `json:"only_a"`   // cells that B lacks, in A's order
	OnlyB    []string `json:"only_b"`   // cells that A lacks, in B's order
	Cells    []Cell   `json:"cells"`    // cells of both, in A's order
}

// Change is a setting with two values.
type Change struct {
	Path string `json:"path"` // "spec.calibration.samples"
	A    string `json:"a"`    // JSON; empty: absent
	B    string `json:"b"`
}

// Cell is one cell of the grid that both runs have.
type Cell struct {
	Name string `json:"cell"` // as [harness.Record.Cell] names it
	// Status is "ok", or which run failed: "failed in A", "failed in B",
	// "failed in both". Only a cell that is ok in both is compared.
	Status           string `json:"status"`
	IdenticalWeights bool   `json:"identical_weights"`

	A       harness.Metrics `json:"metrics_a"`
	B       harness.Metrics `json:"metrics_b"`
	AvgBits [2]float64      `json:"avg_bits"`
	// Shared counts the questions that both runs asked in the same words.
	// Scores of other questions are not compared.
	Shared int `json:"shared"`
	// Compared is B − A on the shared questions; nil where there are none.
	Compared *eval.Comparison `json:"compared,omitempty"`
	// Note says why Compared is missing or speaks of fewer questions.
	Note string `json:"note,omitempty"`
}

// Runs compares two folders written by an experiment. The intervals are drawn
// with A's statistics settings.
func Runs(dirA, dirB string) (*Diff, error) {
	a, err := harness.ReadRun(dirA)
	if err != nil {
		return nil, err
	}
	b, err := harness.ReadRun(dirB)
	if err != nil {
		return nil, err
	}
	d := &Diff{A: dirA, B: dirB, Same: harness.SameRun(a, b) == nil}
	if d.Settings, err = settings(&a[0], &b[0]); err != nil {
		return nil, err
	}
	inA, inB := byCell(a), byCell(b)
	for i := range b {
		if inA[b[i].Cell()] == nil {
			d.OnlyB = append(d.OnlyB, b[i].Cell())
		}
	}
	for i := range a {
		other := inB[a[i].Cell()]
		if other == nil {
			d.OnlyA = append(d.OnlyA, a[i].Cell())
			continue
		}
		c, err := compareCell(dirA, dirB, &a[i], other)
		if err != nil {
			return nil, fmt.Errorf("harness: diff of %s: %w", a[i].Cell(), err)
		}
		d.Cells = append(d.Cells, *c)
	}
	return d, nil
}

func byCell(records []harness.Record) map[string]*harness.Record {
	out := make(map[string]*harness.Record, len(records))
	for i := range records {
		out[records[i].Cell()] = &records[i]
	}
	return out
}

// compareCell compares one cell's scores, weights and answers.
func compareCell(dirA, dirB string, a, b *harness.Record) (*Cell, error) {
	c := &Cell{
		Name: a.Cell(), Status: status(a, b), A: a.Metrics, B: b.Metrics, AvgBits: [2]float64{a.AvgBits, b.AvgBits},
		IdenticalWeights: a.WeightsSHA256 != "" && a.WeightsSHA256 == b.WeightsSHA256,
	}
	if c.Status != string(harness.StatusOK) {
		return c, nil
	}
	samplesA, errA := harness.ReadSamples(dirA, a.Samples)
	samplesB, errB := harness.ReadSamples(dirB, b.Samples)
	for _, err := range []error{errA, errB} {
		if err != nil {
			c.Note = "not compared question by question: " + err.Error()
			return c, nil
		}
	}
	first, second := shared(samplesA, samplesB)
	if c.Shared = len(first); c.Shared == 0 {
		c.Note = "the runs share no question"
		return c, nil
	}
	if c.Shared < max(len(samplesA), len(samplesB)) {
		c.Note = fmt.Sprintf("%d of %d and %d questions are the same", c.Shared, len(samplesA), len(samplesB))
	}
	var stats harness.Stats
	if a.Spec != nil {
		stats = a.Spec.Stats
	}
	var err error
	c.Compared, err = eval.Compare(first, second, stats.Bootstrap, rand.New(rand.NewPCG(stats.Seed, 0)))
	return c, err
}

func status(a, b *harness.Record) string {
	switch okA, okB := a.Status == harness.StatusOK, b.Status == harness.StatusOK; {
	case okA && okB:
		return string(harness.StatusOK)
	case okB:
		return "failed in A"
	case okA:
		return "failed in B"
	}
	return "failed in both"
}

// shared picks the questions that both runs asked: the same task and id, and
// the same words, answer and choices. A generator of another version may give
// an old id to a new question.
func shared(a, b []eval.Sample) (first, second []eval.Sample) {
	at := make(map[string]int, len(b))
	for i := range b {
		at[identity(&b[i])] = i
	}
	for i := range a {
		if j, ok := at[identity(&a[i])]; ok {
			first, second = append(first, a[i]), append(second, b[j])
		}
	}
	return first, second
}

func identity(s *eval.Sample) string {
	data, err := json.Marshal([]any{s.Task, s.ID, s.Source, s.Question, s.Answer, s.Choices})
	if err != nil {
		panic(fmt.Sprintf("harness: question %s/%s: %v", s.Task, s.ID, err)) // strings only
	}
	return string(data)
}

// settings lists where two runs' settings differ.
func settings(a, b *harness.Record) ([]Change, error) {
	flatA, err := flatSettings(a)
	if err != nil {
		return nil, err
	}
	flatB, err := flatSettings(b)
	if err != nil {
		return nil, err
	}
	paths := slices.Collect(maps.Keys(flatA))
	for p := range flatB {
		if _, both := flatA[p]; !both {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var out []Change
	for _, p := range paths {
		if flatA[p] != flatB[p] {
			out = append(out, Change{p, flatA[p], flatB[p]})
		}
	}
	return out, nil
}

// flatSettings is everything that a record says of the experiment, as one
// JSON value per path.
func flatSettings(r *harness.Record) (map[string]string, error) {
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return nil, fmt.Errorf("harness: spec of %s: %w", r.Cell(), err)
	}
	dec := json.NewDecoder(bytes.NewReader(spec))
	dec.UseNumber() // seeds don't fit in a float64
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("harness: spec of %s: %w", r.Cell(), err)
	}
	out := map[string]string{"code": r.Code, "data_sha256": r.DataSHA256}
	flatten(out, "spec", value)
	return out, nil
}

// flatten writes the leaves below value. A list is one leaf: the reader wants
// to see which methods a run had, not that the third one differs.
func flatten(out map[string]string, path string, value any) {
	if object, ok := value.(map[string]any); ok {
		for key, v := range object {
			flatten(out, path+"."+key, v)
		}
		return
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("harness: %s: %v", path, err)) // it was JSON a moment ago
	}
	out[path] = string(text)
}
