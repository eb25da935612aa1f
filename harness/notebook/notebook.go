package notebook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Notebook is a notebook file in nbformat 4
// (https://nbformat.readthedocs.io/en/latest/format_description.html). Fields
// that this package does not know are kept as they are.
type Notebook struct {
	fields map[string]any
	cells  []*Cell
}

// Cell is one cell of a notebook.
type Cell struct {
	fields map[string]any
}

// Output is one output of a code cell as nbformat has it, keyed by
// "output_type", "data", "text" and so on.
type Output = map[string]any

// Kinds of cells, the values of [Cell.Kind].
const (
	Code     = "code"
	Text     = "markdown"
	Verbatim = "raw"
)

// Read reads the notebook in file.
func Read(file string) (*Notebook, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	n, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("notebook: %s: %w", file, err)
	}
	return n, nil
}

// Parse reads a notebook from its JSON text. The error says which field is not
// as nbformat 4 wants it.
func Parse(data []byte) (*Notebook, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // numbers we do not interpret keep their digits
	n := &Notebook{}
	if err := dec.Decode(&n.fields); err != nil {
		return nil, fmt.Errorf("not a notebook: want a JSON object: %w", err)
	}
	if n.fields == nil {
		return nil, errors.New("not a notebook: want a JSON object, got null")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("text after the notebook's JSON object")
	}
	if v := fmt.Sprint(n.fields["nbformat"]); v != "4" {
		return nil, fmt.Errorf("nbformat is %s, want 4; convert it with jupyter nbconvert --to notebook", v)
	}
	cells, ok := n.fields["cells"].([]any)
	if !ok {
		return nil, errors.New(`field "cells" is missing or not an array`)
	}
	for i, c := range cells {
		fields, ok := c.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("cells[%d] is not an object", i)
		}
		cell := &Cell{fields}
		if err := cell.check(); err != nil {
			return nil, fmt.Errorf("cells[%d]: %w", i, err)
		}
		n.cells = append(n.cells, cell)
	}
	return n, nil
}

func (c *Cell) check() error {
	if k := c.Kind(); k != Code && k != Text && k != Verbatim {
		return fmt.Errorf("cell_type is %q, want %s, %s or %s", k, Code, Text, Verbatim)
	}
	if _, ok := joined(c.fields["source"]); !ok {
		return errors.New("source is neither a string nor a list of strings")
	}
	if outputs, ok := c.fields["outputs"]; ok {
		list, ok := outputs.([]any)
		if !ok {
			return errors.New("outputs is not an array")
		}
		for i, o := range list {
			if _, ok := o.(Output); !ok {
				return fmt.Errorf("outputs[%d] is not an object", i)
			}
		}
	}
	return nil
}

// joined returns a string that nbformat allows to be split into a list.
func joined(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []any:
		var b strings.Builder
		for _, line := range v {
			s, ok := line.(string)
			if !ok {
				return "", false
			}
			b.WriteString(s)
		}
		return b.String(), true
	}
	return "", false
}

// lines is the inverse of joined, as Jupyter writes it: a list of lines with
// their line ends.
func lines(s string) []any {
	list := []any{}
	for line := range strings.Lines(s) {
		list = append(list, line)
	}
	return list
}

// Cells returns the cells in order. The slice must not be changed.
func (n *Notebook) Cells() []*Cell { return n.cells }

// Language returns the kernel's language and name as the metadata give them,
// both empty when they do not.
func (n *Notebook) Language() (language, kernel string) {
	meta, _ := n.fields["metadata"].(map[string]any)
	spec, _ := meta["kernelspec"].(map[string]any)
	language, _ = spec["language"].(string)
	kernel, _ = spec["name"].(string)
	return language, kernel
}

// Bytes returns the notebook's JSON text as Jupyter writes it: sorted keys, one
// space of indentation, a final newline.
func (n *Notebook) Bytes() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(n.fields); err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	return buf.Bytes(), nil
}

// WriteFile writes the notebook to file, which appears whole or not at all.
func (n *Notebook) WriteFile(file string) error {
	data, err := n.Bytes()
	if err != nil {
		return err
	}
	return writeFile(file, data, 0o644)
}

// writeFile writes a file beside path and renames it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("notebook: %w", err)
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the first error is the one to report
		return fmt.Errorf("notebook: %w", err)
	}
	return nil
}

// Kind returns the cell's type: Code, Text or Verbatim.
func (c *Cell) Kind() string {
	s, _ := c.fields["cell_type"].(string)
	return s
}

// ID returns the cell's id, empty where the file gives none.
func (c *Cell) ID() string {
	s, _ := c.fields["id"].(string)
	return s
}

// Source returns the cell's text.
func (c *Cell) Source() string {
	s, _ := joined(c.fields["source"])
	return s
}

// Tags returns the tags in the cell's metadata.
func (c *Cell) Tags() []string {
	meta, _ := c.fields["metadata"].(map[string]any)
	list, _ := meta["tags"].([]any)
	var tags []string
	for _, t := range list {
		if s, ok := t.(string); ok {
			tags = append(tags, s)
		}
	}
	return tags
}

// HasTag reports whether the cell has the tag.
func (c *Cell) HasTag(tag string) bool { return slices.Contains(c.Tags(), tag) }

// Outputs returns the outputs of a code cell.
func (c *Cell) Outputs() []Output {
	list, _ := c.fields["outputs"].([]any)
	outputs := make([]Output, len(list))
	for i, o := range list {
		outputs[i], _ = o.(Output)
	}
	return outputs
}

// setOutputs replaces the outputs and the execution count; count 0 is null.
func (c *Cell) setOutputs(outputs []Output, count int) {
	list := make([]any, len(outputs))
	for i, o := range outputs {
		list[i] = o
	}
	c.fields["outputs"] = list
	c.fields["execution_count"] = nil
	if count > 0 {
		c.fields["execution_count"] = count
	}
}
