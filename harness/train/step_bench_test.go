package train

import (
	"testing"
	"time"

	"github.com/tlqlab/tlqlab/models"
)

// stepFlops is the products of a step: linears and attention (all places, masked
// or not) once forward and twice backward; nothing asks for the gradient of the
// patches.
func stepFlops(c *models.Config, pictures, patches, tokens, scored int) float64 {
	t, v := &c.Text, &c.Vision
	w, h := float64(v.Hidden), float64(v.Intermediate)
	p, n := float64(pictures*patches), float64(pictures*tokens)
	vision := p * float64(v.Depth) * (8*w*w + 4*w*h + 4*float64(patches)*w)
	merger := p / 4 * (2*16*w*w + 2*4*w*float64(t.Hidden))
	q, kv, d := float64(t.Heads*t.HeadDim), float64(t.KVHeads*t.HeadDim), float64(t.Hidden)
	decoder := n * float64(t.Layers) * (4*d*q + 4*d*kv + 6*d*float64(t.Intermediate) + 4*float64(tokens)*q)
	head := 2 * float64(scored*t.Vocab) * d
	return 3*(vision+merger+decoder+head) + 2*2*p*float64(v.PatchDim())*w
}

// BenchmarkStep is a step of the optimizer: what training spends its time with. The
// rate counts the model's products.
func BenchmarkStep(b *testing.B) {
	for _, name := range []string{"qwen2vl-nano", "qwen2vl-mini"} {
		r, err := FindRecipe(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			t, err := open(r, b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			var list []*models.TrainingBatch
			flops, s := 0.0, stream{&t.recipe, t.model}
			for _, part := range r.Batch {
				one, err := s.batch(part, 0)
				if err != nil {
					b.Fatal(err)
				}
				list = append(list, one)
				flops += stepFlops(&t.recipe.Config, part.Pictures, 256, one.Tokens, one.Scored+one.Labels)
			}
			step := func() {
				if _, err := t.one(list); err != nil {
					b.Fatal(err)
				}
			}
			step() // compiles
			fastest := time.Hour
			for b.Loop() {
				from := time.Now()
				step()
				fastest = min(fastest, time.Since(from))
			}
			parameters := 0
			for _, p := range t.weights.Params(&t.recipe.Config) {
				parameters += len(p.Data)
			}
			b.ReportMetric(float64(parameters), "parameters")
			b.ReportMetric(fastest.Seconds(), "s/fastest")
			b.ReportMetric(flops/fastest.Seconds()/1e9, "GFLOP/s")
		})
	}
}
