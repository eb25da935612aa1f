package harness

import (
	"fmt"
	"math/rand/v2"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// rotateStage is what a rotated model is made by. It is no artifact: weights are
// rotated as they are read.
var rotateStage = StageID{"rotate", 1}

// rotationStream is the stream of a seed's generator that draws a rotation's signs.
const rotationStream = 3

// prepared returns the model that q rounds, and the samples as it sees them: m itself,
// or what the outliers and the rotation that q asks for make of it. Neither changes
// its function.
func (m *Model) prepared(c *Samples, q Quantization) (*Model, *Samples, error) {
	on, err := m.withTower(q)
	if err == nil {
		on, err = on.WithOutliers(q.Outliers)
	}
	if err == nil {
		on, err = on.rotated(q.Method.Rotate, c.Seed)
	}
	if err != nil || on.key == c.m.key {
		return on, c, err
	}
	return on, c.on(on), nil
}

// on returns the same samples for an edited form of their model.
func (c *Samples) on(m *Model) *Samples {
	s := *c
	s.m, s.key = m, NewKey(embedStage, "edited", m.key, c.key)
	return &s
}

// rotated is the model after a rotation whose signs come from seed.
func (m *Model) rotated(kind ptq.Rotate, seed uint64) (*Model, error) {
	if kind == ptq.RotateNone || m.rotation != nil {
		return m, nil
	}
	r, err := ptq.NewRotation(m.Config, kind, rand.New(rand.NewPCG(seed, rotationStream)))
	if err != nil {
		return nil, fmt.Errorf("harness: model %s: %w", m.Name, err)
	}
	on := m.edited(r.Edit(), NewKey(rotateStage, struct {
		Rotate ptq.Rotate `json:"rotate"`
		Seed   uint64     `json:"seed"`
	}{kind, seed}, m.key))
	on.rotation = r
	return on, nil
}

// edited returns the session's model of that key, made by an edit of m. It shares m's
// compiled graphs.
func (m *Model) edited(e models.Edit, key Key) *Model {
	m.s.shared.mu.Lock()
	defer m.s.shared.mu.Unlock()
	lz, ok := m.s.shared.edited[key]
	if !ok {
		lz = &lazy{model: m.Model.Edited(e), base: m, sequences: map[Key]func() ([]*models.Sequence, error){}}
		m.s.shared.edited[key] = lz
	}
	c := *m
	c.Model, c.key, c.lazy = lz.model, key, lz
	return &c
}

// reportEdits tells what was done to the model before anything is rounded.
func (m *Model) reportEdits() error {
	if m.rotation != nil {
		reportEngine(m.s.ctx, m.rotation.Events())
	}
	injected, err := m.Outliers()
	if injected != nil {
		Report(m.s.ctx, EventOutliers, "%s", injected)
	}
	return err
}
