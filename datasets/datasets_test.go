package datasets

import (
	"bytes"
	"fmt"
	"image"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// testPack opens the committed pack.
func testPack(t testing.TB) *pack {
	t.Helper()
	p, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// take collects examples.
func take(t testing.TB, task Task, split Split, seed uint64, n int) []Example {
	t.Helper()
	var all []Example
	for e, err := range task.Examples(split, seed, n) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if len(all) != n {
		t.Fatalf("%d examples, want %d", len(all), n)
	}
	return all
}

// taskNames lists all tasks.
func equalPictures(a, b image.Image) bool {
	return slices.Equal(a.(*image.RGBA).Pix, b.(*image.RGBA).Pix)
}

func TestSplitsAreDisjoint(t *testing.T) {
	p := testPack(t)
	owner := map[pair]Split{}
	for _, s := range Splits() {
		for _, boards := range []bool{false, true} {
			for _, c := range p.pools[s][boards] {
				for _, v := range c.vendors {
					at := pair{c.concept, v}
					if other, ok := owner[at]; ok && other != s {
						t.Errorf("%s of %s belongs to %s and %s", p.index.Concepts[c.concept].Name, p.index.Vendors[v].Name, other, s)
					}
					owner[at] = s
				}
			}
		}
	}
	want := len(p.index.Concepts) * len(p.index.Vendors)
	if len(owner) != want {
		t.Errorf("%d pairs belong to a split, want all %d", len(owner), want)
	}
	if got := len(p.pools[Train][false]); got != len(p.index.Concepts) {
		t.Errorf("%d concepts are seen in training, want all %d", got, len(p.index.Concepts))
	}
	n := len(p.index.Concepts)
	near(t, "test concepts", len(p.pools[Test][false]), n, 0.23)
	near(t, "tuning concepts", len(p.pools[Tuning][false]), n, 0.12)
}

// TestExamplesKeepToTheirSplit finds the vendor of every emoji example through its licence, and checks the pair's split.
func TestExamplesKeepToTheirSplit(t *testing.T) {
	p := testPack(t)
	byID := map[string]Concept{}
	for _, c := range p.index.Concepts {
		byID[c.ID] = c
	}
	task, err := FindTask("emoji")
	if err != nil {
		t.Fatal(err)
	}
	for _, split := range Splits() {
		for _, e := range take(t, task, split, 2, 1500) {
			vendor := slices.IndexFunc(p.index.Vendors, func(v Vendor) bool { return strings.HasPrefix(e.Licence, v.Title) })
			if vendor < 0 {
				t.Fatalf("%s: licence %q names no vendor", e.ID, e.Licence)
			}
			if got := SplitOf(byID[e.Source], vendor); got != split {
				t.Fatalf("%s shows a picture of split %s", e.ID, got)
			}
		}
		for i := range 500 {
			b := exampleBoard(stream("scenes board", split, 2, i), p.pools[split][true])
			for cell, ok := range b.filled {
				if at := b.cells[cell]; ok && SplitOf(p.index.Concepts[at.concept], at.vendor) != split {
					t.Fatalf("board %d of %s shows a picture of another split", i, split)
				}
			}
		}
	}
}

// offered is how many choices an example has: four, and two where two things are compared.
func offered(e Example) int {
	if strings.HasPrefix(e.Attribute, chartCompare) {
		return 2
	}
	return choices
}

func TestExamplesAreWellFormed(t *testing.T) {
	for _, task := range Tasks() {
		for _, split := range Splits() {
			ids := map[string]bool{}
			for _, e := range take(t, task, split, 4, 200) {
				sorted := slices.Clone(e.Choices)
				slices.Sort(sorted)
				switch {
				case ids[e.ID]:
					t.Fatalf("%s appears twice", e.ID)
				case e.Task != task.Name || e.Question == "" || e.Source == "" || e.Licence == "" || e.Attribute == "":
					t.Fatalf("%s has an empty field: %+v", e.ID, e)
				case len(e.Answers) != 1 || len(e.Choices) != offered(e) || len(slices.Compact(sorted)) != offered(e):
					t.Fatalf("%s: answers %q, choices %q: want one and four different ones", e.ID, e.Answers, e.Choices)
				case !slices.Contains(e.Choices, e.Answers[0]):
					t.Fatalf("%s: %q is not among %q", e.ID, e.Answers[0], e.Choices)
				case len(strings.Fields(e.Answers[0])) > 3:
					t.Fatalf("%s: answer %q has more than three words", e.ID, e.Answers[0])
				}
				ids[e.ID] = true
				img := e.Images[0].(*image.RGBA)
				if img.Bounds() != image.Rect(0, 0, canvas, canvas) || !img.Opaque() {
					t.Fatalf("%s: picture %v, opaque %v", e.ID, img.Bounds(), img.Opaque())
				}
			}
		}
	}
}

// TestDeterminism makes examples in another order, beside each other, and compares everything.
func TestDeterminism(t *testing.T) {
	const n = 40
	for _, task := range Tasks() {
		first := take(t, task, Test, 9, n)
		var wait sync.WaitGroup
		for i := n - 1; i >= 0; i-- {
			wait.Go(func() {
				e, err := task.Example(Test, 9, i)
				if err != nil {
					t.Error(err)
					return
				}
				w := first[i]
				if e.ID != w.ID || e.Question != w.Question || e.Answers[0] != w.Answers[0] || !slices.Equal(e.Choices, w.Choices) || e.Source != w.Source || !equalPictures(e.Images[0], w.Images[0]) {
					t.Errorf("%s differs when made alone", e.ID)
				}
			})
		}
		wait.Wait()
		other := take(t, task, Test, 10, n)
		same := 0
		for i := range other {
			if equalPictures(other[i].Images[0], first[i].Images[0]) {
				same++
			}
		}
		if same > 0 {
			t.Errorf("%s: %d pictures are the same under another seed", task.Name, same)
		}
	}
}

func TestBoardsAreShared(t *testing.T) {
	task, err := FindTask("scene")
	if err != nil {
		t.Fatal(err)
	}
	all := take(t, task, Tuning, 1, 8)
	for i, e := range all {
		first := all[i/4*4]
		if e.Source != first.Source || !equalPictures(e.Images[0], first.Images[0]) {
			t.Errorf("%s doesn't show the board of %s", e.ID, first.ID)
		}
	}
	if all[0].Source == all[4].Source {
		t.Errorf("examples 0 and 4 have one source %s", all[0].Source)
	}
}

func TestPictures(t *testing.T) {
	tasks := taskNames()
	i := 0
	for picture, err := range Pictures(tasks, 6) {
		if err != nil {
			t.Fatal(err)
		}
		again, err := PictureAt(tasks, 6, i)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(picture.QA, again.QA) || !equalPictures(picture.Image, again.Image) {
			t.Fatalf("picture %d differs when made alone", i)
		}
		if n := len(picture.QA); i%5 == 0 && n != 2 && n != 4 || n < 2 || n > 8 {
			t.Errorf("picture %d has %d questions, want 2 to 8, for emoji 2 or 4", i, n)
		}
		if i++; i == 50 {
			break
		}
	}
}

// TestLabels checks what training asks of the parts of a picture: areas inside the
// picture that don't overlap, each with a text; on boards every name that is asked for.
func TestLabels(t *testing.T) {
	for _, task := range taskNames() {
		labelled := 0
		for i := range 20 {
			p, err := PictureAt([]string{task}, 3, i)
			if err != nil {
				t.Fatal(err)
			}
			for k, label := range p.Labels {
				if !label.Area.In(p.Image.Bounds()) && task != "text" || label.Area.Empty() || label.Text == "" {
					t.Errorf("%s, picture %d: label %v", task, i, label)
				}
				for _, other := range p.Labels[:k] {
					if task != "text" && label.Area.Overlaps(other.Area) { // lines of a page may touch
						t.Errorf("%s, picture %d: labels %v and %v overlap", task, i, label, other)
					}
				}
				labelled++
			}
			for _, qa := range p.QA {
				if strings.HasPrefix(qa.Question, "What is at") && !slices.ContainsFunc(p.Labels, func(l Label) bool { return l.Text == qa.Answer }) {
					t.Errorf("%s, picture %d: %q answers %q, which no label names", task, i, qa.Question, qa.Answer)
				}
			}
		}
		if labelled == 0 {
			t.Errorf("%s: no label in 20 pictures", task)
		}
	}
}

func TestCalibration(t *testing.T) {
	tasks, sources := map[string]int{}, map[string]int{}
	n := 0
	for e, err := range Calibration("default", 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		tasks[e.Task]++
		sources[e.Source]++
		if strings.Contains(e.Answers[0], " ") && e.Task == "emoji" {
			t.Errorf("%s: answer %q has several words", e.ID, e.Answers[0])
		}
		n++
	}
	for _, task := range taskNames() {
		if share := n / len(taskNames()); tasks[task] < share || tasks[task] > share+1 {
			t.Errorf("%d samples of %s among %d, want %d or one more", tasks[task], task, n, share)
		}
	}
	if n != CalibrationSamples || len(sources) < n*9/10 { // some share a table or a concept
		t.Errorf("%d different sources in %d samples, want nearly %d", len(sources), n, CalibrationSamples)
	}
}

// TestCalibrationOfTasks draws from every task in turn: the names of all tasks are the
// default set by another name, and a shorter list has its tasks' samples of that set.
func TestCalibrationOfTasks(t *testing.T) {
	names := taskNames()
	want := map[string]Example{}
	for e, err := range Calibration("default", 3, 4*len(names)) {
		if err != nil {
			t.Fatal(err)
		}
		want[e.Task+e.Question+e.Source] = e
	}
	for e, err := range Calibration("emoji+scene", 3, 8) {
		if err != nil {
			t.Fatal(err)
		}
		if same := want[e.Task+e.Question+e.Source]; !bytes.Equal(pixelsOf(e), pixelsOf(same)) {
			t.Errorf("%s is not a sample of the default set", e.ID)
		}
	}
	i := 0
	sources := map[string]bool{}
	for e, err := range Calibration(strings.Join(names, "+"), 3, 4*len(names)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Task != names[i%len(names)] || len(e.Images) != 1 {
			t.Errorf("sample %d is of task %s", i, e.Task)
		}
		sources[e.Task+e.Question+e.Source] = true
		i++
	}
	if len(sources) < i-2 {
		t.Errorf("%d different questions in %d samples", len(sources), i)
	}
	for name, want := range map[string]string{"emoji+scenes": `"scene"`, "emoji+emoji": "twice", "defalt": `did you mean "default"`, "": "joined by +"} {
		if _, err := CalibrationTasks(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// pixelsOf are the bytes of an example's picture; nil where it has none.
func pixelsOf(e Example) []byte {
	if len(e.Images) == 0 {
		return nil
	}
	return e.Images[0].(*image.RGBA).Pix
}

func TestTexts(t *testing.T) {
	p := testPack(t)
	texts, err := Texts()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, text := range texts {
		known[text] = true
	}
	for _, c := range p.index.Concepts {
		if !known[c.Name] || !known[c.Kind] {
			t.Errorf("the corpus lacks %q or %q", c.Name, c.Kind)
		}
	}
	for cell := range 16 {
		if !known[grid4x4.name(cell)] {
			t.Errorf("the corpus lacks %s", grid4x4.name(cell))
		}
	}
}

func TestUnknownNames(t *testing.T) {
	first := func(name string) error {
		for _, err := range Calibration(name, 1, 1) {
			return err
		}
		return nil
	}
	_, taskErr := FindTask("scenes")
	_, splitErr := ParseSplit("tests")
	_, pictureErr := PictureAt([]string{"emoij"}, 1, 0)
	_, noneErr := PictureAt(nil, 1, 0)
	_, negativeErr := Tasks()[0].Example(Train, 1, -1)
	_, badSplitErr := Tasks()[0].Example("testing", 1, 0)
	_, zeroErr := Task{}.Example(Train, 1, 0)
	for _, c := range []struct {
		err  error
		want []string
	}{
		{taskErr, []string{`"scenes"`, "emoji, scene", `did you mean "scene"`}},
		{splitErr, []string{`"tests"`, "train, tuning, test", `did you mean "test"`}},
		{pictureErr, []string{`"emoij"`, "emoji, scene", `did you mean "emoji"`}},
		{noneErr, []string{"at least one"}},
		{negativeErr, []string{"-1"}},
		{badSplitErr, []string{"train, tuning, test"}},
		{first("nothing like it"), []string{`"nothing like it"`, "default"}},
		{zeroErr, []string{"FindTask"}},
	} {
		if c.err == nil {
			t.Errorf("no error, want one with %q", c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(c.err.Error(), want) {
				t.Errorf("error %q lacks %q", c.err, want)
			}
		}
	}
	count := 0
	for _, err := range Tasks()[0].Examples(Test, 1, -3) {
		if count++; err == nil {
			t.Error("a negative number of examples gave no error")
		}
	}
	if count != 1 {
		t.Errorf("a negative number of examples gave %d items, want the error alone", count)
	}
}

func TestContactSheet(t *testing.T) {
	for _, task := range Tasks() {
		all := take(t, task, Test, 1, 5)
		img, err := ContactSheet(all, 3)
		if err != nil {
			t.Fatal(err)
		}
		if want := image.Rect(0, 0, 3*sheetColumn+sheetMargin, 2*sheetRow+sheetMargin); img.Bounds() != want {
			t.Errorf("sheet %v, want %v", img.Bounds(), want)
		}
		for i := range all { // the right answer stands in green below every picture, once
			x, y := sheetMargin+i%3*sheetColumn, sheetMargin+i/3*sheetRow+canvas*sheetScale
			green := 0
			for row := y; row < y+sheetLines*sheetLine; row++ {
				for column := x; column < x+canvas*sheetScale; column++ {
					if img.RGBAAt(column, row) == sheetRight {
						green++
					}
				}
			}
			if green == 0 {
				t.Errorf("%s: no right answer in green", all[i].ID)
			}
		}
	}
	if _, err := ContactSheet(nil, 0); err == nil {
		t.Error("an empty sheet gave no error")
	}
}

// TestSheets writes contact sheets into $TLQ_SHEETS for looking at them.
func TestSheets(t *testing.T) {
	dir := os.Getenv("TLQ_SHEETS")
	if dir == "" {
		t.Skip("TLQ_SHEETS is not set to a folder")
	}
	for _, task := range Tasks() {
		for _, split := range Splits() {
			img, err := ContactSheet(take(t, task, split, 1, 24), 6)
			if err != nil {
				t.Fatal(err)
			}
			if err := WritePNG(dir+"/"+task.Name+"-"+string(split)+".png", img); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// BenchmarkPictures counts training pictures per second; want > 200 on one core, far more than a training run takes.
func BenchmarkPictures(b *testing.B) {
	for _, tasks := range [][]string{{"emoji"}, {"scene"}, {"chart"}, {"text"}, {"blur"}, taskNames()} {
		b.Run(strings.Join(tasks, "+"), func(b *testing.B) {
			i := 0
			for b.Loop() {
				if _, err := PictureAt(tasks, 1, i); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "pictures/s")
		})
	}
}

func ExampleTask_Examples() {
	task, err := FindTask("scene")
	if err != nil {
		panic(err)
	}
	for e, err := range task.Examples(Test, 1, 4) {
		if err != nil {
			panic(err)
		}
		fmt.Println(e.Question, e.Answers[0], e.Choices)
	}
	// Output:
	// What is at B2? fish [parrot orange fish apple]
	// Where is the fish? B2 [C2 A2 B2 A1]
	// What is left of the fish? parrot [piano flamingo shirt parrot]
	// Count: fish 1 [1 3 4 2]
}
