package tokenizer

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Encode equals its reference, and decoding gives the normalized text back.
func FuzzEncode(f *testing.F) {
	tok := loadTest(f)
	added := addedPattern(tok)
	for _, s := range []string{
		"", "Hello world", "The picture<|im_end|>\u0301 <image><|im_", "a  \n b\r\n\u00a0\u2003x", "'\u017f 'LL don't", "e\u0301\u0323\u212b\u1112\u1161\u11ab",
		"12½Ⅷ٣", "\u0085\u2028 <|\u0338", "情報🙂\u200d", "\xf0\x9f", "\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = text[:min(len(text), 300)] // the reference is slow
		ids := tok.Encode(text)
		if !utf8.ValidString(text) {
			text = lossy(text)
		}
		want, normal := slowEncode(tok, added, text)
		if !slices.Equal(ids, want) {
			t.Errorf("Encode(%q) = %v, want %v", text, ids, want)
		}
		if got := tok.Decode(ids, false); got != normal {
			t.Errorf("Decode(Encode(%q)) = %q, want %q", text, got, normal)
		}
	})
}

// sections are the parts of a tokenizer.json that FuzzParse replaces: at the top,
// or with a dot within the model.
var sections = []string{
	"", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation", "model",
	"model.vocab", "model.merges", "model.dropout", "model.type", "model.unk_token", "model.ignore_merges",
}

// Whatever Parse accepts works and survives being written and read back. Each
// input replaces one section of a good file; section 0 is the whole file.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/tokenizer.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), `{"model":{"vocab":{"a":0,"a":1},"merges":[]}}`)
	f.Add(uint8(1), `[{"id":400,"content":"<e\u0301>","single_word":true,"lstrip":true,"rstrip":true,"normalized":true,"special":true}]`)
	f.Add(uint8(2), `{"type":"Sequence","normalizers":[{"type":"NFC"}]}`)
	f.Add(uint8(3), `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"x"},"behavior":"Isolated","invert":false},{"type":"ByteLevel"}]}`)
	f.Add(uint8(8), `{"a":4194303,"b":-1}`)
	f.Add(uint8(9), `[["h","e"],["\u0120","t"]]`)
	f.Add(uint8(9), `["h e","\u0120 t","\u0120t he"]`)
	f.Add(uint8(13), `true`)
	f.Fuzz(func(t *testing.T, section uint8, value string) {
		tok, err := Parse(replaceSection(t, data, sections[int(section)%len(sections)], value))
		if err != nil {
			return
		}
		text := "The picture shows 12 <|im_end|> <e\u0301>\n e\u0301"
		ids := tok.Encode(text)
		back, err := Parse(tok.JSON())
		if err != nil {
			t.Fatalf("Parse(JSON()): %v", err)
		}
		if got := back.Encode(text); !slices.Equal(got, ids) {
			t.Errorf("after JSON: %v, want %v", got, ids)
		}
	})
}

// replaceSection returns data with one section's text replaced, or value alone if
// it is no JSON that could stand there.
func replaceSection(t *testing.T, data []byte, section, value string) []byte {
	t.Helper()
	key, inner, nested := strings.Cut(section, ".")
	if key == "" || !json.Valid([]byte(value)) {
		return []byte(value)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		t.Fatal(err)
	}
	if nested {
		value = string(replaceSection(t, top[key], inner, value))
	}
	top[key] = json.RawMessage(value)
	out, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
