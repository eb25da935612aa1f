package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tlqlab/tlqlab/internal/nearest"
)

// The file names of a checkpoint folder.
const (
	SingleName = "model.safetensors"            // the whole checkpoint in one file
	IndexName  = "model.safetensors.index.json" // or the list of its shards
)

// File is an opened checkpoint: one file or several shards. Its methods may be
// called from several goroutines at once, except Close.
type File struct {
	tensors  map[string]Tensor
	names    []string // sorted
	metadata map[string]string
	unmap    []func() error
	mapped   bool   // tensors' data are pages of a file
	path     string // for errors
	closed   bool
}

// Open maps the file at path and checks its whole header: length (at most 100
// MB), JSON, known types, sizes that fit shapes, and byte ranges that cover the
// data once, without overlap or hole. The file must not be changed in place while
// it is open; replacing it by a rename is fine.
func Open(path string) (*File, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	f, err := parse(path, data)
	if err != nil {
		return nil, errors.Join(err, unmap())
	}
	f.unmap, f.mapped = []func() error{unmap}, true
	return f, nil
}

// Parse reads a file's contents held in memory, with the checks of [Open]. The
// tensors' data are views into data.
func Parse(data []byte) (*File, error) { return parse("data in memory", data) }

func parse(path string, data []byte) (*File, error) {
	h, err := readHeader(data)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	f := &File{path: path, metadata: h.metadata, tensors: make(map[string]Tensor, len(h.tensors))}
	for _, t := range h.tensors {
		f.tensors[t.Name] = t
	}
	f.names = slices.Sorted(maps.Keys(f.tensors))
	return f, nil
}

// OpenDir opens the checkpoint in a folder in the Hugging Face layout:
// model.safetensors if it is there, else the shards that
// model.safetensors.index.json lists. Every tensor of the index must be in the
// shard named for it. A tensor that the index leaves out is kept, as transformers
// keeps it, unless two shards have it.
func OpenDir(dir string) (*File, error) {
	single := filepath.Join(dir, SingleName)
	_, err := os.Stat(single)
	if err == nil {
		return Open(single)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	index := filepath.Join(dir, IndexName)
	text, err := os.ReadFile(index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("safetensors: folder %s holds neither %s nor %s; expected a checkpoint in the Hugging Face layout", dir, SingleName, IndexName)
	}
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	weightMap, err := readIndex(text)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", index, err)
	}
	f, err := openShards(dir, weightMap)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readIndex returns the weight map (tensor name to file name) of an index file.
func readIndex(text []byte) (map[string]string, error) {
	weightMap, err := newHeaderParser(text).index()
	if err != nil {
		return nil, err
	}
	if len(weightMap) == 0 {
		return nil, errors.New("weight_map is missing or empty; expected tensor names with their files")
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		if !filepath.IsLocal(weightMap[name]) {
			return nil, fmt.Errorf("tensor %q: shard %q lies outside the folder", name, weightMap[name])
		}
	}
	return weightMap, nil
}

// openShards opens every shard of the weight map. The File is never nil, so that
// the caller can close what was opened before an error.
func openShards(dir string, weightMap map[string]string) (*File, error) {
	f := &File{path: dir, metadata: map[string]string{}, tensors: make(map[string]Tensor, len(weightMap))}
	from := map[string]string{} // tensor → shard it was taken from
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(weightMap))) {
		part, err := Open(filepath.Join(dir, shard))
		if errors.Is(err, fs.ErrNotExist) {
			return f, fmt.Errorf("safetensors: %s: shard %q, named by the index, is missing", dir, shard)
		}
		if err != nil {
			return f, err
		}
		f.unmap, f.mapped = append(f.unmap, part.unmap...), true
		for key, value := range part.metadata {
			if _, known := f.metadata[key]; !known {
				f.metadata[key] = value
			}
		}
		for _, name := range part.names {
			home, listed := weightMap[name]
			if listed && home != shard {
				continue
			}
			if other, twice := from[name]; twice {
				return f, fmt.Errorf("safetensors: %s: tensor %q is in both %s and %s, and the index does not say which counts", dir, name, other, shard)
			}
			from[name] = shard
			f.tensors[name] = part.tensors[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		if _, ok := f.tensors[name]; !ok {
			return f, fmt.Errorf("safetensors: %s: tensor %q is not in shard %q, where the index places it", dir, name, weightMap[name])
		}
	}
	f.names = slices.Sorted(maps.Keys(f.tensors))
	return f, nil
}

// Names returns the tensors' names in ascending order. The slice is the caller's.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Has reports whether the checkpoint holds a tensor of that name.
func (f *File) Has(name string) bool {
	_, ok := f.tensors[name]
	return ok
}

// Tensor returns the tensor of that name; its data is a view into the file. The
// error for an unknown name lists the names most like it.
func (f *File) Tensor(name string) (Tensor, error) {
	if f.closed {
		return Tensor{}, fmt.Errorf("safetensors: %s: tensor %q asked for after Close", f.path, name)
	}
	t, ok := f.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("safetensors: %s: no tensor %q among %d; nearest: %s", f.path, name, len(f.names), strings.Join(similar(name, f.names, 3), ", "))
	}
	t.Shape = slices.Clone(t.Shape)
	return t, nil
}

// Rest takes the pages that only this tensor lies on out of memory until they are read
// again, where the file is mapped: so a checkpoint is read through without staying
// resident. An unknown name, and a system without such advice, change nothing.
func (f *File) Rest(name string) {
	if t, ok := f.tensors[name]; ok && f.mapped && !f.closed {
		restPages(t.Data)
	}
}

// Metadata returns a copy of the header's __metadata__; of several shards the
// first (in name order) to give a key counts.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Close unmaps the file. Tensors' data must not be touched afterwards. Closing
// again does nothing.
func (f *File) Close() error {
	f.closed = true
	var err error
	for _, unmap := range f.unmap {
		err = errors.Join(err, unmap())
	}
	f.unmap = nil
	return err
}

// similar returns up to n of names that differ least from name, by edit distance.
func similar(name string, names []string, n int) []string {
	type scored struct {
		name string
		d    int
	}
	var all []scored
	for _, other := range names {
		if len(name)*len(other) < 1<<20 { // names that long are no slip of the finger
			all = append(all, scored{other, nearest.Distance(name, other)})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return a.d - b.d })
	var out []string
	for _, s := range all[:min(n, len(all))] {
		out = append(out, s.name)
	}
	if out == nil {
		return []string{"none"}
	}
	return out
}
