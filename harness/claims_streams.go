package harness

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/tlqlab/tlqlab/eval"
	"github.com/tlqlab/tlqlab/models"
)

// Streams are token streams of which a model predicts every next token.
type Streams struct {
	From string `json:"from"` // FILE.safetensors[:TENSOR], as [ReadStreams] reads it
	N    int    `json:"n"`    // the first N of them; 0: all
}

// read returns the streams and their hash.
func (s Streams) read(m *Model) (streams [][]int32, hash Key, err error) {
	if streams, err = ReadStreams(s.From); err != nil {
		return nil, "", err
	}
	if s.N > len(streams) {
		return nil, "", fmt.Errorf("harness: %s holds %d streams, %d are wanted: ask for fewer", s.From, len(streams), s.N)
	}
	if s.N > 0 {
		streams = streams[:s.N]
	}
	if len(streams) < 2 {
		return nil, "", fmt.Errorf("harness: %s holds %d stream: expected at least 2, which are the units of the intervals", s.From, len(streams))
	}
	sum := sha256.New()
	for i, ids := range streams {
		if err := m.checkStream(ids); err != nil {
			return nil, "", fmt.Errorf("harness: %s, stream %d: %w", s.From, i, err)
		}
		if err := binary.Write(sum, binary.LittleEndian, append([]int32{int32(len(ids))}, ids...)); err != nil {
			return nil, "", err
		}
	}
	return streams, Key(hex.EncodeToString(sum.Sum(nil))), nil
}

// streamExam predicts token streams; a score is a stream's share in the mean over all
// tokens (see perToken). The unquantized model's residual streams are kept instead of its
// logits, which would take vocabulary ÷ width times the memory.
type streamExam struct {
	m       *Model
	hash    Key
	seqs    []*models.Sequence
	names   []string // of the streams: each is a cluster
	counts  []int    // predicted tokens of each stream
	batches []*models.Batch

	unquantized *models.Runner
	reference   [][]float32 // behind the last block, [batch][B·T·C]; nil: not asked yet
}

func (m *Model) newStreamExam(s Streams) (*streamExam, error) {
	streams, hash, err := s.read(m)
	if err != nil {
		return nil, err
	}
	e := &streamExam{m: m, hash: hash}
	for i, ids := range streams {
		e.seqs, e.counts = append(e.seqs, models.TextSequence(ids)), append(e.counts, len(ids)-1)
		e.names = append(e.names, strconv.Itoa(i))
	}
	r, err := m.Runner()
	if err != nil {
		return nil, err
	}
	e.batches, err = r.Embed(e.seqs)
	return e, err
}

func (e *streamExam) clusters() []string { return e.names }

func (e *streamExam) key(weights string, activations int, on Key) Key {
	return NewKey(scoresStage, struct {
		Weights     string `json:"weights"`
		Activations int    `json:"activations"`
		Streams     Key    `json:"streams"`
	}{weights, activations, e.hash}, on)
}

func (e *streamExam) ask(on *Model, runner *models.Runner, act *models.ActQuant) (*scores, error) {
	batches := e.batches
	if on.key != e.m.key {
		var err error
		if batches, err = runner.Embed(e.seqs); err != nil {
			return nil, err
		}
	}
	sums, first := newScores(len(e.seqs)), e.reference == nil
	streams := make([][]float32, len(batches))
	err := eachBatch(on.s.ctx, len(batches), func(i int) error {
		x, err := runner.Forward(batches[i], act)
		if err != nil {
			return err
		}
		rows, err := runner.Logits(batches[i], x)
		if err != nil {
			return err
		}
		reference := rows
		if first {
			streams[i] = x
		} else if reference, err = e.unquantized.Logits(e.batches[i], e.reference[i]); err != nil {
			return err
		}
		return sums.add(batches[i], rows, reference)
	})
	if err != nil {
		return nil, err
	}
	if first {
		e.unquantized, e.reference = runner, streams
	}
	for _, list := range [][]float64{sums.kl, sums.nll, sums.correct} {
		perToken(list, e.counts)
	}
	return sums, nil
}

// add sums up KL, NLL and right predictions of a batch's streams. rows and reference are
// logits [vocab], one for each predicted token.
func (s *scores) add(b *models.Batch, rows, reference [][]float32) error {
	for k, at := range b.Index {
		for _, p := range b.Seqs[k].Scored {
			kl, err := eval.KL(reference[0], rows[0])
			if err != nil {
				return fmt.Errorf("stream %d, token %d: %w", at, p.Pos+1, err)
			}
			logP, err := eval.LogProb(rows[0], p.Target)
			if err != nil {
				return fmt.Errorf("stream %d, token %d: %w", at, p.Pos+1, err)
			}
			s.kl[at] += kl
			s.nll[at] -= logP
			if eval.Argmax(rows[0]) == int(p.Target) {
				s.correct[at]++
			}
			rows, reference = rows[1:], reference[1:]
		}
	}
	return nil
}

// perToken turns sums S over streams of T tokens, n in all, into one value per stream:
//
//	z = x̄ + (S − x̄·T)·n/ΣT,  x̄ = ΣS/ΣT
//
// Their mean is the mean over all tokens, and their standard error is that of the tokens
// clustered by stream ([eval.ClusteredStdErr]): long streams count for more, and a mean
// over streams of different lengths isn't blamed for their lengths. Since z is linear in S,
// differences of two models' values are the values of their differences.
func perToken(sums []float64, counts []int) {
	total, tokens := 0.0, 0
	for i, s := range sums {
		total, tokens = total+s, tokens+counts[i]
	}
	mean := total / float64(tokens)
	for i, s := range sums {
		sums[i] = single(mean + (s-mean*float64(counts[i]))*float64(len(sums))/float64(tokens))
	}
}
