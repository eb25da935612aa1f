package harness

import (
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// ownData writes a folder of questions, conversations and token streams.
func ownData(t *testing.T) (folder, talk, tokens string) {
	t.Helper()
	folder = t.TempDir()
	var qa, turns strings.Builder
	for i := range 5 {
		img := image.NewRGBA(image.Rect(0, 0, 64, 48))
		for k := range img.Pix {
			img.Pix[k] = uint8(k * (i + 3))
		}
		img.Set(i, i, color.White)
		name := fmt.Sprintf("p%d.png", i)
		if err := datasets.WritePNG(filepath.Join(folder, name), img); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&qa, "{\"image\":%q,\"question\":\"What is number %d?\",\"answers\":[\"cat\"]}\n", name, i)
		fmt.Fprintf(&turns, ",{\"id\":\"%d\",\"image\":%q,\"conversations\":[{\"from\":\"human\",\"value\":\"<image>\\nWhat is it?\"},{\"from\":\"gpt\",\"value\":\"A dog.\"}]}", i, name)
	}
	talk, tokens = filepath.Join(folder, "talk.json"), filepath.Join(folder, "t.safetensors")
	for path, text := range map[string]string{filepath.Join(folder, "qa.jsonl"): qa.String(), talk: "[" + turns.String()[1:] + "]"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ids := make([]int64, 4*12)
	for i := range ids {
		ids[i] = int64(i*7%50 + 1)
	}
	ids[47] = -1
	if err := safetensors.WriteFile(tokens, nil, safetensors.FromInts("calib", []int{4, 12}, ids), safetensors.FromInts("long", []int{2}, []int64{1, 1 << 20}), safetensors.FromInts("none", []int{0, 12}, nil)); err != nil {
		t.Fatal(err)
	}
	return folder, talk, tokens
}

// Samples of the user's own calibrate like built-in ones, and are named in keys and
// manifest by what they hold.
func TestCalibrationFromFiles(t *testing.T) {
	_, m := tinySession(t)
	folder, talk, tokens := ownData(t)
	hashes := map[string]bool{}
	for _, source := range []string{folder, talk, tokens + ":calib"} {
		c, err := m.CalibrationFrom(source, 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		q, err := m.Quantize(c, mustQuantization(t, "tlq", "w4a8"))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		manifest, err := m.WriteQuantized(filepath.Join(t.TempDir(), "out"), c, q)
		if err != nil {
			t.Fatal(err)
		}
		if manifest.Calibration != (Calibration{Name: source, Samples: 3}) || len(manifest.DataSHA256) != 64 || hashes[manifest.DataSHA256] || hashes[q.WeightsSHA256] {
			t.Errorf("%s: calibration %+v, data %s", source, manifest.Calibration, manifest.DataSHA256)
		}
		hashes[manifest.DataSHA256], hashes[q.WeightsSHA256] = true, true
		all, err := m.CalibrationFrom(source, 0, 1)
		if err != nil || all.N < 4 || all.N > 5 {
			t.Errorf("%s, all: %d samples, %v", source, all.N, err)
		}
		other, err := m.CalibrationFrom(source, 3, 2)
		if err != nil || other.Key() == c.Key() {
			t.Errorf("%s: another seed has the same key, %v", source, err)
		}
	}
	c, err := m.CalibrationFrom(tokens+":calib", 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	seqs, err := c.Sequences()
	if err != nil {
		t.Fatal(err)
	}
	lengths := map[int]int{}
	for _, s := range seqs {
		lengths[s.Len()]++
		if s.Modality[0] != models.Answer || len(s.Scored) != s.Len()-1 {
			t.Errorf("a stream of %d tokens scores %d", s.Len(), len(s.Scored))
		}
	}
	if diff := cmp.Diff(map[int]int{12: 3, 11: 1}, lengths); diff != "" {
		t.Error(diff)
	}
}

func TestCalibrationFromFilesRefuses(t *testing.T) {
	_, m := tinySession(t)
	folder, _, tokens := ownData(t)
	for _, bad := range []struct {
		source string
		n      int
		why    string
	}{
		{"coco", 3, "unknown calibration set \"coco\""},
		{folder, 6, "holds 5 examples, 6 are wanted"},
		{tokens + ":calib", 5, "holds 4 streams, 5 are wanted"},
		{tokens + ":long", 1, "the vocabulary has"},
		{tokens + ":none", 0, "holds no token streams"},
		{tokens, 1, "name one as FILE:NAME"},
		{folder + "/none", 1, "no such file"},
		{filepath.Join(folder, "p0.png"), 1, "conversations in a .json"},
		{"default", -1, "expected at least 1"},
	} {
		if _, err := m.CalibrationFrom(bad.source, bad.n, 0); err == nil || !strings.Contains(err.Error(), bad.why) {
			t.Errorf("%s: %v", bad.source, err)
		}
	}
}
