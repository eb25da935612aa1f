package benchmarks

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/tlqlab/tlqlab/datasets"
)

// picture is a PNG file of n×n pixels; n tells pictures apart.
func picture(t testing.TB, n int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, n, n))
	img.SetGray(0, 0, color.Gray{200})
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// hubImage is how hubs store a picture.
type hubImage struct {
	Bytes []byte `parquet:"bytes,optional" json:"bytes"`
	Path  string `parquet:"path,optional" json:"path"`
}

// writeParquet writes rows into a new file of a folder.
func writeParquet[T any](t *testing.T, dir, name string, rows []T) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	return path
}

// get opens a benchmark and reads one question.
func get(t *testing.T, name, path string, i int) datasets.Example {
	t.Helper()
	s, err := Open(name, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, err := s.Example(i)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sides are the widths of an example's pictures.
func sides(e datasets.Example) []int {
	var all []int
	for _, img := range e.Images {
		all = append(all, img.Bounds().Dx())
	}
	return all
}

func TestMMMU(t *testing.T) {
	type rowMMMU struct {
		ID       string    `parquet:"id"`
		Question string    `parquet:"question"`
		Options  string    `parquet:"options"`
		Image1   *hubImage `parquet:"image_1,optional"`
		Image2   *hubImage `parquet:"image_2,optional"`
		Type     string    `parquet:"question_type"`
		Answer   string    `parquet:"answer"`
	}
	path := writeParquet(t, t.TempDir(), "validation.parquet", []rowMMMU{
		{"validation_Art_1", "Which is older, <image 2> or <image 1>?", `['the first', "it's the second"]`, &hubImage{picture(t, 3), "a.png"}, &hubImage{picture(t, 5), "b.png"}, "multiple-choice", "B"},
		{"validation_Math_2", "How much is it in <image 1>?", "[]", &hubImage{picture(t, 4), ""}, nil, "open", "['24', '24.0']"},
	})
	e := get(t, "mmmu", path, 0)
	const want = "Which is older, <image 2> or <image 1>?\nA. the first\nB. it's the second\n\nAnswer with the option's letter from the given choices directly."
	if e.Question != want || e.ID != "validation_Art_1" || e.Task != "mmmu" || e.Scoring != datasets.OptionLetter || !slices.Equal(e.Answers, []string{"B"}) || !slices.Equal(sides(e), []int{3, 5}) || len(e.Choices) != 0 {
		t.Errorf("choice question %+v", e)
	}
	e = get(t, "mmmu", path, 1)
	if e.Scoring != datasets.OpenAnswer || !slices.Equal(e.Answers, []string{"24", "24.0"}) || !strings.HasSuffix(e.Question, "\n\nAnswer the question using a single word or phrase.") || !slices.Equal(sides(e), []int{4}) {
		t.Errorf("open question %+v", e)
	}
}

func TestVQA(t *testing.T) {
	type rowVQA struct {
		ID       int64     `parquet:"question_id"`
		Question string    `parquet:"question"`
		Image    *hubImage `parquet:"image,optional"`
		Answers  []string  `parquet:"answers,list"`
	}
	dir := t.TempDir()
	answers := []string{"nokia", "Nokia", "nokia", "toshiba", "nokia", "x", "y", "z", "nokia", "nokia"}
	writeParquet(t, dir, "b.parquet", []rowVQA{{35, "second FILE?", &hubImage{picture(t, 2), ""}, answers}})
	writeParquet(t, dir, "a.parquet", []rowVQA{{34, "what BRAND is it?", &hubImage{picture(t, 7), ""}, append([]string{"rare"}, answers...)}})
	e := get(t, "textvqa", dir, 0)
	if e.ID != "34" || e.Question != "What brand is it?\nAnswer the question using a single word or phrase." || e.Scoring != datasets.VQAAccuracy || e.Answers[0] != "nokia" || len(e.Answers) != 11 || !slices.Equal(sides(e), []int{7}) {
		t.Errorf("TextVQA %+v", e)
	}
	if e = get(t, "vizwiz", dir, 1); e.ID != "35" || !strings.Contains(e.Question, "respond with 'Unanswerable'.\nAnswer the question using a single word or phrase.") {
		t.Errorf("VizWiz %+v", e)
	}
}

func TestChartOCRScienceSEED(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.png"), picture(t, 6), 0o644); err != nil {
		t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString(picture(t, 9))
	write := func(name string, rows ...map[string]any) string {
		data, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	chart := write("chart.json",
		map[string]any{"type": "human_test", "question": "How many?", "answer": "14", "image": "p.png"},
		map[string]any{"query": "Which?", "label": []string{"blue"}, "image": encoded})
	if e := get(t, "chartqa", chart, 0); e.Question != "How many?\nAnswer the question with a single word." || e.Scoring != datasets.RelaxedAccuracy || e.Answers[0] != "14" || e.ID != "0" || !slices.Equal(sides(e), []int{6}) {
		t.Errorf("ChartQA %+v", e)
	}
	if e := get(t, "chartqa", chart, 1); e.Answers[0] != "blue" || !slices.Equal(sides(e), []int{9}) {
		t.Errorf("ChartQA of the other hub %+v", e)
	}
	ocr := write("ocr.json",
		map[string]any{"dataset": "IIIT5K", "question": " what? ", "question_type": "Regular Text Recognition", "answer": []string{"CENTRE"}, "image": map[string]any{"path": "p.png"}},
		map[string]any{"dataset": "HME100k", "question": "formula?", "question_type": "x", "answer": "a ^ 2", "image": "p.png"})
	if e := get(t, "ocrbench", ocr, 0); e.Question != "what?" || e.Scoring != datasets.Containment || e.Attribute != "Regular Text Recognition" {
		t.Errorf("OCRBench %+v", e)
	}
	if e := get(t, "ocrbench", ocr, 1); e.Scoring != datasets.SpacelessContainment || e.Answers[0] != "a ^ 2" {
		t.Errorf("OCRBench formula %+v", e)
	}
	science := write("science.json",
		map[string]any{"question": "Which is it?", "choices": []string{"ice", "fire"}, "answer": 1, "hint": "It is hot.", "image": nil},
		map[string]any{"question": "Which is it?", "choices": []string{"ice"}, "answer": 1, "hint": ""})
	if e := get(t, "scienceqa", science, 0); e.Question != "Context: It is hot.\nWhich is it?\nA. ice\nB. fire\nAnswer with the option's letter from the given choices directly." || e.Answers[0] != "B" || e.Scoring != datasets.LetterPoint || len(e.Images) != 0 {
		t.Errorf("ScienceQA %+v", e)
	}
	s, err := Open("scienceqa", science)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Example(1); err == nil || !strings.Contains(err.Error(), "row 1") || !strings.Contains(err.Error(), "answer 1 of 1 choices") {
		t.Errorf("an answer beyond the choices gave %v", err)
	}
	many := write("seed.json", map[string]any{"question_id": "q7", "question": "Who?", "choice_a": "a", "choice_b": "b", "choice_c": "c", "choice_d": "d", "answer": "C", "data_type": "image", "image": []string{"p.png", "p.png"}})
	if e := get(t, "seed", many, 0); e.ID != "q7" || e.Answers[0] != "C" || e.Scoring != datasets.FirstLetter || !slices.Equal(sides(e), []int{6, 6}) || !strings.HasPrefix(e.Question, "Who?\nA. a\nB. b\nC. c\nD. d\nAnswer") {
		t.Errorf("SEED %+v", e)
	}
}

// TestOldLists reads a list as older writers store it.
func TestOldLists(t *testing.T) {
	v := flat(map[string]any{"list": []any{map[string]any{"item": "a"}, map[string]any{"item": []byte("b")}}})
	if got, ok := v.([]any); !ok || len(got) != 2 || got[0] != "a" || got[1] != "b" {
		t.Errorf("flat gives %#v", v)
	}
}

func TestParseList(t *testing.T) {
	for text, want := range map[string][]string{
		`[]`:                  nil,
		`['a']`:               {"a"},
		` [ 'a' , "b" , ] `:   {"a", "b"},
		`["it's", 'say "x"']`: {"it's", `say "x"`},
		`['\'', 'tab\t', '\x41\u00e9', '\\alpha', '\d']`: {"'", "tab\t", "Aé", `\alpha`, `\d`},
		`['a, b', '[c]']`: {"a, b", "[c]"},
	} {
		if got, err := parseList(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("parseList(%s) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "a", "['a'", "['a' 'b']", "[1]", "['a]", `['a\`, "['a']x"} {
		if got, err := parseList(bad); err == nil {
			t.Errorf("parseList(%q) = %q, want an error", bad, got)
		}
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	type one struct {
		Question string `parquet:"question"`
	}
	whole, err := os.ReadFile(writeParquet(t, dir, "whole.parquet", []one{{"q"}}))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ benchmark, path, want string }{
		"unknown":     {"chartqaa", dir, `did you mean "chartqa"`},
		"nowhere":     {"chartqa", filepath.Join(dir, "nowhere"), "nowhere"},
		"extension":   {"chartqa", write("a.csv", "x"), ".parquet, .json or .jsonl"},
		"not parquet": {"chartqa", write("a.parquet", "hello"), "damaged Parquet"},
		"cut":         {"chartqa", write("cut.parquet", string(whole[:len(whole)/2])), "damaged Parquet"},
		"not JSON":    {"chartqa", write("bad.jsonl", "{\"question\": \"a\"}\n{"), "line 2"},
		"null":        {"chartqa", write("null.json", "[null]"), "row 0 is null"},
		"cut list":    {"chartqa", write("list.json", "[{}"), "line 1"},
		"no rows":     {"chartqa", write("none.json", "[]"), "no rows"},
	} {
		if s, err := Open(c.benchmark, c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", name, s, err, c.want)
		}
	}
	for name, c := range map[string]struct{ row, want string }{
		"no question": {`{"answer": "a", "image": "x.png"}`, "x.png"},
		"outside":     {`{"question": "q", "answer": "a", "image": "../x.png"}`, "below the file's folder"},
		"no picture":  {`{"question": "q", "answer": "a"}`, "no picture"},
		"broken":      {`{"question": "q", "answer": "a", "image": "aGVsbG8="}`, "expected PNG"},
		"hidden":      {`{"question": "q", "answer": null, "image": "` + base64.StdEncoding.EncodeToString(picture(t, 2)) + `"}`, "hidden"},
		"empty":       {`{"answer": "a", "image": "` + base64.StdEncoding.EncodeToString(picture(t, 2)) + `"}`, "no question"},
	} {
		s, err := Open("chartqa", write("row.jsonl", c.row))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Example(0); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "row.jsonl, row 0") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := s.Example(1); err == nil {
			t.Errorf("%s: question 1 of 1 gave no error", name)
		}
	}
}

func TestHash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	hash := func(text string, questions ...int) string {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open("chartqa", path)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := s.Hash(questions)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	first := hash(`[{"question": "a"}, {"question": "b"}]`, 0, 1)
	if hash(`[{"question": "a"}, {"question": "b"}]`, 0) == first || hash(`[{"question": "a"}, {"question": "c"}]`, 0, 1) == first || hash(`[{"question": "a"}, {"question": "b"}]`, 0, 1) != first {
		t.Error("the hash doesn't tell files and questions apart")
	}
}

// FuzzOpenParquet damages a file and reads what is left of it.
func FuzzOpenParquet(f *testing.F) {
	type one struct {
		Question string   `parquet:"question"`
		Answers  []string `parquet:"answers,list"`
	}
	var out bytes.Buffer
	if err := parquet.Write(&out, []one{{"q", []string{"a", "b"}}, {"r", nil}}); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	path := filepath.Join(f.TempDir(), "fuzz.parquet")
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open("textvqa", path)
		if err != nil {
			return
		}
		defer s.Close()
		for i := range min(s.Len(), 3) {
			_, _ = s.Example(i)
		}
	})
}

func FuzzParseRows(f *testing.F) {
	f.Add([]byte(`[{"question": "a", "image": {"bytes": "x"}}]`), "mmmu")
	f.Add([]byte(`{"id": 1, "options": "['a', 'b']", "question_type": "multiple-choice"}`), "mmmu")
	f.Add([]byte(`{"choices": ["a"], "answer": 0, "question": "q"}`), "scienceqa")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		rows, err := parseRows(data)
		if err != nil {
			return
		}
		b, err := Find(name)
		if err != nil {
			return
		}
		for _, r := range rows {
			_, _ = b.example(r)
		}
	})
}
