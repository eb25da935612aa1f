package report

import (
	"bytes"
	"image/png"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/ptq"
)

// tinyModel is a model of random weights in a session of its own.
func tinyModel(t *testing.T) *harness.Model {
	t.Helper()
	root := t.TempDir()
	if err := tiny.Write(filepath.Join(harness.ZooDir(root), "tiny-nano"), 1); err != nil {
		t.Fatal(err)
	}
	s, err := harness.NewSession(root, filepath.Join(root, "store"), 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Model("zoo:tiny-nano")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rendered draws a figure in both formats and returns the size of the PNG.
func rendered(t *testing.T, f *display.Figure) (width, height int) {
	t.Helper()
	if svg, err := f.SVG(); err != nil || !bytes.Contains(svg, []byte("<svg")) {
		t.Errorf("%s as SVG: %v", f.Name, err)
	}
	b, err := f.PNG()
	if err != nil {
		t.Fatal(err)
	}
	c, err := png.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return c.Width, c.Height
}

func TestPartsAddUp(t *testing.T) {
	m := tinyModel(t)
	info, err := m.Inspect(1)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Parts(m)
	if err != nil {
		t.Fatal(err)
	}
	var all, quantized int64
	for _, row := range table.Rows {
		n, err := strconv.ParseInt(strings.ReplaceAll(row[2], ",", ""), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all += n
		if row[4] == "yes" {
			quantized += n
		}
	}
	if all != info.Parameters || quantized != info.Quantized {
		t.Errorf("%d parameters, %d of them quantized; the model has %d and %d\n%s", all, quantized, info.Parameters, info.Quantized, table.Text())
	}
	if want := "decoder attention: qkv, 3 layers"; !strings.Contains(table.Text(), want) {
		t.Errorf("no row %q:\n%s", want, table.Text())
	}
}

func TestExamples(t *testing.T) {
	var examples []datasets.Example
	for e, err := range datasets.Calibration("default", 0, 11) {
		if err != nil {
			t.Fatal(err)
		}
		examples = append(examples, e)
	}
	f, err := Examples(examples)
	if err != nil {
		t.Fatal(err)
	}
	if want := "The first 8 of 11 examples: 3 of task emoji, 2 of task scene, 2 of task chart, 2 of task text and 2 of task blur."; !strings.HasPrefix(f.Caption, want) {
		t.Errorf("caption %q, want %q", f.Caption, want)
	}
	few, err := Examples(examples[:2])
	if err != nil {
		t.Fatal(err)
	}
	_, tall := rendered(t, f)
	if _, low := rendered(t, few); 2*low < tall || low >= tall {
		t.Errorf("two examples are %d pixels high, eight %d: want one row and two", low, tall)
	}
	if _, err := Examples(nil); err == nil {
		t.Error("no examples were drawn")
	}
}

func TestSettingsAreWhatSetTakes(t *testing.T) {
	methods := ptq.Methods()
	table, err := Settings(methods...)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range methods {
		m := ptq.Method{Name: want.Name, Title: want.Title, Paper: want.Paper}
		for _, row := range table.Rows {
			if row[1+i] == none {
				continue
			}
			if err := m.Set(row[0] + "=" + row[1+i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, m, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(ptq.Tokens{})); diff != "" {
			t.Errorf("%s, set by the listed settings (-want +got):\n%s", want.Name, diff)
		}
	}
	if _, err := Settings(); err == nil {
		t.Error("the settings of no method were listed")
	}
}

func TestNotebooksShowFiguresAtTheirSize(t *testing.T) {
	d := &drawing{width: figureWidth, height: 100}
	if got := d.CSSWidth(); got != 700 {
		t.Errorf("a figure is shown %d pixels wide, want 700", got)
	}
}
