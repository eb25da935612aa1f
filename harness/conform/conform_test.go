package conform

import (
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/pixels"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// collect compares folders and returns the comparisons by case and name.
func collect(t *testing.T, dirs ...string) (list []Check, failed int) {
	t.Helper()
	_, failed, err := Models(dirs, func(c Check) { list = append(list, c) })
	if err != nil {
		t.Fatal(err)
	}
	return list, failed
}

func TestFixturesConform(t *testing.T) {
	tables := t.TempDir()
	for _, name := range []string{tableFile, resizeFile} {
		data, err := os.ReadFile(filepath.Join("../../models/pixels/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tables, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dirs := []string{"../../models/testdata", tables}
	if shared := "../../../shared/fixtures/models"; exists(shared) {
		dirs = append(dirs, shared)
	}
	list, failed := collect(t, dirs...)
	if failed > 0 {
		t.Errorf("%d of %d comparisons failed", failed, len(list))
	}
	if least := 60; len(list) < least {
		t.Errorf("%d comparisons; the copies in testdata alone hold at least %d", len(list), least)
	}
	for _, c := range list {
		if !c.Pass {
			t.Errorf("%s, %s: %s: abs %g, rel %g, tolerance %g; %s", c.Fixture, c.Case, c.Name, c.MaxAbs, c.MaxRel, c.Tolerance, c.Note)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// change copies a fixture and changes a tensor of one of its files.
func change(t *testing.T, file string, edit func(list []safetensors.Tensor) []safetensors.Tensor) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "fixture")
	if err := os.CopyFS(dir, os.DirFS("../../models/testdata/llava-onevision-bf16-anyres")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var list []safetensors.Tensor
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	if err := safetensors.WriteFile(path, nil, edit(list)...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// replace gives a tensor other values.
func replace(name string, edit func(v []float32)) func([]safetensors.Tensor) []safetensors.Tensor {
	return func(list []safetensors.Tensor) []safetensors.Tensor {
		for i, x := range list {
			if x.Name == name {
				v, err := x.Float32s()
				if err != nil {
					panic(err)
				}
				edit(v)
				list[i] = safetensors.FromFloat32(name, x.Shape, v)
			}
		}
		return list
	}
}

// Each kind of disagreement is found and named, and nothing else fails.
func TestDisagreementsAreNamed(t *testing.T) {
	add := func(extra safetensors.Tensor) func([]safetensors.Tensor) []safetensors.Tensor {
		return func(list []safetensors.Tensor) []safetensors.Tensor { return append(list, extra) }
	}
	one := []float32{1}
	for name, c := range map[string]struct {
		file string
		edit func([]safetensors.Tensor) []safetensors.Tensor
		want string // the tensor that fails
		note string
	}{
		"a value":      {"expected.safetensors", replace("lm.hidden.2", func(v []float32) { v[1000] *= 1.01 }), "lm.hidden.2", ""},
		"NaN":          {"expected.safetensors", replace("logits", func(v []float32) { v[3] = float32(math.NaN()) }), "logits", "NaN"},
		"loss":         {"expected.safetensors", replace("loss", func(v []float32) { v[0] += 2e-4 }), "loss", ""},
		"gradient":     {"expected.safetensors", replace("grad.layers.1.mlp.down_proj", func(v []float32) { v[len(v)-1] += 1 }), "grad.layers.1.mlp.down_proj", ""},
		"pixels":       {"inputs.safetensors", replace("pixel_values", func(v []float32) { v[5] += 0.0078 }), "pixel_values", ""},
		"unknown":      {"expected.safetensors", add(safetensors.FromFloat32("lm.layers.0.self_attn.q_proj", []int{1}, one)), "lm.layers.0.self_attn.q_proj", "no such tensor"},
		"a later step": {"expected.safetensors", add(safetensors.FromFloat32("lm.hidden.7", []int{1}, one)), "lm.hidden.7", "no such tensor"},
		"other case":   {"extra_expected.safetensors", add(safetensors.FromFloat32("narrow.image_features", []int{1}, one)), "narrow.image_features", "no case"},
		"no tolerance": {"expected.safetensors", add(safetensors.FromFloat32("attention", []int{1}, one)), "attention", "no such tensor"},
	} {
		t.Run(name, func(t *testing.T) {
			list, failed := collect(t, change(t, c.file, c.edit))
			if failed != 1 {
				t.Errorf("%d comparisons failed, expected 1", failed)
			}
			for _, check := range list {
				if !check.Pass && (check.Name != c.want || !strings.Contains(check.Note, c.note)) {
					t.Errorf("%s failed (%s), expected %s (%s)", check.Name, check.Note, c.want, c.note)
				}
			}
		})
	}
}

// A missing or foreign shape fails as one comparison.
func TestShapesAreCompared(t *testing.T) {
	dir := change(t, "expected.safetensors", func(list []safetensors.Tensor) []safetensors.Tensor {
		for i, x := range list {
			if x.Name == "image_features" {
				v, _ := x.Float32s()
				list[i] = safetensors.FromFloat32(x.Name, []int{x.Shape[1], x.Shape[0]}, v)
			}
		}
		return list
	})
	list, failed := collect(t, dir)
	i := slices.IndexFunc(list, func(c Check) bool { return !c.Pass })
	if failed != 1 || list[i].Name != "image_features" || !strings.Contains(list[i].Note, "shape") {
		t.Errorf("%d failed, %+v", failed, list[max(i, 0)])
	}
}

func TestBrokenFolders(t *testing.T) {
	for name, c := range map[string]struct {
		remove string
		want   string
	}{
		"no tolerances": {toleranceFile, toleranceFile},
		"no checkpoint": {"model.safetensors", "checkpoint"},
		"no inputs":     {"extra_inputs.safetensors", "case"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := change(t, "expected.safetensors", func(l []safetensors.Tensor) []safetensors.Tensor { return l })
			if err := os.Remove(filepath.Join(dir, c.remove)); err != nil {
				t.Fatal(err)
			}
			list, failed := collect(t, dir)
			if failed != 1 || !slices.ContainsFunc(list, func(k Check) bool { return !k.Pass && k.Name == c.want }) {
				t.Errorf("%d failed, expected %s alone", failed, c.want)
			}
		})
	}
	if _, _, err := Models([]string{t.TempDir()}, func(Check) {}); err == nil {
		t.Error("an empty folder passes")
	}
	if _, _, err := Models([]string{"/no/such/folder"}, func(Check) {}); err == nil {
		t.Error("a missing folder passes")
	}
}

// A batch of padded rows gives each row the numbers that it has alone.
func TestPaddedBatches(t *testing.T) {
	for name, write := range map[string]func(string, uint64) error{"qwen2vl": tiny.Write, "llavaov": tiny.WriteLlavaOV} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := write(dir, 3); err != nil {
				t.Fatal(err)
			}
			writeBatch(t, dir)
			list, _ := collect(t, dir)
			names := map[string]bool{}
			for _, c := range list {
				names[c.Name] = true
				if !c.Pass {
					t.Errorf("%s: abs %g, rel %g; %s", c.Name, c.MaxAbs, c.MaxRel, c.Note)
				}
			}
			for _, want := range []string{"input_ids", "lm.hidden.3", "logits", "loss", "grad.layers.0.mlp.down_proj", "generated_ids", "position_ids"} {
				if !names[want] {
					t.Errorf("%s was not compared", want)
				}
			}
		})
	}
}

// batchRow is a prompt of the made-up batch.
type batchRow struct {
	seq, prompt *models.Sequence
	image       *pixels.RGB
}

// writeBatch writes a fixture of three rows of unequal length, one without a picture
// and without labels; what is expected comes from each row alone.
func writeBatch(t *testing.T, dir string) {
	t.Helper()
	m, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := models.NewRunner(m)
	if err != nil {
		t.Fatal(err)
	}
	var rows []batchRow
	for i, q := range []string{"What is this?", "How many cats and dogs are there?", "Hello!"} {
		row := batchRow{}
		var images []image.Image
		if i < 2 {
			row.image = pixels.NewRGB(70+60*i, 90)
			for k := range row.image.Pix {
				row.image.Pix[k] = uint8(k * (i + 3))
			}
			images = []image.Image{row.image}
		}
		if row.prompt, err = m.Prompt(images, q); err != nil {
			t.Fatal(err)
		}
		row.seq = row.prompt
		if i < 2 {
			if row.seq, err = m.Prompt(images, q, strings.Repeat("cat", i+1)); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, row)
	}
	b := &batchWriter{t: t, r: r, rows: rows}
	b.inputs()
	b.expected()
	for name, list := range map[string][]safetensors.Tensor{"inputs": b.in, "expected": b.out} {
		if err := safetensors.WriteFile(filepath.Join(dir, name+".safetensors"), nil, list...); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := os.ReadFile("../../models/testdata/qwen2vl-f32/tolerances.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, toleranceFile), rules, 0o644); err != nil {
		t.Fatal(err)
	}
}

type batchWriter struct {
	t       *testing.T
	r       *models.Runner
	rows    []batchRow
	in, out []safetensors.Tensor
	n       int // padded length
}

// left returns a row's first place.
func (b *batchWriter) left(i int) int { return b.n - b.rows[i].seq.Len() }

func (b *batchWriter) inputs() {
	prompt := 0
	for _, r := range b.rows {
		b.n, prompt = max(b.n, r.seq.Len()), max(prompt, r.prompt.Len())
	}
	var ids, mask, labels, rows []int64
	for i, r := range b.rows {
		row := slices.Repeat([]int64{0}, b.left(i))
		ids, mask = append(ids, row...), append(mask, row...)
		for _, id := range r.seq.IDs {
			ids, mask = append(ids, int64(id)), append(mask, 1)
		}
		marks := slices.Repeat([]int64{-100}, b.n)
		for _, s := range r.seq.Scored {
			marks[b.left(i)+int(s.Pos)+1] = int64(s.Target)
		}
		labels = append(labels, marks...)
		if r.image != nil {
			b.in = append(b.in, safetensors.FromBytes(fmt.Sprintf("image.%d", len(rows)), []int{r.image.Height, r.image.Width, 3}, r.image.Pix))
			rows = append(rows, int64(i))
		}
	}
	shape := []int{len(b.rows), b.n}
	b.in = append(b.in, safetensors.FromInts("input_ids", shape, ids), safetensors.FromInts("attention_mask", shape, mask),
		safetensors.FromInts("labels", shape, labels), safetensors.FromInts("image_row", []int{len(rows)}, rows))
	ids, mask = nil, nil
	for _, r := range b.rows {
		pad := slices.Repeat([]int64{0}, prompt-r.prompt.Len())
		ids, mask = append(ids, pad...), append(mask, pad...)
		for _, id := range r.prompt.IDs {
			ids, mask = append(ids, int64(id)), append(mask, 1)
		}
	}
	shape = []int{len(b.rows), prompt}
	b.in = append(b.in, safetensors.FromInts("generate_input_ids", shape, ids), safetensors.FromInts("generate_attention_mask", shape, mask))
}

func (b *batchWriter) expected() {
	m := b.r.Model
	c, last := m.Config.Text.Hidden, m.NumLayers()
	hidden, grads := make([]float32, len(b.rows)*b.n*c), make([]float32, len(b.rows)*b.n*c)
	var generated, positions, at []int64
	var logits, probs []float32
	total, loss := 0, 0.0
	for _, r := range b.rows {
		total += len(r.seq.Scored)
	}
	for i, r := range b.rows {
		batches, err := b.r.Embed([]*models.Sequence{r.seq})
		if err != nil {
			b.t.Fatal(err)
		}
		x, err := b.r.Forward(batches[0], nil)
		if err != nil {
			b.t.Fatal(err)
		}
		copy(hidden[(i*b.n+b.left(i))*c:(i+1)*b.n*c], x)
		places := []int32{0}
		for _, s := range r.seq.Scored {
			places = append(places, s.Pos)
		}
		places = append(places, int32(r.seq.Len()-1))
		scores, err := b.r.LogitsAt(batches[0], x, places)
		if err != nil {
			b.t.Fatal(err)
		}
		for k, p := range places {
			at, logits = append(at, int64(i), int64(b.left(i))+int64(p)), append(logits, scores[k]...)
			if k > 0 && k <= len(r.seq.Scored) {
				lp := logProb(scores[k], r.seq.Scored[k-1].Target)
				probs, loss = append(probs, float32(lp)), loss-lp/float64(total)
			}
		}
		if len(r.seq.Scored) > 0 {
			err = b.r.Gradients(batches[0], func(layer int, _, down []float32) error {
				for k := range r.seq.Len() * c {
					if layer == 0 {
						grads[(i*b.n+b.left(i))*c+k] = down[k] * float32(len(r.seq.Scored)) / float32(total)
					}
				}
				return nil
			})
			if err != nil {
				b.t.Fatal(err)
			}
		}
		err = b.r.Continue(r.prompt, 3, nil, func(id int32, _ []float32) bool {
			generated = append(generated, int64(id))
			return true
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	shape := []int{len(b.rows), b.n, c}
	b.out = []safetensors.Tensor{
		safetensors.FromFloat32(fmt.Sprintf("lm.hidden.%d", last), shape, hidden),
		safetensors.FromFloat32("grad.layers.0.mlp.down_proj", shape, grads),
		safetensors.FromFloat32("logits", []int{len(at) / 2, m.Config.Text.Vocab}, logits), safetensors.FromInts("logits_at", []int{len(at) / 2, 2}, at),
		safetensors.FromFloat32("loss", []int{1}, []float32{float32(loss)}), safetensors.FromFloat32("answer_logprobs", []int{len(probs)}, probs),
		safetensors.FromInts("generated_ids", []int{len(b.rows), 3}, generated),
	}
	if m.Config.Family == models.LlavaOV { // one row for all
		for k := range b.n {
			positions = append(positions, int64(k))
		}
		b.out = append(b.out, safetensors.FromInts("position_ids", []int{1, b.n}, positions))
		return
	}
	positions = slices.Repeat([]int64{1}, 3*len(b.rows)*b.n)
	for i, r := range b.rows {
		for axis, list := range r.seq.Positions {
			for k, p := range list {
				positions[(axis*len(b.rows)+i)*b.n+b.left(i)+k] = int64(p)
			}
		}
	}
	b.out = append(b.out, safetensors.FromInts("position_ids", []int{3, len(b.rows), b.n}, positions))
}

// Cases of chat and tokenizer are compared one by one.
func TestWrongTextCases(t *testing.T) {
	dir := change(t, "expected.safetensors", func(l []safetensors.Tensor) []safetensors.Tensor { return l })
	rewrite(t, filepath.Join(dir, chatCases), func(v any) { v.([]any)[3].(map[string]any)["text"] = "other" })
	rewrite(t, filepath.Join(dir, tokenizerCases), func(v any) {
		v.(map[string]any)["encode"].([]any)[7].(map[string]any)["ids"] = []any{1.0, 2.0}
	})
	list, failed := collect(t, dir)
	got := map[string]float64{}
	for _, c := range list {
		if !c.Pass {
			got[c.Case+" "+c.Name] = c.MaxAbs
		}
	}
	want := map[string]float64{"chat text": 1, "tokenizer encode": 1, "tokenizer encode, decoded": 1, "tokenizer encode, decoded without special": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) || failed != len(want) {
		t.Errorf("failed %v, expected %v", got, want)
	}
}

func rewrite(t *testing.T, path string, edit func(v any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	edit(v)
	if data, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
