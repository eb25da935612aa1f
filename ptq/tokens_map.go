package ptq

import (
	"math"
	"slices"
)

// apply maps the weights of one sample's pooled tokens: see [Map].
func (m Map) apply(list []pooled) {
	if m == (Map{}) || len(list) == 0 {
		return
	}
	values := make([]float64, len(list))
	for i := range list {
		values[i] = list[i].weight
	}
	m.stretch(values)
	switch {
	case m.Mask > 0:
		low := lowest(values, m.Mask)
		for i := range values {
			values[i] = 1
		}
		zero(values, low)
	case m.Truncate > 0:
		zero(values, lowest(values, m.Truncate))
	case m.Bins > 0:
		m.bin(values)
	}
	for i := range list {
		list[i].weight = values[i]
	}
}

// stretch maps values linearly from their range to [Low, High].
func (m Map) stretch(values []float64) {
	sorted := slices.Sorted(slices.Values(values))
	least, most := sorted[0], sorted[len(sorted)-1]
	if m.Quantile > 0 {
		least, most = quantile(sorted, 1-m.Quantile), quantile(sorted, m.Quantile)
	}
	for i, v := range values {
		values[i] = m.High
		if most > least {
			values[i] = min(max((v-least)/(most-least)*(m.High-m.Low)+m.Low, m.Low), m.High)
		}
	}
}

// bin replaces values by those of their classes, which are open below and closed
// above, but for the first.
func (m Map) bin(values []float64) {
	sorted := slices.Sorted(slices.Values(values))
	bounds := make([]float64, m.Bins) // upper ones
	for k := range bounds {
		bounds[k] = quantile(sorted, float64(k+1)/float64(m.Bins))
	}
	for i, v := range values {
		k, _ := slices.BinarySearch(bounds[:m.Bins-1], v) // the first bound ≥ v
		values[i] = m.Low + (m.High-m.Low)*float64(k)/float64(m.Bins-1)
	}
}

// lowest lists the places of the ⌊p·n⌋ lowest values, ties going to the earlier.
func lowest(values []float64, p float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] < values[b]:
			return -1
		case values[a] > values[b]:
			return 1
		}
		return 0
	})
	return order[:int(math.Floor(p*float64(len(values))+1e-9))]
}

func zero(values []float64, places []int) {
	for _, i := range places {
		values[i] = 0
	}
}
