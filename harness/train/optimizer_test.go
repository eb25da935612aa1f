package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/tlqlab/tlqlab/models"
)

// reference steps in float64 by the formulas of the papers.
type reference struct {
	recipe  *Recipe
	w, m, v [][]float64
}

func (o *reference) step(params []models.Param, step int, grads [][]float32, norm float64) {
	r := o.recipe
	for k, p := range params {
		rate, decay := r.rate(step), r.Decay
		if len(p.Shape) == 1 {
			decay = 0
		}
		var update []float64
		if p.Name == "matrix" {
			nesterov := make([]float64, len(p.Data))
			for i, g := range grads[k] {
				o.m[k][i] = r.Momentum*o.m[k][i] + float64(g)
				nesterov[i] = float64(g) + r.Momentum*o.m[k][i]
			}
			update = throughQuintic(nesterov, p.Shape[0], p.Shape[1])
			for i := range update {
				update[i] *= 0.2 * math.Sqrt(float64(max(p.Shape[0], p.Shape[1])))
			}
		} else {
			for i, g32 := range grads[k] {
				g := float64(g32) * min(1, r.Clip/norm)
				o.m[k][i] = r.Beta1*o.m[k][i] + (1-r.Beta1)*g
				o.v[k][i] = r.Beta2*o.v[k][i] + (1-r.Beta2)*g*g
				mHat := o.m[k][i] / (1 - math.Pow(r.Beta1, float64(step)))
				vHat := o.v[k][i] / (1 - math.Pow(r.Beta2, float64(step)))
				update = append(update, mHat/(math.Sqrt(vHat)+adamEpsilon))
			}
		}
		for i := range update {
			o.w[k][i] -= rate * (update[i] + decay*o.w[k][i])
		}
	}
}

// throughQuintic is U·f(Σ)·Vᵀ from the singular value decomposition, where f is the
// five turns of the quintic on Σ ÷ Frobenius norm.
func throughQuintic(g []float64, rows, cols int) []float64 {
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(rows, cols, g), mat.SVDThin) {
		panic("no singular value decomposition")
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	values := svd.Values(nil)
	norm := 0.0
	for _, s := range values {
		norm += s * s
	}
	for i, s := range values {
		s /= math.Sqrt(norm)
		for range 5 {
			s = 3.4445*s - 4.7750*s*s*s + 2.0315*s*s*s*s*s
		}
		values[i] = s
	}
	var us, out mat.Dense
	us.Mul(&u, mat.NewDiagDense(len(values), values))
	out.Mul(&us, v.T())
	return out.RawMatrix().Data
}

func TestOptimizer(t *testing.T) {
	r := small()
	rng := rand.New(rand.NewPCG(7, 7))
	params := []models.Param{{Name: "embed", Shape: []int{3, 5}}, {Name: "gain", Shape: []int{4}}, {Name: "matrix", Shape: []int{6, 4}}, {Name: "matrix", Shape: []int{5, 8}}}
	ref := reference{recipe: &r}
	for k := range params {
		n := 1
		for _, d := range params[k].Shape {
			n *= d
		}
		params[k].Data = make([]float32, n)
		x := make([]float64, n)
		for i := range x {
			params[k].Data[i] = float32(rng.NormFloat64())
			x[i] = float64(params[k].Data[i])
		}
		ref.w, ref.m, ref.v = append(ref.w, x), append(ref.m, make([]float64, n)), append(ref.v, make([]float64, n))
	}
	o := newOptimizer(&r, params)
	for step := 1; step <= 4; step++ {
		var grads [][]float32
		sum := 0.0
		for _, p := range params {
			g := make([]float32, len(p.Data))
			for i := range g {
				g[i] = float32(rng.NormFloat64())
				sum += float64(g[i]) * float64(g[i])
			}
			grads = append(grads, g)
		}
		norm := math.Sqrt(sum)
		ref.step(params, step, grads, norm)
		if got := o.step(step, grads); math.Abs(got-norm) > 1e-9*norm {
			t.Fatalf("norm %v, want %v", got, norm)
		}
		for k, p := range params {
			for i, want := range ref.w[k] {
				if got := float64(p.Data[i]); math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
					t.Fatalf("step %d, %s %v, value %d: %v, want %v", step, p.Name, p.Shape, i, got, want)
				}
			}
		}
	}
}

// A matrix without a gradient, as of a task that a batch lacks, keeps its weights but for decay.
func TestOrthogonalizeZero(t *testing.T) {
	g := make([]float32, 12)
	orthogonalize(g, 3, 4)
	for _, x := range g {
		if x != 0 {
			t.Fatalf("%v, want zeros", g)
		}
	}
}

// BenchmarkOptimizer is the optimizer's part of a step.
func BenchmarkOptimizer(b *testing.B) {
	for _, name := range []string{"qwen2vl-nano", "qwen2vl-mini"} {
		b.Run(name, func(b *testing.B) {
			r, err := FindRecipe(name)
			if err != nil {
				b.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			w := models.NewWeights(&r.Config)
			w.Randomize(&r.Config, rng)
			o := newOptimizer(&r, w.Params(&r.Config))
			var grads [][]float32
			for _, p := range o.params {
				g := make([]float32, len(p.Data))
				for i := range g {
					g[i] = rng.Float32()
				}
				grads = append(grads, g)
			}
			step := 0
			for b.Loop() {
				step++
				o.step(step, grads)
			}
		})
	}
}
