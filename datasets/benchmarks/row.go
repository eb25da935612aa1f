package benchmarks

import (
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
)

// row is one row of a file by column: nil, text, numbers, bool, lists, and maps. Its
// folder, for pictures that are paths, stands under folderKey.
type row map[string]any

// folderKey is no column's name.
const folderKey = "\x00folder"

// text returns a column as text; empty: it is missing.
func (r row) text(column string) string {
	switch v := r[column].(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// texts returns a column of one or many texts.
func (r row) texts(column string) []string {
	list, ok := r[column].([]any)
	if !ok {
		if text := r.text(column); text != "" {
			return []string{text}
		}
		return nil
	}
	var all []string
	for i := range list {
		all = append(all, row{"": list[i]}.text(""))
	}
	return all
}

// number returns a column as a whole number.
func (r row) number(column string) (int, error) {
	text := r.text(column)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > 1<<31 {
		return 0, fmt.Errorf("%s %q: expected a whole number", column, text)
	}
	return int(v), nil
}

// pictures decodes columns: the file's bytes, {bytes, path} as hubs store them, a path
// below the folder, base64, or a list of these.
func (r row) pictures(columns ...string) ([]image.Image, error) {
	var all []image.Image
	for _, column := range columns {
		list, ok := r[column].([]any)
		if !ok {
			list = []any{r[column]}
		}
		for _, v := range list {
			img, err := r.picture(v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", column, err)
			}
			all = append(all, img)
		}
	}
	return all, nil
}

func (r row) picture(v any) (image.Image, error) {
	if m, ok := v.(map[string]any); ok {
		if data, ok := m["bytes"].(string); ok && data != "" {
			v = data
		} else {
			v = m["path"]
		}
	}
	text, ok := v.(string)
	if !ok || text == "" {
		return nil, errors.New("no picture: expected its bytes, {bytes, path}, a path or base64")
	}
	if img, err := datasets.DecodePicture([]byte(text)); err == nil {
		return img, nil
	} else if !isPath(text) { // bytes of a damaged picture, or base64
		raw, notBase64 := base64.StdEncoding.DecodeString(text)
		if notBase64 != nil {
			return nil, err
		}
		return datasets.DecodePicture(raw)
	}
	if !filepath.IsLocal(filepath.FromSlash(text)) {
		return nil, fmt.Errorf("path %q: expected one below the file's folder, without \"..\" and not absolute", text)
	}
	folder, _ := r[folderKey].(string)
	return datasets.ReadPicture(filepath.Join(folder, text))
}

// isPath reports what can be the name of a picture file.
func isPath(text string) bool {
	known := []string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"}
	return len(text) < 1024 && slices.Contains(known, strings.ToLower(filepath.Ext(text)))
}

// parseList reads a list of strings as Python prints it: ['a', "it's", 'line\n'].
func parseList(text string) ([]string, error) {
	rest := strings.TrimSpace(text)
	inner, ok := strings.CutPrefix(rest, "[")
	if !ok || !strings.HasSuffix(inner, "]") {
		return nil, errors.New("expected a list like ['a', 'b']")
	}
	rest = strings.TrimSpace(strings.TrimSuffix(inner, "]"))
	var all []string
	for rest != "" {
		item, after, err := parseQuoted(rest)
		if err != nil {
			return nil, err
		}
		all = append(all, item)
		rest = strings.TrimSpace(after)
		if rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, fmt.Errorf("expected a comma before %.20q", rest)
		}
		rest = strings.TrimSpace(rest[1:])
	}
	return all, nil
}

// parseQuoted reads a Python string literal at the beginning of text.
func parseQuoted(text string) (item, rest string, err error) {
	quote := text[0]
	if quote != '\'' && quote != '"' {
		return "", "", fmt.Errorf("expected a quoted string at %.20q", text)
	}
	var out strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			return out.String(), text[i+1:], nil
		case c != '\\':
			out.WriteByte(c)
		default:
			n, char := escape(text[i:])
			out.WriteString(char)
			i += n - 1
		}
	}
	return "", "", errors.New("a quoted string doesn't end")
}

// escape reads an escape sequence of a Python string: its length and what it stands
// for. An unknown one stands for itself, as in Python.
func escape(text string) (n int, char string) {
	if len(text) < 2 {
		return 1, text
	}
	simple := map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"", '\n': ""}
	if s, ok := simple[text[1]]; ok {
		return 2, s
	}
	if digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[1]]; digits > 0 && len(text) >= 2+digits {
		if v, err := strconv.ParseUint(text[2:2+digits], 16, 32); err == nil {
			return 2 + digits, string(rune(v))
		}
	}
	return 2, text[:2]
}
