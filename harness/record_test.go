package harness

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sampleRecord(method string) Record {
	return Record{
		Model: "zoo:qwen2vl-nano", Family: "qwen2vl", Scale: "nano", Format: "w4a8", Method: method, Seed: 3, AvgBits: 4.25,
		Metrics: Metrics{Accuracy: 0.5, NLL: 1.25, KL: 0.125},
		Tasks:   map[string]TaskScore{"emoji": {N: 4, Accuracy: 0.5, StdErr: 0.25, NLL: 1.25, KL: 0.125, Chance: 0.25}},
		Delta:   Delta{Accuracy: -0.25, Low: -0.5, High: 0, P: 0.5}, WeightsSHA256: "aa", SpecSHA256: "bb", DataSHA256: "cc",
		Code: "dd", Seconds: 1, PeakBytes: 2, Events: []Event{{EventNote, "a < b"}}, Status: StatusOK, N: 4,
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "records.jsonl")
	want := []Record{sampleRecord("rtn"), sampleRecord("tlq")}
	if err := WriteRecords(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecords(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecordHasEveryContractField(t *testing.T) {
	data, err := json.Marshal(sampleRecord("rtn"))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range required {
		if _, ok := fields[name]; !ok {
			t.Errorf("field %s is missing", name)
		}
	}
}

func TestReadRecordsRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := EncodeRecords(&b, []Record{sampleRecord("rtn")}); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	for what, text := range map[string]string{
		"nothing":        "",
		"no end":         strings.TrimSuffix(good, "\n"),
		"cut short":      good[:len(good)/2] + "\n",
		"unknown field":  strings.Replace(good, `{"model"`, `{"colour":1,"model"`, 1),
		"missing field":  strings.Replace(good, `"seed":3,`, "", 1),
		"unknown status": strings.Replace(good, `"status":"ok"`, `"status":"fine"`, 1),
		"two values":     strings.TrimSuffix(good, "\n") + " {}\n",
		"not an object":  "[1]\n",
	} {
		path := filepath.Join(t.TempDir(), "records.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRecords(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

func TestSameRun(t *testing.T) {
	a, b := []Record{sampleRecord("rtn")}, []Record{sampleRecord("rtn")}
	b[0].Seconds, b[0].PeakBytes, b[0].Code, b[0].Events = 9, 9, "other", nil
	if err := SameRun(a, b); err != nil {
		t.Errorf("only volatile fields differ: %v", err)
	}
	b[0].Metrics.KL += 1e-12
	if err := SameRun(a, b); err == nil || !strings.Contains(err.Error(), "metrics") {
		t.Errorf("another KL: %v", err)
	}
	if err := SameRun(a, nil); err == nil {
		t.Error("another number of records: no error")
	}
}

func TestArtifactPathsStayInside(t *testing.T) {
	for _, path := range []string{"../x.json", "/etc/passwd", "a/../../x"} {
		if _, err := ReadTrace(t.TempDir(), path); err == nil || !strings.Contains(err.Error(), "inside") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzDecodeRecords(f *testing.F) {
	var b bytes.Buffer
	if err := EncodeRecords(&b, []Record{sampleRecord("rtn"), sampleRecord("tlq")}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := DecodeRecords(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := EncodeRecords(&out, records); err != nil {
			t.Fatal(err)
		}
		again, err := DecodeRecords(&out)
		if err != nil {
			t.Fatal(err)
		}
		if err := SameRun(records, again); err != nil {
			t.Fatal(err)
		}
	})
}
