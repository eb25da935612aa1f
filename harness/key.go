package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// Key names an artifact by everything it depends on: 64 hex digits of SHA-256.
type Key string

// StageID names a kind of artifact and the version of the code that makes it.
// The version is raised by hand whenever the code's results change, so that
// results of the old code are not taken for the new one's.
type StageID struct {
	Name    string `json:"stage"`
	Version int    `json:"version"`
}

// NewKey hashes a stage, its parameters as JSON, and its inputs, in order:
// keys of other artifacts, or hashes of weights and data. Each part is hashed
// with its length, so no two lists of parts look alike. Parameters that JSON
// can't hold (a channel, a NaN) are a programming error and panic.
func NewKey(stage StageID, params any, inputs ...Key) Key {
	data, err := json.Marshal(params)
	if err != nil {
		panic(fmt.Sprintf("harness: key of stage %s: %v", stage.Name, err))
	}
	h := sha256.New()
	writePart(h, stage.Name)
	writePart(h, fmt.Sprint(stage.Version))
	writePart(h, string(data))
	for _, in := range inputs {
		writePart(h, string(in))
	}
	return Key(hex.EncodeToString(h.Sum(nil)))
}

func writePart(w io.Writer, part string) { fmt.Fprintf(w, "%d:%s,", len(part), part) }

// Short returns the key's first 8 digits, which is what folder names and
// messages show.
func (k Key) Short() string { return string(k[:min(8, len(k))]) }

// validate refuses what could not be a file name of the store.
func (k Key) validate() error {
	if raw, err := hex.DecodeString(string(k)); err != nil || len(raw) != sha256.Size {
		return fmt.Errorf("harness: store key %q: expected %d hex digits", string(k), 2*sha256.Size)
	}
	return nil
}
