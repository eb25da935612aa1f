package models_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// editTensors rewrites a file's tensors.
func editTensors(t *testing.T, path string, edit func(map[string]safetensors.Tensor)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]safetensors.Tensor{}
	for _, name := range f.Names() {
		if all[name], err = f.Tensor(name); err != nil {
			t.Fatal(err)
		}
	}
	edit(all)
	if err := safetensors.WriteFile(path, nil, slices.Collect(maps.Values(all))...); err != nil {
		t.Fatal(err)
	}
}

// Names that releases of the library wrote, by family: what a name begins with and
// what it begins with there.
var otherLayouts = map[string][][2]string{
	"qwen2vl": {{"model.", "model.language_model."}, {"visual.", "model.visual."}},
	"llavaov": {
		{"language_model.model.", "model.language_model."},
		{"language_model.lm_head.", "lm_head."},
		{"vision_tower.", "model.vision_tower."},
		{"multi_modal_projector.", "model.multi_modal_projector."},
		{"image_newline", "model.image_newline"},
	},
}

// The newer prefixes, F16 weights and a header whose order is not that of the data
// change nothing but the values' precision.
func TestOtherLayoutsLoad(t *testing.T) {
	forEachFamily(t, func(t *testing.T, m *models.Model, _ *models.Runner) {
		dir := t.TempDir()
		if err := m.Save(dir, "F16"); err != nil {
			t.Fatal(err)
		}
		plain, err := models.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		want, err := plain.Hash()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "model.safetensors")
		var list []safetensors.Tensor
		editTensors(t, path, func(all map[string]safetensors.Tensor) {
			for _, name := range slices.Sorted(maps.Keys(all)) {
				x := all[name]
				for _, rule := range otherLayouts[string(m.Config.Family)] {
					if rest, ok := strings.CutPrefix(name, rule[0]); ok {
						x.Name = rule[1] + rest
						break
					}
				}
				list = append(list, x)
			}
		})
		writeBackwards(t, path, list)
		again, err := models.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if got, err := again.Hash(); err != nil || got != want {
			t.Errorf("hash %s (%v), want %s", got, err, want)
		}
		half, _ := plain.Layer(1)
		full, _ := m.Layer(1)
		for i, v := range full.Down.W {
			if d := math.Abs(float64(half.Down.W[i] - v)); d > math.Abs(float64(v))/1024+1e-7 {
				t.Fatalf("weight %d is %v in F16, %v before", i, half.Down.W[i], v)
			}
		}
	})
}

// writeBackwards writes the data in order and the header's entries in reverse.
func writeBackwards(t *testing.T, path string, list []safetensors.Tensor) {
	t.Helper()
	var data bytes.Buffer
	entries := make([]string, len(list))
	for i, x := range list {
		shape, err := json.Marshal(x.Shape)
		if err != nil {
			t.Fatal(err)
		}
		entries[len(list)-1-i] = fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, x.Name, x.DType, shape, data.Len(), data.Len()+len(x.Data))
		data.Write(x.Data)
	}
	head := "{" + strings.Join(entries, ",") + "}"
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...)
	if err := os.WriteFile(path, append(file, data.Bytes()...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Tensors that are missing, too many, of a wrong type or shape, or no numbers.
func TestBadTensors(t *testing.T) {
	const down = "layers.1.mlp.down_proj.weight"
	for name, c := range map[string]struct {
		edit func(all map[string]safetensors.Tensor, name string)
		want []string
	}{
		"missing": {func(all map[string]safetensors.Tensor, name string) { delete(all, name) }, []string{down}},
		"extra": {func(all map[string]safetensors.Tensor, name string) {
			all["extra.weight"] = safetensors.FromFloat32("extra.weight", []int{1}, []float32{1})
		}, []string{"extra.weight", "not part"}},
		"type": {func(all map[string]safetensors.Tensor, name string) {
			x := all[name]
			all[name] = safetensors.FromInts(name, x.Shape, make([]int64, x.Len()))
		}, []string{down, "I64", "F32, F16 or BF16"}},
		"shape": {func(all map[string]safetensors.Tensor, name string) {
			x := all[name]
			x.Shape = []int{x.Shape[1], x.Shape[0]}
			all[name] = x
		}, []string{down, "[64 32]", "[32 64]"}},
		"NaN":      {setWeight(math.NaN()), []string{down, "NaN", "index 5"}},
		"infinite": {setWeight(math.Inf(-1)), []string{down, "-Inf", "index 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			for family, write := range tinyFamilies {
				dir := t.TempDir()
				if err := write(dir, 1); err != nil {
					t.Fatal(err)
				}
				prefix := map[string]string{"qwen2vl": "model.", "llavaov": "language_model.model."}[family]
				editTensors(t, filepath.Join(dir, "model.safetensors"), func(all map[string]safetensors.Tensor) { c.edit(all, prefix+down) })
				m, err := models.Load(dir)
				if err == nil { // values are read with their layer
					_, err = m.Layer(1)
					defer m.Close()
				}
				if err == nil {
					t.Fatalf("%s: loaded", family)
				}
				for _, w := range c.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%s: error %q does not name %q", family, err, w)
					}
				}
			}
		})
	}
}

func setWeight(v float64) func(all map[string]safetensors.Tensor, name string) {
	return func(all map[string]safetensors.Tensor, name string) {
		x := all[name]
		values, err := x.Float32s()
		if err != nil {
			panic(err)
		}
		values[5] = float32(v)
		all[name] = safetensors.FromFloat32(name, x.Shape, values)
	}
}

// Newer releases keep the image processor's settings in processor_config.json and
// the template in a file of its own.
func TestNewerProcessorFiles(t *testing.T) {
	forEachFamily(t, func(t *testing.T, m *models.Model, _ *models.Runner) {
		want, err := m.Prompt([]image.Image{picture(1)}, "What is this?", "cat")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := m.Save(dir, "BF16"); err != nil {
			t.Fatal(err)
		}
		move := func(from, to string, edit func([]byte) []byte) {
			data, err := os.ReadFile(filepath.Join(dir, from))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, to), edit(data), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, from)); err != nil {
				t.Fatal(err)
			}
		}
		move("preprocessor_config.json", "processor_config.json", func(data []byte) []byte {
			return fmt.Appendf(nil, `{"image_processor":%s,"processor_class":"P"}`, data)
		})
		move("chat_template.json", "chat_template.jinja", func(data []byte) []byte {
			var text map[string]string
			if err := json.Unmarshal(data, &text); err != nil {
				t.Fatal(err)
			}
			return []byte(text["chat_template"])
		})
		again, err := models.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		got, err := again.Prompt([]image.Image{picture(1)}, "What is this?", "cat")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.IDs, want.IDs) || !slices.Equal(got.Images[0].Values, want.Images[0].Values) {
			t.Error("the prompt differs")
		}
	})
}

// SigLIP's pooling head may be there or not; it is kept, and nothing reads it.
func TestPoolingHead(t *testing.T) {
	dir := t.TempDir()
	if err := tiny.WriteLlavaOV(dir, 1); err != nil {
		t.Fatal(err)
	}
	edit("config.json", `"vision_use_head": false`, `"other": 1`)(dir) // the library's default is true
	without, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer without.Close()
	const d, wide = 32, 64
	shapes := map[string][]int{
		"probe": {1, 1, d}, "attention.in_proj_weight": {3 * d, d}, "attention.in_proj_bias": {3 * d},
		"attention.out_proj.weight": {d, d}, "attention.out_proj.bias": {d}, "layernorm.weight": {d}, "layernorm.bias": {d},
		"mlp.fc1.weight": {wide, d}, "mlp.fc1.bias": {wide}, "mlp.fc2.weight": {d, wide}, "mlp.fc2.bias": {d},
	}
	editTensors(t, filepath.Join(dir, "model.safetensors"), func(all map[string]safetensors.Tensor) {
		for name, shape := range shapes {
			name = "vision_tower.vision_model.head." + name
			n := 1
			for _, s := range shape {
				n *= s
			}
			all[name] = safetensors.FromFloat32(name, shape, make([]float32, n))
		}
	})
	with, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer with.Close()
	if !with.Config.Vision.PoolingHead || without.Config.Vision.PoolingHead {
		t.Error("the head's presence is not that of its weights")
	}
	saved := t.TempDir()
	if err := with.Save(saved, "F32"); err != nil {
		t.Fatal(err)
	}
	again, err := models.Load(saved)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	first, _ := with.Hash()
	second, _ := again.Hash()
	if first != second || first == "" {
		t.Errorf("hash %s after saving, %s before", second, first)
	}
}
