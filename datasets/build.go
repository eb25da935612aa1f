package datasets

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// indexVersion numbers the format of index.json.
const indexVersion = 1

// sources are the npm packages that the pack is made from. Their zip hashes are filled in by Build.
var sources = []Vendor{
	{
		Name: "google", Title: "Noto Emoji", Package: "emoji-datasource-google@16.0.0",
		TarballSHA256: "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
		File:          "emoji-google.zip", Licence: "Apache-2.0",
		Attribution: "Noto Emoji, copyright Google Inc., licensed under the Apache License 2.0",
	},
	{
		Name: "twitter", Title: "Twemoji", Package: "emoji-datasource-twitter@16.0.0",
		TarballSHA256: "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
		File:          "emoji-twitter.zip", Licence: "CC BY 4.0",
		Attribution: "Twemoji, copyright Twitter, Inc. and other contributors, licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)",
	},
}

// BuildConfig says how to make the packs again.
type BuildConfig struct {
	Tarballs []string // local npm tarballs, in the order of Packages; none: fetched by "npm pack"
	Dir      string   // the packs' folder; it holds catalogue.txt and receives the rest. Empty: the committed one
}

// Packages lists the npm packages that the packs are made from.
func Packages() []string {
	var names []string
	for _, v := range sources {
		names = append(names, v.Package)
	}
	return append(names, tableSource.Package, wordSource.Package)
}

// Validate reports a wrong number of tarballs.
func (c BuildConfig) Validate() error {
	if n := len(Packages()); len(c.Tarballs) != 0 && len(c.Tarballs) != n {
		return fmt.Errorf("datasets: %d tarballs, want none or %d, in this order: %s", len(c.Tarballs), n, strings.Join(Packages(), ", "))
	}
	return nil
}

// Build makes the emoji pack from the vendors' npm packages and the catalogue, and
// the packs of tables and words from theirs. The packages' SHA-256 are verified
// first; the result is the same on every machine, byte for byte. It returns the
// emoji pack's new index. The emoji pack's files are replaced only when all of them could be made, then the other two.
func Build(ctx context.Context, c BuildConfig) (*Index, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	dir, err := packDir(c.Dir)
	if err != nil {
		return nil, err
	}
	tarballs := c.Tarballs
	if len(tarballs) == 0 {
		temporary, err := os.MkdirTemp("", "tlq-data-")
		if err != nil {
			return nil, fmt.Errorf("datasets: %w", err)
		}
		defer os.RemoveAll(temporary)
		for _, name := range Packages() {
			path, err := npmPack(ctx, temporary, name)
			if err != nil {
				return nil, err
			}
			tarballs = append(tarballs, path)
		}
	}
	rest := tarballs[len(sources):]
	index, err := build(dir, sources, tarballs)
	if err != nil {
		return nil, err
	}
	tables, err := buildTables(rest[0])
	if err != nil {
		return nil, err
	}
	words, err := buildWords(rest[1])
	if err != nil {
		return nil, err
	}
	return index, writeAll(dir, map[string][]byte{tablesFile: tables, wordsFile: words})
}

// build writes the pack of the vendors' tarballs into dir.
func build(dir string, vendors []Vendor, tarballs []string) (*Index, error) {
	catalogue, err := os.ReadFile(filepath.Join(dir, catalogueFile))
	if err != nil {
		return nil, fmt.Errorf("datasets: %w", err)
	}
	index := &Index{Version: indexVersion}
	files := map[string][]byte{}
	for i, vendor := range vendors {
		content, err := readTarball(tarballs[i], vendor)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			if index.Concepts, err = parseCatalogue(catalogue, content["emoji.json"]); err != nil {
				return nil, err
			}
		}
		archive, err := zipPictures(vendor, index.Concepts, content)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(archive)
		vendor.SHA256 = hex.EncodeToString(sum[:])
		index.Vendors = append(index.Vendors, vendor)
		files[vendor.File] = archive
	}
	if err := index.Validate(); err != nil {
		return nil, fmt.Errorf("datasets: the new index: %w", err)
	}
	if files[indexFile], err = index.encode(); err != nil {
		return nil, err
	}
	return index, writeAll(dir, files)
}

// packDir resolves the pack's folder.
func packDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	return defaultPackDir()
}

// npmPack fetches a package's tarball into dir.
func npmPack(ctx context.Context, dir, name string) (string, error) {
	command := exec.CommandContext(ctx, "npm", "pack", "--silent", name)
	command.Dir = dir
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("datasets: npm is not installed: install it or give the tarball of %s as a local path", name)
	}
	if err != nil {
		return "", fmt.Errorf("datasets: npm pack %s: %w: %s", name, err, strings.TrimSpace(complaints.String()))
	}
	return filepath.Join(dir, strings.TrimSpace(string(out))), nil
}

// readTarball verifies a tarball and returns its emoji.json and the vendor's 64×64 PNG files, by base name.
func readTarball(path string, vendor Vendor) (map[string][]byte, error) {
	pictures := "img/" + vendor.Name + "/64/"
	content, err := readPackage(path, vendor.Package, vendor.TarballSHA256, func(name string) string {
		if name == "emoji.json" {
			return name
		}
		name, isPicture := strings.CutPrefix(name, pictures)
		if !isPicture {
			return ""
		}
		return name
	})
	if err != nil {
		return nil, err
	}
	if content["emoji.json"] == nil {
		return nil, fmt.Errorf("datasets: %s has no package/emoji.json", path)
	}
	return content, nil
}

// readPackage verifies an npm package's tarball and returns the files that keep
// gives a name to; keep gets the path below the package's folder.
func readPackage(path, name, sha256sum string, keep func(name string) string) (map[string][]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("datasets: %w", err)
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); got != sha256sum {
		return nil, fmt.Errorf("datasets: %s is not %s: sha256 %s, want %s; fetch it with \"npm pack %s\"", path, name, got, sha256sum, name)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("datasets: %s: %w", path, err)
	}
	content := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return nil, fmt.Errorf("datasets: %s: %w", path, err)
		}
		kept := keep(strings.TrimPrefix(header.Name, "package/"))
		if kept == "" {
			continue
		}
		if content[kept], err = io.ReadAll(archive); err != nil {
			return nil, fmt.Errorf("datasets: %s: %s: %w", path, header.Name, err)
		}
	}
}

// zipPictures stores the concepts' PNG files as they are, in the index's order, without time stamps.
func zipPictures(vendor Vendor, concepts []Concept, content map[string][]byte) ([]byte, error) {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	for _, c := range concepts {
		name := c.ID + ".png"
		picture, ok := content[name]
		if !ok {
			return nil, fmt.Errorf("datasets: %s has no 64×64 picture %s of %q", vendor.Package, name, c.Short)
		}
		if err := store(archive, name, picture); err != nil {
			return nil, fmt.Errorf("datasets: %s: %w", vendor.File, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("datasets: %s: %w", vendor.File, err)
	}
	return buffer.Bytes(), nil
}

// store adds an uncompressed file; PNG data is compressed already.
func store(archive *zip.Writer, name string, data []byte) error {
	w, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// encode writes one concept per line, so that changes can be read.
func (x *Index) encode() ([]byte, error) {
	var out bytes.Buffer
	vendors, err := json.MarshalIndent(x.Vendors, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("datasets: %w", err)
	}
	fmt.Fprintf(&out, "{\"version\": %d,\n\"vendors\": %s,\n\"concepts\": [", x.Version, vendors)
	for i, c := range x.Concepts {
		line, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("datasets: %w", err)
		}
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "\n%s", line)
	}
	out.WriteString("\n]}\n")
	return out.Bytes(), nil
}

// writeAll writes all files beside their places, then renames them.
func writeAll(dir string, files map[string][]byte) (err error) {
	temporary := map[string]string{}
	defer func() {
		for path := range temporary {
			os.Remove(path)
		}
	}()
	for name, data := range files {
		file, err := os.CreateTemp(dir, name+".new-")
		if err != nil {
			return fmt.Errorf("datasets: %w", err)
		}
		temporary[file.Name()] = filepath.Join(dir, name)
		_, err = file.Write(data)
		err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
		if err != nil {
			return fmt.Errorf("datasets: %w", err)
		}
	}
	for from, to := range temporary {
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("datasets: %w", err)
		}
	}
	return nil
}
