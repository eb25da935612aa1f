package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// scoresStage examines one quantized model as a ClaimsSpec asks.
var scoresStage = StageID{"scores", 1}

// exam is what every cell of a model is asked: questions, or token streams.
type exam interface {
	// ask scores a model; on may be an edited form of the exam's own model, with other
	// embeddings. The first that is asked is the unquantized one: every KL is against it.
	ask(on *Model, r *models.Runner, act *models.ActQuant) (*scores, error)
	// key names the scores of an edited form of the model with such weights.
	key(weights string, activations int, on Key) Key
	// clusters names the cluster of each score.
	clusters() []string
}

// newExam makes what the spec asks ready for a model; block tells apart the questions of
// seeds that are asked their own.
func (m *Model) newExam(spec *ClaimsSpec, block int) (exam, error) {
	if spec.Streams.From != "" {
		return m.newStreamExam(spec.Streams)
	}
	return m.newQuestionExam(spec.Prompts, block)
}

// scores are a cell's values, one of each metric per question or stream, in their order.
// Their means are the cell's.
type scores struct{ kl, nll, correct []float64 }

func newScores(n int) *scores {
	return &scores{kl: make([]float64, n), nll: make([]float64, n), correct: make([]float64, n)}
}

// append adds the values of another exam behind these.
func (s *scores) append(other *scores) {
	s.kl, s.nll, s.correct = append(s.kl, other.kl...), append(s.nll, other.nll...), append(s.correct, other.correct...)
}

func (s *scores) of(metric string) []float64 {
	switch metric {
	case MetricNLL:
		return s.nll
	case MetricAccuracy:
		return s.correct
	}
	return s.kl
}

// single rounds to what the store keeps, so that fresh and stored numbers are the same.
func single(v float64) float64 { return float64(float32(v)) }

// scoresCodec keeps scores as one tensor, [3, scores].
func scoresCodec(n int) codec[*scores] {
	return codec[*scores]{
		encode: func(s *scores) (*Artifact, error) {
			flat := make([]float32, 0, 3*n)
			for _, list := range [][]float64{s.kl, s.nll, s.correct} {
				for _, v := range list {
					flat = append(flat, float32(v))
				}
			}
			return &Artifact{Tensors: []safetensors.Tensor{safetensors.FromFloat32("scores", []int{3, n}, flat)}}, nil
		},
		decode: func(a *Artifact) (*scores, error) {
			flat, err := a.Float32s("scores")
			if err != nil {
				return nil, err
			}
			if len(flat) != 3*n {
				return nil, fmt.Errorf("%d values: expected %d", len(flat), 3*n)
			}
			wide := make([]float64, 3*n)
			for i, v := range flat {
				wide[i] = float64(v)
			}
			return &scores{kl: wide[:n], nll: wide[n : 2*n], correct: wide[2*n:]}, nil
		},
	}
}
