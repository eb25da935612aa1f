package datasets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// conversation is one entry of a LLaVA or ShareGPT4V file. Those files carry further
// fields, which don't matter here.
type conversation struct {
	ID    json.RawMessage `json:"id"` // a string or a number
	Image oneOrMany       `json:"image"`
	Turns []turn          `json:"conversations"`
}

// turn is what one side says.
type turn struct {
	From  string `json:"from"` // human or gpt; user, assistant and system are understood too
	Value string `json:"value"`
}

// OpenConversations opens image–text conversations in the form of LLaVA and ShareGPT4V,
// for calibration: a JSON list, or one JSON object per line, of
//
//	{"id": "1", "image": "coco/1.jpg", "conversations": [
//	  {"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A cat."}, …]}
//
// images is the folder that the pictures' paths start from; empty: the file's folder.
// Every answer of a conversation becomes an example of its own: the pictures, the
// question before it, the answer; earlier turns are left out. The examples of one
// conversation share their Source. Markers <image> are taken out, since pictures
// stand before the question. Entries without a picture become text alone.
//
// Errors name the file and the line on which the entry ends.
func OpenConversations(path, images string) (*Files, error) {
	if images == "" {
		images = filepath.Dir(path)
	}
	base := filepath.Base(path)
	f := &Files{Name: strings.TrimSuffix(base, filepath.Ext(base)), Path: path, folder: images}
	data, err := readText(path)
	if err != nil {
		return nil, err
	}
	if f.records, err = parseConversations(data); err != nil {
		return nil, fmt.Errorf("datasets: %s:%w", path, err)
	}
	return f, f.checkPaths()
}

// parseConversations reads a list or lines. An error begins with its line number and a colon.
func parseConversations(data []byte) ([]record, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	list := bytes.HasPrefix(bytes.TrimSpace(data), []byte("["))
	fault := func(err error) error {
		return fmt.Errorf("%d: %w", lineOf(data, decoder.InputOffset()), err)
	}
	if list {
		if _, err := decoder.Token(); err != nil {
			return nil, fault(err)
		}
	}
	var records []record
	for number := 0; decoder.More(); number++ {
		var c conversation
		if err := decoder.Decode(&c); err != nil {
			return nil, fault(fmt.Errorf("entry %d: %w: expected id, image and conversations", number, err))
		}
		some, err := c.records(number)
		if err != nil {
			return nil, fault(fmt.Errorf("entry %d: %w", number, err))
		}
		line := lineOf(data, decoder.InputOffset())
		for _, r := range some {
			r.line = line
			records = append(records, r)
		}
	}
	if list {
		if _, err := decoder.Token(); err != nil {
			return nil, fault(fmt.Errorf("the list doesn't end: %w", err))
		}
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fault(errors.New("expected the end of the file after the last conversation"))
	}
	if len(records) == 0 {
		return nil, errors.New("1: no conversation: expected a JSON list, or one object per line, with id, image and conversations")
	}
	return records, nil
}

// records makes an example of every answer.
func (c *conversation) records(number int) ([]record, error) {
	source := fmt.Sprintf("%d", number)
	if id := strings.Trim(string(c.ID), `"`); id != "" && id != "null" {
		source += "-" + id
	}
	var records []record
	question := ""
	for i, t := range c.Turns {
		text := strings.TrimSpace(strings.ReplaceAll(t.Value, "<image>", ""))
		switch t.From {
		case "system":
		case "human", "user":
			if question != "" {
				return nil, fmt.Errorf("turn %d: a question follows a question: expected an answer between them", i)
			}
			question = text
		case "gpt", "assistant":
			r := record{
				id: fmt.Sprintf("%s-%d", source, len(records)), source: source, images: c.Image,
				qa: QA{question, text},
			}
			if err := r.check(); err != nil {
				return nil, fmt.Errorf("turn %d: %w", i, err)
			}
			records = append(records, r)
			question = ""
		default:
			return nil, fmt.Errorf("turn %d: from %q: expected human, gpt or system", i, t.From)
		}
	}
	if len(records) == 0 {
		return nil, errors.New("conversations holds no answer")
	}
	return records, nil
}
