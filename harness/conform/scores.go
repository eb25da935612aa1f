package conform

import (
	"slices"

	"github.com/tlqlab/tlqlab/models"
)

// scores are the logits that a case wants, by row and position of the padded batch.
type scores struct {
	c     *modelCase
	total int                  // labelled tokens
	at    map[[2]int][]float32 // row, place → scores
}

func newScores(c *modelCase) *scores {
	s := &scores{c: c, at: map[[2]int][]float32{}}
	for _, r := range c.rows {
		s.total += len(r.seq.Scored)
	}
	return s
}

// wanted lists the positions of a row, without padding, whose scores are compared:
// those that predict a labelled token, the first and the last.
func wanted(r *row) []int {
	list := []int{0, r.seq.Len() - 1}
	for _, s := range r.seq.Scored {
		list = append(list, int(s.Pos))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// scoredPlaces is logits_at: rows and places of all wanted scores in order.
func (c *modelCase) scoredPlaces(got results) {
	var list []int64
	for i, r := range c.rows {
		for _, k := range wanted(r) {
			list = append(list, int64(i), int64(r.places[k]))
		}
	}
	got["logits_at"] = intArray(list, len(list)/2, 2)
}

// read takes the wanted scores of a batch from the residual stream behind the last
// block.
func (s *scores) read(b *models.Batch, x []float32) error {
	var places []int32
	var keys [][2]int
	for row, i := range b.Index {
		r := s.c.rows[i]
		for _, k := range wanted(r) {
			places = append(places, int32(row*b.T+k))
			keys = append(keys, [2]int{i, r.places[k]})
		}
	}
	logits, err := s.c.r.LogitsAt(b, x, places)
	if err != nil {
		return err
	}
	for i, k := range keys {
		s.at[k] = logits[i]
	}
	return nil
}

// add computes logits, loss and the answers' log-probabilities.
func (s *scores) add(got results) {
	vocab := s.c.r.Model.Config.Text.Vocab
	var logits []float32
	places := got["logits_at"].ints
	for i := 0; i < len(places); i += 2 {
		logits = append(logits, s.at[[2]int{int(places[i]), int(places[i+1])}]...)
	}
	got["logits"] = floatArray(logits, len(logits)/vocab, vocab)
	if s.total == 0 {
		return
	}
	var list []float32
	loss := 0.0
	for i, r := range s.c.rows {
		for _, p := range r.seq.Scored {
			lp := logProb(s.at[[2]int{i, r.places[p.Pos]}], p.Target)
			list = append(list, float32(lp))
			loss -= lp / float64(s.total)
		}
	}
	got["loss"] = floatArray([]float32{float32(loss)}, 1)
	got["answer_logprobs"] = floatArray(list, len(list))
}
