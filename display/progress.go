package display

import (
	"fmt"
	"html"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
	"github.com/mattn/go-isatty"
)

// Progress tells how far a long computation has come: a bar that is redrawn on
// a terminal's standard error, a line now and then where standard error is a
// file or a pipe, and an element that moves in a notebook. Its methods may be
// called from several goroutines. A nil *Progress shows nothing.
type Progress struct {
	mu    sync.Mutex
	title string
	total int
	done  int
	note  string
	ended bool

	start, last time.Time
	now         func() time.Time
	draw        func(final bool)
	every       time.Duration // least time between two drawings
	w           io.Writer     // terminal or log
	id          string        // notebook element
	shown       int           // runes of the line drawn last on a terminal
	line        string        // what the last line of a log said, without the clock
}

// Least time between two drawings. A notebook passes every one through three
// processes; log lines are for reading.
const (
	terminalEvery = 100 * time.Millisecond
	notebookEvery = 200 * time.Millisecond
	lineEvery     = 5 * time.Second
)

// NewProgress begins a progress display of total steps. A total of 0 or less
// means that the number of steps isn't known.
func NewProgress(title string, total int) *Progress {
	if gonbui.IsNotebook {
		p := newProgress(title, total, nil, false)
		p.every, p.draw = notebookEvery, p.drawNotebook
		// A fresh id each time: the kernel remembers them, and a repeated one
		// would move an earlier cell's bar.
		p.id = "progress_" + gonbui.UniqueId()
		return p
	}
	return newProgress(title, total, os.Stderr, isatty.IsTerminal(os.Stderr.Fd()))
}

func newProgress(title string, total int, w io.Writer, terminal bool) *Progress {
	p := &Progress{title: title, total: max(total, 0), w: w, now: time.Now}
	p.start = p.now()
	p.every, p.draw = lineEvery, p.drawLine
	p.last = p.start // the first line comes only when there is something to wait for
	if terminal {
		p.every, p.draw, p.last = terminalEvery, p.drawBar, time.Time{}
	}
	return p
}

// Add counts n further steps as done.
func (p *Progress) Add(n int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.redraw()
}

// Set says that n steps are done in all, and what is worth knowing now, such as
// the loss; note may be empty.
func (p *Progress) Set(n int, note string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.note = n, note
	p.redraw()
}

// Done draws the last state and ends the display. Later calls do nothing.
func (p *Progress) Done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	p.draw(true)
}

// Stop ends the display of what failed: nothing more is drawn, and on a terminal what is
// written next begins on a line of its own. After Done it does nothing.
func (p *Progress) Stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && p.shown > 0 {
		fmt.Fprintln(p.w)
	}
	p.ended = true
}

// redraw draws unless the last drawing is too recent. p.mu is held.
func (p *Progress) redraw() {
	if now := p.now(); !p.ended && now.Sub(p.last) >= p.every {
		p.last = now
		p.draw(false)
	}
}

// count is "12/40", or "12" when the total isn't known.
func (p *Progress) count() string {
	if p.total == 0 {
		return fmt.Sprint(p.done)
	}
	return fmt.Sprintf("%d/%d", p.done, p.total)
}

// clock is the time since the start and the expected rest, "12s, 30s left".
func (p *Progress) clock(final bool) string {
	spent := p.now().Sub(p.start)
	s := spent.Round(time.Second).String()
	if final || spent < time.Second || p.total == 0 || p.done <= 0 || p.done >= p.total {
		return s
	}
	left := time.Duration(float64(spent) / float64(p.done) * float64(p.total-p.done))
	return s + ", " + left.Round(time.Second).String() + " left"
}

func (p *Progress) suffix() string {
	if p.note == "" {
		return ""
	}
	return " " + p.note
}

// drawLine writes a line, but not one that says what the last one said.
func (p *Progress) drawLine(final bool) {
	state := p.count() + p.suffix()
	if state == p.line {
		return
	}
	p.line = state
	fmt.Fprintf(p.w, "%s: %s (%s)\n", p.title, state, p.clock(final))
}

func (p *Progress) drawBar(final bool) {
	const cells = 30
	bar := ""
	if p.total > 0 {
		full := min(max(p.done*cells/p.total, 0), cells)
		bar = "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "] "
	}
	line := fmt.Sprintf("%s %s%s%s (%s)", p.title, bar, p.count(), p.suffix(), p.clock(final))
	n := utf8.RuneCountInString(line)
	fmt.Fprint(p.w, "\r", line, strings.Repeat(" ", max(p.shown-n, 0)))
	p.shown = n
	if final {
		fmt.Fprintln(p.w)
	}
}

// drawNotebook leaves the clock out, so that executed notebooks do not differ
// from run to run by times.
func (p *Progress) drawNotebook(final bool) {
	bar := ""
	if p.total > 0 {
		bar = fmt.Sprintf(`<progress value="%d" max="%d"></progress> `, min(p.done, p.total), p.total)
	}
	data := bundle{protocol.MIMETextHTML: fmt.Sprintf(`<div>%s %s%s%s</div>`,
		html.EscapeString(p.title), bar, p.count(), html.EscapeString(p.suffix()))}
	if !final {
		gonbui.SendData(&protocol.DisplayData{Data: data, DisplayID: p.id})
		return
	}
	if err := send(data, p.id); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
