package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/tlqlab/tlqlab/display"
	"github.com/tlqlab/tlqlab/harness"
)

// liveTable shows a run on standard error while it goes on: on a terminal a table of the
// cells that is drawn again and again, elsewhere a line for each cell that took a while.
// A cell shows "·" before it begins, its share, then its KL, "failed" where it did; the
// unquantized model's shows its accuracy.
type liveTable struct {
	w        io.Writer
	name     string
	terminal bool
	lines    int       // of the last drawing
	last     time.Time // of the last drawing or line
	started  []time.Time
}

// Least time between two drawings, and how long a cell takes that is worth a line.
const (
	liveEvery  = 200 * time.Millisecond
	worthALine = time.Second
	lineEvery  = 30 * time.Second // where no cell finishes for so long
)

// liveRows is the most rows that are drawn: more would scroll off a small terminal.
const liveRows = 20

func newLiveTable(w io.Writer, name string) *liveTable {
	f, ok := w.(*os.File)
	return &liveTable{w: w, name: name, terminal: ok && isatty.IsTerminal(f.Fd()), last: time.Now()}
}

// watch is told of every change, one after the other.
func (l *liveTable) watch(s harness.RunState) {
	now := time.Now()
	if l.started == nil {
		l.started = make([]time.Time, len(s.Cells))
	}
	finished := s.Changed >= 0 && s.Cells[s.Changed].Record != nil
	if s.Changed >= 0 && l.started[s.Changed].IsZero() {
		l.started[s.Changed] = now
	}
	if l.terminal {
		if now.Sub(l.last) >= liveEvery || s.Finished() == len(s.Cells) {
			l.last = now
			l.draw(&s)
		}
		return
	}
	switch {
	case finished && now.Sub(l.started[s.Changed]) >= worthALine:
		l.last = now
		fmt.Fprintf(l.w, "%s  %s: %s in %s\n", l.status(&s), s.Cells[s.Changed].Cell, outcome(s.Cells[s.Changed].Record), brief(now.Sub(l.started[s.Changed])))
	case now.Sub(l.last) >= lineEvery:
		l.last = now
		fmt.Fprintln(l.w, l.status(&s))
	}
}

// outcome is what a line says of a finished cell.
func outcome(r *harness.Record) string {
	switch {
	case r.Status == harness.StatusFailed:
		return "failed: " + shorten(r.Error(), 80)
	case r.Method == harness.MethodFP:
		return fmt.Sprintf("accuracy %.3f", r.Metrics.Accuracy)
	}
	return fmt.Sprintf("KL %.4f, accuracy %.3f", r.Metrics.KL, r.Metrics.Accuracy)
}

// status is where the run is.
func (l *liveTable) status(s *harness.RunState) string {
	text := fmt.Sprintf("%s %d/%d cells, %s", l.name, s.Finished(), len(s.Cells), brief(s.Elapsed))
	if s.Left >= time.Second {
		text += ", about " + brief(s.Left) + " left"
	}
	if s.Note != "" {
		text += ", " + s.Note
	}
	return text
}

// brief is a duration for reading: "8s", "3m10s", "1h5m".
func brief(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	text := d.Round(time.Second).String()
	if d >= time.Hour {
		text = strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return text
}

// draw writes the table over its last drawing.
func (l *liveTable) draw(s *harness.RunState) {
	text := liveGrid(s).Text() + l.status(s) + "\n"
	clear := ""
	if l.lines > 0 {
		clear = fmt.Sprintf("\x1b[%dA\x1b[J", l.lines)
	}
	fmt.Fprint(l.w, clear, text)
	l.lines = strings.Count(text, "\n")
}

// liveGrid has a row per model and setting, a column per method. Where there are more rows than
// a terminal shows, those of finished models are left out.
func liveGrid(s *harness.RunState) *display.Table {
	t := &display.Table{Columns: []string{"model", "setting"}}
	type place struct{ model, setting string }
	var rows []place
	cells := map[place]map[string][]harness.CellState{}
	open := map[string]bool{}
	for _, c := range s.Cells {
		r := harness.Record{Format: c.Cell.Format, Outliers: c.Cell.Outliers}
		at := place{strings.TrimPrefix(c.Cell.Model, "zoo:"), r.Setting()}
		if c.Cell.Format == "" {
			at.setting = "unquantized"
		}
		if cells[at] == nil {
			rows, cells[at] = append(rows, at), map[string][]harness.CellState{}
		}
		if !slices.Contains(t.Columns, c.Cell.Method) {
			t.Columns = append(t.Columns, c.Cell.Method)
		}
		cells[at][c.Cell.Method] = append(cells[at][c.Cell.Method], c)
		open[at.model] = open[at.model] || c.Record == nil
	}
	if len(rows) > liveRows {
		rows = slices.DeleteFunc(rows, func(p place) bool { return !open[p.model] })
		rows = rows[:min(len(rows), liveRows)]
	}
	for _, at := range rows {
		row := []any{at.model, at.setting}
		for _, method := range t.Columns[2:] {
			row = append(row, liveCell(cells[at][method]))
		}
		t.Add(row...)
	}
	return t
}

// liveCell sums up a cell's seeds: their mean KL, and how many are done where not all.
func liveCell(seeds []harness.CellState) string {
	if len(seeds) == 0 {
		return ""
	}
	done, sum, share := 0, 0.0, 0.0
	running := false
	for _, c := range seeds {
		share += c.Share / float64(len(seeds))
		running = running || c.Running
		if c.Record == nil {
			continue
		}
		if c.Record.Status == harness.StatusFailed {
			return "failed"
		}
		done++
		if sum += c.Record.Metrics.KL; c.Cell.Method == harness.MethodFP {
			sum += c.Record.Metrics.Accuracy
		}
	}
	switch {
	case done == len(seeds):
		return fmt.Sprintf("%.4f", sum/float64(done))
	case running || done > 0:
		return fmt.Sprintf("%.0f%%", 100*share)
	}
	return "·"
}
