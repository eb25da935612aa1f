package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxID bounds the ids of a file, so that a damaged one cannot ask for tables of
// gigabytes. The largest vocabularies in use have some 260,000 tokens.
const maxID = 1<<22 - 1

// file is tokenizer.json. What Encode and Decode don't use is kept as it came.
type file struct {
	Version       json.RawMessage `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []AddedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         bpeModel        `json:"model"`
}

// bpeModel is the "model" section.
type bpeModel struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	UnkToken     *string         `json:"unk_token"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        vocabulary      `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`

	pairs     [][2]string // Merges, read
	asStrings bool        // Merges came as "a b", not as ["a", "b"]
}

// vocabulary is the object of tokens and ids, read key by key because
// encoding/json would let the last of two equal keys win.
type vocabulary map[string]int32

func (v *vocabulary) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	open, err := dec.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return fmt.Errorf("vocab is %.20s, expected an object of tokens and ids", data)
	}
	*v = vocabulary{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		token := key.(string)
		value, err := dec.Token()
		if err != nil {
			return err
		}
		num, ok := value.(json.Number)
		id, err := num.Int64()
		if !ok || err != nil || id < 0 || id > maxID {
			return fmt.Errorf("vocab: the id of token %q is %v, expected a whole number from 0 to %d", token, value, maxID)
		}
		if _, twice := (*v)[token]; twice {
			return fmt.Errorf("vocab lists token %q twice", token)
		}
		(*v)[token] = int32(id)
	}
	return nil
}

// Load reads a tokenizer.json file.
func Load(path string) (*Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return t, nil
}

// Parse reads the contents of a tokenizer.json. It must describe byte-level BPE
// with the split pattern of Qwen2 or Llama 3, without normalization or with NFC;
// any other setting that would change ids is refused by name. Truncation, padding
// and the post-processor are kept for JSON but play no part in Encode.
//
// Added tokens keep the ids that the file gives them; the tokenizers library
// counts them anew, which is the same in every file that it wrote.
func Parse(data []byte) (*Tokenizer, error) {
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func parse(data []byte) (*Tokenizer, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8, expected a tokenizer.json")
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("not a tokenizer.json: text follows the closing brace")
	}
	if err := f.Model.check(); err != nil {
		return nil, err
	}
	if err := f.Model.readMerges(); err != nil {
		return nil, err
	}
	return build(f)
}

func (m *bpeModel) check() error {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	switch {
	case m.Type != "BPE" && m.Type != "": // files before 2020 have no type
		return fmt.Errorf("model.type is %q, expected \"BPE\"", m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("model.dropout is %g: random merges are not supported, expected null", *m.Dropout)
	case text(m.Prefix) != "":
		return fmt.Errorf("model.continuing_subword_prefix is %q, expected none in byte-level BPE", *m.Prefix)
	case text(m.Suffix) != "":
		return fmt.Errorf("model.end_of_word_suffix is %q, expected none in byte-level BPE", *m.Suffix)
	case len(m.Vocab) == 0:
		return errors.New("model.vocab is missing or empty")
	}
	return nil
}

// readMerges reads either form of the merges, "a b" or ["a", "b"].
func (m *bpeModel) readMerges() error {
	if len(m.Merges) == 0 || string(m.Merges) == "null" {
		return errors.New("model.merges is missing; a list may be empty but must be there")
	}
	var lines []string
	if err := json.Unmarshal(m.Merges, &lines); err == nil {
		m.asStrings = true
		m.pairs = make([][2]string, len(lines))
		for i, line := range lines {
			a, b, ok := strings.Cut(line, " ")
			if !ok || a == "" || b == "" || strings.Contains(b, " ") {
				return fmt.Errorf("model.merges[%d] is %q, expected two tokens with a space between", i, line)
			}
			m.pairs[i] = [2]string{a, b}
		}
		return nil
	}
	var pairs [][]string
	if err := json.Unmarshal(m.Merges, &pairs); err != nil {
		return errors.New(`model.merges is neither a list of strings "a b" nor a list of pairs ["a", "b"]`)
	}
	m.pairs = make([][2]string, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 {
			return fmt.Errorf("model.merges[%d] has %d tokens, expected 2", i, len(p))
		}
		m.pairs[i] = [2]string(p)
	}
	return nil
}
