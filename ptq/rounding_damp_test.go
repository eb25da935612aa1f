package ptq

import (
	"errors"
	"strings"
	"testing"

	"github.com/tlqlab/tlqlab/kernels"
	"github.com/tlqlab/tlqlab/models"
)

// dampedRun is GPTQ's turn at down_proj of layer 1 with a given Hessian.
func dampedRun(t *testing.T, h func(in int) []float64, settings ...string) (*layerRun, error) {
	t.Helper()
	c := getTiny(t, 2).calibration(t, with(t, mustFind(t, "gptq"), settings...), "w4a16g16")
	exact, err := c.Model.Layer(1)
	if err != nil {
		t.Fatal(err)
	}
	r := &layerRun{
		c: c, exact: exact, folded: exact.Clone(), partly: &QuantizedLayer{Layer: exact.Clone(), Grids: map[string]*Grid{}},
		grams: map[models.Site][]float64{models.Down: h(exact.Down.In)}, drifts: map[models.Site][]float64{},
	}
	return r, r.roundSite(models.Down)
}

// identityBut is the identity with one diagonal entry replaced.
func identityBut(column int, v float64) func(in int) []float64 {
	return func(in int) []float64 {
		h := make([]float64, in*in)
		for i := range in {
			h[i*in+i] = 1
		}
		h[column*in+column] = v
		return h
	}
}

// A Hessian without a factor is damped again until it has one, which the report says
// with the layer's and the weight's names.
func TestDampingIsRepeated(t *testing.T) {
	r, err := dampedRun(t, identityBut(7, -0.025), "rounding.damp=0.01")
	if err != nil {
		t.Fatal(err)
	}
	// The mean of the diagonal of 64 is 0.984: the third hundredth of it is enough.
	if len(r.report.Events) != 1 || r.report.Events[0].Kind != "damping" || !strings.Contains(r.report.Events[0].Text, "layer 1, down_proj: the Hessian needed its damping 3 times") {
		t.Errorf("events %v", r.report.Events)
	}
	if r, err = dampedRun(t, identityBut(7, 0.5), "rounding.damp=0.01"); err != nil || len(r.report.Events) != 0 {
		t.Errorf("a Hessian with a factor: events %v, %v", r.report.Events, err)
	}
}

// What damping does not mend is an error that names the layer, the weight, the column
// and what to do; the layer keeps its weights.
func TestDampingIsGivenUp(t *testing.T) {
	r, err := dampedRun(t, identityBut(7, -5), "rounding.damp=0.01")
	var pivot *kernels.PivotError
	if !errors.As(err, &pivot) || pivot.Column != 7 || !errors.Is(err, kernels.ErrNotPositive) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"layer 1, down_proj", "column 7", "51 times", "raise the damping"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	for i, v := range r.exact.Down.W {
		if r.partly.Layer.Down.W[i] != v {
			t.Fatalf("weight %d has changed", i)
		}
	}
}
