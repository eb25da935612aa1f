package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tlqlab/tlqlab/eval"
)

// Status says whether a cell of the grid has a result.
type Status string

// The two states a Record can be in.
const (
	StatusOK     Status = "ok"
	StatusFailed Status = "failed"
)

// MethodFP is the Method of the unquantized model's row. Its Format is empty.
const MethodFP = "fp"

// Record is one cell of the grid: one model, format, method and seed, measured
// on every task of the Spec. It is one line of records.jsonl.
//
// Every field from Model to Status is part of the file's contract and is
// always present; the fields after them serve the report.
type Record struct {
	Model  string `json:"model"`  // as it was named: "zoo:NAME" or a folder
	Family string `json:"family"` // "qwen2vl"
	Scale  string `json:"scale"`  // "nano"; empty for a folder that names none
	Format string `json:"format"` // "w4a8"; empty for the unquantized model
	// Outliers are those that were injected, as ptq.ParseOutliers reads them; "none". Left out
	// in records of before there were any.
	Outliers string  `json:"outliers,omitempty"`
	Method   string  `json:"method"`   // "tlq"; MethodFP for the unquantized model
	Seed     uint64  `json:"seed"`     // chooses the calibration samples
	AvgBits  float64 `json:"avg_bits"` // bits per quantized weight, scales and zeros counted

	Metrics Metrics              `json:"metrics"` // over the questions of all tasks, each question counting once
	Tasks   map[string]TaskScore `json:"tasks"`   // by task name
	Delta   Delta                `json:"delta"`   // accuracy, method − unquantized, paired

	WeightsSHA256 string  `json:"weights_sha256"` // names, shapes and float32 bytes of all weights in name order
	SpecSHA256    string  `json:"spec_sha256"`    // the Spec's canonical JSON
	DataSHA256    string  `json:"data_sha256"`    // the packs and the generators' version
	Code          string  `json:"code"`           // version-control revision of the program, "+dirty" when edited
	Seconds       float64 `json:"seconds"`        // wall time spent on this cell in this run
	PeakBytes     int64   `json:"peak_bytes"`     // the process's peak resident memory so far
	Events        []Event `json:"events"`         // what did not go as planned; never null
	Status        Status  `json:"status"`

	// Intervals holds 95% bootstrap intervals of Metrics, clustered by picture
	// or concept, by the metric's name: "accuracy", "nll", "kl".
	Intervals map[string]eval.Interval `json:"intervals,omitempty"`
	// Compared is method − unquantized on the same questions, which Delta is
	// taken from; nil for the unquantized model.
	Compared *eval.Comparison `json:"compared,omitempty"`
	// N is the number of questions behind Metrics.
	N int `json:"n"`
	// Spec is the experiment that the cell belongs to.
	Spec *Spec `json:"spec,omitempty"`
	// Folder is the folder that a quantized model's weights were read from, where the other
	// fields say what they were made of; empty where they were quantized for the record.
	Folder string `json:"folder,omitempty"`
	// SourceSHA256 is the hash of the weights that Folder's were made of.
	SourceSHA256 string `json:"source_sha256,omitempty"`
	// Samples, Trace and TokenMap are paths relative to the run's folder; empty
	// where the cell has no such artifact.
	Samples  string `json:"samples,omitempty"`
	Trace    string `json:"trace,omitempty"`
	TokenMap string `json:"token_map,omitempty"`
}

// Metrics are means over questions.
type Metrics struct {
	Accuracy float64 `json:"accuracy"` // share answered correctly, in 0..1
	NLL      float64 `json:"nll"`      // negative log-likelihood of the right answer, nats per answer token
	KL       float64 `json:"kl"`       // KL(unquantized ‖ quantized) over the whole vocabulary, nats per answer token
}

// TaskScore is the accuracy on one task.
type TaskScore struct {
	N        int     `json:"n"`        // questions asked
	Accuracy float64 `json:"accuracy"` // in 0..1
	StdErr   float64 `json:"stderr"`   // standard error of Accuracy
	NLL      float64 `json:"nll"`      // nats per answer token
	KL       float64 `json:"kl"`       // nats per answer token; 0 for the unquantized model
	Chance   float64 `json:"chance"`   // accuracy of guessing; 0 where there is none
}

// Delta compares a method with the unquantized model on the same questions.
// For the unquantized model itself all are 0 and P is 1.
type Delta struct {
	Accuracy float64 `json:"accuracy"` // difference, method − unquantized
	Low      float64 `json:"low"`      // 95% interval of the difference, paired bootstrap
	High     float64 `json:"high"`
	P        float64 `json:"p"` // exact McNemar test, two-sided
}

// Event is something that did not go as planned and was dealt with: an
// artifact that had to be recomputed, a fallback, the error of a failed cell.
type Event struct {
	Kind string `json:"kind"` // one of the Event… constants, or a stage's own
	Text string `json:"text"`
}

// Kinds of events.
const (
	EventError      = "error"      // why the cell failed
	EventRecomputed = "recomputed" // a stored artifact could not be trusted
	EventEvicted    = "evicted"    // artifacts were removed to respect the size limit
	EventFallback   = "fallback"   // another path than the asked one was taken
	EventNote       = "note"       // anything else worth knowing
)

// volatile names the fields that may differ between two runs of one Spec.
var volatile = []string{"seconds", "peak_bytes", "code", "events"}

// required names the fields that every line of records.jsonl must have.
var required = []string{
	"model", "family", "scale", "format", "method", "seed", "avg_bits",
	"metrics", "tasks", "delta", "weights_sha256", "spec_sha256", "data_sha256", "code", "seconds",
	"peak_bytes", "events", "status",
}

// Error returns the text of the event that made the cell fail, or "".
func (r *Record) Error() string {
	for _, e := range r.Events {
		if e.Kind == EventError {
			return e.Text
		}
	}
	return ""
}

// ReadRecords reads a records.jsonl file. Unknown and missing fields, an
// empty file and a last line that was cut short are errors that name the line.
func ReadRecords(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("harness: records: %w", err)
	}
	defer f.Close()
	records, err := DecodeRecords(f)
	if err != nil {
		return nil, fmt.Errorf("harness: %s: %w", path, err)
	}
	return records, nil
}

// ReadRun reads the records of a run's folder.
func ReadRun(dir string) ([]Record, error) {
	records, err := ReadRecords(filepath.Join(dir, RecordsFile))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("harness: %s is not a run's folder: it has no %s", dir, RecordsFile)
	}
	return records, err
}

// DecodeRecords reads records, one JSON object per line, as ReadRecords does.
func DecodeRecords(r io.Reader) ([]Record, error) {
	records, err := decodeLines[Record](r, required)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, errors.New("no records: expected one JSON object per line")
	}
	for i := range records {
		if s := records[i].Status; s != StatusOK && s != StatusFailed {
			return nil, fmt.Errorf("line %d: status %q: expected %q or %q", i+1, s, StatusOK, StatusFailed)
		}
	}
	return records, nil
}

// EncodeRecords writes records, one JSON object per line.
func EncodeRecords(w io.Writer, records []Record) error { return encodeLines(w, records) }

// WriteRecords writes a records.jsonl file: all of it or, on an error, nothing.
func WriteRecords(path string, records []Record) error {
	var b bytes.Buffer
	if err := EncodeRecords(&b, records); err != nil {
		return fmt.Errorf("harness: %s: %w", path, err)
	}
	return writeFile(path, b.Bytes())
}

// decodeLines reads one strict JSON object of type T per line; each must have
// the required fields.
func decodeLines[T any](r io.Reader, required []string) ([]T, error) {
	var out []T
	br := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			v, lineErr := decodeLine[T](line, required)
			if lineErr != nil {
				return nil, fmt.Errorf("line %d: %w", n, lineErr)
			}
			out = append(out, v)
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func decodeLine[T any](line []byte, required []string) (T, error) {
	var v T
	if line[len(line)-1] != '\n' {
		return v, errors.New("cut short: the line has no end")
	}
	var present map[string]json.RawMessage
	if err := json.Unmarshal(line, &present); err != nil {
		return v, fmt.Errorf("not a JSON object: %w", err)
	}
	for _, name := range required {
		if _, ok := present[name]; !ok {
			return v, fmt.Errorf("field %q is missing", name)
		}
	}
	return v, unmarshalStrict(line, &v)
}

func encodeLines[T any](w io.Writer, values []T) error {
	bw := bufio.NewWriter(w)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false)
	for i := range values {
		if err := enc.Encode(&values[i]); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return bw.Flush()
}

// unmarshalStrict decodes exactly one JSON value and refuses unknown fields.
func unmarshalStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value: expected one object")
	}
	return nil
}

// shapeError is a JSON error in a user's words: encoding/json names Go types.
func shapeError(err error) string {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return fmt.Sprintf("got %s at byte %d", t.Value, t.Offset)
	}
	return jsonError(err).Error()
}

// jsonError drops encoding/json's prefix, which says nothing to a user.
func jsonError(err error) error {
	if text, ok := strings.CutPrefix(err.Error(), "json: "); ok {
		return errors.New(text)
	}
	return err
}

// SameRun compares two runs after removing seconds, peak_bytes, code and
// events from every record. It returns nil when they are the same run, else an
// error that names the first difference.
func SameRun(a, b []Record) error {
	if len(a) != len(b) {
		return fmt.Errorf("harness: different runs: %d records against %d", len(a), len(b))
	}
	for i := range a {
		fa, err := stableFields(&a[i])
		if err != nil {
			return err
		}
		fb, err := stableFields(&b[i])
		if err != nil {
			return err
		}
		if name := firstDifference(fa, fb); name != "" {
			return fmt.Errorf("harness: different runs: record %d (%s): %s is %s against %s",
				i+1, a[i].Cell(), name, brief(fa[name]), brief(fb[name]))
		}
	}
	return nil
}

// Cell names the record's cell of the grid for messages and files:
// "zoo:qwen2vl-nano w4a8 tlq seed 0".
func (r *Record) Cell() string {
	if r.Format == "" {
		return r.Model + " " + r.Method
	}
	return fmt.Sprintf("%s %s %s seed %d", r.Model, r.Setting(), r.Method, r.Seed)
}

// place is the record's cell as far as the record tells it.
func (r *Record) place() Cell {
	return Cell{Model: r.Model, Format: r.Format, Outliers: r.Outliers, Method: r.Method, Seed: r.Seed}
}

func stableFields(r *Record) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("harness: record %s: %w", r.Cell(), err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("harness: record %s: %w", r.Cell(), err)
	}
	for _, name := range volatile {
		delete(fields, name)
	}
	return fields, nil
}

// firstDifference returns the alphabetically first field in which a and b
// differ, or "".
func firstDifference(a, b map[string]json.RawMessage) string {
	first := ""
	note := func(name string) {
		if first == "" || name < first {
			first = name
		}
	}
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			note(name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			note(name)
		}
	}
	return first
}

// brief shortens a JSON value for an error message.
func brief(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "absent"
	}
	if len(raw) > 80 {
		return string(raw[:77]) + "…"
	}
	return string(raw)
}
