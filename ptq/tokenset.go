package ptq

import (
	"fmt"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// TokenSet is the token-level calibration set: which tokens of every sample
// enter the search objective of a site, and how much they weigh.
type TokenSet struct {
	// Layers holds one entry per decoder block.
	Layers []LayerTokens
	// Ratios are the modality ratios in use, nil where no mass came from gradients.
	Ratios []LayerRatios
	// Late is set, and Layers empty, where tokens can only be selected while layers are
	// calibrated.
	Late *LateTokens
}

// LayerTokens holds one layer's sets, [sample]: O serves qkv and o, Down serves
// gate_up and down.
type LayerTokens struct{ O, Down []SampleTokens }

// At returns the sets that serve site s, [sample].
func (l *LayerTokens) At(s models.Site) []SampleTokens {
	if outputIndex(s) == 0 {
		return l.O
	}
	return l.Down
}

// put sets the sets that serve site s.
func (l *LayerTokens) put(s models.Site, tokens []SampleTokens) {
	if outputIndex(s) == 0 {
		l.O = tokens
	} else {
		l.Down = tokens
	}
}

// SampleTokens is the part of one sample in a token-level calibration set.
type SampleTokens struct {
	Index  []int     // token positions, ascending
	Weight []float32 // their weights a_t ≥ 0
}

// Dense spreads the weights over n tokens.
func (s SampleTokens) Dense(n int) []float32 {
	out := make([]float32, n)
	for i, t := range s.Index {
		out[t] = s.Weight[i]
	}
	return out
}

// Count is the number of tokens in the set of a site over all samples.
func Count(tokens []SampleTokens) int {
	n := 0
	for _, s := range tokens {
		n += len(s.Index)
	}
	return n
}

// check compares the set's shape with the samples it is to be used on.
func (t *TokenSet) check(layers int, samples []*models.Sequence) error {
	if t == nil {
		return fmt.Errorf("ptq: no token-level calibration set given; a search needs one for %d layers and %d samples", layers, len(samples))
	}
	if t.Late != nil {
		return t.Late.check(layers, samples, t.Ratios)
	}
	if len(t.Layers) != layers {
		return fmt.Errorf("ptq: token-level calibration set of %d layers; the model has %d", len(t.Layers), layers)
	}
	for i := range t.Layers {
		for _, site := range outputSites {
			sets := t.Layers[i].At(site)
			if len(sets) != len(samples) {
				return fmt.Errorf("ptq: token-level calibration set of %d samples; expected %d", len(sets), len(samples))
			}
			for s, set := range sets {
				if len(set.Index) != len(set.Weight) {
					return fmt.Errorf("ptq: token-level calibration set, layer %d, sample %d: %d positions but %d weights", i, s, len(set.Index), len(set.Weight))
				}
				for k, token := range set.Index {
					if token < 0 || token >= samples[s].Len() || !(set.Weight[k] >= 0) {
						return fmt.Errorf("ptq: token-level calibration set, layer %d, sample %d: token %d with weight %v; expected a token below %d and a weight ≥ 0",
							i, s, token, set.Weight[k], samples[s].Len())
					}
				}
			}
		}
	}
	return nil
}

// Tensors stores the set: for layer N and site o or down, "N.SITE.count"
// [samples], "N.SITE.index" and "N.SITE.weight" with each sample's tokens in a
// row, and "ratios" [layers, 2, 5] where there are ratios. What is selected late is
// "late.seed" [2] with the statistics that are there, as [TokenStats.Tensors] behind
// "late.importance." and "late.weights.".
func (t *TokenSet) Tensors() []safetensors.Tensor {
	list := t.Late.tensors()
	for i := range t.Layers {
		for _, site := range outputSites {
			list = append(list, sampleTokenTensors(fmt.Sprintf("%d.%s.", i, site), t.Layers[i].At(site))...)
		}
	}
	if t.Ratios != nil {
		var flat []float32
		for i := range t.Ratios {
			for _, site := range outputSites {
				r := t.Ratios[i].At(site)
				flat = append(flat, float32(r.Vision), float32(r.Text), float32(r.RawVision), float32(r.RawText), float32(r.AnswerMean))
			}
		}
		list = append(list, safetensors.FromFloat32("ratios", []int{len(t.Ratios), len(outputSites), 5}, flat))
	}
	return list
}

// ReadTokenSet reads what [TokenSet.Tensors] stored, for a model of that many
// layers. Ratios come back in float32 precision.
func ReadTokenSet(f *safetensors.File, layers int) (*TokenSet, error) {
	t := &TokenSet{}
	if f.Has(lateSeed) {
		var err error
		if t.Late, err = readLateTokens(f, layers); err != nil {
			return nil, err
		}
	} else {
		t.Layers = make([]LayerTokens, layers)
	}
	for i := range t.Layers {
		for _, site := range outputSites {
			sets, err := readSampleTokens(f, fmt.Sprintf("%d.%s.", i, site))
			if err != nil {
				return nil, err
			}
			t.Layers[i].put(site, sets)
		}
	}
	if !f.Has("ratios") {
		return t, nil
	}
	flat, err := readFloats(f, "ratios")
	if err != nil {
		return nil, err
	}
	if len(flat) != layers*len(outputSites)*5 {
		return nil, fmt.Errorf("ptq: %d modality ratios; expected %d", len(flat), layers*len(outputSites)*5)
	}
	t.Ratios = make([]LayerRatios, layers)
	for i := range t.Ratios {
		for _, site := range outputSites {
			*t.Ratios[i].At(site) = Ratio{float64(flat[0]), float64(flat[1]), float64(flat[2]), float64(flat[3]), float64(flat[4])}
			flat = flat[5:]
		}
	}
	return t, nil
}

// sampleTokenTensors stores the sets of all samples: what [readSampleTokens] reads.
func sampleTokenTensors(prefix string, sets []SampleTokens) []safetensors.Tensor {
	var counts, index []int
	var weight []float32
	for _, s := range sets {
		counts = append(counts, len(s.Index))
		index = append(index, s.Index...)
		weight = append(weight, s.Weight...)
	}
	return []safetensors.Tensor{
		intTensor(prefix+"count", counts), intTensor(prefix+"index", index), safetensors.FromFloat32(prefix+"weight", []int{len(weight)}, weight),
	}
}

func readSampleTokens(f *safetensors.File, prefix string) ([]SampleTokens, error) {
	counts, err := readInts(f, prefix+"count")
	if err != nil {
		return nil, err
	}
	flatIndex, err := readInts(f, prefix+"index")
	if err != nil {
		return nil, err
	}
	flatWeight, err := readFloats(f, prefix+"weight")
	if err != nil {
		return nil, err
	}
	index, err := split(flatIndex, counts)
	if err != nil {
		return nil, fmt.Errorf("ptq: token-level calibration set %s: %w", prefix, err)
	}
	weight, err := split(flatWeight, counts)
	if err != nil {
		return nil, fmt.Errorf("ptq: token-level calibration set %s: %w", prefix, err)
	}
	sets := make([]SampleTokens, len(counts))
	for i := range sets {
		sets[i] = SampleTokens{Index: index[i], Weight: weight[i]}
	}
	return sets, nil
}
