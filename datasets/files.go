package datasets

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Files are examples that lie in files: a folder of questions ([OpenFolder]) or
// conversations ([OpenConversations]). Texts are read and checked when they are
// opened; pictures when their example is asked for.
type Files struct {
	Name string // of the folder or file, without its place and extension: the examples' Task
	Path string // of the file that holds the texts

	folder  string // pictures are found below it
	records []record
}

// record is an example before its pictures are read.
type record struct {
	line    int // in the file, from 1
	id      string
	source  string
	images  []string // paths below the folder
	qa      QA
	others  []string // further accepted answers
	options []string
	choice  []string
	rule    Scoring
}

// Open opens what a path names: a folder with qa.jsonl in it ([OpenFolder]), or a file
// of conversations ([OpenConversations]) whose pictures lie below the file's folder.
func Open(path string) (*Files, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("datasets: %w", err)
	}
	if info.IsDir() {
		return OpenFolder(path)
	}
	switch filepath.Ext(path) {
	case ".json", ".jsonl":
		return OpenConversations(path, "")
	}
	return nil, fmt.Errorf("datasets: %s: expected a folder with %s in it, or conversations in a .json or .jsonl file", path, questionsFile)
}

// Len is the number of examples.
func (f *Files) Len() int { return len(f.records) }

// Example returns example i ≥ 0 with its pictures, opaque and in their own size. A
// picture that can't be read or is too large ([MaxPicture]) is an error that names
// the line that asks for it.
func (f *Files) Example(i int) (Example, error) {
	if i < 0 || i >= len(f.records) {
		return Example{}, fmt.Errorf("datasets: %s: example %d of %d: numbers start at 0", f.Path, i, len(f.records))
	}
	r := f.records[i]
	e := Example{
		ID: r.id, Task: f.Name, Question: r.qa.Question, Answers: append([]string{r.qa.Answer}, r.others...),
		Options: r.options, Choices: r.choice, Source: r.source, Licence: "the user's own", Attribute: f.Name, Scoring: r.rule,
	}
	for _, name := range r.images {
		img, err := ReadPicture(filepath.Join(f.folder, name))
		if err != nil {
			return Example{}, f.fault(r.line, err)
		}
		e.Images = append(e.Images, img)
	}
	return e, nil
}

// fault names the file and the line of an error.
func (f *Files) fault(line int, err error) error {
	return fmt.Errorf("datasets: %s:%d: %w", f.Path, line, err)
}

// Select returns n different examples' numbers: a random choice in random order that
// depends on the seed alone. Fewer examples than n are an error; n = 0 takes all, in
// their own order.
func (f *Files) Select(seed uint64, n int) ([]int, error) {
	all := make([]int, len(f.records))
	for i := range all {
		all[i] = i
	}
	switch {
	case n < 0 || n > len(all):
		return nil, fmt.Errorf("datasets: %s holds %d examples, %d are wanted: ask for fewer", f.Path, len(all), n)
	case n == 0:
		return all, nil
	}
	return sample(rand.New(rand.NewPCG(seed, calibrationSalt)), all, n), nil
}

// Hash returns the SHA-256, in hexadecimal, of examples: their texts and the bytes of
// their pictures, in the given order. A changed picture changes it.
func (f *Files) Hash(examples []int) (string, error) {
	sum := sha256.New()
	for _, i := range examples {
		if i < 0 || i >= len(f.records) {
			return "", fmt.Errorf("datasets: %s: example %d of %d: numbers start at 0", f.Path, i, len(f.records))
		}
		r := f.records[i]
		text, err := json.Marshal([]any{r.id, r.source, r.qa, r.others, r.options, r.choice, r.rule, len(r.images)})
		if err != nil {
			return "", f.fault(r.line, err)
		}
		fmt.Fprintf(sum, "%s\n", text)
		for _, name := range r.images {
			if err := addFile(sum, filepath.Join(f.folder, name)); err != nil {
				return "", f.fault(r.line, err)
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// addFile hashes a file's length and bytes.
func addFile(sum io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(sum, "%d\n", info.Size())
	_, err = io.Copy(sum, file)
	return err
}

// textMost is the largest file of texts that is read, in bytes.
const textMost = 2 << 30

// readText reads a file of texts whole.
func readText(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("datasets: %w", err)
	}
	if info.Size() > textMost {
		return nil, fmt.Errorf("datasets: %s has %d bytes, at most %d can be read: split the file", path, info.Size(), int64(textMost))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("datasets: %w", err)
	}
	return data, nil
}

// checkPaths reports pictures outside the folder and pictures that aren't there.
func (f *Files) checkPaths() error {
	for _, r := range f.records {
		for _, name := range r.images {
			if !filepath.IsLocal(filepath.FromSlash(name)) {
				return f.fault(r.line, fmt.Errorf("image %q: expected a path below %s, without \"..\" and not absolute", name, f.folder))
			}
			info, err := os.Stat(filepath.Join(f.folder, name))
			if err != nil {
				return f.fault(r.line, fmt.Errorf("image %q: %w", name, err))
			}
			if !info.Mode().IsRegular() {
				return f.fault(r.line, fmt.Errorf("image %q is not a file", name))
			}
		}
	}
	return nil
}

// lineOf is the line of a byte offset, from 1.
func lineOf(data []byte, offset int64) int {
	return 1 + strings.Count(string(data[:min(int(offset), len(data))]), "\n")
}

// oneOrMany reads a string or a list of strings.
type oneOrMany []string

// UnmarshalJSON reads "a" or ["a", "b"].
func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	var list []string
	if err := json.Unmarshal(data, &list); err == nil {
		*o = list
		return nil
	}
	var one string
	if err := json.Unmarshal(data, &one); err != nil {
		return fmt.Errorf("expected a string or a list of strings, got %.40s", data)
	}
	*o = oneOrMany{one}
	return nil
}
