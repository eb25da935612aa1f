package datasets

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// tablesFile holds the tables of task chart, one JSON object per line.
const tablesFile = "tables.jsonl"

// Table is a real table of numbers that charts are drawn from.
type Table struct {
	Name        string   `json:"name"`        // unique
	File        string   `json:"file"`        // in the npm package
	Split       Split    `json:"split"`       // tables made from one source share it
	Licence     string   `json:"licence"`     // of the numbers
	Attribution string   `json:"attribution"` // where the numbers come from
	Labels      []string `json:"labels"`      // of the rows, at most four characters each, unique
	Series      []Series `json:"series"`      // columns
}

// Series is a column of a table.
type Series struct {
	Name   string    `json:"name"`   // unique in its table
	Values []float64 `json:"values"` // one per label, positive; 0: missing
}

// Limits of a table.
const (
	labelMost = 4 // characters of a label
	rowsLeast = choices
)

// tablePack holds the tables by split.
type tablePack struct {
	hash   [sha256.Size]byte // of tables.jsonl
	tables []Table
	single map[Split][]column // every series with rowsLeast values or more
	groups map[Split][]int    // tables with two series or more
}

// column is one series of a table, by index.
type column struct{ table, series int }

// ReadTables returns the built-in tables.
func ReadTables() ([]Table, error) {
	p, err := builtin()
	if err != nil {
		return nil, err
	}
	return append([]Table(nil), p.tables.tables...), nil
}

// Validate reports the first fault of a table.
func (t *Table) Validate() error {
	switch {
	case t.Name == "" || t.Licence == "" || t.Attribution == "" || t.File == "":
		return fmt.Errorf("table %q: name, file, licence and attribution must not be empty", t.Name)
	case len(t.Labels) < rowsLeast:
		return fmt.Errorf("table %q has %d rows, want %d or more", t.Name, len(t.Labels), rowsLeast)
	case len(t.Series) == 0:
		return fmt.Errorf("table %q has no series", t.Name)
	}
	if _, err := ParseSplit(string(t.Split)); err != nil {
		return fmt.Errorf("table %q: %w", t.Name, err)
	}
	labels, names := map[string]bool{}, map[string]bool{}
	for _, l := range t.Labels {
		if l == "" || len([]rune(l)) > labelMost || labels[l] {
			return fmt.Errorf("table %q: label %q: want one to %d characters, each label once", t.Name, l, labelMost)
		}
		labels[l] = true
	}
	for _, s := range t.Series {
		if len(s.Values) != len(t.Labels) || names[s.Name] {
			return fmt.Errorf("table %q, series %q: %d values for %d labels, or its name appears twice", t.Name, s.Name, len(s.Values), len(t.Labels))
		}
		names[s.Name] = true
		for _, v := range s.Values {
			if v < 0 || v > 1e15 {
				return fmt.Errorf("table %q, series %q: value %g, want 0 (missing) to 1e15", t.Name, s.Name, v)
			}
		}
	}
	return nil
}

// filled counts the values that aren't missing.
func (s *Series) filled() int {
	n := 0
	for _, v := range s.Values {
		if v > 0 {
			n++
		}
	}
	return n
}

// parseTables reads tables.jsonl. Errors name the line.
func parseTables(data []byte) (*tablePack, error) {
	p := &tablePack{hash: sha256.Sum256(data), single: map[Split][]column{}, groups: map[Split][]int{}}
	names := map[string]bool{}
	for number, line := range bytes.Split(data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var t Table
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&t)
		if err == nil && decoder.More() {
			err = fmt.Errorf("more than one object")
		}
		if err == nil {
			err = t.Validate()
		}
		if err == nil && names[t.Name] {
			err = fmt.Errorf("table %q appears twice", t.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("datasets: %s:%d: %w; run \"tlq data build\"", tablesFile, number+1, err)
		}
		names[t.Name] = true
		p.add(t)
	}
	for _, s := range Splits() {
		if len(p.single[s]) == 0 || len(p.groups[s]) == 0 {
			return nil, fmt.Errorf("datasets: %s: split %s has %d series and %d tables of several series, want at least one of each; run \"tlq data build\"", tablesFile, s, len(p.single[s]), len(p.groups[s]))
		}
	}
	return p, nil
}

// add enters a valid table.
func (p *tablePack) add(t Table) {
	at := len(p.tables)
	p.tables = append(p.tables, t)
	n := 0
	for i := range t.Series {
		if t.Series[i].filled() >= rowsLeast {
			p.single[t.Split] = append(p.single[t.Split], column{at, i})
			n++
		}
	}
	if n >= 2 {
		p.groups[t.Split] = append(p.groups[t.Split], at)
	}
}
