package conform

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/tokenizer"
)

// tally counts cases that differ and keeps the first.
type tally struct {
	cases, wrong int
	first        string
}

func (t *tally) check(ok bool, format string, args ...any) {
	t.cases++
	if ok {
		return
	}
	if t.wrong++; t.first == "" {
		t.first = fmt.Sprintf(format, args...)
	}
}

// count reports a tally as an exact comparison.
func (f *folder) count(of, name string, t tally) {
	c := Check{Fixture: f.dir, Case: of, Name: name, Kind: exact, MaxAbs: float64(t.wrong), Values: t.cases, Pass: t.wrong == 0 && t.cases > 0, Note: t.first}
	if t.cases == 0 {
		c.Note = "no cases"
	}
	f.report(c)
}

// label is what a case may say about itself.
type label struct {
	Name string `json:"name"`
	Note string `json:"note"`
}

// readJSON reads a file of cases; an unknown key would be a check left out.
func (f *folder) readJSON(name string, v any) error {
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return err
	}
	defer file.Close()
	d := json.NewDecoder(file)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// runTokenizerCases compares texts with their ids and ids with their texts.
func (f *folder) runTokenizerCases() {
	var cases struct {
		Encode []struct {
			label
			Text           string  `json:"text"`
			IDs            []int32 `json:"ids"`
			Decoded        *string `json:"decoded"`
			WithoutSpecial *string `json:"decoded_without_special"`
		} `json:"encode"`
		Decode []struct {
			label
			IDs            []int32 `json:"ids"`
			Text           string  `json:"text"`
			WithoutSpecial *string `json:"text_without_special"`
		} `json:"decode"`
	}
	if err := f.readJSON(tokenizerCases, &cases); err != nil {
		f.fail("tokenizer", tokenizerCases, err)
		return
	}
	tok, err := tokenizer.Load(filepath.Join(f.dir, "tokenizer.json"))
	if err != nil {
		f.fail("tokenizer", "tokenizer.json", err)
		return
	}
	var encode, back, bare tally
	for _, c := range cases.Encode {
		got := tok.Encode(c.Text)
		encode.check(slices.Equal(got, c.IDs), "%q gives %v, expected %v", c.Text, got, c.IDs)
		want := c.Text
		if c.Decoded != nil {
			want = *c.Decoded
		}
		text := tok.Decode(c.IDs, false)
		back.check(text == want, "%v gives %q, expected %q", c.IDs, text, want)
		if c.WithoutSpecial != nil {
			want = *c.WithoutSpecial
		}
		text = tok.Decode(c.IDs, true)
		bare.check(text == want, "%v gives %q without special tokens, expected %q", c.IDs, text, want)
	}
	f.count("tokenizer", "encode", encode)
	f.count("tokenizer", "encode, decoded", back)
	f.count("tokenizer", "encode, decoded without special", bare)
	var decode, decodeBare tally
	for _, c := range cases.Decode {
		text := tok.Decode(c.IDs, false)
		decode.check(text == c.Text, "%v gives %q, expected %q", c.IDs, text, c.Text)
		if c.WithoutSpecial != nil {
			text = tok.Decode(c.IDs, true)
			decodeBare.check(text == *c.WithoutSpecial, "%v gives %q without special tokens, expected %q", c.IDs, text, *c.WithoutSpecial)
		}
	}
	if cases.Decode != nil {
		f.count("tokenizer", "decode", decode)
	}
	if decodeBare.cases > 0 {
		f.count("tokenizer", "decode without special", decodeBare)
	}
}

// runChatCases compares conversations with their text and ids.
func (f *folder) runChatCases() {
	var cases []struct {
		label
		Messages   []models.Message `json:"messages"`
		Generation bool             `json:"add_generation_prompt"`
		Text       *string          `json:"text"`
		IDs        []int32          `json:"ids"`
	}
	if err := f.readJSON(chatCases, &cases); err != nil {
		f.fail("chat", chatCases, err)
		return
	}
	p, err := models.LoadProcessor(f.dir)
	if err != nil {
		f.fail("chat", "processor", err)
		return
	}
	var text, ids tally
	for _, c := range cases {
		got, err := p.Chat(c.Messages, c.Generation)
		if err != nil {
			text.check(false, "%v", err)
			continue
		}
		if c.Text != nil {
			text.check(got == *c.Text, "%q, expected %q", got, *c.Text)
		}
		if c.IDs != nil {
			tokens := p.Tokenizer.Encode(got)
			ids.check(slices.Equal(tokens, c.IDs), "%q gives %v, expected %v", got, tokens, c.IDs)
		}
	}
	f.count("chat", "text", text)
	f.count("chat", "ids", ids)
}
