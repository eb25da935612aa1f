package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
)

// checkNormalizer reports whether text is brought to form C.
func checkNormalizer(raw json.RawMessage) (bool, error) {
	if absent(raw) {
		return false, nil
	}
	var n struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return false, fmt.Errorf("normalizer: %w", err)
	}
	switch {
	case n.Type == "NFC":
		return true, nil
	case n.Type == "Sequence" && len(n.Normalizers) == 0:
		return false, nil
	case n.Type == "Sequence" && len(n.Normalizers) == 1:
		return checkNormalizer(n.Normalizers[0])
	}
	return false, fmt.Errorf("normalizer.type is %q, expected NFC or none", n.Type)
}

// checkPreTokenizer returns the scanner for the file's split pattern.
func checkPreTokenizer(raw json.RawMessage) (splitter, error) {
	const expected = "expected a Sequence of a Split with Qwen2's or Llama 3's pattern and ByteLevel"
	var p struct {
		Type   string `json:"type"`
		Within []struct {
			Type    string `json:"type"`
			Pattern struct {
				Regex string `json:"Regex"`
			} `json:"pattern"`
			Behavior       string `json:"behavior"`
			Invert         bool   `json:"invert"`
			AddPrefixSpace bool   `json:"add_prefix_space"`
			UseRegex       *bool  `json:"use_regex"` // absent: true
		} `json:"pretokenizers"`
	}
	if absent(raw) {
		return splitter{}, fmt.Errorf("pre_tokenizer is missing; %s", expected)
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return splitter{}, fmt.Errorf("pre_tokenizer: %w; %s", err, expected)
	}
	if p.Type != "Sequence" || len(p.Within) != 2 || p.Within[0].Type != "Split" || p.Within[1].Type != "ByteLevel" {
		return splitter{}, fmt.Errorf("pre_tokenizer is of type %q with %d parts; %s", p.Type, len(p.Within), expected)
	}
	split, level := p.Within[0], p.Within[1]
	if split.Behavior != "Isolated" || split.Invert {
		return splitter{}, fmt.Errorf("pre_tokenizer: Split has behavior %q, invert %t; expected \"Isolated\", false", split.Behavior, split.Invert)
	}
	if level.AddPrefixSpace || level.UseRegex == nil || *level.UseRegex {
		return splitter{}, errors.New("pre_tokenizer: ByteLevel must have add_prefix_space false and use_regex false")
	}
	switch split.Pattern.Regex {
	case qwen2Pattern:
		return splitter{digits: 1}, nil
	case llama3Pattern:
		return splitter{digits: 3}, nil
	}
	return splitter{}, fmt.Errorf("pre_tokenizer: unknown split pattern %q; known are Qwen2's %q and Llama 3's %q", split.Pattern.Regex, qwen2Pattern, llama3Pattern)
}

func checkDecoder(raw json.RawMessage) error {
	if absent(raw) {
		return errors.New("decoder is missing, expected ByteLevel")
	}
	var d struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	if d.Type != "ByteLevel" {
		return fmt.Errorf("decoder.type is %q, expected ByteLevel", d.Type)
	}
	return nil
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
