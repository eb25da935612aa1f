package safetensors

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Spec is a tensor without its data.
type Spec struct {
	Name  string
	DType string
	Shape []int
}

// ShardBytes is the usual largest size of a shard: what the Hugging Face hub's tools
// take by default.
const ShardBytes = 5_000_000_000

// WriteDir writes a checkpoint folder's tensors one at a time: data is called for each
// Spec once, in the order of the file, and what it returns is written and forgotten. Tensors
// of at most limit bytes in all go to model.safetensors, with the bytes of [WriteFile];
// more go to shards model-0000k-of-0000n.safetensors of at most limit bytes each (a
// larger tensor stands alone) with model.safetensors.index.json. The folder must exist.
// Files appear under their names when all are complete; on an error none does.
func WriteDir(dir string, metadata map[string]string, specs []Spec, limit int64, data func(s Spec) (Tensor, error)) error {
	shards, total, err := cutShards(specs, limit)
	if err != nil {
		return err
	}
	w := dirWriter{dir: dir, metadata: metadata, data: data, weightMap: map[string]string{}}
	defer w.clean()
	for i, shard := range shards {
		name := SingleName
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		if err := w.shard(name, shard); err != nil {
			return err
		}
	}
	if len(shards) > 1 {
		if err := w.index(total); err != nil {
			return err
		}
	}
	return w.commit()
}

// cutShards orders the tensors as a file does and cuts them.
func cutShards(specs []Spec, limit int64) (shards [][]Spec, total int64, err error) {
	ordered := make([]Tensor, len(specs))
	for i, s := range specs {
		ordered[i] = Tensor{Name: s.Name, DType: s.DType, Shape: s.Shape}
	}
	sortTensors(ordered)
	shards = [][]Spec{nil}
	var size int64
	for _, t := range ordered {
		n, err := byteSize(t.DType, t.Shape)
		if err != nil {
			return nil, 0, fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		}
		if size > 0 && size+int64(n) > limit {
			shards, size = append(shards, nil), 0
		}
		last := len(shards) - 1
		shards[last] = append(shards[last], Spec{t.Name, t.DType, t.Shape})
		size += int64(n)
		total += int64(n)
	}
	return shards, total, nil
}

// dirWriter writes temporary files and gives them their names at the end.
type dirWriter struct {
	dir       string
	metadata  map[string]string
	data      func(s Spec) (Tensor, error)
	weightMap map[string]string
	temps     [][2]string // temporary path, name
}

// shard writes one file.
func (w *dirWriter) shard(name string, specs []Spec) error {
	empty := make([]Tensor, len(specs))
	for i, s := range specs {
		empty[i] = Tensor{Name: s.Name, DType: s.DType, Shape: s.Shape}
		w.weightMap[s.Name] = name
	}
	ordered, head, err := layoutShapes(w.metadata, empty)
	if err != nil {
		return err
	}
	return w.file(name, func(out *bufio.Writer) error {
		if _, err := out.Write(head); err != nil {
			return fmt.Errorf("safetensors: writing the header of %s: %w", name, err)
		}
		for _, t := range ordered {
			full, err := w.data(Spec{t.Name, t.DType, t.Shape})
			if err != nil {
				return err
			}
			if full.DType != t.DType || len(full.Shape) != len(t.Shape) {
				return fmt.Errorf("safetensors: tensor %q came as %s %v; %s %v was announced", t.Name, full.DType, full.Shape, t.DType, t.Shape)
			}
			t.Data = full.Data
			if err := t.check(); err != nil {
				return err
			}
			if _, err := out.Write(t.Data); err != nil {
				return fmt.Errorf("safetensors: writing tensor %q: %w", t.Name, err)
			}
		}
		return nil
	})
}

// index writes the list of shards.
func (w *dirWriter) index(total int64) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(struct {
		Metadata  map[string]int64  `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}{map[string]int64{"total_size": total}, w.weightMap})
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return w.file(IndexName, func(out *bufio.Writer) error {
		_, err := out.Write(b.Bytes())
		return err
	})
}

// file fills a temporary file and syncs it.
func (w *dirWriter) file(name string, fill func(out *bufio.Writer) error) error {
	temp, err := os.CreateTemp(w.dir, name+".*.tmp")
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	w.temps = append(w.temps, [2]string{temp.Name(), name})
	out := bufio.NewWriterSize(temp, 1<<20)
	err = fill(out)
	if err == nil {
		err = errors.Join(out.Flush(), temp.Chmod(0o644), temp.Sync())
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("safetensors: %s: %w", filepath.Join(w.dir, name), err)
	}
	return nil
}

// commit gives the files their names, the index last.
func (w *dirWriter) commit() error {
	for len(w.temps) > 0 {
		if err := os.Rename(w.temps[0][0], filepath.Join(w.dir, w.temps[0][1])); err != nil {
			return fmt.Errorf("safetensors: %w", err)
		}
		w.temps = w.temps[1:]
	}
	return syncDir(w.dir)
}

// clean removes what did not get its name.
func (w *dirWriter) clean() {
	for _, t := range w.temps {
		_ = os.Remove(t[0]) // the error that led here counts
	}
}
