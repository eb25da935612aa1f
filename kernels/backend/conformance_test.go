package backend_test

import (
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/support/backendtest"
	_ "github.com/tlqlab/tlqlab/kernels/backend"
)

// GoMLX's public suite: every operation that the backend claims.
func TestConformance(t *testing.T) {
	b, err := compute.NewWithConfig("tlq")
	if err != nil {
		t.Fatal(err)
	}
	backendtest.RunAll(t, b, nil)
}
