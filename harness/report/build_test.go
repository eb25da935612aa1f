package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/harness"
)

var update = flag.Bool("update", false, "write the golden files")

// tree reads all files below a folder, by slash-separated relative path.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[filepath.ToSlash(rel)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// built makes a world's report and returns the folder's files and records.
func built(t *testing.T, w *world) (map[string][]byte, []harness.Record) {
	t.Helper()
	dir := t.TempDir()
	records := w.write(t, dir)
	if err := Build(dir); err != nil {
		t.Fatal(err)
	}
	return tree(t, dir), records
}

var small struct {
	sync.Once
	files   map[string][]byte
	records []harness.Record
}

// smallBuilt is the small world's report, made once for all tests that read it.
func smallBuilt(t *testing.T) (map[string][]byte, []harness.Record) {
	t.Helper()
	small.Do(func() { small.files, small.records = built(t, smallWorld()) })
	return small.files, small.records
}

// TestBuildGolden compares the text and tables with what was read and found
// right. The world is made by testdata-free code above; -update rewrites.
func TestBuildGolden(t *testing.T) {
	files, _ := smallBuilt(t)
	const golden = "testdata/report.md"
	got := files["report.md"]
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("report.md differs from %s (-want +got); look, then run with -update:\n%s", golden, diff)
	}
}

// TestBuildDeterministic wants the same bytes from the same run in another
// folder, whatever may differ between two runs that are the same: what an
// earlier report left goes, and everything else stays.
func TestBuildDeterministic(t *testing.T) {
	first, _ := smallBuilt(t)
	w := smallWorld()
	dir := filepath.Join(t.TempDir(), "another run's folder")
	records := w.write(t, dir)
	for i := range records {
		records[i].Seconds, records[i].PeakBytes, records[i].Code = 77, 1<<33, "other"
	}
	if err := harness.WriteRecords(filepath.Join(dir, harness.RecordsFile), records); err != nil {
		t.Fatal(err)
	}
	stale := map[string]bool{"figures/old.png": false, "figures/old.svg": false, "tables/old.csv": false, "figures/notes.txt": true, "mine.png": true}
	for name := range stale {
		put(t, dir, name, []byte("an earlier report's, or a user's own"))
	}
	if err := Build(dir); err != nil {
		t.Fatal(err)
	}
	second := tree(t, dir)
	for name := range second {
		if strings.Contains(name, ".tmp-") {
			t.Errorf("%s was left behind", name)
		}
	}
	for name, want := range stale {
		if _, ok := second[name]; ok != want {
			t.Errorf("%s is there: %v, want %v", name, ok, want)
		}
		delete(second, name)
	}
	for name, data := range first {
		costs := strings.HasPrefix(name, "tables/costs.")
		if name != harness.RecordsFile && !costs && !bytes.Equal(data, second[name]) {
			t.Errorf("%s differs between two builds", name)
		}
		if costs && bytes.Equal(data, second[name]) {
			t.Errorf("%s doesn't tell runs of other durations apart", name)
		}
	}
	if len(first) != len(second) {
		t.Errorf("%d files against %d", len(first), len(second))
	}
}

func TestFigures(t *testing.T) {
	files, _ := smallBuilt(t)
	figures := 0
	for name, data := range files {
		switch {
		case !strings.HasPrefix(name, "figures/"):
		case strings.HasSuffix(name, ".png"):
			figures++
			img, err := png.Decode(bytes.NewReader(data))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if img.Bounds().Dx() != 1400 {
				t.Errorf("%s is %d pixels wide, want 1400", name, img.Bounds().Dx())
			}
			if _, ok := files[strings.TrimSuffix(name, ".png")+".svg"]; !ok {
				t.Errorf("%s has no SVG beside it", name)
			}
		case strings.HasSuffix(name, ".svg"):
			wellFormed(t, name, data)
			if bytes.Count(data, []byte("<text ")) != bytes.Count(data, []byte("textLength=")) {
				t.Errorf("%s: a text has no width of its own", name)
			}
		default:
			t.Errorf("a file %s among the figures", name)
		}
	}
	// Three overviews; per setting (4) α-curves, importance and error growth.
	if want := 3 + 4*3; figures != want {
		t.Errorf("%d figures, want %d", figures, want)
	}
}

// wellFormed parses XML to its end.
func wellFormed(t *testing.T, name string, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s is not well-formed: %v", name, err)
		}
	}
}

var (
	attribute  = regexp.MustCompile(`(src|href|action|srcset|data|poster)\s*=\s*"([^"]*)"`)
	identifier = regexp.MustCompile(` id="([^"]*)"`)
	fetched    = regexp.MustCompile(`(?i)<script|<link|<iframe|@import|url\(|javascript:| on[a-z]+=`)
)

func TestHTML(t *testing.T) {
	w := smallWorld()
	w.failed = map[string]bool{"tlq/w4a8": true}
	w.models = w.models[:1]
	files, _ := built(t, w)
	page := files["report.html"]
	wellFormed(t, "report.html", page)
	places := map[string]bool{}
	for _, m := range identifier.FindAllSubmatch(page, -1) {
		places["#"+string(m[1])] = true
	}
	for _, m := range attribute.FindAllSubmatch(page, -1) {
		to := string(m[2])
		_, there := files[to] // beside the page
		there = there || places[to] || strings.HasPrefix(to, "data:image/png;base64,") || strings.HasPrefix(to, "data:image/jpeg;base64,")
		if string(m[1]) == "href" && !there || string(m[1]) != "href" {
			t.Errorf("the page points outside its folder: %.80s", m[0])
		}
	}
	if m := fetched.Find(page); m != nil {
		t.Errorf("the page holds %q", m)
	}
	for _, want := range []string{`<meta charset="utf-8"/>`, "prefers-color-scheme: dark", "layer 3: W has &lt;NaN&gt; | values", "TLQ (reconstruction)"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// Two overviews; three figures in the setting with both methods, error
	// growth in the one where only rtn finished.
	if n := bytes.Count(page, []byte("<figure ")); n != 2+3+1 {
		t.Errorf("%d figures in the page", n)
	}
}

// TestTables reads the CSV files back and compares them with the records.
func TestTables(t *testing.T) {
	w := smallWorld()
	files, records := smallBuilt(t)
	cells := readCSV(t, files["tables/cells.csv"])
	if len(cells) != len(records) {
		t.Fatalf("cells.csv has %d rows for %d records", len(cells), len(records))
	}
	for i, rec := range records {
		for name, want := range map[string]float64{
			"kl": rec.Metrics.KL, "nll": rec.Metrics.NLL, "accuracy": rec.Metrics.Accuracy, "delta": rec.Delta.Accuracy,
			"delta_low": rec.Delta.Low, "p": rec.Delta.P, "bits": rec.AvgBits, "n": float64(rec.N), "seed": float64(rec.Seed),
		} {
			if got := parse(t, cells[i][name]); got != want {
				t.Errorf("cells.csv, row %d: %s is %v, the record has %v", i+1, name, got, want)
			}
		}
	}
	summary := readCSV(t, files["tables/summary.csv"])
	if want := len(w.models) * (1 + len(w.formats)*len(w.methods)); len(summary) != want {
		t.Fatalf("summary.csv has %d rows, want %d", len(summary), want)
	}
	for _, row := range summary {
		var kl, accuracy, n float64
		var fp float64
		for _, rec := range records {
			if rec.Model == row["model"] && rec.Method == harness.MethodFP {
				fp = rec.Metrics.Accuracy
			}
			if rec.Model == row["model"] && rec.Format == row["format"] && rec.Method == row["method"] {
				kl, accuracy, n = kl+rec.Metrics.KL, accuracy+rec.Metrics.Accuracy, n+1
			}
		}
		near(t, "kl", parse(t, row["kl"]), kl/n)
		near(t, "accuracy", parse(t, row["accuracy"]), accuracy/n)
		near(t, "kept", parse(t, row["kept"]), accuracy/n/fp)
		near(t, "delta", parse(t, row["delta"]), accuracy/n-fp)
		if row["method"] != harness.MethodFP {
			for _, m := range []string{"kl", "nll", "accuracy", "kept", "delta"} {
				if low, mean, high := parse(t, row[m+"_low"]), parse(t, row[m]), parse(t, row[m+"_high"]); !(low <= mean && mean <= high) {
					t.Errorf("%s %s %s: %s is %v outside [%v, %v]", row["model"], row["format"], row["method"], m, mean, low, high)
				}
			}
		}
	}
	comparisons := readCSV(t, files["tables/comparisons.csv"])
	for _, row := range comparisons { // 30% less damage with little spread: found everywhere
		if row["method"] != "tlq" || row["against"] != "rtn" || row["kl_outcome"] != "shown" || row["n"] != "120" || row["seeds"] != "2" {
			t.Errorf("comparison %v", row)
		}
	}
	if len(comparisons) != 4 {
		t.Errorf("%d comparisons, want 4", len(comparisons))
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if d := got - want; d > 1e-12 || d < -1e-12 { // the same sums in another order
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func parse(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Error(err)
	}
	return v
}

func readCSV(t *testing.T, data []byte) []map[string]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, c := range row {
			m[rows[0][i]] = c
		}
		out = append(out, m)
	}
	return out
}

// TestMissingArtifacts wants the report to name what it cannot show, and to
// show the rest.
func TestMissingArtifacts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string, records []harness.Record)
		wants []string // in report.md
		gone  string   // a figure that isn't drawn
	}{
		{"trace gone", func(t *testing.T, dir string, _ []harness.Record) {
			remove(t, dir, "artifacts/trace-qwen2vl-nano-w4a8-tlq-0.json")
			remove(t, dir, "artifacts/trace-qwen2vl-nano-w4a8-tlq-1.json")
		}, []string{"the calibration trace of zoo:qwen2vl-nano w4a8 tlq seed 0: artifacts/trace-qwen2vl-nano-w4a8-tlq-0.json is missing."}, "alpha-qwen2vl-nano-w4a8-tlq"},
		{"trace broken", func(t *testing.T, dir string, _ []harness.Record) {
			put(t, dir, "artifacts/trace-qwen2vl-nano-w4a8-tlq-0.json", []byte(`{"model":`))
		}, []string{"the calibration trace of zoo:qwen2vl-nano w4a8 tlq seed 0", "unexpected EOF"}, ""},
		{"trace lies", func(t *testing.T, dir string, _ []harness.Record) {
			for _, seed := range []string{"0", "1"} {
				put(t, dir, "artifacts/trace-qwen2vl-nano-w4a8-tlq-"+seed+".json",
					[]byte(`{"model":"m","format":"f","method":"tlq","seed":0,"layers":[{"index":0,"sites":{"o":{"alphas":[0,1],"j":[1],"chosen":0,"factors":[1,1,1],"tokens":3}},"fp_norm":1,"exposed":{},"local":{}}]}`))
			}
		}, []string{"2 candidates with 1 values of the objective", "error growth at w4a8: "}, "alpha-qwen2vl-nano-w4a8-tlq"},
		{"trace outside", func(t *testing.T, dir string, records []harness.Record) {
			for i := range records {
				if records[i].Trace != "" {
					records[i].Trace = "../secret.json"
				}
			}
			rewrite(t, dir, records)
		}, []string{"expected a path inside"}, "error-growth-qwen2vl-nano-w4a8"},
		{"tokens gone", func(t *testing.T, dir string, _ []harness.Record) {
			remove(t, dir, "artifacts/tokens-qwen2vl-nano-w4a8-tlq-0.json")
		}, []string{"artifacts/tokens-qwen2vl-nano-w4a8-tlq-0.json is missing"}, "importance-qwen2vl-nano-w4a8-tlq"},
		{"picture no PNG", func(t *testing.T, dir string, _ []harness.Record) {
			put(t, dir, "artifacts/picture-qwen2vl-nano-w4a8-tlq-0.png", []byte("GIF"))
		}, []string{"the picture below the token importance of TLQ (reconstruction) at w4a8: artifacts/picture-qwen2vl-nano-w4a8-tlq-0.png: image: unknown format."}, ""},
		{"answers gone", func(t *testing.T, dir string, _ []harness.Record) {
			remove(t, dir, "samples/qwen2vl-nano-w4a8-tlq-1.jsonl")
		}, []string{"samples/qwen2vl-nano-w4a8-tlq-1.jsonl is missing", "per-question answers missing", "Whether the difference to Round to nearest is noise cannot be said"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			w := smallWorld()
			w.models, w.formats = w.models[:1], w.formats[:1]
			records := w.write(t, dir)
			tc.spoil(t, dir, records)
			if err := Build(dir); err != nil {
				t.Fatal(err)
			}
			files := tree(t, dir)
			got := string(files["report.md"])
			for _, want := range append(tc.wants, "## Left out") {
				if !strings.Contains(got, want) {
					t.Errorf("report.md lacks %q; it has\n%s", want, got[strings.LastIndex(got, "## Events"):])
				}
			}
			if strings.Contains(got, dir) {
				t.Error("report.md names its own folder")
			}
			if _, ok := files["figures/"+tc.gone+".png"]; tc.gone != "" && ok {
				t.Errorf("%s was drawn from nothing", tc.gone)
			}
			if _, ok := files["figures/kl.png"]; !ok {
				t.Error("the figure of KL is missing: it needs no artifact")
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, dir string, records []harness.Record) {
	t.Helper()
	if err := harness.WriteRecords(filepath.Join(dir, harness.RecordsFile), records); err != nil {
		t.Fatal(err)
	}
}

// TestBadRecords wants one clear error and an untouched folder.
func TestBadRecords(t *testing.T) {
	dir := t.TempDir()
	w := smallWorld()
	w.models, w.formats, w.questions = w.models[:1], w.formats[:1], 10
	w.write(t, dir)
	path := filepath.Join(dir, harness.RecordsFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for _, tc := range []struct {
		name, want string
		data       []byte
	}{
		{"not JSON", "line 2", bytes.Join([][]byte{lines[0], []byte("{oops}\n"), lines[1]}, nil)},
		{"field missing", `line 1: field "family" is missing`, []byte(`{"model":"m"}` + "\n")},
		{"cut short", "cut short", good[:len(good)-20]},
		{"twice", "record 3 repeats the cell zoo:qwen2vl-nano w4a8 rtn seed 0", bytes.Join([][]byte{lines[0], lines[1], lines[1]}, nil)},
		{"empty", "no records", nil},
	} {
		if err := os.WriteFile(path, tc.data, 0o644); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		err := Build(dir)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", tc.name, err, tc.want)
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Errorf("%s: the folder changed: %s", tc.name, diff)
		}
	}
	if err := Build(t.TempDir()); err == nil || !strings.Contains(err.Error(), harness.RecordsFile) {
		t.Errorf("a folder without records: %v", err)
	}
}
