package ptq

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
)

// RoundTower rounds the linears of a vision tower's blocks to nearest, in place. The patch
// embedding, norms, biases and the merger or projector stay as they are. Events tell of
// groups that were halved.
func RoundTower(v *models.VisionWeights, f Format, fallback GroupFallback) ([]Event, error) {
	var events []Event
	for i := range v.Blocks {
		for k, lin := range towerLinears(&v.Blocks[i]) {
			group, halved, err := f.GroupSize(lin.In, fallback)
			if err != nil {
				return nil, fmt.Errorf("%w (vision block %d, %s)", err, i, towerNames[k])
			}
			if halved {
				events = append(events, event("group-halved", "vision block %d, %s: groups of %d instead of %d, for %d input columns", i, towerNames[k], group, f.Group, lin.In))
			}
			_, w, err := roundLinear(lin, f, fallback)
			if err != nil {
				return nil, fmt.Errorf("ptq: vision block %d, %s: %w", i, towerNames[k], err)
			}
			lin.W = w
		}
	}
	return events, nil
}

// towerNames name the linears of a vision block in the order of towerLinears.
var towerNames = [...]string{"q", "k", "v", "proj", "fc1", "fc2"}

func towerLinears(b *models.VisionBlock) []*models.Linear {
	return []*models.Linear{&b.Q, &b.K, &b.V, &b.Proj, &b.FC1, &b.FC2}
}

// TowerBits are the bits of all weights that [RoundTower] rounds in a model of that
// configuration, steps and zero points counted, and their number.
func TowerBits(v *models.VisionConfig, f Format, fallback GroupFallback) (bits, weights float64, err error) {
	square, wide := float64(v.Hidden*v.Hidden), float64(v.Hidden*v.Intermediate)
	for _, part := range []struct {
		in int
		n  float64
	}{{v.Hidden, 4*square + wide}, {v.Intermediate, wide}} {
		group, _, err := f.GroupSize(part.in, fallback)
		if err != nil {
			return 0, 0, fmt.Errorf("%w (vision tower)", err)
		}
		n := float64(v.Depth) * part.n
		bits, weights = bits+n*f.BitsPerWeight(group), weights+n
	}
	return bits, weights, nil
}
