package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// JSON returns the tokenizer.json as the Hugging Face tokenizers library writes
// it: its order of keys, two spaces of indentation, the vocabulary by id, merges
// in the form they came in, and a newline at the end. [Parse] reads it back to an
// equal tokenizer.
func (t *Tokenizer) JSON() []byte {
	f := &t.file
	var b bytes.Buffer
	b.WriteByte('{')
	writeRaw(&b, "version", f.Version)
	writeRaw(&b, ",truncation", f.Truncation)
	writeRaw(&b, ",padding", f.Padding)
	b.WriteString(`,"added_tokens":[`)
	for i, a := range f.AddedTokens {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"content":%s,"single_word":%t,"lstrip":%t,"rstrip":%t,"normalized":%t,"special":%t}`,
			a.ID, quote(a.Content), a.SingleWord, a.LStrip, a.RStrip, a.Normalized, a.Special)
	}
	b.WriteByte(']')
	writeRaw(&b, ",normalizer", f.Normalizer)
	writeRaw(&b, ",pre_tokenizer", f.PreTokenizer)
	writeRaw(&b, ",post_processor", f.PostProcessor)
	writeRaw(&b, ",decoder", f.Decoder)
	b.WriteString(`,"model":`)
	f.Model.write(&b)
	b.WriteByte('}')
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		panic("tokenizer: JSON wrote no valid JSON: " + err.Error())
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// Save writes the tokenizer.json to path: whole or not at all, by way of a file
// beside it.
func (t *Tokenizer) Save(path string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("tokenizer: %w", errors.Join(err, os.Remove(temp.Name())))
		}
	}()
	_, writeErr := temp.Write(t.JSON())
	if err := errors.Join(writeErr, temp.Chmod(0o644), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

func (m *bpeModel) write(b *bytes.Buffer) {
	dropout := "null"
	if m.Dropout != nil {
		dropout = strconv.FormatFloat(*m.Dropout, 'f', 1, 64) // only 0 passes check
	}
	fmt.Fprintf(b, `{"type":"BPE","dropout":%s,"unk_token":%s,"continuing_subword_prefix":%s,"end_of_word_suffix":%s`,
		dropout, quoteOrNull(m.UnkToken), quoteOrNull(m.Prefix), quoteOrNull(m.Suffix))
	fmt.Fprintf(b, `,"fuse_unk":%t,"byte_fallback":%t,"ignore_merges":%t,"vocab":{`, m.FuseUnk, m.ByteFallback, m.IgnoreMerges)
	type entry struct {
		token string
		id    int32
	}
	entries := make([]entry, 0, len(m.Vocab))
	for token, id := range m.Vocab {
		entries = append(entries, entry{token, id})
	}
	slices.SortFunc(entries, func(a, b entry) int { return int(a.id) - int(b.id) })
	for i, e := range entries {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, "%s:%d", quote(e.token), e.id)
	}
	b.WriteString(`},"merges":[`)
	for i, p := range m.pairs {
		if i > 0 {
			b.WriteByte(',')
		}
		if m.asStrings {
			b.WriteString(quote(p[0] + " " + p[1]))
		} else {
			fmt.Fprintf(b, "[%s,%s]", quote(p[0]), quote(p[1]))
		}
	}
	b.WriteString("]}")
}

// writeRaw writes a section as it came; name may begin with a comma.
func writeRaw(b *bytes.Buffer, name string, raw json.RawMessage) {
	name, comma := strings.CutPrefix(name, ",")
	if comma {
		b.WriteByte(',')
	}
	b.WriteString(quote(name) + ":")
	if len(raw) == 0 {
		raw = json.RawMessage("null")
	}
	b.Write(raw)
}

func quoteOrNull(s *string) string {
	if s == nil {
		return "null"
	}
	return quote(*s)
}

// quote writes a JSON string with serde_json's escapes: only what JSON demands.
// encoding/json would also escape U+2028 and U+2029.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
