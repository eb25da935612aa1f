package models

import (
	"encoding/json"
	"fmt"
	"strings"
)

// fields reads one object of a config.json key by key. The first value that is
// bad or not supported is kept, named by its path; reading goes on with defaults.
type fields struct {
	path   string // "" or "vision_config."
	object map[string]json.RawMessage
	err    *error // shared with sub-objects
}

// parseFields reads the bytes of a config.json.
func parseFields(data []byte) (*fields, error) {
	f := &fields{err: new(error)}
	if err := json.Unmarshal(data, &f.object); err != nil {
		return nil, fmt.Errorf("not a config.json: %w", err)
	}
	if f.object == nil {
		return nil, fmt.Errorf("not a config.json: got null, expected an object")
	}
	return f, nil
}

// has tells whether a key is there and not null.
func (f *fields) has(key string) bool {
	raw, ok := f.object[key]
	return ok && string(raw) != "null"
}

// sub is the object under a key; an empty one where the key is left out.
func (f *fields) sub(key string) *fields {
	s := &fields{path: f.path + key + ".", err: f.err}
	s.object = read(f, key, "an object", map[string]json.RawMessage{})
	return s
}

func (f *fields) int(key string, def int) int { return read(f, key, "an integer", def) }
func (f *fields) float(key string, def float64) float64 {
	return read(f, key, "a number", def)
}
func (f *fields) bool(key string, def bool) bool     { return read(f, key, "true or false", def) }
func (f *fields) text(key string, def string) string { return read(f, key, "a text", def) }
func (f *fields) id(key string, def int32) int32     { return read(f, key, "a token id", def) }
func (f *fields) texts(key string) []string          { return read(f, key, "a list of texts", []string(nil)) }

func (f *fields) ints(key string, def []int) []int { return read(f, key, "a list of integers", def) }

// pairs reads a list of pairs.
func (f *fields) pairs(key string, def [][2]int) [][2]int {
	if !f.has(key) {
		return def
	}
	out := [][2]int{}
	for _, p := range read(f, key, "a list of pairs of integers", [][]int(nil)) {
		if len(p) != 2 {
			f.fail(key, "%v among the pairs; expected [height, width]", p)
			return def
		}
		out = append(out, [2]int(p))
	}
	return out
}

// ids reads one token id or a list of them.
func (f *fields) ids(key string, def ...int32) []int32 {
	list := def
	switch {
	case !f.has(key):
		return def
	case f.isList(key):
		list = read(f, key, "a list of token ids", def)
	default:
		list = []int32{f.id(key, 0)}
	}
	for _, id := range list {
		if id < 0 {
			f.fail(key, "token id %d; expected 0 or above", id)
			return def
		}
	}
	return list
}

// isList tells whether the value of a key is a list.
func (f *fields) isList(key string) bool {
	return strings.HasPrefix(strings.TrimSpace(string(f.object[key])), "[")
}

// read decodes the value of a key; left out or null, it is def.
func read[T any](f *fields, key, expected string, def T) T {
	if !f.has(key) {
		return def
	}
	var v T
	if err := json.Unmarshal(f.object[key], &v); err != nil {
		raw := string(f.object[key])
		if len(raw) > 40 {
			raw = raw[:40] + "…"
		}
		f.fail(key, "got %s, expected %s", raw, expected)
		return def
	}
	return v
}

// fail keeps the first error, which names the key.
func (f *fields) fail(key, format string, args ...any) {
	if *f.err == nil {
		*f.err = fmt.Errorf("%s%s: %s", f.path, key, fmt.Sprintf(format, args...))
	}
}

// refuseUnless fails where a text is neither left out nor one of the supported.
func (f *fields) refuseUnless(key string, supported ...string) {
	if !f.has(key) {
		return
	}
	got := f.text(key, supported[0])
	for _, s := range supported {
		if got == s {
			return
		}
	}
	f.fail(key, "%q is not supported; expected %s", got, strings.Join(supported, " or "))
}

// refuseIf fails where a switch is on.
func (f *fields) refuseIf(key, expected string) {
	if f.bool(key, false) {
		f.fail(key, "true is not supported; expected %s", expected)
	}
}
