package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Write writes the tensors as one safetensors file. The bytes depend on the
// tensors and the metadata alone, not on the order of the arguments: wider element
// types first, names ascending within a width, as the Hugging Face writer orders
// them, so that every tensor lies aligned to its elements. The header is padded
// with spaces until the data begin at a multiple of 8.
//
// An empty metadata is left out. Checkpoints for transformers need
// {"format": "pt"}. Errors: two tensors of one name, data that do not fit type and
// shape, a header above 100 MB; nothing is written then.
func Write(w io.Writer, metadata map[string]string, tensors ...Tensor) error {
	ordered, head, err := layout(metadata, tensors)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("safetensors: writing the header: %w", err)
	}
	for _, t := range ordered {
		if _, err := w.Write(t.Data); err != nil {
			return fmt.Errorf("safetensors: writing tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

// layout checks and orders the tensors and returns the header with its length.
func layout(metadata map[string]string, tensors []Tensor) ([]Tensor, []byte, error) {
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return nil, nil, err
		}
	}
	return layoutShapes(metadata, tensors)
}

// sortTensors brings tensors into the order of a file.
func sortTensors(list []Tensor) {
	slices.SortFunc(list, func(a, b Tensor) int {
		if wa, wb := dtypeBits[a.DType], dtypeBits[b.DType]; wa != wb {
			return int(wb) - int(wa)
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// layoutShapes is layout without a look at the tensors' data.
func layoutShapes(metadata map[string]string, tensors []Tensor) ([]Tensor, []byte, error) {
	ordered := slices.Clone(tensors)
	sortTensors(ordered)
	head := bytes.NewBuffer(make([]byte, 8))
	head.WriteByte('{')
	if len(metadata) > 0 {
		if err := writeMetadata(head, metadata); err != nil {
			return nil, nil, err
		}
	}
	if err := writeEntries(head, ordered); err != nil {
		return nil, nil, err
	}
	head.WriteByte('}')
	for head.Len()%8 != 0 {
		head.WriteByte(' ')
	}
	n := head.Len() - 8
	if n > maxHeader {
		return nil, nil, fmt.Errorf("safetensors: a header of %d bytes exceeds the format's limit of %d; split the tensors over several files", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(head.Bytes(), uint64(n))
	return ordered, head.Bytes(), nil
}

// writeEntries checks the tensors, which lie one after the other in the given
// order, and writes their entries.
func writeEntries(head *bytes.Buffer, ordered []Tensor) error {
	seen := map[string]bool{}
	at := 0
	for _, t := range ordered {
		size, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		}
		if t.Name == metadataKey || !utf8.ValidString(t.Name) {
			return fmt.Errorf("safetensors: %q is no possible tensor name", t.Name)
		}
		if seen[t.Name] {
			return fmt.Errorf("safetensors: two tensors are named %q", t.Name)
		}
		seen[t.Name] = true
		if bytes.HasSuffix(head.Bytes(), []byte("}")) { // the metadata or another tensor
			head.WriteByte(',')
		}
		entry, err := json.Marshal(struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{t.DType, append([]int{}, t.Shape...), [2]int{at, at + int(size)}})
		if err != nil {
			return fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		}
		writeString(head, t.Name)
		head.WriteByte(':')
		head.Write(entry)
		at += int(size)
	}
	return nil
}

func writeMetadata(head *bytes.Buffer, metadata map[string]string) error {
	writeString(head, metadataKey)
	head.WriteString(":{")
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
			return fmt.Errorf("safetensors: metadata %q is not valid UTF-8", key)
		}
		if i > 0 {
			head.WriteByte(',')
		}
		writeString(head, key)
		head.WriteByte(':')
		writeString(head, metadata[key])
	}
	head.WriteByte('}')
	return nil
}

// writeString writes s as a JSON string without HTML escapes.
func writeString(head *bytes.Buffer, s string) {
	enc := json.NewEncoder(head)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("safetensors: a string has no JSON form: " + err.Error())
	}
	head.Truncate(head.Len() - 1) // the encoder's newline
}

// WriteFile writes the tensors to path, with the rules of [Write]. The file
// appears whole or not at all: it is written beside path under another name,
// synced and renamed. An interrupted call can leave such a file behind; its name
// ends in ".tmp".
func WriteFile(path string, metadata map[string]string, tensors ...Tensor) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	renamed := false
	defer func() {
		if !renamed {
			_ = temp.Close() // closed already unless a step before failed, and that error counts
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	w := bufio.NewWriterSize(temp, 1<<20)
	if err := Write(w, metadata, tensors...); err != nil {
		return fmt.Errorf("%w (file %s)", err, path)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := temp.Chmod(0o644); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := temp.Sync(); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := temp.Close(); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	renamed = true
	return syncDir(dir)
}

// syncDir makes the rename in dir durable, where the system can sync folders.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	// Some systems refuse to sync a folder; the file itself is synced already.
	_ = d.Sync()
	return d.Close()
}
