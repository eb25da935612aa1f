package harness

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/tlqlab/tlqlab/datasets"
	"github.com/tlqlab/tlqlab/models"
)

// DefaultSamples is how many calibration samples are used where no number is given.
const DefaultSamples = 64

// CalibrationFrom names n samples of what source names, chosen by seed: a calibration
// set by its name, or the user's own: a folder with qa.jsonl and its pictures, a
// LLaVA or ShareGPT4V conversation file (.json, .jsonl), or token streams,
// FILE.safetensors[:TENSOR] as [ReadStreams] reads them, in which every next token is
// an answer. n = 0 is DefaultSamples, or all of a file that holds fewer.
func (m *Model) CalibrationFrom(source string, n int, seed uint64) (*Samples, error) {
	switch {
	case n < 0:
		return nil, fmt.Errorf("harness: calibration with %d samples: expected at least 1, or 0 for %d", n, DefaultSamples)
	case n > MaxSamples:
		return nil, fmt.Errorf("harness: %w", checkSamples("calibration samples", n))
	case strings.Contains(source, ".safetensors"):
		return m.streamSamples(source, n, seed)
	case isPath(source):
		return m.fileSamples(source, n, seed)
	case n == 0:
		n = DefaultSamples
	}
	if _, err := datasets.CalibrationTasks(source); err != nil {
		return nil, fmt.Errorf("%w; or a folder with qa.jsonl, a .json file of conversations, or FILE.safetensors[:TENSOR] of tokens", err)
	}
	return m.Calibration(source, n, seed)
}

// isPath tells a path from a name.
func isPath(source string) bool {
	_, err := os.Stat(source)
	return err == nil || strings.ContainsAny(source, `/\.`) && filepath.Ext(source) != "" || strings.ContainsAny(source, `/\`)
}

// some is the number of samples to take of a source that holds so many.
func some(n, held int) int {
	if n == 0 {
		return min(DefaultSamples, held)
	}
	return n
}

// fileSamples are examples of a folder or a conversation file.
func (m *Model) fileSamples(path string, n int, seed uint64) (*Samples, error) {
	files, err := datasets.Open(path)
	if err != nil {
		return nil, err
	}
	if files.Len() == 0 {
		return nil, fmt.Errorf("harness: calibration: %s holds no examples: expected at least one", path)
	}
	chosen, err := files.Select(seed, some(n, files.Len()))
	if err != nil {
		return nil, err
	}
	hash, err := files.Hash(chosen)
	if err != nil {
		return nil, err
	}
	c := m.ownSamples(path, len(chosen), seed, hash)
	c.examples = func() ([]datasets.Example, error) {
		out := make([]datasets.Example, len(chosen))
		for i, k := range chosen {
			var err error
			if out[i], err = files.Example(k); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return m.share(c, c.build), nil
}

// streamSamples are token streams.
func (m *Model) streamSamples(spec string, n int, seed uint64) (*Samples, error) {
	streams, err := ReadStreams(spec)
	if err != nil {
		return nil, err
	}
	if len(streams) == 0 {
		return nil, fmt.Errorf("harness: calibration: %s holds no token streams: expected at least one", spec)
	}
	if n = some(n, len(streams)); n > len(streams) {
		return nil, fmt.Errorf("harness: %s holds %d streams, %d are wanted: ask for fewer", spec, len(streams), n)
	}
	order := rand.New(rand.NewPCG(seed, streamSamplesStream)).Perm(len(streams))[:n]
	sum := sha256.New()
	seqs := make([]*models.Sequence, n)
	for i, k := range order {
		ids := streams[k]
		if err := m.checkStream(ids); err != nil {
			return nil, fmt.Errorf("harness: %s, stream %d: %w", spec, k, err)
		}
		if err := binary.Write(sum, binary.LittleEndian, append([]int32{int32(len(ids))}, ids...)); err != nil {
			return nil, err
		}
		seqs[i] = models.TextSequence(ids)
	}
	c := m.ownSamples(spec, n, seed, hex.EncodeToString(sum.Sum(nil)))
	c.examples = func() ([]datasets.Example, error) {
		return nil, fmt.Errorf("harness: %s holds tokens, which are no examples with pictures", spec)
	}
	return m.share(c, func() ([]*models.Sequence, error) { return seqs, nil }), nil
}

// streamSamplesStream is the stream of a seed's generator that chooses token streams.
const streamSamplesStream = 5

// checkStream refuses tokens that the model doesn't have.
func (m *Model) checkStream(ids []int32) error {
	t := &m.Config.Text
	if t.MaxPositions > 0 && len(ids) > t.MaxPositions {
		return fmt.Errorf("%d tokens: the model takes %d", len(ids), t.MaxPositions)
	}
	for i, id := range ids {
		if int(id) >= t.Vocab {
			return fmt.Errorf("token id %d at %d: the vocabulary has %d", id, i, t.Vocab)
		}
	}
	return nil
}

// ownSamples are samples of the user's own, named by their hash.
func (m *Model) ownSamples(name string, n int, seed uint64, hash string) *Samples {
	c := &Samples{Name: name, N: n, Seed: seed, DataSHA256: hash, m: m, own: true}
	c.key = NewKey(embedStage, "own", m.key, Key(hash), NewKey(embedStage, seed)) // stages draw from the seed
	return c
}
