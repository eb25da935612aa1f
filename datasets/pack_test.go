package datasets

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyPack copies the committed pack into a temporary folder.
func copyPack(t *testing.T) string {
	t.Helper()
	from, err := defaultPackDir()
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	p := testPack(t)
	for _, name := range []string{indexFile, catalogueFile, p.index.Vendors[0].File, p.index.Vendors[1].File} {
		raw, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestDamagedPack damages a copy of the pack in all ways that happen to files.
func TestDamagedPack(t *testing.T) {
	const picture = "emoji-google.zip"
	edit := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(raw), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(raw []byte) []byte { return bytes.Replace(raw, []byte(old), []byte(new), 1) }
	}
	for _, c := range []struct {
		name   string
		damage func(*testing.T, string)
		want   []string
	}{
		{"flipped byte", edit(picture, func(raw []byte) []byte { raw[len(raw)/2] ^= 1; return raw }), []string{picture, "damaged", "sha256", "tlq data build"}},
		{"cut short", edit(picture, func(raw []byte) []byte { return raw[:len(raw)-100] }), []string{picture, "damaged", "tlq data build"}},
		{"empty", edit(picture, func([]byte) []byte { return nil }), []string{picture, "0 bytes", "damaged"}},
		{"missing", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, picture)); err != nil {
				t.Fatal(err)
			}
		}, []string{picture, "tlq data build"}},
		{"index missing", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, indexFile)); err != nil {
				t.Fatal(err)
			}
		}, []string{indexFile, "tlq data build"}},
		{"index cut short", edit(indexFile, func(raw []byte) []byte { return raw[:len(raw)/2] }), []string{indexFile, "tlq data build"}},
		{"index with more after it", edit(indexFile, func(raw []byte) []byte { return append(raw, raw...) }), []string{indexFile, "after"}},
		{"unknown field", edit(indexFile, replace(`"short"`, `"shorter"`)), []string{indexFile, "shorter"}},
		{"other version", edit(indexFile, replace(`"version": 1`, `"version": 9`)), []string{"version 9", "want 1"}},
		{"a name twice", edit(indexFile, replace(`"name":"laughing"`, `"name":"grinning"`)), []string{`"grinning"`, "twice"}},
		{"a concept without a picture", edit(indexFile, replace(`"id":"1f600"`, `"id":"0"`)), []string{"0.png", "grinning"}},
		{"a path instead of a file name", edit(indexFile, replace(`"file": "emoji-google.zip"`, `"file": "../emoji-google.zip"`)), []string{"../emoji-google.zip"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyPack(t)
			c.damage(t, dir)
			_, err := openPack(dir)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// TestPackSize keeps the committed pack within its budget.
func TestPackSize(t *testing.T) {
	dir, err := defaultPackDir()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	const budget = 6_000_000 // bytes
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > budget {
		t.Errorf("the pack has %d bytes, want at most %d", total, budget)
	}
}

// TestAllPicturesDecode reads every picture and looks for empty and twin ones.
func TestAllPicturesDecode(t *testing.T) {
	p := testPack(t)
	for v, vendor := range p.index.Vendors {
		seen := map[string]string{}
		for i, c := range p.index.Concepts {
			s, err := p.picture(pair{i, v})
			if err != nil {
				t.Fatal(err)
			}
			covered := 0
			for n := 3; n < len(s.pix); n += 4 {
				if s.pix[n] > 0 {
					covered++
				}
			}
			if covered < pictureSize*pictureSize/20 {
				t.Errorf("%s of %s covers %d pixels", c.Name, vendor.Name, covered)
			}
			if other, ok := seen[string(s.pix)]; ok {
				t.Errorf("%s: %s and %s look the same", vendor.Name, other, c.Name)
			}
			seen[string(s.pix)] = c.Name
		}
	}
}

// TestZipIsReproducible packs the committed pictures again and wants the same bytes.
func TestZipIsReproducible(t *testing.T) {
	p := testPack(t)
	dir, err := defaultPackDir()
	if err != nil {
		t.Fatal(err)
	}
	for v, vendor := range p.index.Vendors {
		content := map[string][]byte{}
		for name, file := range p.files[v] {
			content[name] = readZipped(t, file)
		}
		got, err := zipPictures(vendor, p.index.Concepts, content)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, vendor.File))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: packing its pictures again gives other bytes", vendor.File)
		}
	}
	got, err := p.index.encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: writing the index again gives other bytes", indexFile)
	}
}

// TestCatalogueMatchesIndex reads the catalogue again: names, kinds and order are the index's.
func TestCatalogueMatchesIndex(t *testing.T) {
	p := testPack(t)
	dir, err := defaultPackDir()
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := os.ReadFile(filepath.Join(dir, catalogueFile))
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseCatalogue(catalogue, entriesOf(t, p.index.Concepts))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(p.index.Concepts) {
		t.Fatalf("the catalogue has %d concepts, the index %d: run \"tlq data build\"", len(got), len(p.index.Concepts))
	}
	for i, c := range got {
		if c != p.index.Concepts[i] {
			t.Errorf("the catalogue has %+v, the index %+v: run \"tlq data build\"", c, p.index.Concepts[i])
		}
	}
}

// entriesOf writes concepts the way emoji.json does.
func entriesOf(t testing.TB, concepts []Concept) []byte {
	t.Helper()
	var entries []emojiEntry
	for _, c := range concepts {
		entries = append(entries, emojiEntry{c.Short, c.ID + ".png", c.Category, c.Subcategory})
	}
	raw, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func readZipped(t testing.TB, file *zip.File) []byte {
	t.Helper()
	r, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
