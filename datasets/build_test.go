package datasets

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarball writes an npm tarball of files and returns its path and a vendor for it.
func tarball(t *testing.T, name string, files map[string][]byte) (string, Vendor) {
	t.Helper()
	var raw bytes.Buffer
	zipped := gzip.NewWriter(&raw)
	archive := tar.NewWriter(zipped)
	for path, data := range files {
		err := archive.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(data))})
		if err == nil {
			_, err = archive.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name+".tgz")
	if err := os.WriteFile(path, raw.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw.Bytes())
	return path, Vendor{Name: name, Title: name, Package: name + "@1", TarballSHA256: hex.EncodeToString(sum[:]), File: name + ".zip", Licence: "none"}
}

// TestBuild makes the whole pack from tarballs written here, out of the committed pictures.
func TestBuild(t *testing.T) {
	p := testPack(t)
	var tarballs []string
	var vendors []Vendor
	for v, vendor := range p.index.Vendors {
		files := map[string][]byte{"package/emoji.json": entriesOf(t, p.index.Concepts), "package/img/apple/64/1f600.png": []byte("not ours")}
		for name, file := range p.files[v] {
			files["package/img/"+vendor.Name+"/64/"+name] = readZipped(t, file)
		}
		path, made := tarball(t, vendor.Name, files)
		made.Title, made.Package, made.File, made.Licence, made.Attribution = vendor.Title, vendor.Package, vendor.File, vendor.Licence, vendor.Attribution
		tarballs, vendors = append(tarballs, path), append(vendors, made)
	}
	dir := copyPack(t)
	for _, name := range []string{indexFile, vendors[0].File, vendors[1].File} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	index, err := build(dir, vendors, tarballs)
	if err != nil {
		t.Fatal(err)
	}
	for v, vendor := range index.Vendors {
		if vendor.SHA256 != p.index.Vendors[v].SHA256 {
			t.Errorf("%s: sha256 %s, the committed one has %s", vendor.File, vendor.SHA256, p.index.Vendors[v].SHA256)
		}
	}
	if _, err := openPack(dir); err != nil {
		t.Error(err)
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, "*.new-*"))
	if err != nil || len(leftovers) > 0 {
		t.Errorf("left behind: %v, %v", leftovers, err)
	}
}

// TestBuildRefuses checks that bad input is named and that nothing is written.
func TestBuildRefuses(t *testing.T) {
	entries := []byte(`[{"short_name": "cat", "image": "c.png", "category": "A", "subcategory": "a"}]`)
	good := map[string][]byte{"package/emoji.json": entries, "package/img/v/64/c.png": []byte("png")}
	for _, c := range []struct {
		name, catalogue string
		files           map[string][]byte
		change          func(path string, v *Vendor)
		want            []string
	}{
		{"other tarball", "[animal]\ncat\n", good, func(_ string, v *Vendor) { v.TarballSHA256 = "00" }, []string{"is not v@1", "want 00", "npm pack v@1"}},
		{"no tarball", "[animal]\ncat\n", good, func(path string, _ *Vendor) { os.Remove(path) }, []string{"v.tgz"}},
		{"no emoji.json", "[animal]\ncat\n", map[string][]byte{"package/img/v/64/c.png": nil}, nil, []string{"emoji.json"}},
		{"no picture", "[animal]\ncat\n", map[string][]byte{"package/emoji.json": entries}, nil, []string{"c.png", `"cat"`}},
		{"bad emoji.json", "[animal]\ncat\n", map[string][]byte{"package/emoji.json": []byte("{")}, nil, []string{"emoji.json"}},
		{"unknown concept", "[animal]\n\ndog\n", good, nil, []string{"catalogue.txt:3", `"dog"`}},
		{"no kind", "cat\n", good, nil, []string{"catalogue.txt:1", "[kind]"}},
		{"concept twice", "[animal]\ncat\ncat = kitten\n", good, nil, []string{"catalogue.txt:3", "twice"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, vendor := tarball(t, "v", c.files)
			if c.change != nil {
				c.change(path, &vendor)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, catalogueFile), []byte(c.catalogue), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := build(dir, []Vendor{vendor}, []string{path})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("the folder holds %d files, want the catalogue alone", len(entries))
			}
		})
	}
	if _, err := Build(t.Context(), BuildConfig{Tarballs: []string{"one"}}); err == nil || !strings.Contains(err.Error(), "1 tarballs, want none or 4") {
		t.Errorf("one tarball gave %v", err)
	}
}

func FuzzParseCatalogue(f *testing.F) {
	entries := []byte(`[{"short_name": "cat", "image": "c.png"}, {"short_name": "dog", "image": "d.png"}]`)
	f.Add("[animal]\n*cat = kitty\ndog\n")
	f.Add("# nothing\n")
	f.Add("[")
	f.Add("[a]\n* = \n")
	f.Fuzz(func(t *testing.T, text string) {
		concepts, err := parseCatalogue([]byte(text), entries)
		if err != nil {
			return
		}
		index := Index{Version: indexVersion, Vendors: []Vendor{{File: "a.zip"}, {File: "b.zip"}}, Concepts: concepts}
		if err := index.Validate(); err != nil && len(concepts) > 0 {
			t.Errorf("%q was accepted, but: %v", text, err)
		}
	})
}
