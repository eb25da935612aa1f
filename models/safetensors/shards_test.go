package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func shardSpecs() ([]Spec, map[string]Tensor) {
	var specs []Spec
	all := map[string]Tensor{}
	for i := range 9 {
		name := fmt.Sprintf("layer.%d.weight", i)
		v := make([]float32, 3*(i+1))
		for k := range v {
			v[k] = float32(100*i + k)
		}
		t := ViewFloat32(name, []int{3, i + 1}, v)
		if i == 4 {
			var err error
			if t, err = FromFloat32As(name, BF16, []int{3, i + 1}, v); err != nil {
				panic(err)
			}
		}
		specs = append(specs, Spec{name, t.DType, t.Shape})
		all[name] = t
	}
	return specs, all
}

// A folder reads back as what was written, in one file with the bytes of WriteFile
// or in shards within the limit, and every tensor is asked for once.
func TestWriteDir(t *testing.T) {
	specs, all := shardSpecs()
	for limit, shards := range map[int64]int{1 << 30: 1, 200: 3, 8: 9} {
		dir := t.TempDir()
		asked := map[string]int{}
		err := WriteDir(dir, map[string]string{"format": "pt"}, specs, limit, func(s Spec) (Tensor, error) {
			asked[s.Name]++
			return all[s.Name], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
		if err != nil || len(files) != shards {
			t.Errorf("limit %d: files %v (%v), want %d", limit, files, err, shards)
		}
		f, err := OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range all {
			got, err := f.Tensor(name)
			if err != nil || asked[name] != 1 || got.DType != want.DType || !bytes.Equal(got.Data, want.Data) || !slices.Equal(got.Shape, want.Shape) {
				t.Errorf("limit %d: %s came back as %v (%v), asked for %d times", limit, name, got, err, asked[name])
			}
			f.Rest(name) // pages come back when they are read
			if !bytes.Equal(got.Data, want.Data) {
				t.Errorf("%s differs after its pages rested", name)
			}
			part := make([]float32, 2)
			whole, _ := got.Float32s()
			if err := got.ReadFloat32s(part, 1); err != nil || !slices.Equal(part, whole[1:3]) {
				t.Errorf("%s: elements 1 and 2 read as %v (%v)", name, part, err)
			}
			if err := got.ReadFloat32s(part, got.Len()-1); err == nil {
				t.Error("elements beyond the end were read")
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	one, two := t.TempDir(), t.TempDir()
	var list []Tensor
	for _, x := range all {
		list = append(list, x)
	}
	if err := WriteFile(filepath.Join(one, SingleName), map[string]string{"format": "pt"}, list...); err != nil {
		t.Fatal(err)
	}
	if err := WriteDir(two, map[string]string{"format": "pt"}, specs, ShardBytes, func(s Spec) (Tensor, error) { return all[s.Name], nil }); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(filepath.Join(one, SingleName))
	b, _ := os.ReadFile(filepath.Join(two, SingleName))
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Error("one file differs from WriteFile's")
	}
}

// A tensor that fails or is not what was announced leaves nothing behind.
func TestWriteDirErrors(t *testing.T) {
	specs, all := shardSpecs()
	broken := errors.New("broken")
	for want, data := range map[string]func(s Spec) (Tensor, error){
		"broken": func(s Spec) (Tensor, error) {
			if s.Name == "layer.7.weight" {
				return Tensor{}, broken
			}
			return all[s.Name], nil
		},
		"was announced": func(s Spec) (Tensor, error) { return all["layer.4.weight"], nil },
		"bytes of data": func(s Spec) (Tensor, error) {
			x := all[s.Name]
			x.Data = x.Data[1:]
			return x, nil
		},
	} {
		dir := t.TempDir()
		err := WriteDir(dir, nil, specs, 100, data)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s: %d files are left", want, len(entries))
		}
	}
	if err := WriteDir(filepath.Join(t.TempDir(), "missing"), nil, specs, 100, nil); err == nil {
		t.Error("a missing folder was written")
	}
}
