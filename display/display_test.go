package display

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

func line(t *testing.T) *Figure {
	t.Helper()
	p := plot.New()
	l, err := plotter.NewLine(plotter.XYs{{X: 0, Y: 0}, {X: 1, Y: 1}})
	if err != nil {
		t.Fatal(err)
	}
	p.Add(l)
	return &Figure{Name: "line", Caption: "A line.", Drawing: Plot(p, 8*vg.Centimeter, 6*vg.Centimeter)}
}

func TestFigureFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "figures")
	img := image.NewRGBA(image.Rect(0, 0, 3, 2))
	img.Set(2, 1, color.RGBA{255, 0, 0, 255})
	var out bytes.Buffer
	o := &Output{W: &out, Dir: dir}
	if err := o.Show(line(t), &Figure{Name: "pixels", Caption: "Pixels.", Drawing: Pixels(img)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"line", "pixels"} {
		f, err := os.Open(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := png.Decode(f)
		_ = f.Close()
		if err != nil {
			t.Errorf("%s.png: %v", name, err)
		} else if name == "pixels" && (got.Bounds() != img.Bounds() || color.RGBAModel.Convert(got.At(2, 1)) != img.At(2, 1)) {
			t.Errorf("pixels.png: bounds %v, last pixel %v", got.Bounds(), got.At(2, 1))
		}
		svg, err := os.ReadFile(filepath.Join(dir, name+".svg"))
		if err != nil || !bytes.Contains(svg, []byte("<svg")) {
			t.Errorf("%s.svg: %v, %.40q", name, err, svg)
		}
		if want := filepath.Join(dir, name+".png"); !strings.Contains(out.String(), want) {
			t.Errorf("output %q does not name %s", out.String(), want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%d files left in the folder (%v), want 4", len(entries), err)
	}
}

func TestFigureFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(FiguresEnv, dir)
	o := Auto()
	o.W = io.Discard
	if err := o.Show(line(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "line.png")); err != nil {
		t.Error(err)
	}
}

func TestFigureErrors(t *testing.T) {
	good := Pixels(image.NewGray(image.Rect(0, 0, 1, 1)))
	for _, tc := range []struct {
		f    *Figure
		want string
	}{
		{&Figure{Name: "../x", Drawing: good}, "want letters"},
		{&Figure{Name: "", Drawing: good}, "want letters"},
		{&Figure{Name: ".hidden", Drawing: good}, "want letters"},
		{&Figure{Name: "none"}, "no drawing"},
		{&Figure{Name: "panics", Drawing: drawFunc(func(io.Writer) error { panic("boom") })}, "boom"},
		{&Figure{Name: "fails", Drawing: drawFunc(func(io.Writer) error { return errors.New("no ink") })}, "no ink"},
		{&Figure{Name: "empty", Drawing: drawFunc(func(io.Writer) error { return nil })}, "without any content"},
	} {
		dir := t.TempDir()
		err := (&Output{W: io.Discard, Dir: dir}).Show(tc.f)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("figure %q: error %v, want one with %q", tc.f.Name, err, tc.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("figure %q left %v behind", tc.f.Name, left)
		}
	}
	err := (&Output{W: io.Discard, Format: AsMarkdown}).Show(line(t))
	if err == nil || !strings.Contains(err.Error(), "Output.Dir") {
		t.Errorf("Markdown without a folder: %v", err)
	}
}

type drawFunc func(io.Writer) error

func (f drawFunc) Draw(w io.Writer, _ string) error { return f(w) }

func table() *Table {
	t := &Table{Caption: "Accuracy kept.", Columns: []string{"method", "n", "note"}}
	t.Add("rtn", 0.5, "a|b")
	t.Add("tlq <ours>", 12.25, "two\nlines")
	t.Add("fp", "–", "")
	return t
}

func TestTable(t *testing.T) {
	tab := table()
	wantText := "" +
		"method          n  note\n" +
		"----------  -----  ---------\n" +
		"rtn           0.5  a|b\n" +
		"tlq <ours>  12.25  two lines\n" +
		"fp              –\n" +
		"Accuracy kept.\n"
	if got := tab.Text(); got != wantText {
		t.Errorf("text:\n%s\nwant:\n%s", got, wantText)
	}
	wantMarkdown := "" +
		"| method | n | note |\n" +
		"| --- | ---: | --- |\n" +
		"| rtn | 0.5 | a\\|b |\n" +
		"| tlq <ours> | 12.25 | two lines |\n" +
		"| fp | – |  |\n" +
		"\nAccuracy kept.\n"
	if got := tab.Markdown(); got != wantMarkdown {
		t.Errorf("Markdown:\n%s\nwant:\n%s", got, wantMarkdown)
	}
	for _, want := range []string{`<td style="text-align:right">12.25</td>`, "tlq &lt;ours&gt;", "<caption", `<th style="text-align:left">method</th>`} {
		if got := tab.HTML(); !strings.Contains(got, want) {
			t.Errorf("HTML lacks %q:\n%s", want, got)
		}
	}
}

func TestTableErrors(t *testing.T) {
	for _, tc := range []struct {
		tab  *Table
		want string
	}{
		{&Table{}, "no columns"},
		{&Table{Caption: "c", Columns: []string{"a"}, Rows: [][]string{{"1"}, {"1", "2"}}}, "row 2 has 2 cells"},
	} {
		if err := (&Output{W: io.Discard}).Show(tc.tab); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want one with %q", err, tc.want)
		}
	}
	if err := (&Output{Format: "pdf"}).Show(table()); err == nil || !strings.Contains(err.Error(), "text") {
		t.Errorf("unknown format: %v", err)
	}
}

// TestCheckEndsProgram runs this test binary again as a cell's program.
func TestCheckEndsProgram(t *testing.T) {
	if os.Getenv("DISPLAY_TEST_CHECK") != "" {
		Check(nil)
		fmt.Println(Must(42, nil))
		Must(0, errors.New("tlq: no such model"))
		fmt.Println("never")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCheckEndsProgram$")
	cmd.Env = append(os.Environ(), "DISPLAY_TEST_CHECK=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exitErr *exec.ExitError
	if !errors.As(err, &exitErr) || exitErr.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit code 1", err)
	}
	if stderr.String() != "tlq: no such model\n" || string(out) != "42\n" {
		t.Errorf("stdout %q, stderr %q", out, stderr.String())
	}
}

func ExampleOutput_Show() {
	t := &Table{Caption: "Lower is better.", Columns: []string{"method", "kl"}}
	t.Add("rtn", 0.31)
	t.Add("tlq", 0.12)
	if err := (&Output{Format: AsMarkdown}).Show(Markdown("## Results"), t); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ## Results
	//
	// | method | kl |
	// | --- | ---: |
	// | rtn | 0.31 |
	// | tlq | 0.12 |
	//
	// Lower is better.
}

func TestTableLinks(t *testing.T) {
	table := &Table{Columns: []string{"cell", "answers"}, Rows: [][]string{{"a|b", "x"}}, Links: map[[2]int]string{{0, 0}: `samples/a"b.jsonl`, {5, 5}: "nowhere"}}
	if got, want := table.HTML(), `<a href="samples/a&#34;b.jsonl">a|b</a>`; !strings.Contains(got, want) || strings.Count(got, "<a ") != 1 {
		t.Errorf("HTML lacks %s:\n%s", want, got)
	}
	if got, want := table.Markdown(), `| [a\|b](samples/a"b.jsonl) | x |`; !strings.Contains(got, want) {
		t.Errorf("Markdown lacks %s:\n%s", want, got)
	}
}
