package backend

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
)

// opError says which operation on which operands went wrong.
func opError(op compute.OpType, in []*node, err error) error {
	list := make([]shapes.Shape, len(in))
	for i, n := range in {
		list[i] = n.shape
	}
	return fmt.Errorf("backend: %s of %v: %w", op, list, err)
}

// infer runs a shape inference. What it panics with becomes an error, for
// GoMLX's own inference trusts some arguments.
func infer(op compute.OpType, in []*node, f func() (shapes.Shape, error)) (shape shapes.Shape, err error) {
	defer func() {
		if r := recover(); r != nil {
			shape, err = shapes.Invalid(), opError(op, in, fmt.Errorf("%v", r))
		}
	}()
	shape, err = f()
	if err != nil {
		return shapes.Invalid(), opError(op, in, err)
	}
	return shape, nil
}

// checkAxes wants axes within the rank, each at most once.
func checkAxes(what string, axes []int, rank int) error {
	seen := make([]bool, rank)
	for _, a := range axes {
		switch {
		case a < 0 || a >= rank:
			return fmt.Errorf("%s axis %d of rank %d; expected 0 to %d", what, a, rank, rank-1)
		case seen[a]:
			return fmt.Errorf("%s axis %d is listed twice in %v", what, a, axes)
		}
		seen[a] = true
	}
	return nil
}

// checkShape refuses shapes that no buffer can have.
func checkShape(s shapes.Shape) error {
	if !capabilities.DTypes[s.DType] {
		return fmt.Errorf("type %s: %w", s.DType, compute.ErrNotImplemented)
	}
	if s.Rank() > maxAxes {
		return fmt.Errorf("shape %s has more than %d axes: %w", s, maxAxes, compute.ErrNotImplemented)
	}
	bytes := s.DType.Size()
	for _, d := range s.Dimensions {
		switch {
		case d == shapes.DynamicDim:
			return fmt.Errorf("dynamic shape %s: %w", s, compute.ErrNotImplemented)
		case d < 0:
			return fmt.Errorf("shape %s has a negative dimension", s)
		case d > 0 && bytes > math.MaxInt/d:
			return fmt.Errorf("shape %s is larger than any memory", s)
		}
		bytes *= max(d, 1)
	}
	return nil
}

func sameShape(a, b shapes.Shape) bool {
	if a.DType != b.DType || len(a.Dimensions) != len(b.Dimensions) {
		return false
	}
	for i, d := range a.Dimensions {
		if d != b.Dimensions[i] {
			return false
		}
	}
	return true
}
