package harness

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/tlqlab/tlqlab/internal/nearest"
)

// expected lists the valid names for an error message and suggests the nearest.
func expected(name string, valid []string) string {
	if len(valid) == 0 {
		return "there are none"
	}
	return "expected one of " + expectedOf(name, valid)
}

func expectedOf(name string, valid []string) string {
	text := strings.Join(valid, ", ")
	if near := nearest.Name(name, valid); near != "" {
		text += fmt.Sprintf(" (did you mean %q?)", near)
	}
	return text
}

// jsonFields lists the JSON names of a struct's fields.
func jsonFields[T any]() []string {
	t := reflect.TypeFor[T]()
	var out []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			out = append(out, name)
		}
	}
	return out
}
