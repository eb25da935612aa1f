package harness

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// EventLog collects the events of one cell of the grid. It may be used by
// several goroutines.
type EventLog struct {
	mu     sync.Mutex
	events []Event
}

type eventLogKey struct{}

// WithEvents returns a context whose events go to log.
func WithEvents(ctx context.Context, log *EventLog) context.Context {
	return context.WithValue(ctx, eventLogKey{}, log)
}

// Report records an event in the context's log. Without one it goes to
// standard error: events are never lost.
func Report(ctx context.Context, kind, format string, args ...any) {
	e := Event{Kind: kind, Text: fmt.Sprintf(format, args...)}
	if log, ok := ctx.Value(eventLogKey{}).(*EventLog); ok {
		log.add(e)
		return
	}
	fmt.Fprintf(os.Stderr, "tlq: %s: %s\n", e.Kind, e.Text)
}

func (l *EventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// Events returns a copy of the events so far, in order; never nil.
func (l *EventLog) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event{}, l.events...)
}
