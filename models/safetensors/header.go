package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxHeader is the format's limit on the JSON header, in bytes.
const maxHeader = 100_000_000

const metadataKey = "__metadata__"

// header is a checked header: its tensors' data are slices of the file.
type header struct {
	metadata map[string]string
	tensors  []Tensor // in data order
}

// readHeader checks the whole header of the file contents data. Errors carry no
// file name; the caller adds it.
func readHeader(data []byte) (*header, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("%d bytes, but a safetensors file begins with an 8-byte header length; the file is cut short or of another format", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader {
		return nil, fmt.Errorf("header length %d exceeds the format's limit of %d bytes; the file is damaged or of another format", n, maxHeader)
	}
	if n > uint64(len(data)-8) {
		return nil, fmt.Errorf("header length %d, but only %d bytes follow; the file is cut short", n, len(data)-8)
	}
	text, body := data[8:8+n], data[8+n:]
	if !utf8.Valid(text) {
		return nil, errors.New("the header is not valid UTF-8")
	}
	if len(text) == 0 || text[0] != '{' {
		return nil, errors.New("the header does not begin with '{'")
	}
	p := newHeaderParser(text)
	h, err := p.header()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.place(p.ranges, body); err != nil {
		return nil, err
	}
	return h, nil
}

// place checks that the tensors' byte ranges cover body once and without holes,
// and sets their data.
func (h *header) place(ranges map[string][2]uint64, body []byte) error {
	slices.SortFunc(h.tensors, func(a, b Tensor) int {
		ra, rb := ranges[a.Name], ranges[b.Name]
		if c := slices.Compare(ra[:], rb[:]); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	var at uint64
	for i := range h.tensors {
		t := &h.tensors[i]
		r := ranges[t.Name]
		size, err := byteSize(t.DType, t.Shape)
		switch {
		case err != nil:
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		case r[0] > r[1]:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] run backwards", t.Name, r[0], r[1])
		case r[1] > uint64(len(body)):
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] end beyond the %d bytes of data; the file is cut short", t.Name, r[0], r[1], len(body))
		case r[1]-r[0] != size:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] span %d bytes, but %s %v takes %d", t.Name, r[0], r[1], r[1]-r[0], t.DType, t.Shape, size)
		case r[0] < at:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] overlap tensor %q, which ends at %d", t.Name, r[0], r[1], h.tensors[i-1].Name, at)
		case r[0] > at:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] leave a hole of %d bytes before it", t.Name, r[0], r[1], r[0]-at)
		}
		t.Data = body[r[0]:r[1]:r[1]]
		at = r[1]
	}
	if at != uint64(len(body)) {
		return fmt.Errorf("%d bytes of data follow the last tensor and belong to none", uint64(len(body))-at)
	}
	return nil
}

// headerParser reads the header token by token: encoding/json alone would let the
// last of two equal keys win and match keys regardless of case.
type headerParser struct {
	dec    *json.Decoder
	ranges map[string][2]uint64 // data_offsets by tensor name
}

func newHeaderParser(text []byte) *headerParser {
	p := &headerParser{dec: json.NewDecoder(bytes.NewReader(text)), ranges: map[string][2]uint64{}}
	p.dec.UseNumber()
	return p
}

// header reads the whole header and leaves the byte ranges in p.ranges.
func (p *headerParser) header() (*header, error) {
	h := &header{metadata: map[string]string{}}
	seen := map[string]bool{}
	err := p.object(func(key string) error {
		if seen[key] {
			return fmt.Errorf("names %q twice", key)
		}
		seen[key] = true
		if key == metadataKey {
			return p.strings(metadataKey, h.metadata)
		}
		t, err := p.tensor(key)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		h.tensors = append(h.tensors, t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return h, p.end()
}

// index reads the whole of an index of shards and returns its weight map.
func (p *headerParser) index() (map[string]string, error) {
	weightMap := map[string]string{}
	err := p.object(func(key string) error {
		if key == "weight_map" {
			return p.strings(key, weightMap)
		}
		return p.skip()
	})
	if err != nil {
		return nil, err
	}
	return weightMap, p.end()
}

// end checks that nothing but white space follows.
func (p *headerParser) end() error {
	if _, err := p.dec.Token(); err != io.EOF {
		return errors.New("text follows the closing brace")
	}
	return nil
}

// skip passes over one value.
func (p *headerParser) skip() error {
	var value json.RawMessage
	if err := p.dec.Decode(&value); err != nil {
		return fmt.Errorf("no valid JSON: %w", err)
	}
	return nil
}

// strings reads an object of strings into m.
func (p *headerParser) strings(what string, m map[string]string) error {
	return p.object(func(key string) error {
		if _, twice := m[key]; twice {
			return fmt.Errorf("%s names %q twice", what, key)
		}
		tok, err := p.token()
		if err != nil {
			return err
		}
		s, ok := tok.(string)
		if !ok {
			return fmt.Errorf("%s: the value of %q is %v, expected a string", what, key, tok)
		}
		m[key] = s
		return nil
	})
}

// tensor reads one tensor's entry.
func (p *headerParser) tensor(name string) (Tensor, error) {
	t := Tensor{Name: name}
	seen := map[string]bool{}
	err := p.object(func(key string) error {
		if seen[key] {
			return fmt.Errorf("names %q twice", key)
		}
		seen[key] = true
		return p.field(&t, key)
	})
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if err == nil && !seen[key] {
			err = fmt.Errorf("has no %s", key)
		}
	}
	return t, err
}

// field reads the value of one key of a tensor's entry.
func (p *headerParser) field(t *Tensor, key string) error {
	switch key {
	case "dtype":
		tok, err := p.token()
		if err != nil {
			return err
		}
		s, ok := tok.(string)
		if !ok {
			return fmt.Errorf("dtype is %v, expected a string", tok)
		}
		t.DType = s
	case "shape":
		sides, err := p.numbers(key)
		if err != nil {
			return err
		}
		t.Shape = make([]int, len(sides))
		for i, d := range sides {
			if uint64(int(d)) != d || int(d) < 0 {
				return fmt.Errorf("shape %v is larger than any file", sides)
			}
			t.Shape[i] = int(d)
		}
	case "data_offsets":
		r, err := p.numbers(key)
		if err != nil {
			return err
		}
		if len(r) != 2 {
			return fmt.Errorf("data_offsets has %d numbers, expected 2", len(r))
		}
		p.ranges[t.Name] = [2]uint64(r)
	default: // the format allows further keys
		return p.skip()
	}
	return nil
}

// object reads an object and calls value for each key; value consumes the value.
func (p *headerParser) object(value func(key string) error) error {
	tok, err := p.token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("found %v, expected an object", tok)
	}
	for p.dec.More() {
		key, err := p.token()
		if err != nil {
			return err
		}
		if err := value(key.(string)); err != nil { // the decoder lets only strings through as keys
			return err
		}
	}
	_, err = p.token()
	return err
}

// numbers reads an array of whole numbers that are not negative.
func (p *headerParser) numbers(what string) ([]uint64, error) {
	tok, err := p.token()
	if err != nil {
		return nil, err
	}
	if tok != json.Delim('[') {
		return nil, fmt.Errorf("%s is %v, expected an array", what, tok)
	}
	out := []uint64{}
	for p.dec.More() {
		tok, err := p.token()
		if err != nil {
			return nil, err
		}
		num, ok := tok.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%s holds %v, expected whole numbers", what, tok)
		}
		v, err := strconv.ParseUint(num.String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s holds %s, expected whole numbers from 0 to 2^64-1", what, num)
		}
		out = append(out, v)
	}
	_, err = p.token()
	return out, err
}

func (p *headerParser) token() (json.Token, error) {
	tok, err := p.dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("no valid JSON: %w", err)
	}
	return tok, nil
}
