package harness

import (
	"math"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/ptq"
)

// ManifestLayer tells how a layer was quantized and how far it is from the unquantized
// one.
type ManifestLayer struct {
	Layer int `json:"layer"`
	// Sites are the sites with their scales; empty where the method looks at no sample.
	Sites []ManifestSite `json:"sites,omitempty"`
	// Local is the relative error of the stream that the layer alone makes, Exposed that
	// of all layers up to it, on the calibration samples; left out where the method looks at none.
	Local   *TokenErrors `json:"local,omitempty"`
	Exposed *TokenErrors `json:"exposed,omitempty"`
	// Weights is ‖Ŵ − W‖ / ‖W‖ over the layer's linears, where weights are rounded as they
	// are: without a search.
	Weights *float64 `json:"weights,omitempty"`
}

// ManifestSite tells how a site was scaled.
type ManifestSite struct {
	Site models.Site `json:"site"`
	// Alpha is the exponent that was chosen.
	Alpha   float64 `json:"alpha"`
	Skipped string  `json:"skipped,omitempty"` // why the site was not scaled; alpha is then 0
}

// RotationInfo describes a rotated model's folder.
type RotationInfo struct {
	Kind ptq.Rotate `json:"kind"`
	Seed uint64     `json:"seed"` // the signs are drawn from it
	// Online are the transforms that a loader has to apply before activations are quantized;
	// config.json names them too, in a quantization_config that other loaders refuse.
	Online models.OnlineHadamard `json:"online_hadamard"`
	// UntiedHead tells that the head was the embedding before the final norm's gain
	// went into it.
	UntiedHead bool `json:"untied_head"`
}

// rotationInfo is nil for a model that isn't rotated.
func (m *Model) rotationInfo(q *Quantized, seed uint64) *RotationInfo {
	if q.on.rotation == nil {
		return nil
	}
	return &RotationInfo{
		Kind: q.Method.Rotate, Seed: seed, Online: q.on.Config.Text.Online,
		UntiedHead: m.Config.Text.TiedHead && !q.on.Config.Text.TiedHead,
	}
}

// manifestLayers describes the layers, one at a time in memory.
func (q *Quantized) manifestLayers() ([]ManifestLayer, error) {
	layers, err := q.layers()
	if err != nil {
		return nil, err
	}
	out := make([]ManifestLayer, q.on.NumLayers())
	for i := range out {
		out[i].Layer = i
		if q.Method.NeedsSamples() {
			out[i].describe(layers.reports[i])
			continue
		}
		exact, err := q.on.Layer(i)
		if err != nil {
			return nil, err
		}
		rounded, err := q.Layer(i)
		if err != nil {
			return nil, err
		}
		e := weightError(exact, rounded)
		out[i].Weights = &e
	}
	return out, nil
}

func (l *ManifestLayer) describe(r layerReport) {
	local, exposed := r.Local, TokenErrors(r.Report.Stream)
	l.Local, l.Exposed = &local, &exposed
	for _, s := range r.Report.Sites {
		l.Sites = append(l.Sites, ManifestSite{Site: s.Site, Alpha: s.Alpha, Skipped: s.Skipped})
	}
}

// weightError is ‖Ŵ − W‖ / ‖W‖ over all linears of a layer.
func weightError(exact, rounded *models.Layer) float64 {
	var d, n float64
	for _, site := range models.Sites() {
		others := rounded.Linears(site)
		for k, lin := range exact.Linears(site) {
			for i, w := range lin.W {
				e := float64(others[k].W[i]) - float64(w)
				d, n = d+e*e, n+float64(w)*float64(w)
			}
		}
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}
