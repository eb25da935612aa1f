package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// caseFolders returns the folders with a tokenizer.json and a
// tokenizer_cases.json: the copy in testdata, and the checkout's fixtures where
// they are.
func caseFolders(t *testing.T) []string {
	t.Helper()
	folders, err := filepath.Glob("../../../shared/fixtures/models/*/tokenizer_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	folders = append(folders, "testdata/tokenizer_cases.json")
	for i, f := range folders {
		folders[i] = filepath.Dir(f)
	}
	return folders
}

func TestHuggingFaceCases(t *testing.T) {
	for _, dir := range caseFolders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			tok, err := Load(filepath.Join(dir, "tokenizer.json"))
			if err != nil {
				t.Fatal(err)
			}
			var cases struct {
				Encode []struct {
					Text           string
					IDs            []int32
					Decoded        *string
					WithoutSpecial *string `json:"decoded_without_special"`
				}
				Decode []struct {
					IDs            []int32
					Text           string
					WithoutSpecial string `json:"text_without_special"`
				}
			}
			data, err := os.ReadFile(filepath.Join(dir, "tokenizer_cases.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &cases); err != nil {
				t.Fatal(err)
			}
			if len(cases.Encode) < 50 || len(cases.Decode) < 20 {
				t.Fatalf("only %d encode and %d decode cases", len(cases.Encode), len(cases.Decode))
			}
			for _, c := range cases.Encode {
				got := tok.Encode(c.Text)
				if !slices.Equal(got, c.IDs) {
					t.Errorf("Encode(%q) = %v, want %v", c.Text, got, c.IDs)
				}
				want := c.Text
				if c.Decoded != nil {
					want = *c.Decoded
				}
				if got := tok.Decode(c.IDs, false); got != want {
					t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, want)
				}
				if c.WithoutSpecial != nil {
					want = *c.WithoutSpecial
				}
				if got := tok.Decode(c.IDs, true); got != want {
					t.Errorf("Decode(%v) without special = %q, want %q", c.IDs, got, want)
				}
			}
			for _, c := range cases.Decode {
				if got := tok.Decode(c.IDs, false); got != c.Text {
					t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, c.Text)
				}
				if got := tok.Decode(c.IDs, true); got != c.WithoutSpecial {
					t.Errorf("Decode(%v) without special = %q, want %q", c.IDs, got, c.WithoutSpecial)
				}
			}
		})
	}
}

func TestJSONWritesBackWhatParseRead(t *testing.T) {
	for _, dir := range caseFolders(t) {
		path := filepath.Join(dir, "tokenizer.json")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.JSON(); string(got) != string(data) {
			at := 0
			for at < len(got) && at < len(data) && got[at] == data[at] {
				at++
			}
			t.Errorf("%s: JSON differs at byte %d: got %.60q, want %.60q", path, at, got[at:], data[at:])
		}
	}
}
