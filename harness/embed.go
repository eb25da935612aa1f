package harness

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// embedStage is the vision tower, the merger and the token embeddings: the
// input of the first decoder layer.
var embedStage = StageID{"embed", 2}

// Samples are calibration samples of a model: pictures with a question and its
// answer. What they cost is paid when they are asked for.
type Samples struct {
	Name string // calibration set
	N    int
	Seed uint64
	// DataSHA256 is the hash of what the samples were made from: the packs and generators, or
	// the samples' own texts, pictures or tokens.
	DataSHA256 string

	m        *Model
	key      Key  // of the embeddings
	own      bool // made of the user's own files
	examples func() ([]datasets.Example, error)
	seqs     func() ([]*models.Sequence, error)
}

// sampleKey is what the calibration samples are, whatever the model.
type sampleKey struct {
	Set     string `json:"set"`
	Samples int    `json:"samples"`
	Seed    uint64 `json:"seed"`
}

// Calibration names n samples of a calibration set, at most [MaxSamples]; seed chooses them. Of "default" they
// show the tasks that the model was trained on.
func (m *Model) Calibration(name string, n int, seed uint64) (*Samples, error) {
	if err := checkSamples("calibration samples", n); err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	data, err := dataHash()
	if err != nil {
		return nil, err
	}
	return m.samples(name, n, seed, Key(data)), nil
}

// samples shares what was tokenized already.
func (m *Model) samples(name string, n int, seed uint64, data Key) *Samples {
	if name == defaultSet {
		if tasks := trainedOn(m.Dir); len(tasks) > 0 {
			name = strings.Join(tasks, "+")
		}
	}
	c := &Samples{Name: name, N: n, Seed: seed, DataSHA256: string(data), m: m}
	c.key = NewKey(embedStage, sampleKey{name, n, seed}, m.key, data)
	c.examples = c.generate
	return m.share(c, c.build)
}

// share keeps sequences of samples for all who ask for the same ones.
func (m *Model) share(c *Samples, build func() ([]*models.Sequence, error)) *Samples {
	m.lazy.mu.Lock()
	defer m.lazy.mu.Unlock()
	if _, ok := m.lazy.sequences[c.key]; !ok {
		m.lazy.sequences[c.key] = sync.OnceValues(build)
	}
	c.seqs = m.lazy.sequences[c.key]
	return c
}

// String names the samples.
func (c *Samples) String() string {
	return fmt.Sprintf("%s, %d samples, seed %d", c.m.Name, c.N, c.Seed)
}

// Key names the samples' embeddings.
func (c *Samples) Key() Key { return c.key }

// Examples returns the samples before they are tokenized.
func (c *Samples) Examples() ([]datasets.Example, error) { return c.examples() }

// generate makes examples of a calibration set.
func (c *Samples) generate() ([]datasets.Example, error) {
	out := make([]datasets.Example, 0, c.N)
	for e, err := range datasets.Calibration(c.Name, c.Seed, c.N) {
		if err != nil {
			return nil, fmt.Errorf("harness: calibration set %s: %w", c.Name, err)
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("harness: calibration set %s is empty", c.Name)
	}
	return out, nil
}

// Check makes the samples of the user's own files: a broken picture or a text that is too
// long is found before any work. What a set's name stands for has none.
func (c *Samples) Check() error {
	if !c.own {
		return nil
	}
	_, err := c.Sequences()
	return err
}

// Sequences returns the tokenized samples. They are shared: don't change them.
func (c *Samples) Sequences() ([]*models.Sequence, error) { return c.seqs() }

func (c *Samples) build() ([]*models.Sequence, error) {
	examples, err := c.Examples()
	if err != nil {
		return nil, err
	}
	return c.m.tokenize(examples)
}

// tokenize makes calibration samples of examples: the question and its answer.
func (m *Model) tokenize(examples []datasets.Example) ([]*models.Sequence, error) {
	seqs := make([]*models.Sequence, len(examples))
	for i, e := range examples {
		var err error
		if seqs[i], err = m.Prompt(e.Images, e.Question, e.Answers[0]); err != nil {
			return nil, fmt.Errorf("harness: calibration sample %s: %w", e.ID, err)
		}
	}
	return seqs, nil
}

// Embeddings returns the samples at the first decoder layer, [tokens, C] each.
// Stage embed.
func (c *Samples) Embeddings() ([][]float32, error) { return c.embeddings(c.m) }

func (c *Samples) embeddings(m *Model) ([][]float32, error) {
	return m.embed(fmt.Sprintf("embed %d calibration samples", c.N), c.key, c.Sequences)
}

// batches returns the embedded samples in micro-batches.
func (c *Samples) batches(m *Model) ([]*models.Batch, error) { return c.packed(m, models.Packing{}) }

// packed returns them as p says.
func (c *Samples) packed(m *Model, p models.Packing) ([]*models.Batch, error) {
	seqs, err := c.Sequences()
	if err != nil {
		return nil, err
	}
	x, err := c.embeddings(m)
	if err != nil {
		return nil, err
	}
	return m.Pack(seqs, x, p)
}

// embed runs the stage for any sequences.
func (m *Model) embed(name string, key Key, sequences func() ([]*models.Sequence, error)) ([][]float32, error) {
	return once(m, name, key, rowsCodec, func(m *Model) ([][]float32, error) {
		seqs, err := sequences()
		if err != nil {
			return nil, err
		}
		r, err := m.Runner()
		if err != nil {
			return nil, err
		}
		return r.Embeddings(seqs)
	})
}

// rowsCodec keeps rows of different lengths as one tensor and their lengths.
var rowsCodec = codec[[][]float32]{encode: encodeRows, decode: decodeRows}

func encodeRows(rows [][]float32) (*Artifact, error) {
	lengths := make([]int64, len(rows))
	total := 0
	for i, r := range rows {
		lengths[i] = int64(len(r))
		total += len(r)
	}
	flat := make([]float32, 0, total)
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return &Artifact{Tensors: []safetensors.Tensor{
		safetensors.FromInts("lengths", []int{len(lengths)}, lengths),
		safetensors.FromFloat32("x", []int{total}, flat),
	}}, nil
}

func decodeRows(a *Artifact) ([][]float32, error) {
	f, err := a.File()
	if err != nil {
		return nil, err
	}
	t, err := f.Tensor("lengths")
	if err != nil {
		return nil, err
	}
	lengths, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	flat, err := a.Float32s("x")
	if err != nil {
		return nil, err
	}
	rows := make([][]float32, len(lengths))
	for i, n := range lengths {
		if n < 0 || n > int64(len(flat)) {
			return nil, errors.New("its rows are longer than its data")
		}
		rows[i], flat = flat[:n:n], flat[n:]
	}
	return rows, nil
}
