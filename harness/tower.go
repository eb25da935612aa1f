package harness

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// towerStage is what a model with a rounded vision tower is made by; no artifact.
var towerStage = StageID{"tower", 1}

// withTower rounds the vision tower where q asks for it: its blocks' linears to nearest, and
// their inputs by the format's activation quantizer. What is calibrated afterwards sees
// that tower on both streams.
func (m *Model) withTower(q Quantization) (*Model, error) {
	if !q.Tower || m.tower {
		return m, nil
	}
	if m.Config.Vision.Depth == 0 {
		return nil, fmt.Errorf("harness: model %s has no vision tower to quantize: leave vision_tower off", m.Name)
	}
	if _, _, err := ptq.TowerBits(&m.Config.Vision, q.Format, q.Fallback); err != nil {
		return nil, fmt.Errorf("harness: model %s: %w", m.Name, err)
	}
	config := *m.Config
	config.Vision.Inputs = q.Format.ActQuant()
	on := m.edited(models.Edit{Config: &config, Vision: func(v *models.VisionWeights) error {
		_, err := ptq.RoundTower(v, q.Format, q.Fallback)
		return err
	}}, NewKey(towerStage, struct {
		Format   ptq.Format        `json:"format"`
		Fallback ptq.GroupFallback `json:"group_fallback"`
	}{q.Format, q.Fallback}, m.key))
	on.tower = true
	return on, nil
}

// averageBits counts the vision tower's weights where they are rounded too.
func (m *Model) averageBits(q Quantization) (float64, error) {
	shapes := m.layerShapes()
	bits, err := ptq.AverageBits(shapes, q.Format, q.Fallback)
	if err != nil || !q.Tower {
		return bits, err
	}
	var weights float64
	for _, l := range shapes {
		for _, site := range models.Sites() {
			for _, lin := range l.Linears(site) {
				weights += float64(lin.Out) * float64(lin.In)
			}
		}
	}
	more, n, err := ptq.TowerBits(&m.Config.Vision, q.Format, q.Fallback)
	return (bits*weights + more) / (weights + n), err
}
