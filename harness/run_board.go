package harness

import (
	"fmt"
	"sync"
	"time"

	"github.com/tlqlab/tlqlab/display"
)

// CellState is where a cell of a run is.
type CellState struct {
	Cell    Cell
	Running bool
	Share   float64 // of its work that is done, estimated, 0..1
	Record  *Record // nil: not finished
}

// RunState is where a run is: what a live table shows.
type RunState struct {
	Cells   []CellState // in the order of the grid
	Changed int         // the cell whose change this tells; −1: none's
	Note    string      // what is worked on beside the cells
	Done    float64     // share of the run's work, estimated, 0..1
	Elapsed time.Duration
	Left    time.Duration // estimated
}

// Finished counts cells that have a record.
func (s *RunState) Finished() int {
	n := 0
	for i := range s.Cells {
		if s.Cells[i].Record != nil {
			n++
		}
	}
	return n
}

// board keeps the state of a run and tells its watchers.
type board struct {
	p        *Plan
	progress *display.Progress
	watch    func(RunState)
	workers  int
	start    time.Time

	mu    sync.Mutex
	state RunState
}

func newBoard(p *Plan, o RunOptions) *board {
	b := &board{p: p, progress: o.Progress, watch: o.Watch, workers: o.Workers, start: time.Now()}
	b.state.Changed = -1
	for _, c := range p.Cells {
		b.state.Cells = append(b.state.Cells, CellState{Cell: c})
	}
	return b
}

// change changes a cell's state; cell −1 is none's.
func (b *board) change(cell int, f func(*CellState)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cell >= 0 {
		f(&b.state.Cells[cell])
	}
	b.state.Changed = cell
	b.tell()
}

// note says what is worked on beside the cells.
func (b *board) note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Note, b.state.Changed = text, -1
	b.tell()
}

// tell works out how far the run is and tells who watches. b.mu is held.
func (b *board) tell() {
	done, total := 0.0, b.p.rest
	for i, w := range b.p.work {
		done += w.total() * b.state.Cells[i].Share
		total += w.total()
	}
	if total > 0 {
		b.state.Done = done / total
	}
	b.state.Elapsed = time.Since(b.start)
	b.state.Left = b.left(total)
	b.progress.Set(int(1000*done), fmt.Sprintf("%d/%d cells", b.state.Finished(), len(b.state.Cells)))
	if b.watch != nil {
		s := b.state
		s.Cells = append([]CellState(nil), s.Cells...)
		b.watch(s)
	}
}

// early is the share of the work below which the plan's estimate is trusted more than the
// speed so far.
const early = 0.03

// left is the time that the rest takes, at the speed so far.
func (b *board) left(total float64) time.Duration {
	s := &b.state
	if s.Done < early {
		return max(0, onThisMachine(total, b.workers)-s.Elapsed)
	}
	return time.Duration(float64(s.Elapsed) * (1 - s.Done) / s.Done)
}

// meter turns the steps of a part of a cell into its share of the work.
type meter struct {
	b          *board
	cell       int
	from, span float64 // of the cell's share
	steps      int     // that the part takes

	mu   sync.Mutex
	done int
}

// Add counts steps.
func (m *meter) Add(n int) {
	m.mu.Lock()
	m.done += n
	share := m.from + m.span*min(1, float64(m.done)/float64(max(1, m.steps)))
	m.mu.Unlock()
	m.b.change(m.cell, func(c *CellState) { c.Share = max(c.Share, share) })
}

// calibration and evaluation are the meters of a cell's two parts.
func (b *board) calibration(cell int) *meter {
	w := b.p.work[cell]
	return &meter{b: b, cell: cell, span: w.calibrate / max(w.total(), readSeconds), steps: b.p.Cells[cell].m.CalibrationSteps()}
}

func (b *board) evaluation(cell int) *meter {
	w := b.p.work[cell]
	part := w.calibrate / max(w.total(), readSeconds)
	return &meter{b: b, cell: cell, from: part, span: 1 - part, steps: len(b.p.Spec.Tasks) * b.p.Spec.questions()}
}
