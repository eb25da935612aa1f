package datasets

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// put writes files below a new folder and returns it.
func put(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// pngOf is a PNG file: width×height pixels of one colour.
func pngOf(t testing.TB, width, height int, c color.Color) string {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestOpenFolder(t *testing.T) {
	dir := put(t, map[string]string{
		"red.png":     pngOf(t, 20, 10, color.NRGBA{200, 0, 0, 255}),
		"sub/see.png": pngOf(t, 5, 5, color.NRGBA{0, 0, 0, 0}),
		"qa.jsonl": `{"image": "red.png", "question": "What colour?", "answers": ["red", "dark red"], "choices": ["blue", "red"]}

{"id": "second", "image": ["red.png", "sub/see.png"], "question": "How many?", "answers": "2", "source": "both", "scoring": "relaxed"}
`,
	})
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if f.Len() != 2 {
		t.Fatalf("%d examples, want 2", f.Len())
	}
	first, err := f.Example(0)
	if err != nil {
		t.Fatal(err)
	}
	if first.ID != "1" || first.Task != filepath.Base(dir) || first.Source != "red.png" || !slices.Equal(first.Answers, []string{"red", "dark red"}) || !slices.Equal(first.Choices, []string{"blue", "red"}) {
		t.Errorf("first example %+v", first)
	}
	if got := first.Images[0].Bounds(); got != image.Rect(0, 0, 20, 10) {
		t.Errorf("first picture %v", got)
	}
	second, err := f.Example(1)
	if err != nil {
		t.Fatal(err)
	}
	if second.ID != "second" || second.Source != "both" || second.Scoring != RelaxedAccuracy || len(second.Images) != 2 || second.Answers[0] != "2" {
		t.Errorf("second example %+v", second)
	}
	if r, g, b, a := second.Images[1].At(2, 2).RGBA(); r != 0xffff || g != 0xffff || b != 0xffff || a != 0xffff {
		t.Errorf("what is transparent became %x %x %x %x, want white", r, g, b, a)
	}
	if _, err := f.Example(2); err == nil {
		t.Error("example 2 of 2 gave no error")
	}
	before := hashOf(t, f, []int{0, 1})
	if hashOf(t, f, []int{1, 0}) == before {
		t.Error("the hash doesn't depend on the order")
	}
	if err := os.WriteFile(filepath.Join(dir, "red.png"), []byte(pngOf(t, 20, 10, color.White)), 0o644); err != nil {
		t.Fatal(err)
	}
	if hashOf(t, f, []int{0, 1}) == before {
		t.Error("another picture gives the same hash")
	}
}

func hashOf(t *testing.T, f *Files, examples []int) string {
	t.Helper()
	hash, err := f.Hash(examples)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestOpenConversations(t *testing.T) {
	const entry = `{"id": 7, "image": "a.png", "model": "x", "conversations": [
	{"from": "system", "value": "be short"},
	{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A cat."},
	{"from": "human", "value": "And its colour?\n<image>"}, {"from": "gpt", "value": "Red."}]}`
	const text = `{"conversations": [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "Hello"}]}`
	dir := put(t, map[string]string{
		"list.json":      "[" + entry + ",\n" + text + "]",
		"lines.jsonl":    strings.ReplaceAll(entry, "\n", " ") + "\n" + text + "\n",
		"pictures/a.png": pngOf(t, 3, 3, color.Black),
		"a.png":          pngOf(t, 4, 4, color.Black),
	})
	for _, c := range []struct {
		file, images string
		side         int
	}{{"list.json", "", 4}, {"lines.jsonl", filepath.Join(dir, "pictures"), 3}} {
		f, err := OpenConversations(filepath.Join(dir, c.file), c.images)
		if err != nil {
			t.Fatal(err)
		}
		var got []Example
		for i := range f.Len() {
			e, err := f.Example(i)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if len(got) != 3 {
			t.Fatalf("%s: %d examples, want 3", c.file, len(got))
		}
		for i, want := range []QA{{"What is this?", "A cat."}, {"And its colour?", "Red."}, {"Hi", "Hello"}} {
			if e := got[i]; e.Question != want.Question || e.Answers[0] != want.Answer || len(e.Choices) != 0 {
				t.Errorf("%s: example %d %+v, want %v", c.file, i, e, want)
			}
		}
		if got[0].Source != got[1].Source || got[0].Source == got[2].Source || got[0].ID == got[1].ID {
			t.Errorf("%s: sources %q %q %q", c.file, got[0].Source, got[1].Source, got[2].Source)
		}
		if len(got[2].Images) != 0 || got[0].Images[0].Bounds().Dx() != c.side {
			t.Errorf("%s: pictures %v, %v", c.file, got[0].Images, got[2].Images)
		}
	}
}

func TestSelect(t *testing.T) {
	var lines strings.Builder
	for range 20 {
		lines.WriteString(`{"question": "q", "answers": ["a"]}` + "\n")
	}
	f, err := Open(put(t, map[string]string{"qa.jsonl": lines.String()}))
	if err != nil {
		t.Fatal(err)
	}
	one, err := f.Select(1, 8)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := f.Select(1, 8)
	other, _ := f.Select(2, 8)
	sorted := slices.Clone(one)
	slices.Sort(sorted)
	if len(one) != 8 || len(slices.Compact(sorted)) != 8 || !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Errorf("selections %v, %v, %v", one, again, other)
	}
	if all, err := f.Select(1, 0); err != nil || len(all) != 20 || !slices.IsSorted(all) {
		t.Errorf("all: %v, %v", all, err)
	}
	if _, err := f.Select(1, 21); err == nil || !strings.Contains(err.Error(), "holds 20") {
		t.Errorf("21 of 20: %v", err)
	}
}

// TestBadFiles checks that faults are named with their file and line.
func TestBadFiles(t *testing.T) {
	good := `{"image": "a.png", "question": "q", "answers": ["a"]}`
	picture := pngOf(t, 2, 2, color.Black)
	for name, c := range map[string]struct {
		files map[string]string
		open  string
		want  []string
	}{
		"no folder":        {nil, "nowhere", []string{"nowhere"}},
		"no questions":     {map[string]string{"a.png": picture}, ".", []string{"qa.jsonl", "answers"}},
		"empty":            {map[string]string{"qa.jsonl": "\n"}, ".", []string{"qa.jsonl:1", "no question"}},
		"not JSON":         {map[string]string{"a.png": picture, "qa.jsonl": good + "\n{"}, ".", []string{"qa.jsonl:2"}},
		"two objects":      {map[string]string{"qa.jsonl": `{"question": "q", "answers": ["a"]} {}`}, ".", []string{"qa.jsonl:1", "more after it"}},
		"unknown field":    {map[string]string{"qa.jsonl": `{"question": "q", "answer": "a"}`}, ".", []string{"qa.jsonl:1", `"answer"`, "answers"}},
		"no answer":        {map[string]string{"qa.jsonl": `{"question": "q"}`}, ".", []string{"qa.jsonl:1", "answers"}},
		"no question text": {map[string]string{"qa.jsonl": `{"question": " ", "answers": "a"}`}, ".", []string{"qa.jsonl:1", "question"}},
		"wrong choices":    {map[string]string{"qa.jsonl": `{"question": "q", "answers": "a", "choices": ["b", "c"]}`}, ".", []string{"qa.jsonl:1", "among them"}},
		"choices twice":    {map[string]string{"qa.jsonl": `{"question": "q", "answers": "a", "choices": ["a", "a"]}`}, ".", []string{"qa.jsonl:1", "different"}},
		"unknown scoring":  {map[string]string{"qa.jsonl": `{"question": "q", "answers": "a", "scoring": "relaxd"}`}, ".", []string{"qa.jsonl:1", "relaxd", "did you mean", "relaxed"}},
		"id twice":         {map[string]string{"a.png": picture, "qa.jsonl": `{"id": "2", "question": "q", "answers": "a"}` + "\n" + good}, ".", []string{"qa.jsonl:2", "line 1"}},
		"no picture":       {map[string]string{"qa.jsonl": good}, ".", []string{"qa.jsonl:1", "a.png"}},
		"outside":          {map[string]string{"qa.jsonl": strings.ReplaceAll(good, "a.png", "../a.png")}, ".", []string{"qa.jsonl:1", "../a.png"}},
		"answers number":   {map[string]string{"qa.jsonl": `{"question": "q", "answers": 2}`}, ".", []string{"qa.jsonl:1", "string or a list"}},
		"conversation":     {map[string]string{"c.json": "[\n{\"conversations\": [{\"from\": \"gpt\", \"value\": \"hi\"}]}]"}, "c.json", []string{"c.json:2", "entry 0", "turn 0", "question"}},
		"two questions":    {map[string]string{"c.json": `[{"conversations": [{"from": "human", "value": "a"}, {"from": "human", "value": "b"}]}]`}, "c.json", []string{"c.json:1", "turn 1"}},
		"speaker":          {map[string]string{"c.json": `[{"conversations": [{"from": "robot", "value": "a"}]}]`}, "c.json", []string{`"robot"`, "human"}},
		"no turns":         {map[string]string{"c.json": `[{"id": "1"}]`}, "c.json", []string{"no answer"}},
		"cut list":         {map[string]string{"c.json": `[{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}`}, "c.json", []string{"c.json:1", "doesn't end"}},
		"nothing":          {map[string]string{"c.jsonl": ``}, "c.jsonl", []string{"no conversation"}},
		"extension":        {map[string]string{"c.txt": ``}, "c.txt", []string{"c.txt", ".jsonl"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(filepath.Join(put(t, c.files), c.open))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// TestBadPictures decodes what isn't a picture, and one that claims to be too large.
func TestBadPictures(t *testing.T) {
	whole := pngOf(t, 300, 200, color.NRGBA{1, 2, 3, 255})
	for name, c := range map[string]struct{ data, want string }{
		"text":  {"hello", "expected PNG"},
		"empty": {"", "expected PNG"},
		"cut":   {whole[:len(whole)/2], "damaged png"},
		"head":  {whole[:20], "damaged png"},
		"huge":  {"GIF89a\xff\xff\xff\xff\x00\x00\x00", "65535×65535 pixels"},
	} {
		_, err := DecodePicture([]byte(c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	dir := put(t, map[string]string{"a.png": whole[:50], "qa.jsonl": `{"image": "a.png", "question": "q", "answers": ["a"]}`})
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Example(0); err == nil || !strings.Contains(err.Error(), "qa.jsonl:1") || !strings.Contains(err.Error(), "a.png") {
		t.Errorf("a broken picture gave %v", err)
	}
}

func FuzzParseQuestions(f *testing.F) {
	f.Add([]byte(`{"image": "a.png", "question": "q", "answers": ["a"], "choices": ["a", "b"]}`))
	f.Add([]byte(`{"id": "x", "question": "q", "answers": "a", "scoring": "anls"}` + "\n\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := parseQuestions(data)
		checkRecords(t, records, err)
	})
}

func FuzzParseConversations(f *testing.F) {
	f.Add([]byte(`[{"id": 1, "image": ["a"], "conversations": [{"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "a"}]}]`))
	f.Add([]byte(`{"conversations": [{"from": "system", "value": ""}]}` + "\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := parseConversations(data)
		checkRecords(t, records, err)
	})
}

// checkRecords wants an error with a line, or records that can be used.
func checkRecords(t *testing.T, records []record, err error) {
	if err != nil {
		if err.Error()[0] < '1' || err.Error()[0] > '9' {
			t.Errorf("error %q doesn't begin with a line", err)
		}
		return
	}
	for _, r := range records {
		if err := r.check(); err != nil || r.line < 1 || r.id == "" {
			t.Errorf("record %+v was accepted: %v", r, err)
		}
	}
}

func FuzzDecodePicture(f *testing.F) {
	f.Add([]byte(pngOf(f, 3, 2, color.White)))
	f.Add([]byte("GIF89a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		img, err := DecodePicture(data)
		if err == nil && !img.Opaque() {
			t.Error("the picture isn't opaque")
		}
	})
}
