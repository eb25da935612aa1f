package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestSeedBlocks compares with the textbook t interval where no cluster is in two blocks, and
// checks how often intervals cover the truth when seeds, pictures and questions all vary.
func TestSeedBlocks(t *testing.T) {
	got, err := SeedBlocks([][]float64{{0, 2}, {1, 3}, {2, 4}}, [][]string{{"a", "b"}, {"c", "d"}, {"e", "f"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if half := 4.302652729911275 / math.Sqrt(3); math.Abs(got.Low-(2-half)) > 1e-9 || math.Abs(got.High-(2+half)) > 1e-9 || got.N != 6 || got.Clusters != 6 {
		t.Errorf("%+v, want 2 ± %v", got, half)
	}
	for name, values := range map[string][][]float64{"one seed": {{1, 2}}, "ragged": {{1, 2}, {1}}, "empty": {{1, 2}, {}}} {
		clusters := [][]string{{"a", "b"}, {"a", "b"}}[:len(values)]
		if _, err := SeedBlocks(values, clusters, 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	const tries, seeds, questions, pictures = 600, 8, 40, 25
	for name, sd := range map[string][3]float64{"questions": {0, 0, 1}, "seeds": {0.5, 0, 1}, "pictures": {0.1, 1, 0.5}} {
		rng := rand.New(rand.NewPCG(7, uint64(len(name))))
		covered := 0
		for range tries {
			var picture [pictures]float64
			for i := range picture {
				picture[i] = sd[1] * rng.NormFloat64()
			}
			values, clusters := make([][]float64, seeds), make([][]string, seeds)
			for s := range seeds {
				own := sd[0] * rng.NormFloat64()
				for range questions {
					k := rng.IntN(pictures)
					values[s], clusters[s] = append(values[s], own+picture[k]+sd[2]*rng.NormFloat64()), append(clusters[s], fmt.Sprint(k))
				}
			}
			i, err := SeedBlocks(values, clusters, 0)
			if err != nil {
				t.Fatal(err)
			}
			if i.Low <= 0 && 0 <= i.High {
				covered++
			}
		}
		// Of 95% intervals; with 600 tries the standard error is 0.9 points.
		if share := float64(covered) / tries; share < 0.91 || share > 0.995 {
			t.Errorf("%s: %.1f%% of the intervals cover the truth", name, 100*share)
		}
	}
}
