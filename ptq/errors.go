package ptq

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/internal/nearest"
)

// Event reports something that a reader of results should know although the work
// went on: a fallback that was asked for, a selection without information.
type Event struct {
	Kind string `json:"kind"` // what happened, one word or two joined by "-"
	Text string `json:"text"` // where, and the numbers
}

// event makes an Event with a formatted text.
func event(kind, format string, args ...any) Event {
	return Event{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// oneOf checks that value is in the list; the error has no prefix.
func oneOf[S ~string](field string, value S, valid ...S) error {
	if slices.Contains(valid, value) {
		return nil
	}
	return fmt.Errorf("%s is %q; expected %s", field, value, choices(string(value), stringsOf(valid)))
}

func stringsOf[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// choices lists the valid names and, where one is near, points to it.
func choices(name string, valid []string) string {
	text := "one of " + strings.Join(valid, ", ")
	if best := nearest.Name(name, valid); best != "" {
		text += fmt.Sprintf(" (did you mean %q?)", best)
	}
	return text
}
