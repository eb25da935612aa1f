package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// raw puts a file together from its header's text and its data.
func raw(head string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	return append(append(b, head...), make([]byte, data)...)
}

func examples(t *testing.T) []Tensor {
	t.Helper()
	bf, err := FromFloat32As("b.bf16", BF16, []int{3}, []float32{1, -2, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	return []Tensor{
		FromBytes("z", []int{1, 3}, []byte{1, 2, 3}),
		FromFloat32("a.weight", []int{2, 2}, []float32{1, 2, 3, 4}),
		bf,
		FromInts("ids", []int{2}, []int64{-1, 1 << 40}),
		FromFloat32("scalar", nil, []float32{7}),
		FromFloat32("empty", []int{0, 5}, nil),
		FromFloat32(`quoted "name" <&> ü`, []int{1}, []float32{9}),
	}
}

func TestWriteAndReadBack(t *testing.T) {
	tensors := examples(t)
	meta := map[string]string{"format": "pt", "a": "<ü>"}
	path := filepath.Join(t.TempDir(), "a folder.safetensors")
	if err := WriteFile(path, meta, tensors...); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(meta, f.Metadata()); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, want := range tensors {
		names = append(names, want.Name)
		got, err := f.Tensor(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) || !f.Has(want.Name) {
			t.Errorf("wrote %v, read %v", want, got)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, f.Names()); diff != "" {
		t.Error(diff)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := f.Tensor("ids"); err == nil {
		t.Error("a tensor after Close")
	}
}

func TestWriteIsDeterministicAndAligned(t *testing.T) {
	tensors := examples(t)
	meta := map[string]string{"b": "2", "a": "1", "c": "3"}
	var first, second bytes.Buffer
	if err := Write(&first, meta, tensors...); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(tensors)
	if err := Write(&second, meta, tensors...); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the order of the arguments changes the bytes")
	}
	n := binary.LittleEndian.Uint64(first.Bytes())
	if n%8 != 0 {
		t.Errorf("data begin at %d, no multiple of 8", n+8)
	}
	h, err := readHeader(first.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(0)
	for _, x := range h.tensors {
		if at*8%dtypeBits[x.DType] != 0 {
			t.Errorf("%s lies at %d, not aligned to %s", x.Name, at, x.DType)
		}
		at += uint64(len(x.Data))
	}
}

func TestWriteRefuses(t *testing.T) {
	one := FromFloat32("x", []int{1}, []float32{1})
	for _, c := range []struct {
		tensors []Tensor
		want    string
	}{
		{[]Tensor{one, one}, `two tensors are named "x"`},
		{[]Tensor{FromFloat32("x", []int{3}, []float32{1})}, "4 bytes of data, but F32 [3] takes 12"},
		{[]Tensor{{Name: "x", DType: "F99", Shape: []int{1}}}, `unknown dtype "F99"`},
		{[]Tensor{FromFloat32("x", []int{-1}, nil)}, "negative side"},
		{[]Tensor{FromFloat32("__metadata__", []int{1}, []float32{1})}, "no possible tensor name"},
		{[]Tensor{FromFloat32("\xff", []int{1}, []float32{1})}, "no possible tensor name"},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		err := WriteFile(path, nil, c.tensors...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("WriteFile = %v, want %q", err, c.want)
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(left) != 0 {
			t.Errorf("%v left behind (%v)", left, err)
		}
	}
	if err := WriteFile(filepath.Join(t.TempDir(), "no", "folder"), nil, one); err == nil {
		t.Error("wrote into a missing folder")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "0 bytes"},
		{"short length", []byte{1, 2, 3}, "3 bytes"},
		{"header beyond end", raw(`{}`, 0)[:9], "cut short"},
		{"huge header", binary.LittleEndian.AppendUint64(nil, 1<<62), "limit of 100000000"},
		{"over the limit", append(binary.LittleEndian.AppendUint64(nil, maxHeader+1), '{'), "limit of 100000000"},
		{"no brace", raw(` {}`, 0), "does not begin with '{'"},
		{"empty header", raw(``, 0), "does not begin with '{'"},
		{"no JSON", raw(`{"a"`, 0), "no valid JSON"},
		{"text after", raw(`{} {}`, 0), "text follows"},
		{"not UTF-8", raw("{\"\xff\":1}", 0), "UTF-8"},
		{"entry no object", raw(`{"a":3}`, 0), `tensor "a": found 3, expected an object`},
		{"metadata no strings", raw(`{"__metadata__":{"a":3}}`, 0), `__metadata__: the value of "a" is 3`},
		{"metadata twice", raw(`{"__metadata__":{"a":"","a":""}}`, 0), `names "a" twice`},
		{"two metadata", raw(`{"__metadata__":{},"__metadata__":{}}`, 0), "twice"},
		{"tensor twice", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `names "a" twice`},
		{"key twice", raw(`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `tensor "a": names "dtype" twice`},
		{"no dtype", raw(`{"a":{"shape":[1],"data_offsets":[0,1]}}`, 1), `tensor "a": has no dtype`},
		{"other case", raw(`{"a":{"DTYPE":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `tensor "a": has no dtype`},
		{"no shape", raw(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "has no shape"},
		{"no offsets", raw(`{"a":{"dtype":"U8","shape":[1]}}`, 1), "has no data_offsets"},
		{"dtype number", raw(`{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}`, 1), "dtype is 8"},
		{"unknown dtype", raw(`{"a":{"dtype":"Q8","shape":[1],"data_offsets":[0,1]}}`, 1), `unknown dtype "Q8"; the format has BF16, BOOL`},
		{"negative side", raw(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), "shape holds -1"},
		{"fraction", raw(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}`, 1), "shape holds 1.5"},
		{"shape string", raw(`{"a":{"dtype":"U8","shape":"1","data_offsets":[0,1]}}`, 1), "expected an array"},
		{"huge side", raw(`{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]}}`, 1), "larger than any file"},
		{"overflow", raw(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0), "larger than any file"},
		{"three offsets", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), "3 numbers, expected 2"},
		{"backwards", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1), "run backwards"},
		{"beyond end", raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 1), `tensor "a": data_offsets [0, 2] end beyond the 1 bytes`},
		{"wrong size", raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2]}}`, 2), "span 2 bytes, but F32 [1] takes 4"},
		{"part of a byte", raw(`{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}`, 1), "does not fill whole bytes"},
		{"hole at start", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "hole of 1 bytes"},
		{"hole between", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), `tensor "b": data_offsets [2, 3] leave a hole`},
		{"overlap", raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), `tensor "b": data_offsets [1, 3] overlap tensor "a"`},
		{"bytes left over", raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2), "1 bytes of data follow the last tensor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// Orders of the header other than the data's and further keys are allowed.
func TestParseAccepts(t *testing.T) {
	f, err := Parse(raw(`{"b":{"data_offsets":[1,3],"dtype":"U8","shape":[2],"more":{"x":[1]}},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"none":{"dtype":"F32","shape":[0],"data_offsets":[3,3]},"__metadata__":{}}   `, 3))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "none"}, f.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownNameListsNearest(t *testing.T) {
	f, err := Parse(raw(`{"model.norm.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Tensor("model.norm.weights")
	if err == nil || !strings.Contains(err.Error(), "nearest: model.norm.weight, x") {
		t.Error(err)
	}
	if f.Has("y") {
		t.Error("Has of an unknown name")
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cut.safetensors")
	for _, content := range [][]byte{nil, raw(`{}`, 0)[:9]} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want an error with the path", err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want an error with the path", err)
		}
	}
}

// writeShards writes a two-shard checkpoint and returns its folder.
func writeShards(t *testing.T, index string) string {
	t.Helper()
	dir := t.TempDir()
	one := func(name string, v float32) Tensor { return FromFloat32(name, []int{1}, []float32{v}) }
	for file, tensors := range map[string][]Tensor{
		"1.safetensors": {one("a", 1), one("both", 2)},
		"2.safetensors": {one("b", 3), one("both", 4)},
	} {
		if err := WriteFile(filepath.Join(dir, file), map[string]string{"format": "pt"}, tensors...); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, IndexName), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpenDirShards(t *testing.T) {
	f, err := OpenDir(writeShards(t, `{"metadata":{"total_size":16},"weight_map":{"a":"1.safetensors","both":"2.safetensors"}}`))
	if err != nil || !f.Has("b") {
		t.Fatalf("a tensor that the index leaves out must come along with its shard (%v)", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	f, err = OpenDir(writeShards(t, `{"weight_map":{"a":"1.safetensors","b":"2.safetensors","both":"2.safetensors"}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, want := range map[string]float32{"a": 1, "b": 3, "both": 4} {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := x.Float32s(); err != nil || v[0] != want {
			t.Errorf("%s = %v, %v, want %v", name, v, err, want)
		}
	}
	if f.Metadata()["format"] != "pt" {
		t.Error("metadata is lost")
	}
}

func TestOpenDirRefuses(t *testing.T) {
	for index, want := range map[string]string{
		`{"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}`: `tensor "both" is in both 1.safetensors and 2.safetensors`,
		`{"weight_map":{"a":"1.safetensors","c":"1.safetensors"}}`: `tensor "c" is not in shard "1.safetensors"`,
		`{"weight_map":{"a":"1.safetensors","b":"1.safetensors"}}`: `tensor "b" is not in shard "1.safetensors"`,
		`{"weight_map":{"a":"1.safetensors","c":"3.safetensors"}}`: `shard "3.safetensors", named by the index, is missing`,
		`{"weight_map":{"a":"../1.safetensors"}}`:                  "lies outside the folder",
		`{"weight_map":{}}`:      "weight_map is missing or empty",
		`{}`:                     "weight_map is missing or empty",
		`{"weight_map":{"a":1}}`: `the value of "a" is 1`,
		`{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}`: `names "a" twice`,
		`[]`:                                 "expected an object",
		`{"weight_map":{"a":"1.safetensors"`: "no valid JSON",
		fmt.Sprintf(`{"weight_map":{"a":"%s"}}`, IndexName): "limit",
	} {
		if _, err := OpenDir(writeShards(t, index)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("index %s: %v, want an error with %q", index, err, want)
		}
	}
	if _, err := OpenDir(t.TempDir()); err == nil || !strings.Contains(err.Error(), SingleName) {
		t.Errorf("empty folder: %v", err)
	}
}

func TestOpenDirFixtures(t *testing.T) {
	dirs, err := filepath.Glob("../../../shared/fixtures/models/*/config.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) == 0 {
		t.Skip("the fixtures are not beside this checkout")
	}
	for _, d := range dirs {
		f, err := OpenDir(filepath.Dir(d))
		if err != nil {
			t.Error(err)
			continue
		}
		var tensors []Tensor
		for _, name := range f.Names() {
			x, err := f.Tensor(name)
			if err != nil {
				t.Error(err)
			}
			tensors = append(tensors, x)
			if v, err := x.Float32s(); err != nil || len(v) != x.Len() {
				t.Errorf("%s: %d values, %v", name, len(v), err)
			}
		}
		if want, err := os.ReadFile(filepath.Join(filepath.Dir(d), SingleName)); err == nil { // written by the Hugging Face library
			var got bytes.Buffer
			if err := Write(&got, f.Metadata(), tensors...); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: written back with other bytes (%v)", d, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConversions(t *testing.T) {
	le := binary.LittleEndian
	f64 := Tensor{Name: "f64", DType: F64, Shape: []int{2}, Data: le.AppendUint64(le.AppendUint64(nil, math.Float64bits(1+0x1p-24)), math.Float64bits(1+3*0x1p-24))}
	if v, err := f64.Float32s(); err != nil || v[0] != 1 || v[1] != 1+0x1p-22 {
		t.Errorf("F64 halves: %v, %v, want rounding to even", v, err)
	}
	ints := map[string]struct {
		data []byte
		want int64
	}{
		I64: {le.AppendUint64(nil, math.MaxUint64), -1}, U64: {le.AppendUint64(nil, 5), 5},
		I32: {le.AppendUint32(nil, math.MaxUint32), -1}, U32: {le.AppendUint32(nil, math.MaxUint32), math.MaxUint32},
		I16: {le.AppendUint16(nil, 0x8000), -0x8000}, U16: {le.AppendUint16(nil, 0x8000), 0x8000},
		I8: {[]byte{0x80}, -128}, U8: {[]byte{0x80}, 128}, Bool: {[]byte{1}, 1},
	}
	for dtype, c := range ints {
		x := Tensor{Name: "i", DType: dtype, Shape: []int{1}, Data: c.data}
		if v, err := x.Int64s(); err != nil || v[0] != c.want {
			t.Errorf("%s: %v, %v, want %d", dtype, v, err, c.want)
		}
		if _, err := x.Float32s(); err == nil || !strings.Contains(err.Error(), "expected a float type") {
			t.Errorf("%s as floats: %v", dtype, err)
		}
	}
	if _, err := (Tensor{Name: "u", DType: U64, Shape: []int{1}, Data: le.AppendUint64(nil, 1<<63)}).Int64s(); err == nil {
		t.Error("a U64 above the int64 range passed")
	}
	if _, err := f64.Int64s(); err == nil || !strings.Contains(err.Error(), "expected an integer type") {
		t.Errorf("floats as integers: %v", err)
	}
	if _, err := FromFloat32As("x", F16, []int{2}, []float32{1, 70000}); err == nil || !strings.Contains(err.Error(), "element 1 is 70000") {
		t.Errorf("overflow: %v", err)
	}
	if _, err := FromFloat32As("x", F16, []int{3}, []float32{float32(math.Inf(1)), float32(math.NaN()), 65519}); err != nil {
		t.Errorf("infinity, NaN and the largest value: %v", err)
	}
	if _, err := FromFloat32As("x", I8, []int{1}, []float32{1}); err == nil {
		t.Error("float32 values as I8")
	}
	for _, dtype := range []string{F32, F64, F16, BF16} {
		x, err := FromFloat32As("x", dtype, []int{3}, []float32{1, -0.5, 65280})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := x.Float32s(); err != nil || !slices.Equal(v, []float32{1, -0.5, 65280}) {
			t.Errorf("%s: %v, %v", dtype, v, err)
		}
	}
}
