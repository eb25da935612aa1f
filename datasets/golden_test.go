package datasets

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"image"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden.json, when Version has gone up")

// golden is what the generators of one version make.
type golden struct {
	Version int    `json:"version"`
	SHA256  string `json:"sha256"`
}

// TestGolden fails when the generators' results change while Version doesn't: keys
// of stored results are made of Version, so the change would go unnoticed.
func TestGolden(t *testing.T) {
	const path = "testdata/golden.json"
	got := golden{Version, fingerprint(t)}
	var want golden
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if *update {
		if err == nil && want.Version == got.Version && want.SHA256 != got.SHA256 {
			t.Fatalf("the generators make other examples than version %d did: raise Version first", want.Version)
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "{\"version\": %d, \"sha256\": %q}\n", got.Version, got.SHA256), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v; run with -update", err)
	}
	if got.Version != want.Version {
		t.Fatalf("version %d, the golden file is of version %d: run with -update", got.Version, want.Version)
	}
	if got.SHA256 != want.SHA256 {
		t.Fatalf("version %d makes other examples, pictures or texts than before (sha256 %s, want %s): raise Version and run with -update, or undo the change", got.Version, got.SHA256, want.SHA256)
	}
}

// fingerprint hashes a sample of everything that the package makes.
func fingerprint(t *testing.T) string {
	sum := sha256.New()
	add := func(e Example) {
		fmt.Fprintf(sum, "%s %s %q %q %q %s %s %s\n", e.ID, e.Task, e.Question, e.Answers, e.Choices, e.Source, e.Licence, e.Attribute)
		addPicture(sum, e.Images[0])
	}
	for _, task := range Tasks() {
		for _, split := range Splits() {
			for _, e := range take(t, task, split, 1, 12) {
				add(e)
			}
		}
	}
	for e, err := range Calibration("default", 1, 12) {
		if err != nil {
			t.Fatal(err)
		}
		add(e)
	}
	for i := range 60 {
		picture, err := PictureAt(taskNames(), 1, i)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%q %q\n", picture.QA, picture.Labels)
		addPicture(sum, picture.Image)
	}
	texts, err := Texts()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		fmt.Fprintf(sum, "%q\n", text)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func addPicture(sum hash.Hash, img image.Image) {
	sum.Write(img.(*image.RGBA).Pix)
}
