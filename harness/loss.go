package harness

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// Loss is the next-token loss of a model on token streams.
type Loss struct {
	Streams    int     `json:"streams"`
	Tokens     int     `json:"tokens"`     // predicted: all but the first of each stream
	Loss       float64 `json:"loss"`       // mean negative log-likelihood, nats per token
	Perplexity float64 `json:"perplexity"` // exp(Loss)
}

// ReadStreams reads token streams from FILE.safetensors[:NAME]: an integer
// tensor [streams, length] or [length], where shorter streams are padded with −1
// at the end. NAME may be left out where the file has one tensor.
func ReadStreams(spec string) ([][]int32, error) {
	path, name := spec, ""
	if i := strings.LastIndex(spec, ".safetensors:"); i >= 0 {
		path, name = spec[:i+len(".safetensors")], spec[i+len(".safetensors:"):]
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if name == "" {
		if len(f.Names()) != 1 {
			return nil, fmt.Errorf("harness: %s holds %d tensors: name one as FILE:NAME: %s", path, len(f.Names()), strings.Join(f.Names(), ", "))
		}
		name = f.Names()[0]
	}
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	ids, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	length := len(ids)
	if len(t.Shape) == 2 {
		length = t.Shape[1]
	}
	if len(t.Shape) < 1 || len(t.Shape) > 2 || length < 2 {
		return nil, fmt.Errorf("harness: %s, tensor %s has shape %v: expected [streams, length] or [length], at least 2 tokens long", path, name, t.Shape)
	}
	var streams [][]int32
	for at := 0; at < len(ids); at += length {
		stream, err := readStream(ids[at : at+length])
		if err != nil {
			return nil, fmt.Errorf("harness: %s, tensor %s, stream %d: %w", path, name, at/length, err)
		}
		streams = append(streams, stream)
	}
	return streams, nil
}

// readStream takes the tokens in front of the padding.
func readStream(ids []int64) ([]int32, error) {
	n := len(ids)
	for n > 0 && ids[n-1] == -1 {
		n--
	}
	if n < 2 {
		return nil, fmt.Errorf("%d tokens: expected at least 2, −1 only behind them", n)
	}
	stream := make([]int32, n)
	for i, id := range ids[:n] {
		if id < 0 || id > math.MaxInt32 {
			return nil, fmt.Errorf("token id %d at %d: expected 0 or above, and −1 only behind a stream", id, i)
		}
		stream[i] = int32(id)
	}
	return stream, nil
}

// Loss predicts every next token of the streams.
func (m *Model) Loss(streams [][]int32) (*Loss, error) {
	if len(streams) == 0 {
		return nil, errors.New("harness: loss of no token streams: expected at least one")
	}
	r, act, err := m.quantizedRunner(nil)
	if err != nil {
		return nil, err
	}
	out := &Loss{Streams: len(streams)}
	var sum float64
	for _, ids := range streams {
		if limit := m.Config.Text.MaxPositions; limit > 0 && len(ids) > limit {
			return nil, fmt.Errorf("harness: a stream of %d tokens: the model takes %d", len(ids), limit)
		}
		batches, err := r.Embed([]*models.Sequence{models.TextSequence(ids)})
		if err != nil {
			return nil, err
		}
		logits, err := eval.ModelScorer{Runner: r, ActQuant: act}.Logits(m.s.ctx, batches[0])
		if err != nil {
			return nil, err
		}
		for i, row := range logits {
			p, err := eval.LogProb(row, ids[i+1])
			if err != nil {
				return nil, err
			}
			sum -= p
		}
		out.Tokens += len(logits)
	}
	out.Loss = sum / float64(out.Tokens)
	out.Perplexity = math.Exp(out.Loss)
	return out, nil
}
