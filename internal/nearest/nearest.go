// Package nearest finds the valid name that a mistyped one was meant to be, for
// error messages.
package nearest

import "strings"

// Name returns the valid name with the smallest edit distance to name, letter case
// aside; the first among equals, and "" where none is near enough to be a slip of the
// keyboard: at most two edits, or a third of the name's length.
func Name(name string, valid []string) string {
	best, limit := "", max(2, len(name)/3)+1
	for _, v := range valid {
		if d := Distance(strings.ToLower(name), strings.ToLower(v)); d < limit {
			best, limit = v, d
		}
	}
	return best
}

// Distance is Levenshtein's distance in bytes: the smallest number of insertions,
// deletions and substitutions that turn a into b.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := corner
			if a[i] != b[j] {
				substitute++
			}
			corner = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
