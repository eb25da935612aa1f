package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/harness"
	"github.com/tlqlab/tlqlab/internal/tiny"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// writeLlama saves a random language model without a tokenizer.
func writeLlama(t *testing.T, dir string) {
	t.Helper()
	c := &models.Config{Family: models.Llama, ImageToken: -1, EOSToken: 2, Text: models.TextConfig{
		Hidden: 32, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 64, Vocab: 50, Eps: 1e-5, RopeTheta: 1e4, TiedHead: true, MaxPositions: 64,
	}}
	w := models.NewWeights(c)
	w.Randomize(c, rand.New(rand.NewPCG(1, 1)))
	if err := models.New(&models.Processor{Config: c}, w).Save(dir, "F32"); err != nil {
		t.Fatal(err)
	}
}

func writePNG(t *testing.T, path string) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 80, 50))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every family loads from a folder into every command that reads one.
func TestFamilies(t *testing.T) {
	workplace(t)
	writeLlama(t, "llama")
	if err := tiny.WriteLlavaOV("llava", 1); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"llama", "llava"} {
		got := tlqRun("inspect", m, "--json")
		var info harness.Inspection
		if err := json.Unmarshal([]byte(got.out), &info); err != nil || got.code != exitOK {
			t.Fatalf("inspect %s: exit %d, %v: %s", m, got.code, err, got.err)
		}
		var parts int64
		for _, p := range info.Parts {
			parts += p.Parameters
		}
		if parts != info.Parameters || len(info.Sites) != 4 || info.Memory.Total == 0 || (info.PerImage > 0) != (m == "llava") {
			t.Errorf("inspect %s: parts of %d parameters, %d altogether: %+v", m, parts, info.Parameters, info)
		}
		if got := tlqRun("inspect", m); got.code != exitOK || !strings.Contains(got.out, "site        gate_up") {
			t.Errorf("inspect %s: exit %d: %s%s", m, got.code, got.out, got.err)
		}
	}
	streams := []int64{1, 7, 9, 3, 1, 8, -1, -1}
	if err := safetensors.WriteFile("tokens.safetensors", nil, safetensors.FromInts("eval", []int{2, 4}, streams)); err != nil {
		t.Fatal(err)
	}
	got := tlqRun("loss", "--model", "llama", "--tokens", "tokens.safetensors:eval", "--json")
	var loss harness.Loss
	if err := json.Unmarshal([]byte(got.out), &loss); err != nil || got.code != exitOK || loss.Streams != 2 || loss.Tokens != 4 {
		t.Errorf("loss: exit %d, %+v: %s", got.code, loss, got.err)
	}
	if got := tlqRun("generate", "--model", "llama", "--prompt", "Once"); got.code != exitFailed || !strings.Contains(got.err, "tokenizer.json") {
		t.Errorf("generate without a tokenizer: exit %d: %s", got.code, got.err)
	}
	writePNG(t, "a.png")
	for _, args := range []string{"--image a.png", "--image a.png --image a.png", ""} {
		got := tlqRun(strings.Fields("generate --model llava --prompt Hello --max-tokens 3 --json " + args)...)
		if got.code != exitOK || !strings.Contains(got.out, `"tokens"`) {
			t.Errorf("generate %s: exit %d: %s", args, got.code, got.err)
		}
	}
	data, err := os.ReadFile("a.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("broken.png", data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if got := tlqRun(strings.Fields("generate --model llava --prompt Hello --image broken.png")...); got.code != exitFailed || !strings.Contains(got.err, "broken.png") {
		t.Errorf("broken picture: exit %d: %s", got.code, got.err)
	}
}

// Streams that are too short, have padding inside or ids that no vocabulary holds.
func TestBadStreams(t *testing.T) {
	workplace(t)
	writeLlama(t, "llama")
	for want, ids := range map[string][]int64{
		"stream 1": {1, 2, 3, -1, -1, -1}, "token id -1 at 1": {1, 2, 3, 1, -1, 2}, "token id -2": {1, 2, -2, 1, 2, 3}, "token id 60": {1, 2, 3, 4, 60, 5},
	} {
		path := filepath.Join(t.TempDir(), "tokens.safetensors")
		if err := safetensors.WriteFile(path, nil, safetensors.FromInts("x", []int{2, 3}, ids)); err != nil {
			t.Fatal(err)
		}
		if got := tlqRun("loss", "--model", "llama", "--tokens", path); got.code != exitFailed || !strings.Contains(got.err, want) {
			t.Errorf("%v: exit %d: %s", ids, got.code, got.err)
		}
	}
}
