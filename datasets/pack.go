package datasets

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/tlqlab/tlqlab/internal/root"
)

// Names of the files in the pack's folder.
const (
	indexFile     = "index.json"
	catalogueFile = "catalogue.txt"
)

// pictureSize is the side of the packs' pictures in pixels.
const pictureSize = 64

// Concept is one thing that every vendor has a picture of.
type Concept struct {
	ID          string `json:"id"`              // code points in hexadecimal: the file name without .png
	Short       string `json:"short"`           // short name in emoji.json
	Name        string `json:"name"`            // one to three plain lower-case words, unique: the answer
	Kind        string `json:"kind"`            // one or two words: the answer to the question of the kind
	Category    string `json:"category"`        // emoji.json's
	Subcategory string `json:"subcategory"`     // emoji.json's
	Board       bool   `json:"board,omitempty"` // also used by task scene
}

// Vendor is one source of pictures.
type Vendor struct {
	Name          string `json:"name"`           // google or twitter
	Title         string `json:"title"`          // name of the artwork
	Package       string `json:"package"`        // npm package with its version
	TarballSHA256 string `json:"tarball_sha256"` // of the npm package
	File          string `json:"file"`           // zip file in the pack's folder
	SHA256        string `json:"sha256"`         // of the zip file
	Licence       string `json:"licence"`        // of the pictures
	Attribution   string `json:"attribution"`    // as the licence asks for it
}

// Index describes the emoji pack: datasets/pack/index.json.
type Index struct {
	Version  int       `json:"version"` // of this format
	Vendors  []Vendor  `json:"vendors"`
	Concepts []Concept `json:"concepts"`
}

// ReadIndex reads the built-in pack's index.
func ReadIndex() (*Index, error) {
	p, err := builtin()
	if err != nil {
		return nil, err
	}
	return &Index{Version: p.index.Version, Vendors: slices.Clone(p.index.Vendors), Concepts: slices.Clone(p.index.Concepts)}, nil
}

// pack is an opened pack. It is safe for use by several goroutines.
type pack struct {
	index  Index
	hash   [sha256.Size]byte // of index.json, which holds the hashes of the zip files
	words  *wordPack         // nil where a pack of emoji alone was opened
	tables *tablePack        // the same

	pools  map[Split]map[bool][]pooled // by split and by "on boards only"
	groups map[Split]map[int][]int     // by split and concept: what its distractors are drawn from, itself included
	short  []pooled                    // training concepts with a short name, for calibration
	files  []map[string]*zip.File      // by vendor
	full   [][]cached                  // [vendor][concept], pictureSize
	small  [][][len(boardSizes)]cached // [vendor][concept], by size on a board
	scales [canvas + 1]struct {
		once   sync.Once
		kernel *kernel
	}
}

// cached is a picture decoded at its first use.
type cached struct {
	once   sync.Once
	sprite *sprite
	err    error
}

// builtin opens the committed pack once.
var builtin = sync.OnceValues(func() (*pack, error) {
	dir, err := defaultPackDir()
	if err != nil {
		return nil, err
	}
	p, err := openPack(dir)
	if err != nil {
		return nil, err
	}
	return p, p.openTexts(dir)
})

// openTexts reads the packs of words and tables in dir.
func (p *pack) openTexts(dir string) error {
	read := func(name string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("datasets: %w; run \"tlq data build\" or restore it", err)
		}
		return data, nil
	}
	data, err := read(wordsFile)
	if err != nil {
		return err
	}
	if p.words, err = parseWords(data); err != nil {
		return err
	}
	if data, err = read(tablesFile); err != nil {
		return err
	}
	p.tables, err = parseTables(data)
	return err
}

// defaultPackDir is the committed pack's folder.
func defaultPackDir() (string, error) {
	dir, err := root.Path("datasets", "pack")
	if err != nil {
		return "", fmt.Errorf("datasets: %w", err)
	}
	return dir, nil
}

// openPack reads and verifies the pack in dir.
func openPack(dir string) (*pack, error) {
	path := filepath.Join(dir, indexFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("datasets: emoji pack: %w; run \"tlq data build\" or restore %s", err, path)
	}
	p := &pack{hash: sha256.Sum256(raw)}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p.index); err != nil {
		return nil, fmt.Errorf("datasets: %s: %w; run \"tlq data build\" to make it again", path, err)
	}
	if decoder.More() {
		return nil, fmt.Errorf("datasets: %s: there is more after the index; run \"tlq data build\" to make it again", path)
	}
	if err := p.index.Validate(); err != nil {
		return nil, fmt.Errorf("datasets: %s: %w; run \"tlq data build\" to make it again", path, err)
	}
	for _, v := range p.index.Vendors {
		files, err := openVendor(filepath.Join(dir, v.File), v.SHA256)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, files)
		p.full = append(p.full, make([]cached, len(p.index.Concepts)))
		p.small = append(p.small, make([][len(boardSizes)]cached, len(p.index.Concepts)))
	}
	if err := p.checkFiles(); err != nil {
		return nil, err
	}
	return p, p.group()
}

// Validate reports the first fault of an index.
func (x *Index) Validate() error {
	if x.Version != indexVersion {
		return fmt.Errorf("index version %d, want %d", x.Version, indexVersion)
	}
	if len(x.Vendors) != 2 {
		return fmt.Errorf("%d vendors, want 2", len(x.Vendors))
	}
	if len(x.Concepts) == 0 {
		return fmt.Errorf("no concepts")
	}
	for _, v := range x.Vendors {
		if v.File == "" || filepath.Base(v.File) != v.File {
			return fmt.Errorf("vendor %q: file %q, want a name without a folder", v.Name, v.File)
		}
	}
	ids, names := map[string]bool{}, map[string]bool{}
	for i, c := range x.Concepts {
		switch {
		case c.ID == "" || c.Name == "" || c.Kind == "":
			return fmt.Errorf("concept %d (%q): id, name and kind must not be empty", i, c.ID)
		case ids[c.ID]:
			return fmt.Errorf("concept %d: id %q appears twice", i, c.ID)
		case names[c.Name]:
			return fmt.Errorf("concept %d: name %q appears twice", i, c.Name)
		}
		ids[c.ID], names[c.Name] = true, true
	}
	return nil
}

// openVendor reads a zip file of PNG files and verifies its hash.
func openVendor(path, want string) (map[string]*zip.File, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("datasets: emoji pack: %w; run \"tlq data build\" or restore it", err)
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); got != want {
		return nil, fmt.Errorf("datasets: %s (%d bytes) is damaged: sha256 %s, the index expects %s; restore the file or run \"tlq data build\"", path, len(raw), got, want)
	}
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, fmt.Errorf("datasets: %s: %w", path, err)
	}
	files := make(map[string]*zip.File, len(archive.File))
	for _, f := range archive.File {
		files[f.Name] = f
	}
	return files, nil
}

// checkFiles reports concepts without a picture.
func (p *pack) checkFiles() error {
	for v, vendor := range p.index.Vendors {
		for _, c := range p.index.Concepts {
			if p.files[v][c.ID+".png"] == nil {
				return fmt.Errorf("datasets: %s has no picture %s.png of %q; run \"tlq data build\"", vendor.File, c.ID, c.Name)
			}
		}
	}
	return nil
}

// picture returns a picture at its own size.
func (p *pack) picture(at pair) (*sprite, error) {
	c := &p.full[at.vendor][at.concept]
	c.once.Do(func() { c.sprite, c.err = p.decode(at) })
	return c.sprite, c.err
}

// boardPicture returns a picture at one of boardSizes.
func (p *pack) boardPicture(at pair, size int) (*sprite, error) {
	c := &p.small[at.vendor][at.concept][size]
	c.once.Do(func() {
		full, err := p.picture(at)
		if err != nil {
			c.err = err
			return
		}
		c.sprite = full.resize(p.kernel(boardSizes[size]))
	})
	return c.sprite, c.err
}

// decode reads one PNG file of the pack.
func (p *pack) decode(at pair) (*sprite, error) {
	name := p.index.Concepts[at.concept].ID + ".png"
	file, err := p.files[at.vendor][name].Open()
	if err != nil {
		return nil, fmt.Errorf("datasets: %s in %s: %w", name, p.index.Vendors[at.vendor].File, err)
	}
	defer file.Close()
	raw, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("datasets: %s in %s: %w", name, p.index.Vendors[at.vendor].File, err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("datasets: %s in %s: %w", name, p.index.Vendors[at.vendor].File, err)
	}
	if b := img.Bounds(); b.Dx() > pictureSize || b.Dy() > pictureSize {
		return nil, fmt.Errorf("datasets: %s in %s is %d×%d pixels, want at most %d×%d", name, p.index.Vendors[at.vendor].File, b.Dx(), b.Dy(), pictureSize, pictureSize)
	}
	return newSprite(img, pictureSize), nil
}

// kernel returns the resampling weights from pictureSize to size ≤ canvas.
func (p *pack) kernel(size int) *kernel {
	s := &p.scales[size]
	s.once.Do(func() { s.kernel = newKernel(pictureSize, size) })
	return s.kernel
}

// licence joins the licences of the vendors shown.
func (p *pack) licence(vendors ...int) string {
	text := ""
	for v, vendor := range p.index.Vendors {
		if !slices.Contains(vendors, v) {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += vendor.Title + ": " + vendor.Licence
	}
	return text
}

// Hash returns the SHA-256, in hexadecimal, over the generators' version and the
// packs: the emoji pack's index, which holds the verified hashes of the picture
// files, the words and the tables.
func Hash() (string, error) {
	p, err := builtin()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "datasets version %d\nemoji pack %x\nwords %x\ntables %x\n", Version, p.hash, p.words.hash, p.tables.hash))
	return hex.EncodeToString(sum[:]), nil
}
