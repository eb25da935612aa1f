package benchmarks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/tlqlab/tlqlab/datasets"
)

// Set is a benchmark's questions in local files. It is safe for use by several
// goroutines; Close it when it is no longer needed.
type Set struct {
	Benchmark Benchmark
	Path      string // the file or folder

	mu     sync.Mutex
	shards []shard
	total  int
}

// shard is one file's rows.
type shard struct {
	path string
	rows int
	read func(i int) (row, error)
	file *os.File // nil: everything is in memory
}

// jsonMost is the largest JSON file that is read, in bytes.
const jsonMost = 1 << 30

// Open opens a benchmark's file, or all Parquet files of a folder in the order of
// their names, or where there are none all .json and .jsonl files. JSON files hold a
// list of rows or a row per line; pictures are paths below the file's folder or
// base64. Every row's columns are checked when its example is asked for.
func Open(name, path string) (*Set, error) {
	b, err := Find(name)
	if err != nil {
		return nil, err
	}
	files, err := filesOf(path)
	if err != nil {
		return nil, err
	}
	s := &Set{Benchmark: b, Path: path}
	for _, file := range files {
		one, err := openShard(file)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("benchmarks: %s: %w", file, err)
		}
		s.shards = append(s.shards, one)
		s.total += one.rows
	}
	if s.total == 0 {
		s.Close()
		return nil, fmt.Errorf("benchmarks: %s holds no rows", path)
	}
	return s, nil
}

// filesOf lists the files of a path.
func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("benchmarks: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	for _, patterns := range [][]string{{"*.parquet"}, {"*.json", "*.jsonl"}} {
		var files []string
		for _, p := range patterns {
			some, err := filepath.Glob(filepath.Join(path, p))
			if err != nil {
				return nil, fmt.Errorf("benchmarks: %s: %w", path, err)
			}
			files = append(files, some...)
		}
		if len(files) > 0 {
			slices.Sort(files)
			return files, nil
		}
	}
	return nil, fmt.Errorf("benchmarks: %s holds no .parquet, .json or .jsonl file", path)
}

func openShard(path string) (shard, error) {
	switch filepath.Ext(path) {
	case ".parquet":
		return openParquet(path)
	case ".json", ".jsonl":
		return openJSON(path)
	}
	return shard{}, errors.New("expected a .parquet, .json or .jsonl file")
}

// openParquet opens a file; rows are read when they are asked for. The reader's panics
// on damaged files become errors.
func openParquet(path string) (s shard, err error) {
	defer damaged(&err)
	file, err := os.Open(path)
	if err != nil {
		return shard{}, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return shard{}, err
	}
	f, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return shard{}, fmt.Errorf("damaged Parquet file: %w", err)
	}
	reader := parquet.NewReader(f)
	read := func(i int) (r row, err error) {
		defer damaged(&err)
		if err := reader.SeekToRow(int64(i)); err != nil {
			return nil, err
		}
		m := map[string]any{}
		if err := reader.Read(&m); err != nil {
			return nil, err
		}
		for column := range m {
			m[column] = flat(m[column])
		}
		m[folderKey] = filepath.Dir(path)
		return m, nil
	}
	return shard{path: path, rows: int(f.NumRows()), read: read, file: file}, nil
}

// damaged turns a panic of the Parquet reader into an error.
func damaged(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("damaged Parquet file: %v", r)
	}
}

// flat makes lists of what older writers store as {list: [{item: …}]}.
func flat(v any) any {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case []any:
		for i := range v {
			v[i] = flat(v[i])
		}
		return v
	case map[string]any:
		if list, ok := v["list"].([]any); ok && len(v) == 1 {
			all := make([]any, len(list))
			for i, entry := range list {
				if m, ok := entry.(map[string]any); ok && len(m) == 1 {
					for _, inner := range m {
						entry = inner
					}
				}
				all[i] = flat(entry)
			}
			return all
		}
		for key := range v {
			v[key] = flat(v[key])
		}
		return v
	}
	return v
}

// openJSON reads a list of rows, or a row per line.
func openJSON(path string) (shard, error) {
	file, err := os.Open(path)
	if err != nil {
		return shard{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, jsonMost+1))
	if err != nil {
		return shard{}, err
	}
	if len(data) > jsonMost {
		return shard{}, fmt.Errorf("more than %d bytes: use Parquet or split the file", int64(jsonMost))
	}
	rows, err := parseRows(data)
	if err != nil {
		return shard{}, err
	}
	for _, r := range rows {
		r[folderKey] = filepath.Dir(path)
	}
	return shard{path: path, rows: len(rows), read: func(i int) (row, error) { return rows[i], nil }}, nil
}

// parseRows reads rows. Errors name the line.
func parseRows(data []byte) ([]row, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	fault := func(err error) error {
		return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:decoder.InputOffset()], []byte("\n")), err)
	}
	list := bytes.HasPrefix(bytes.TrimSpace(data), []byte("["))
	if list {
		if _, err := decoder.Token(); err != nil {
			return nil, fault(err)
		}
	}
	var rows []row
	for decoder.More() {
		var r row
		if err := decoder.Decode(&r); err != nil {
			return nil, fault(fmt.Errorf("row %d: %w", len(rows), err))
		}
		if r == nil {
			return nil, fault(fmt.Errorf("row %d is null, expected an object", len(rows)))
		}
		delete(r, folderKey)
		rows = append(rows, r)
	}
	if list {
		if _, err := decoder.Token(); err != nil {
			return nil, fault(fmt.Errorf("the list doesn't end: %w", err))
		}
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fault(errors.New("expected the end of the file after the last row"))
	}
	return rows, nil
}

// Len is the number of questions.
func (s *Set) Len() int { return s.total }

// Example returns question i ≥ 0. Its Task is the benchmark's name; where the hub has
// no id for it, its ID is its number. An error names the file and the row.
func (s *Set) Example(i int) (datasets.Example, error) {
	if i < 0 || i >= s.total {
		return datasets.Example{}, fmt.Errorf("benchmarks: %s: question %d of %d: numbers start at 0", s.Path, i, s.total)
	}
	at, k := i, 0
	for at >= s.shards[k].rows {
		at -= s.shards[k].rows
		k++
	}
	file := &s.shards[k]
	e, err := s.example(file, at)
	if err != nil {
		return datasets.Example{}, fmt.Errorf("benchmarks: %s, row %d: not a row of %s (%s): %w", file.path, at, s.Benchmark.Title, s.Benchmark.Columns, err)
	}
	e.Task, e.Licence = s.Benchmark.Name, "the benchmark's"
	if e.ID == "" {
		e.ID = strconv.Itoa(i)
	}
	if e.Attribute == "" {
		e.Attribute = s.Benchmark.Name
	}
	return e, nil
}

func (s *Set) example(file *shard, at int) (datasets.Example, error) {
	s.mu.Lock()
	r, err := file.read(at)
	s.mu.Unlock()
	if err != nil {
		return datasets.Example{}, err
	}
	e, err := s.Benchmark.example(r)
	switch {
	case err != nil:
		return e, err
	case strings.TrimSpace(e.Question) == "" || r.text("question") == "" && r.text("query") == "":
		return e, errors.New("no question")
	case len(e.Answers) == 0 || e.Answers[0] == "":
		return e, errors.New("no answer: splits whose answers are hidden can't be scored")
	}
	return e, nil
}

// Hash returns the SHA-256, in hexadecimal, of all files and of the questions' numbers.
func (s *Set) Hash(questions []int) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %v\n", s.Benchmark.Name, questions)
	for _, one := range s.shards {
		file, err := os.Open(one.path)
		if err != nil {
			return "", fmt.Errorf("benchmarks: %w", err)
		}
		_, err = io.Copy(sum, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return "", fmt.Errorf("benchmarks: %s: %w", one.path, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Close closes the files.
func (s *Set) Close() error {
	var all []error
	for _, one := range s.shards {
		if one.file != nil {
			all = append(all, one.file.Close())
		}
	}
	return errors.Join(all...)
}
