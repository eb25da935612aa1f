package ptq

import (
	"fmt"
	"slices"

	"github.com/tlqlab/tlqlab/models"
	"github.com/tlqlab/tlqlab/models/safetensors"
)

// The sites whose outputs gradients and errors are taken at. Token weights at O
// serve the attention's groups, those at Down the MLP's.
var outputSites = [...]models.Site{models.O, models.Down}

// outputIndex is the place in outputSites that serves a site.
func outputIndex(s models.Site) int {
	if s == models.QKV || s == models.O {
		return 0
	}
	return 1
}

// TokenStats holds one number per token, for every layer and output site: mean
// gradient magnitudes or importances.
type TokenStats struct {
	// Layers holds one entry per decoder block.
	Layers []LayerStats
}

// LayerStats holds the numbers of one layer, [sample][token], at the outputs of
// o_proj and down_proj.
type LayerStats struct{ O, Down [][]float32 }

// At returns the numbers of the output site that serves s, [sample][token].
func (l *LayerStats) At(s models.Site) [][]float32 {
	if outputIndex(s) == 0 {
		return l.O
	}
	return l.Down
}

// newTokenStats makes empty statistics.
func newTokenStats(layers, samples int) *TokenStats {
	t := &TokenStats{Layers: make([]LayerStats, layers)}
	for i := range t.Layers {
		t.Layers[i] = LayerStats{O: make([][]float32, samples), Down: make([][]float32, samples)}
	}
	return t
}

// check compares the statistics' shape with the samples they are to be used on.
func (t *TokenStats) check(what string, layers int, samples []*models.Sequence) error {
	if t == nil {
		return fmt.Errorf("ptq: no %s given; expected one value per token of %d samples in %d layers", what, len(samples), layers)
	}
	if len(t.Layers) != layers {
		return fmt.Errorf("ptq: %s of %d layers; the model has %d", what, len(t.Layers), layers)
	}
	for i := range t.Layers {
		for _, site := range outputSites {
			values := t.Layers[i].At(site)
			if len(values) != len(samples) {
				return fmt.Errorf("ptq: %s of %d samples; expected %d", what, len(values), len(samples))
			}
			for s, v := range values {
				if len(v) != samples[s].Len() {
					return fmt.Errorf("ptq: %s of layer %d, sample %d: %d tokens; the sample has %d", what, i, s, len(v), samples[s].Len())
				}
			}
		}
	}
	return nil
}

// Tensors stores the statistics: "lengths" [samples] and, for layer N,
// "N.o" and "N.down", each sample's tokens in a row.
func (t *TokenStats) Tensors() []safetensors.Tensor { return t.tensors("") }

// tensors names them with a prefix.
func (t *TokenStats) tensors(prefix string) []safetensors.Tensor {
	var list []safetensors.Tensor
	if len(t.Layers) > 0 {
		list = append(list, intTensor(prefix+"lengths", lengths(t.Layers[0].O)))
	}
	for i := range t.Layers {
		for _, site := range outputSites {
			flat := slices.Concat(t.Layers[i].At(site)...)
			list = append(list, safetensors.FromFloat32(fmt.Sprintf("%s%d.%s", prefix, i, site), []int{len(flat)}, flat))
		}
	}
	return list
}

// ReadTokenStats reads what [TokenStats.Tensors] stored, for a model of that
// many layers.
func ReadTokenStats(f *safetensors.File, layers int) (*TokenStats, error) {
	return readTokenStats(f, "", layers)
}

func readTokenStats(f *safetensors.File, prefix string, layers int) (*TokenStats, error) {
	counts, err := readInts(f, prefix+"lengths")
	if err != nil {
		return nil, err
	}
	t := newTokenStats(layers, 0)
	for i := range t.Layers {
		for _, site := range outputSites {
			flat, err := readFloats(f, fmt.Sprintf("%s%d.%s", prefix, i, site))
			if err != nil {
				return nil, err
			}
			rows, err := split(flat, counts)
			if err != nil {
				return nil, fmt.Errorf("ptq: token statistics of layer %d: %w", i, err)
			}
			if site == models.O {
				t.Layers[i].O = rows
			} else {
				t.Layers[i].Down = rows
			}
		}
	}
	return t, nil
}

func lengths[T any](rows [][]T) []int {
	n := make([]int, len(rows))
	for i, r := range rows {
		n[i] = len(r)
	}
	return n
}

// split cuts flat into rows of the given lengths.
func split[T any](flat []T, counts []int) ([][]T, error) {
	rows := make([][]T, len(counts))
	rest := flat
	for i, n := range counts {
		if n < 0 || n > len(rest) {
			return nil, fmt.Errorf("%d values do not make rows of lengths %v", len(flat), counts)
		}
		rows[i], rest = rest[:n:n], rest[n:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%d values do not make rows of lengths %v", len(flat), counts)
	}
	return rows, nil
}

func intTensor(name string, v []int) safetensors.Tensor {
	wide := make([]int64, len(v))
	for i, n := range v {
		wide[i] = int64(n)
	}
	return safetensors.FromInts(name, []int{len(v)}, wide)
}

func readInts(f *safetensors.File, name string) ([]int, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	wide, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	v := make([]int, len(wide))
	for i, n := range wide {
		v[i] = int(n)
	}
	return v, nil
}

func readFloats(f *safetensors.File, name string) ([]float32, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.Float32s()
}
