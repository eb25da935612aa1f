package notebook

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// jupyterFile is a notebook as Jupyter writes it, with fields we don't know.
const jupyterFile = `{
 "cells": [
  {
   "attachments": {},
   "cell_type": "markdown",
   "id": "a",
   "metadata": {},
   "source": [
    "# Title <&>\n",
    "$x^2$ – ü"
   ]
  },
  {
   "cell_type": "code",
   "execution_count": 7,
   "id": "b",
   "metadata": {
    "collapsed": false,
    "tags": [
     "figure",
     "mine"
    ]
   },
   "outputs": [
    {
     "name": "stdout",
     "output_type": "stream",
     "text": [
      "1\n",
      "2\n"
     ]
    }
   ],
   "source": "fmt.Println(1)"
  }
 ],
 "metadata": {
  "kernelspec": {
   "display_name": "Go (gonb)",
   "language": "go",
   "name": "gonb"
  },
  "precise": 1.00000000000000000001,
  "unknown": [
   null,
   true
  ]
 },
 "nbformat": 4,
 "nbformat_minor": 5
}
`

func TestRoundTrip(t *testing.T) {
	n, err := Parse([]byte(jupyterFile))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "n.ipynb")
	if err := n.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(jupyterFile, string(got)); diff != "" {
		t.Errorf("a file of Jupyter's changes on its way (-want +got):\n%s", diff)
	}
	if language, kernel := n.Language(); language != "go" || kernel != "gonb" {
		t.Errorf("language %q, kernel %q", language, kernel)
	}
	text, code := n.Cells()[0], n.Cells()[1]
	if text.Kind() != Text || text.Source() != "# Title <&>\n$x^2$ – ü" || text.ID() != "a" {
		t.Errorf("text cell: %q %q %q", text.Kind(), text.Source(), text.ID())
	}
	if code.Kind() != Code || code.Source() != "fmt.Println(1)" || !code.HasTag("figure") || code.HasTag("table") {
		t.Errorf("code cell: %q %q %q", code.Kind(), code.Source(), code.Tags())
	}
	if out := code.Outputs(); len(out) != 1 || out[0]["name"] != "stdout" {
		t.Errorf("outputs %v", out)
	}
	code.setOutputs(nil, 0)
	if b, err := n.Bytes(); err != nil || !bytes.Contains(b, []byte(`"outputs": []`)) || !bytes.Contains(b, []byte(`"execution_count": null`)) {
		t.Errorf("cleared cell: %v\n%s", err, b)
	}
}

func TestParseErrors(t *testing.T) {
	cell := func(c string) string { return `{"nbformat":4,"cells":[{"cell_type":"code","source":""},` + c + `]}` }
	for in, want := range map[string]string{
		``:                                       "want a JSON object",
		`null`:                                   "got null",
		`[]`:                                     "want a JSON object",
		`{"nbformat":4,"cells":[]} x`:            "after the notebook",
		`{"cells":[]}`:                           "nbformat",
		`{"nbformat":3,"cells":[]}`:              "nbconvert",
		`{"nbformat":4}`:                         `"cells"`,
		`{"nbformat":4,"cells":{}}`:              `"cells"`,
		cell(`1`):                                "cells[1] is not an object",
		cell(`{"cell_type":"x"}`):                "cells[1]: cell_type",
		cell(`{"cell_type":"raw"}`):              "cells[1]: source",
		cell(`{"cell_type":"raw","source":[1]}`): "cells[1]: source",
		cell(`{"cell_type":"code","source":"","outputs":1}`):     "outputs is not an array",
		cell(`{"cell_type":"code","source":"","outputs":["a"]}`): "outputs[0]",
	} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", in, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.ipynb")); err == nil || !strings.Contains(err.Error(), "none.ipynb") {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(jupyterFile))
	f.Add([]byte(`{"nbformat":4,"cells":[{"cell_type":"code","source":["a\n","b"],"metadata":{"tags":[1]}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Parse(data)
		if err != nil {
			return
		}
		first, err := n.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(first)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		second, err := again.Bytes()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("writing twice differs (%v):\n%s\n%s", err, first, second)
		}
		for i, c := range n.Cells() {
			if c.Source() != again.Cells()[i].Source() || c.Kind() != again.Cells()[i].Kind() {
				t.Fatalf("cell %d changed", i)
			}
			c.Tags()
			c.Outputs()
		}
	})
}

func TestLines(t *testing.T) {
	for in, want := range map[string][]any{"": {}, "a": {"a"}, "a\n": {"a\n"}, "a\n\nb": {"a\n", "\n", "b"}} {
		if diff := cmp.Diff(want, lines(in)); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
		if back, ok := joined(lines(in)); back != in || !ok {
			t.Errorf("%q comes back as %q", in, back)
		}
	}
}

// msg returns a published message with this content.
func msg(t *testing.T, msgType string, content any) *message {
	t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	return &message{header: header{Type: msgType}, content: b}
}

type object = map[string]any

func TestCollector(t *testing.T) {
	shown := displays{}
	first := &collector{displays: shown}
	add := func(c *collector, msgType string, content any) {
		t.Helper()
		if err := c.add(msg(t, msgType, content)); err != nil {
			t.Fatal(err)
		}
	}
	add(first, "status", object{"execution_state": "busy"})
	add(first, "stream", object{"name": "stdout", "text": "a\nb"})
	add(first, "stream", object{"name": "stdout", "text": "c\n"})
	add(first, "stream", object{"name": "stderr", "text": "e"})
	add(first, "display_data", object{"data": object{"text/html": "<b>\n0"}, "transient": object{"display_id": "bar"}})
	add(first, "update_display_data", object{"data": object{"text/html": "1"}, "transient": object{"display_id": "bar"}})
	add(first, "error", object{"ename": "E", "evalue": "v", "traceback": []string{"t"}})
	second := &collector{displays: shown}
	add(second, "update_display_data", object{"data": object{"text/html": "2"}, "metadata": object{"k": 1.0}, "transient": object{"display_id": "bar"}})
	add(second, "execute_result", object{"data": object{"image/png": "AAAA"}, "metadata": nil})
	want := []Output{
		{"output_type": "stream", "name": "stdout", "text": []any{"a\n", "bc\n"}},
		{"output_type": "stream", "name": "stderr", "text": []any{"e"}},
		{"output_type": "display_data", "data": object{"text/html": []any{"2"}}, "metadata": object{"k": 1.0}},
		{"output_type": "error", "ename": "E", "evalue": "v", "traceback": []any{"t"}},
	}
	if diff := cmp.Diff(want, first.outputs); diff != "" {
		t.Errorf("first cell, updated by the second (-want +got):\n%s", diff)
	}
	want = []Output{{"output_type": "display_data", "data": object{"image/png": "AAAA"}, "metadata": object{}}}
	if diff := cmp.Diff(want, second.outputs); diff != "" {
		t.Errorf("second cell (-want +got):\n%s", diff)
	}

	add(second, "clear_output", object{"wait": true})
	if len(second.outputs) != 1 {
		t.Error("clear_output did not wait")
	}
	add(second, "stream", object{"name": "stdout", "text": "new"})
	if len(second.outputs) != 1 || second.outputs[0]["name"] != "stdout" {
		t.Errorf("after clearing: %v", second.outputs)
	}
	add(second, "clear_output", object{"wait": false})
	if len(second.outputs) != 0 {
		t.Errorf("after clearing: %v", second.outputs)
	}
	if err := second.add(&message{header: header{Type: "stream"}, content: []byte(`"text"`)}); err == nil {
		t.Error("a malformed message was accepted")
	}
}
