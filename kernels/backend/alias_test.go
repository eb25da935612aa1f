package backend_test

import (
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// A buffer of a caller's slice reads that slice, run after run, and refuses what
// does not fit.
func TestAliasFlatData(t *testing.T) {
	b := open(t, "tlq")
	own, ok := b.(interface {
		AliasFlatData(flat any, shape shapes.Shape) (compute.Buffer, error)
	})
	if !ok {
		t.Fatalf("%T has no AliasFlatData", b)
	}
	shape := shapes.Make(dtypes.Float32, 2)
	values := []float32{1, 2}
	buffer, err := own.AliasFlatData(values, shape)
	if err != nil {
		t.Fatal(err)
	}
	values[1] = 5
	data, err := buffer.Data()
	if got, isFloats := data.([]float32); err != nil || !isFloats || got[1] != 5 {
		t.Errorf("got %v, %v", data, err)
	}
	for _, flat := range []any{[]float32{1}, []int32{1, 2}, 3, nil} {
		if _, err := own.AliasFlatData(flat, shape); err == nil {
			t.Errorf("%v was taken for %s", flat, shape)
		}
	}
}
