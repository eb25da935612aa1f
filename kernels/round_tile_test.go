package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// randomSolve is a problem with random settings.
func randomSolve(rng *rand.Rand, rows, cols int) (w, h []float64, o SolveOptions) {
	w, h = randomProblem(rng, rows, cols, 2*cols+3)
	kinds := []GridKind{GridRange, GridGPTQ, GridQuaRot}
	o = SolveOptions{
		Rule:  GridRule{Kind: kinds[rng.IntN(3)], Bits: 2 + rng.IntN(4), Symmetric: rng.IntN(2) == 1},
		Group: []int{0, 1, 7, 16, 48, 200}[rng.IntN(6)], Block: []int{1, 5, 16, 32, 128}[rng.IntN(5)],
		Damp: 0.01, Retries: 3, ActOrder: rng.IntN(2) == 1, StaticGroups: rng.IntN(2) == 1,
	}
	if o.Rule.Kind == GridGPTQ && o.Rule.Symmetric {
		// Minus the largest magnitude lies between two codes: no grid may follow from
		// weights that differ in their last digits.
		o.StaticGroups = true
	}
	if rng.IntN(3) == 0 { // dead columns
		for range 1 + cols/8 {
			c := rng.IntN(cols)
			for k := range cols {
				h[c*cols+k], h[k*cols+c] = 0, 0
			}
		}
	}
	if rng.IntN(2) == 1 {
		o.Drift, o.DriftWeight = randomWide(rng, cols*cols), 0.25
	}
	return w, h, o
}

// checkSolve compares the solver with the one that goes row by row. Sums are taken in
// another order, so losses differ in their last digits; codes don't, unless a weight lies
// on the boundary of two to those digits.
func checkSolve(t *testing.T, rng *rand.Rand, rows, cols int) {
	t.Helper()
	w, h, o := randomSolve(rng, rows, cols)
	name := fmt.Sprintf("%d×%d, drift %t, %+v", rows, cols, o.Drift != nil, func(o SolveOptions) SolveOptions { o.Drift = nil; return o }(o))
	want, err := solveColumnsGo(w, rows, cols, h, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	before := slices.Clone(h)
	got, err := SolveColumns(w, rows, cols, h, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !slices.Equal(got.Codes, want.Codes) {
		t.Errorf("%s: codes differ", name)
	}
	if !slices.Equal(got.Index, want.Index) || !slices.Equal(got.Order, want.Order) || !slices.Equal(got.Dead, want.Dead) || got.Attempts != want.Attempts || got.Damped != want.Damped {
		t.Errorf("%s: groups, order, dead columns or damping differ", name)
	}
	for what, pair := range map[string][2][]float64{
		"step": {got.Step, want.Step}, "zero": {got.Zero, want.Zero}, "loss": {got.RowLoss, want.RowLoss}, "drift": {got.Drift, want.Drift},
	} {
		for i, v := range pair[1] {
			if d := math.Abs(pair[0][i] - v); !(d <= 1e-9*(1e-3+math.Abs(v))) {
				t.Fatalf("%s: %s %d is %v, want %v", name, what, i, pair[0][i], v)
			}
		}
	}
	if !slices.Equal(h, before) {
		t.Errorf("%s: the Hessian was changed", name)
	}
}

func TestSolveColumnsEqualsRows(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(10, 1))
		for range 60 {
			checkSolve(t, rng, 1+rng.IntN(40), 1+rng.IntN(70))
		}
		checkSolve(t, rng, 530, 60)
		checkSolve(t, rng, 20, 300)
	})
}

func FuzzSolveColumns(f *testing.F) {
	f.Add(uint64(1), uint8(9), uint8(33))
	f.Fuzz(func(t *testing.T, seed uint64, rows, cols uint8) {
		eachPath(t, func(t *testing.T) { checkSolve(t, rand.New(rand.NewPCG(seed, 1)), 1+int(rows), 1+int(cols)%140) })
	})
}

// The same bytes for any number of threads and any rows beside a row.
func TestSolveColumnsIndependence(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		rng := rand.New(rand.NewPCG(11, 1))
		for range 12 {
			rows, cols := 5+rng.IntN(70), 40+rng.IntN(120)
			w, h, o := randomSolve(rng, rows, cols)
			checkIndependence(t, rng, w, h, rows, cols, o)
			narrow := make([]float32, len(w))
			for i := range w {
				narrow[i] = float32(w[i])
			}
			checkIndependence(t, rng, narrow, h, rows, cols, o)
		}
	})
}

func checkIndependence[T Float](t *testing.T, rng *rand.Rand, w []T, h []float64, rows, cols int, o SolveOptions) {
	t.Helper()
	whole, err := SolveColumns(w, rows, cols, h, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 3, 7} {
		runtime.GOMAXPROCS(threads)
		from := rng.IntN(rows)
		to := from + 1 + rng.IntN(rows-from)
		part, err := SolveColumns(w[from*cols:to*cols], to-from, cols, h, o)
		if err != nil {
			t.Fatal(err)
		}
		groups := whole.Groups(rows)
		if !slices.Equal(part.Codes, whole.Codes[from*cols:to*cols]) || !slices.Equal(part.RowLoss, whole.RowLoss[from:to]) ||
			!slices.Equal(part.Step, whole.Step[from*groups:to*groups]) || !slices.Equal(part.Zero, whole.Zero[from*groups:to*groups]) {
			t.Fatalf("%T, %d×%d, %+v: rows %d to %d alone on %d threads differ", w, rows, cols, o.Rule, from, to, threads)
		}
	}
}

// Single precision rounds few weights otherwise than double precision does, and to no
// greater loss but for that.
func TestSolveColumnsNarrow(t *testing.T) {
	eachPath(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(12, 1))
		differ, total := 0, 0
		for range 25 {
			rows, cols := 1+rng.IntN(90), 1+rng.IntN(200)
			w, h, o := randomSolve(rng, rows, cols)
			narrow := make([]float32, len(w))
			for i := range w {
				narrow[i] = float32(w[i])
				w[i] = float64(narrow[i])
			}
			want, err := SolveColumns(w, rows, cols, h, o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := SolveColumns(narrow, rows, cols, h, o)
			if err != nil {
				t.Fatal(err)
			}
			var a, b float64
			for r := range rows {
				a, b = a+got.RowLoss[r], b+want.RowLoss[r]
				for c := range cols {
					if total++; got.Codes[r*cols+c] != want.Codes[r*cols+c] {
						differ++
					}
				}
			}
			if math.Abs(a-b) > 1e-3*b+1e-6 { // groups of one column have next to no loss
				t.Errorf("%d×%d, %+v: the loss is %v, in double precision %v", rows, cols, o.Rule, a, b)
			}
			for i, v := range want.Step {
				if math.Abs(got.Step[i]-v) > 1e-3*v {
					t.Fatalf("%d×%d, %+v: step %d is %v, in double precision %v", rows, cols, o.Rule, i, got.Step[i], v)
				}
			}
		}
		if float64(differ) > 1e-3*float64(total) {
			t.Errorf("%d of %d codes differ from double precision", differ, total)
		}
		t.Logf("%d of %d codes differ from double precision", differ, total)
	})
}

// BenchmarkSolveColumns rounds to 4 bits in groups of 128 columns: with tiles, and row
// by row as it was before.
func BenchmarkSolveColumns(b *testing.B) {
	for _, n := range []int{256, 768, 1536, 3584} {
		w, h := benchProblem(n)
		narrow := make([]float32, len(w))
		for i, v := range w {
			narrow[i] = float32(v)
		}
		for _, order := range []bool{false, true} {
			o := SolveOptions{Rule: GridRule{Kind: GridGPTQ, Bits: 4}, Group: 128, Block: 128, Damp: 0.01, ActOrder: order, StaticGroups: order}
			bench := func(name string, f func() (*Solution, error)) {
				b.Run(fmt.Sprintf("%s/%d/order=%t", name, n, order), func(b *testing.B) {
					for b.Loop() {
						if _, err := f(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			bench("float32", func() (*Solution, error) { return SolveColumns(narrow, n, n, h, o) })
			bench("float64", func() (*Solution, error) { return SolveColumns(w, n, n, h, o) })
			if n <= 768 {
				bench("rows", func() (*Solution, error) { return solveColumnsGo(w, n, n, h, o) })
			}
		}
	}
}

// benchProblem is a square problem whose Hessian is a product of n+8 tokens.
func benchProblem(n int) (w, h []float64) {
	rng := rand.New(rand.NewPCG(1, 1))
	w, h = randomWide(rng, n*n), make([]float64, n*n)
	x := randomWide(rng, (n+8)*n)
	ParallelDgemm(true, false, n, n, n+8, 1, x, n, x, n, h, n, false)
	return w, h
}
