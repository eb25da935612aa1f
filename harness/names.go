package harness

import (
	"fmt"
	"reflect"
	"strings"
)

// Nearest returns the valid name with the smallest edit distance to name, or
// "" where none is near enough to be a slip of the keyboard.
func Nearest(name string, valid []string) string {
	best, limit := "", max(2, len(name)/3)+1
	for _, v := range valid {
		if d := editDistance(strings.ToLower(name), strings.ToLower(v)); d < limit {
			best, limit = v, d
		}
	}
	return best
}

// expected lists the valid names for an error message and suggests the nearest.
func expected(name string, valid []string) string {
	if len(valid) == 0 {
		return "there are none"
	}
	return "expected one of " + expectedOf(name, valid)
}

func expectedOf(name string, valid []string) string {
	text := strings.Join(valid, ", ")
	if near := Nearest(name, valid); near != "" {
		text += fmt.Sprintf(" (did you mean %q?)", near)
	}
	return text
}

// editDistance is Levenshtein's distance, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
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
