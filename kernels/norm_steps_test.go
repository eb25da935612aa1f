package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The parts of an RMS norm have the bits of operations one by one, on both paths, in
// place, whatever the number of rows, and with special values.
func TestNormSteps(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		for _, cols := range append([]int{8, 24, 72, 1000}, awkward[1:]...) {
			for trial := range 4 {
				const rows, eps = 3, 1e-6
				x, gamma := randomSlice(rng, rows*cols), randomSlice(rng, cols)
				if trial == 0 {
					x = arguments(rng, rows*cols)
				}
				factor := 1 / float32(cols)
				roots, want := make([]float32, rows), make([]float32, rows*cols)
				squares := make([]float32, cols)
				for r := range rows {
					row := x[r*cols:][:cols]
					Mul(squares, row, row)
					mean := float32(treeSum(cols, func(i int) float64 { return float64(squares[i]) }))
					mean = float32(mean * factor)
					roots[r] = float32(math.Sqrt(float64(mean + eps)))
					for i, v := range row {
						want[r*cols+i] = float32(v/roots[r]) * gamma[i]
					}
				}
				gotRoots, parts, whole := guarded(rows), guarded(len(x)), guardedCopy(x)
				RootMeanSquareRows(gotRoots[1:rows+1], guardedCopy(x)[1:len(x)+1], rows, cols, factor, eps)
				DivideScaleRows(parts[1:len(x)+1], guardedCopy(x)[1:len(x)+1], roots, guardedCopy(gamma)[1:cols+1], rows, cols)
				RMSNormStepsRows(whole[1:len(x)+1], whole[1:len(x)+1], gamma, rows, cols, factor, eps)
				for i, v := range want {
					if r := i / cols; !same(gotRoots[1+r], roots[r]) || !same(parts[1+i], v) || !same(whole[1+i], v) {
						t.Fatalf("row %d of %d, element %d: root %v, want %v; parts %v, whole %v, want %v", r, cols, i%cols, gotRoots[1+r], roots[r], parts[1+i], whole[1+i], v)
					}
				}
				one := make([]float32, cols)
				RMSNormStepsRows(one, x[cols:2*cols], gamma, 1, cols, factor, eps)
				for i, v := range one {
					if !same(v, want[cols+i]) {
						t.Fatalf("element %d of %d is %v in a row alone, %v among others", i, cols, v, want[cols+i])
					}
				}
				checkGuards(t, "RootMeanSquareRows", gotRoots)
				checkGuards(t, "DivideScaleRows", parts)
			}
		}
	})
}

func TestNormStepsMisuse(t *testing.T) {
	s := make([]float32, 6)
	for name, call := range map[string]func(){
		"roots":  func() { RootMeanSquareRows(s[:1], s, 2, 3, 1, 0) },
		"scales": func() { DivideScaleRows(s, s, s[:1], s[:3], 2, 3) },
		"gamma":  func() { DivideScaleRows(s, s, s[:2], s, 2, 3) },
		"whole":  func() { RMSNormStepsRows(s, s[:5], s[:3], 2, 3, 1, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}
