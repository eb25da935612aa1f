package pixels

import (
	"errors"
	"fmt"
	"math"
)

// Normalization turns bytes into numbers: (byte · RescaleFactor − Mean) / Std per
// channel, the product in float64 rounded to float32 and the rest in float32, as
// the processors compute it with NumPy.
type Normalization struct {
	RescaleFactor float64    `json:"rescale_factor"` // usually 1/255
	Mean          [3]float32 `json:"image_mean"`     // red, green, blue, after rescaling
	Std           [3]float32 `json:"image_std"`
}

// Validate reports the first field that is not usable.
func (n *Normalization) Validate() error {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	if !finite(n.RescaleFactor) || n.RescaleFactor == 0 {
		return fmt.Errorf("pixels: rescale_factor is %g, expected a finite number other than 0, such as 1/255", n.RescaleFactor)
	}
	for c := range 3 {
		if !finite(float64(n.Mean[c])) {
			return errors.New("pixels: image_mean must be three finite numbers")
		}
		if !finite(float64(n.Std[c])) || n.Std[c] == 0 {
			return fmt.Errorf("pixels: image_std is %v, expected three finite numbers other than 0", n.Std)
		}
	}
	return nil
}

// Table returns the number for every channel and grey level.
func (n *Normalization) Table() *[3][256]float32 {
	var t [3][256]float32
	for c := range 3 {
		for v := range 256 {
			t[c][v] = (float32(float64(v)*n.RescaleFactor) - n.Mean[c]) / n.Std[c]
		}
	}
	return &t
}
