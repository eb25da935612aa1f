package harness

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// EventLog collects the events of one cell of the grid. It may be used by
// several goroutines.
type EventLog struct {
	// Echo receives a line for every event that belongs to the run and not to a
	// result, such as an artifact that had to be recomputed; nil: none.
	Echo io.Writer

	mu     sync.Mutex
	events []Event
}

type eventLogKey struct{}

// WithEvents returns a context whose events go to log.
func WithEvents(ctx context.Context, log *EventLog) context.Context {
	return context.WithValue(ctx, eventLogKey{}, log)
}

// eventsOf is the context's log, nil where it has none.
func eventsOf(ctx context.Context) *EventLog {
	log, _ := ctx.Value(eventLogKey{}).(*EventLog)
	return log
}

// Report records an event in the context's log. Without one it goes to
// standard error: events are never lost.
func Report(ctx context.Context, kind, format string, args ...any) {
	e := Event{Kind: kind, Text: fmt.Sprintf(format, args...)}
	log := eventsOf(ctx)
	if log == nil {
		fmt.Fprintf(os.Stderr, "tlq: %s: %s\n", e.Kind, e.Text)
		return
	}
	log.add(e)
}

// ofRun tells whether an event belongs to the run, not to the result that the
// run computes or loads.
func (e Event) ofRun() bool {
	return e.Kind == EventRecomputed || e.Kind == EventEvicted || e.Kind == EventError
}

// add keeps an event once: stages that share an input report it each.
func (l *EventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.events, e) {
		return
	}
	l.events = append(l.events, e)
	if l.Echo != nil && e.ofRun() {
		fmt.Fprintf(l.Echo, "tlq: %s: %s\n", e.Kind, e.Text)
	}
}

// forward reports the log's events to another context.
func (l *EventLog) forward(ctx context.Context) {
	for _, e := range l.Events() {
		Report(ctx, e.Kind, "%s", e.Text)
	}
}

// lasting returns the events that belong to a result, not to the run that
// computed it: they are kept with the artifact and reported whenever it is used.
func (l *EventLog) lasting() []Event {
	var out []Event
	for _, e := range l.Events() {
		if !e.ofRun() {
			out = append(out, e)
		}
	}
	return out
}

// Events returns a copy of the events so far, in order; never nil.
func (l *EventLog) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event{}, l.events...)
}
