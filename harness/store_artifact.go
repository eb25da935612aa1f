package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Artifact is what a stage leaves behind: a JSON value and named tensors,
// either of which may be missing. On disk it is one safetensors file whose
// metadata hold the JSON, the key and a checksum, so any tool that reads
// safetensors can look into it.
type Artifact struct {
	JSON    json.RawMessage
	Tensors []safetensors.Tensor // Data may be a view: don't write into it
	Events  []Event              // what came up while it was made

	file *safetensors.File // the parsed file of an artifact that was read
}

// Metadata entries of an artifact's file. The checksum is SHA-256 over the
// whole file with the checksum's own digits taken as zeros.
const (
	metaFormat   = "tlq_store"
	metaKey      = "tlq_key"
	metaJSON     = "tlq_json"
	metaEvents   = "tlq_events"
	metaChecksum = "tlq_sha256"
)

// checksumMark comes before the checksum's digits. Inside a JSON string the
// quotes would be escaped, so it occurs once in a header.
const checksumMark = `"` + metaChecksum + `":"`

const checksumDigits = 2 * sha256.Size

// NewArtifact makes an artifact of a JSON value and tensors.
func NewArtifact(value any, tensors ...safetensors.Tensor) (*Artifact, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("harness: artifact: %w", err)
	}
	return &Artifact{JSON: data, Tensors: tensors}, nil
}

// Decode reads the artifact's JSON into v, refusing unknown fields.
func (a *Artifact) Decode(v any) error { return unmarshalStrict(a.JSON, v) }

// File returns the artifact's tensors as a safetensors file.
func (a *Artifact) File() (*safetensors.File, error) {
	if a.file != nil {
		return a.file, nil
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, nil, a.Tensors...); err != nil {
		return nil, fmt.Errorf("harness: artifact: %w", err)
	}
	return safetensors.Parse(b.Bytes())
}

// Float32s returns a copy of a tensor's values.
func (a *Artifact) Float32s(name string) ([]float32, error) {
	f, err := a.File()
	if err != nil {
		return nil, err
	}
	t, err := f.Tensor(name)
	if err != nil {
		return nil, fmt.Errorf("harness: artifact: %w", err)
	}
	return t.Float32s()
}

// writeArtifact writes the file of an artifact, tensor by tensor, and returns its size
// in bytes. The checksum is filled in at the end.
func writeArtifact(f *os.File, key Key, a *Artifact) (int64, error) {
	meta := map[string]string{
		metaFormat: storeFormat, metaKey: string(key), metaJSON: string(a.JSON),
		metaChecksum: string(bytes.Repeat([]byte("0"), checksumDigits)),
	}
	if len(a.Events) > 0 {
		events, err := json.Marshal(a.Events)
		if err != nil {
			return 0, fmt.Errorf("harness: artifact: %w", err)
		}
		meta[metaEvents] = string(events)
	}
	sum, head := sha256.New(), &firstWrite{}
	if err := safetensors.Write(io.MultiWriter(f, sum, head), meta, a.Tensors...); err != nil {
		return 0, fmt.Errorf("harness: artifact: %w", err)
	}
	at, err := checksumAt(head.data)
	if err != nil {
		return 0, err
	}
	_, err = f.WriteAt(hex.AppendEncode(nil, sum.Sum(nil)), int64(at))
	return head.size, err
}

// firstWrite keeps the first write, a safetensors file's header, and counts all.
type firstWrite struct {
	data []byte
	size int64
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.data == nil {
		w.data = bytes.Clone(p)
	}
	w.size += int64(len(p))
	return len(p), nil
}

// checksumAt returns where the checksum's digits begin in an artifact's file.
func checksumAt(data []byte) (int, error) {
	if len(data) < 8 {
		return 0, fmt.Errorf("cut short: %d bytes", len(data))
	}
	size := binary.LittleEndian.Uint64(data)
	if size > uint64(len(data)-8) {
		return 0, fmt.Errorf("cut short: %d bytes, a header of %d", len(data), size)
	}
	header := data[8 : 8+size]
	i := bytes.Index(header, []byte(checksumMark))
	if i < 0 || i+len(checksumMark)+checksumDigits > len(header) {
		return 0, errors.New("it has no checksum")
	}
	return 8 + i + len(checksumMark), nil
}

// decodeArtifact checks and parses the bytes of key's file, which it owns.
func decodeArtifact(key Key, data []byte) (*Artifact, error) {
	at, err := checksumAt(data)
	if err != nil {
		return nil, err
	}
	digits := data[at : at+checksumDigits]
	stored := string(digits)
	copy(digits, bytes.Repeat([]byte("0"), checksumDigits))
	sum := sha256.Sum256(data)
	if hex.EncodeToString(sum[:]) != stored {
		return nil, errors.New("its checksum doesn't match")
	}
	f, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	meta := f.Metadata()
	if meta[metaFormat] != storeFormat {
		return nil, fmt.Errorf("written by another version (%q, expected %q)", meta[metaFormat], storeFormat)
	}
	if meta[metaKey] != string(key) {
		return nil, fmt.Errorf("it belongs to the key %s", Key(meta[metaKey]).Short())
	}
	a := &Artifact{JSON: json.RawMessage(meta[metaJSON]), file: f}
	if events, ok := meta[metaEvents]; ok {
		if err := json.Unmarshal([]byte(events), &a.Events); err != nil {
			return nil, fmt.Errorf("its events: %w", err)
		}
	}
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		a.Tensors = append(a.Tensors, t)
	}
	return a, nil
}
