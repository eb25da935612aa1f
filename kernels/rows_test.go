package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Operations on rows are those on each row, bit for bit, for all strides and in
// place.
func TestRows(t *testing.T) {
	type operation struct {
		rows  func(dst, a, b []float32, rows, n, strideA, strideB int)
		naive func(a, b float32) float32
		nb    int // values of b for a row; 0: n
	}
	operations := map[string]operation{
		"AddRows":       {AddRows, func(a, b float32) float32 { return a + b }, 0},
		"SubRows":       {SubRows, func(a, b float32) float32 { return a - b }, 0},
		"MulRows":       {MulRows, func(a, b float32) float32 { return a * b }, 0},
		"DivRows":       {DivRows, func(a, b float32) float32 { return a / b }, 0},
		"AddRowScalars": {AddRowScalars, func(a, b float32) float32 { return a + b }, 1},
		"SubRowScalars": {SubRowScalars, func(a, b float32) float32 { return a - b }, 1},
		"MulRowScalars": {MulRowScalars, func(a, b float32) float32 { return a * b }, 1},
		"DivRowScalars": {DivRowScalars, func(a, b float32) float32 { return a / b }, 1},
	}
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for name, o := range operations {
			for _, n := range awkward {
				for _, rows := range []int{0, 1, 2, 5, 33} {
					nb := n
					if o.nb > 0 {
						nb = o.nb
					}
					strideA, strideB := []int{0, n, n + 3}[rng.IntN(3)], []int{0, nb, nb + 2}[rng.IntN(3)]
					a, b, dst := arguments(rng, rows*strideA+n), arguments(rng, rows*strideB+nb), guarded(rows*n)
					o.rows(dst[1:rows*n+1], a, b, rows, n, strideA, strideB)
					inPlace := slices.Clone(a)
					if strideA == n {
						o.rows(inPlace, inPlace, b, rows, n, strideA, strideB)
					}
					for r := range rows {
						for i := range n {
							want := o.naive(a[r*strideA+i], b[r*strideB+i%nb])
							if !same(dst[1+r*n+i], want) || (strideA == n && !same(inPlace[r*n+i], want)) {
								t.Fatalf("%s of %d rows of %d, strides %d and %d: [%d, %d] is %g, want %g", name, rows, n, strideA, strideB, r, i, dst[1+r*n+i], want)
							}
						}
					}
					checkGuards(t, name, dst)
				}
			}
		}
	})
}

// Sums of columns are taken in double precision in the order of the rows.
func TestSumColumns(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, n := range awkward {
			for _, rows := range []int{0, 1, 2, 77} {
				stride := n + rng.IntN(4)
				x, dst := arguments(rng, rows*stride+n), guarded(n)
				SumColumns(dst[1:n+1], x, rows, stride)
				for j := range n {
					sum := 0.0
					for r := range rows {
						sum += float64(x[r*stride+j])
					}
					if !same(dst[1+j], float32(sum)) {
						t.Fatalf("column %d of %d, %d rows: %g, want %g", j, n, rows, dst[1+j], sum)
					}
				}
				checkGuards(t, "SumColumns", dst)
			}
		}
	})
}

func TestRowPanics(t *testing.T) {
	x := make([]float32, 10)
	for name, f := range map[string]func(){
		"short destination": func() { AddRows(x[:5], x, x, 2, 3, 3, 3) },
		"short argument":    func() { MulRows(x, x[:5], x, 2, 3, 3, 3) },
		"short scalars":     func() { DivRowScalars(x, x, x[:1], 2, 3, 3, 1) },
		"negative":          func() { SubRows(x, x, x, 2, 3, -3, 3) },
		"columns":           func() { SumColumns(x[:3], x, 4, 3) },
		"stride":            func() { SumColumns(x[:3], x, 2, 2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
