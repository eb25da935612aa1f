package conform

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// runModel compares all cases of a checkpoint.
func (f *folder) runModel(cases []caseFiles) {
	var err error
	if f.rules, err = readRules(filepath.Join(f.dir, toleranceFile)); err != nil {
		f.fail("", toleranceFile, err)
		return
	}
	if len(cases) == 0 {
		return
	}
	m, err := models.Load(f.dir)
	if err != nil {
		f.fail("", "checkpoint", err)
		return
	}
	defer m.Close()
	r, err := models.NewRunner(m)
	if err != nil {
		f.fail("", "checkpoint", err)
		return
	}
	for _, c := range cases {
		if err := f.runCase(r, c); err != nil {
			f.fail(c.name, "case", err)
		}
	}
}

// runCase compares what one pair of files holds. Names may begin with the name of a
// case of their own, as in wide.image.0.
func (f *folder) runCase(r *models.Runner, files caseFiles) error {
	if files.inputs == "" || files.expected == "" {
		return fmt.Errorf("inputs %q, expected %q: one of the pair is missing", files.inputs, files.expected)
	}
	inputs, err := safetensors.Open(filepath.Join(f.dir, files.inputs))
	if err != nil {
		return err
	}
	defer inputs.Close()
	expected, err := safetensors.Open(filepath.Join(f.dir, files.expected))
	if err != nil {
		return err
	}
	defer expected.Close()
	done := map[string]bool{}
	for _, prefix := range prefixes(inputs) {
		c := &modelCase{folder: f, r: r, files: files.name, prefix: prefix, inputs: inputs, expected: expected}
		if prefix != "" {
			c.files += ": " + strings.TrimSuffix(prefix, ".")
		}
		names := c.names()
		if err := c.run(names); err != nil {
			return fmt.Errorf("%s%w", prefix, err)
		}
		for _, n := range names {
			done[prefix+n] = true
		}
	}
	for _, name := range expected.Names() {
		if !done[name] {
			f.fail(files.name, name, errors.New("belongs to no case of the inputs"))
		}
	}
	return nil
}

var (
	pictureName = regexp.MustCompile(`^(.*\.)?image\.(\d+)$`)
	promptName  = regexp.MustCompile(`^(.*\.)?input_ids$`)
)

// prefixes lists the cases of a file: those of its pictures and prompts.
func prefixes(f *safetensors.File) []string {
	var list []string
	for _, name := range f.Names() {
		for _, pattern := range []*regexp.Regexp{pictureName, promptName} {
			if m := pattern.FindStringSubmatch(name); m != nil && !slices.Contains(list, m[1]) {
				list = append(list, m[1])
			}
		}
	}
	return list
}

// modelCase is one prompt batch, or pictures alone, with what is expected of them.
type modelCase struct {
	*folder
	r                *models.Runner
	files, prefix    string
	inputs, expected *safetensors.File

	rows     []*row
	pictures []*picture
	length   int // padded
}

// names lists the case's expected tensors without its prefix; longer prefixes belong
// to other cases.
func (c *modelCase) names() []string {
	var list []string
	others := prefixes(c.inputs)
	for _, name := range c.expected.Names() {
		rest, ok := strings.CutPrefix(name, c.prefix)
		for _, o := range others {
			ok = ok && !(len(o) > len(c.prefix) && strings.HasPrefix(name, o))
		}
		if ok {
			list = append(list, rest)
		}
	}
	return list
}

// read reads an input or expected tensor of the case.
func (c *modelCase) read(f *safetensors.File, name string) (*array, error) {
	return readArray(f, c.prefix+name)
}

// whole reads an input of whole numbers.
func (c *modelCase) whole(name string) (*array, error) {
	a, err := c.read(c.inputs, name)
	if err == nil && a.ints == nil {
		err = fmt.Errorf("%s holds no whole numbers", name)
	}
	return a, err
}

// processed are inputs that the processor made and that can be made again.
var processed = []string{"pixel_values", "image_sizes", "image_grid_thw", "input_ids"}

// run computes everything and compares what is listed.
func (c *modelCase) run(names []string) error {
	prompted := c.inputs.Has(c.prefix + "input_ids")
	if err := c.loadPictures(); err != nil {
		return err
	}
	got := results{}
	if len(c.pictures) > 0 {
		if err := c.vision(got); err != nil {
			return err
		}
	}
	if prompted {
		if err := c.loadRows(); err != nil {
			return err
		}
		if err := c.language(got); err != nil {
			return err
		}
	}
	for _, name := range processed {
		if c.inputs.Has(c.prefix + name) {
			c.judge(c.inputs, got, name)
		}
	}
	for _, name := range names {
		c.judge(c.expected, got, name)
	}
	return nil
}

// results are the tensors that were computed, by name.
type results map[string]*array

// judge compares one tensor of a file.
func (c *modelCase) judge(file *safetensors.File, got results, name string) {
	want, err := c.read(file, name)
	switch have := got[name]; {
	case err != nil:
		c.fail(c.files, name, err)
	case have == nil:
		c.fail(c.files, name, fmt.Errorf("a %s model computes no such tensor in this case", c.r.Model.Config.Family))
	default:
		c.compare(c.files, name, have.as(want), want)
	}
}

// as gives an array the form that the file has where there are two: one row of
// positions that holds for all rows.
func (a *array) as(want *array) *array {
	if a.same && len(a.shape) == 2 && len(want.shape) == 2 && want.shape[0] == 1 {
		one := *a
		one.shape = []int{1, a.shape[1]}
		one.ints = a.ints[:a.shape[1]]
		one.real = nil
		return &one
	}
	return a
}

// suffixNumber is K of a name like image.K.
func suffixNumber(name string) int {
	n, err := strconv.Atoi(name[strings.LastIndex(name, ".")+1:])
	if err != nil {
		return -1
	}
	return n
}
